//! How settings come together: a file or a preset first, the flags that were given over it, key by key.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use toml::{Table, Value};

use super::Settings;
use crate::failure::Misuse;
use crate::presets::Preset;

/// Where settings start from; flags go over it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin<'a> {
    /// The defaults.
    Defaults,
    /// A TOML file.
    File(&'a Path),
    /// Settings that the program carries.
    Preset(Preset),
}

impl<'a> Origin<'a> {
    /// A file where one is given.
    pub(crate) fn file(path: Option<&'a Path>) -> Self {
        path.map_or(Self::Defaults, Self::File)
    }
}

/// The flags that were given, under the settings file's sections and keys.
#[derive(Debug, Default)]
pub(crate) struct Flags(Table);

impl Flags {
    /// Adds a group of flags to a section.
    ///
    /// # Errors
    /// A flag cannot be written in TOML, for example a path that is not UTF-8.
    pub(crate) fn with(mut self, section: &str, flags: &impl Serialize) -> Result<Self> {
        let given = Table::try_from(flags).context("a flag's value cannot be used")?;
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
    /// The settings of `origin` with the flags over them.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML; a key is unknown; a value is of the wrong kind or out of range.
    pub(crate) fn resolve(origin: Origin<'_>, flags: Flags) -> Result<Self> {
        let mut table = match origin {
            Origin::Defaults => Table::new(),
            Origin::File(path) => read_table(path)?,
            Origin::Preset(preset) => checked_table(preset.text(), preset.name())?,
        };
        overlay(&mut table, flags.0);
        let settings: Self =
            table.try_into().map_err(|error: toml::de::Error| Misuse::error(one_line(&error)))?;
        settings.validate()?;
        Ok(settings)
    }
}

/// Reads a settings file, checked on its own first, so that an error names the line.
fn read_table(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Misuse::error(format!("cannot read the settings {}: {error}", path.display())))?;
    checked_table(&text, &path.display().to_string())
}

fn checked_table(text: &str, name: &str) -> Result<Table> {
    let refuse = |error: toml::de::Error| Misuse::error(format!("the settings {name} are wrong: {error}"));
    toml::from_str::<Settings>(text).map_err(refuse)?;
    toml::from_str(text).map_err(refuse)
}

/// A TOML error about flags: they have no lines, so what it says is put on one.
fn one_line(error: &toml::de::Error) -> String {
    error.to_string().split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
