//! How settings come together: a file or a preset first, then what was asked for beside it, key by key.

use std::path::Path;

use gptneo_files::{FileError, excerpt, in_plain_words, read_small};
use gptneo_training::TuningKind;
use serde::Serialize;
use toml::{Table, Value};

use super::{Preset, Settings, not_toml};
use crate::{Error, Remedy, Result};

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

    /// The keys that it has of a section.
    fn keys(&self, section: &str) -> Vec<String> {
        let section = self.0.get(section).and_then(Value::as_table);
        section.into_iter().flatten().map(|(key, _)| key.clone()).collect()
    }

    /// Whether it has no setting.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.values().all(|section| section.as_table().is_some_and(Table::is_empty))
    }

    /// Lays its settings on `table`, and writes that down.
    ///
    /// # Errors
    /// A value cannot be written in TOML.
    pub(crate) fn written_over(self, table: &mut Table) -> Result<String> {
        overlay(table, self.0);
        toml::to_string(table).map_err(|error| not_toml(&error))
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
    /// The file cannot be read or is not TOML; a key is unknown; a value is of the wrong kind or out of range; or the
    /// layer asks for what has no effect.
    pub fn resolve(origin: Origin<'_>, layer: Layer) -> Result<Self> {
        let mut table = match origin {
            Origin::Defaults => Table::new(),
            Origin::File(path) => read_table(path)?,
            Origin::Preset(preset) => checked_table(preset.text(), preset.name())?,
        };
        let of_adapter = layer.keys("lora");
        overlay(&mut table, layer.0);
        let refuse = |error: toml::de::Error| Error::settings(in_plain_words(error.message()), Remedy::None);
        let settings: Self = table.try_into().map_err(refuse)?;
        settings.validate()?;
        if settings.model.tuning == TuningKind::Full && !of_adapter.is_empty() {
            return Err(Error::settings(
                format!(
                    "full tuning trains the model itself and makes no adapter, but of its settings some are given ({})",
                    of_adapter.join(", ")
                ),
                Remedy::Either(vec![
                    Remedy::say("leave them out"),
                    Remedy::Set("model.tuning", TuningKind::Lora.name().into()),
                ]),
            ));
        }
        Ok(settings)
    }
}

impl Settings {
    /// The settings of a file's text.
    ///
    /// # Errors
    /// As [`Settings::resolve`].
    pub fn from_toml(text: &str) -> Result<Self> {
        let table = checked_table(text, "given")?;
        let settings: Self = table.try_into().map_err(|error: toml::de::Error| refused_values(&error))?;
        settings.validate()?;
        Ok(settings)
    }
}

fn refused_values(error: &toml::de::Error) -> Error {
    Error::settings(in_plain_words(error.message()), Remedy::None)
}

/// Reads a settings file, checked on its own first, so that an error names the line.
fn read_table(path: &Path) -> Result<Table> {
    let bytes = read_small(path).map_err(FileError::on("read", path))?;
    let name = path.display().to_string();
    let text = String::from_utf8(bytes).map_err(|_| {
        Error::settings(format!("the settings {name} are wrong: they are not UTF-8"), Remedy::None)
    })?;
    checked_table(&text, &name)
}

fn checked_table(text: &str, name: &str) -> Result<Table> {
    let refuse = |error: toml::de::Error| {
        let what = format!("the settings {name} are wrong: {}", with_place(text, &error));
        Error::settings(what, Remedy::None)
    };
    toml::from_str::<Settings>(text).map_err(refuse)?;
    toml::from_str(text).map_err(refuse)
}

/// What is wrong, and where in the file.
pub(crate) fn with_place(text: &str, error: &toml::de::Error) -> String {
    let said = in_plain_words(error.message());
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = text.get(..start).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let line = text.lines().nth(number - 1).unwrap_or_default();
    match line.split_once('=') {
        Some((key, _)) if !key.trim().is_empty() => {
            format!("line {number}, `{}`: {said}", excerpt(key.trim()))
        }
        _ => format!("line {number}: {said}"),
    }
}
