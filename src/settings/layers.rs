//! How settings come together: a file or a preset first, then what was asked for beside it, key by key.

use std::path::Path;

use serde::Serialize;
use toml::{Table, Value};

use super::{Preset, Settings, not_toml};
use crate::error::{Error, Remedy, Result};

/// Where settings start from; a [`Layer`] goes over it.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// The defaults.
    Defaults,
    /// A TOML file.
    File(&'a Path),
    /// Settings that the program carries.
    Preset(Preset),
}

impl<'a> Origin<'a> {
    /// A file where one is given.
    pub fn file(path: Option<&'a Path>) -> Self {
        path.map_or(Self::Defaults, Self::File)
    }
}

/// Some settings alone, under the settings file's sections and keys: those that a user named, say.
#[derive(Clone, Debug, Default)]
pub struct Layer(Table);

impl Layer {
    /// Adds values to a section: whatever serialises as some of its keys.
    ///
    /// # Errors
    /// A value cannot be written in TOML, for example a path that is not UTF-8.
    pub fn with(mut self, section: &str, values: &impl Serialize) -> Result<Self> {
        let given = Table::try_from(values).map_err(|error| not_toml(&error))?;
        overlay(&mut self.0, Table::from_iter([(section.to_string(), Value::Table(given))]));
        Ok(self)
    }
}

/// Lays `over` on `table`, key by key, tables within tables.
fn overlay(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => overlay(old, new),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

impl Settings {
    /// The settings of `origin` with those of `layer` over them.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML; a key is unknown; a value is of the wrong kind or out of range.
    pub fn resolve(origin: Origin<'_>, layer: Layer) -> Result<Self> {
        let mut table = match origin {
            Origin::Defaults => Table::new(),
            Origin::File(path) => read_table(path)?,
            Origin::Preset(preset) => checked_table(preset.text(), preset.name())?,
        };
        overlay(&mut table, layer.0);
        let refuse = |error: toml::de::Error| Error::settings(one_line(&error), Remedy::None);
        let settings: Self = table.try_into().map_err(refuse)?;
        settings.validate()?;
        Ok(settings)
    }
}

/// Reads a settings file, checked on its own first, so that an error names the line.
fn read_table(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::settings(format!("cannot read the settings {}: {error}", path.display()), Remedy::None)
    })?;
    checked_table(&text, &path.display().to_string())
}

fn checked_table(text: &str, name: &str) -> Result<Table> {
    let refuse = |error| Error::settings(format!("the settings {name} are wrong: {error}"), Remedy::None);
    toml::from_str::<Settings>(text).map_err(refuse)?;
    toml::from_str(text).map_err(refuse)
}

/// A TOML error about a layer, which has no lines, so what it says is put on one.
fn one_line(error: &toml::de::Error) -> String {
    error.to_string().split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
