//! What a file has in one record, whatever the format: the fields that some form of data uses, the others by name
//! alone, so that a record of thousands of fields takes no room.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::excerpt::shown;

/// The most values that one record may have, nested ones included.
const MOST_VALUES: usize = 100_000;
/// The most names that are remembered of a file's fields.
const MOST_NAMES: usize = 100;

/// A value of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Text(String),
    Number(f64),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
    /// Something that no form of data uses: what it is.
    Other(&'static str),
}

impl Value {
    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Text(_) => "a string",
            Self::Number(_) => "a number",
            Self::List(_) => "an array",
            Self::Object(_) => "an object",
            Self::Other(kind) => kind,
        }
    }

    /// The value itself where it is short, else what it is, for messages.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Text(text) => format!("\"{}\"", shown(text)),
            Self::Number(number) => number.to_string(),
            other => other.kind().to_string(),
        }
    }

    /// The last value under `name`, of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Object(fields) => {
                fields.iter().rev().find(|(field, _)| field == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The bytes of text in it.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::List(values) => values.iter().map(Self::size).sum(),
            Self::Object(fields) => fields.iter().map(|(_, value)| value.size()).sum(),
            _ => 0,
        }
    }
}

/// The fields of one record that are wanted.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(Rc<str>, Value)>);

impl Fields {
    /// Takes the value under `name` out; null counts as none.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        let place = self.0.iter().position(|(field, _)| &**field == name)?;
        Some(self.0.swap_remove(place).1).filter(|value| *value != Value::Null)
    }

    /// The value under `name`; null counts as none.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let found = self.0.iter().find(|(field, _)| &**field == name);
        found.map(|(_, value)| value).filter(|value| **value != Value::Null)
    }

    /// Puts a value in, in place of an earlier one of the name.
    pub(crate) fn put(&mut self, name: &Rc<str>, value: Value) {
        match self.0.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.clone(), value)),
        }
    }

    /// The names of those that are not null.
    pub(crate) fn names(&self) -> Vec<String> {
        let given = self.0.iter().filter(|(_, value)| *value != Value::Null);
        given.map(|(name, _)| name.to_string()).collect()
    }

    /// The bytes of text in it.
    pub(crate) fn size(&self) -> usize {
        self.0.iter().map(|(_, value)| value.size()).sum()
    }
}

/// The names of a file's fields: those to read, and those that were seen.
#[derive(Debug)]
pub(crate) struct Names {
    wanted: Vec<Rc<str>>,
    pub(crate) seen: Vec<String>,
}

impl Names {
    pub(crate) fn new<'a>(wanted: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names: Vec<Rc<str>> = Vec::new();
        for name in wanted {
            if !names.iter().any(|known| &**known == name) {
                names.push(name.into());
            }
        }
        Self { wanted: names, seen: Vec::new() }
    }

    /// Remembers a name; the one to store its value under, if it is wanted.
    pub(crate) fn see(&mut self, name: &str) -> Option<Rc<str>> {
        let wanted = self.wanted.iter().find(|wanted| &***wanted == name).cloned();
        if (wanted.is_some() || self.seen.len() < MOST_NAMES) && !self.seen.iter().any(|seen| seen == name) {
            self.seen.push(name.to_string());
        }
        wanted
    }
}

/// Reads one record of JSON: its fields, or what stands in place of an object.
pub(super) struct RecordSeed<'a>(pub(super) &'a mut Names);

impl<'de> DeserializeSeed<'de> for RecordSeed<'_> {
    type Value = Result<Fields, &'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RecordSeed<'_> {
    type Value = Result<Fields, &'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let left = Cell::new(MOST_VALUES);
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<String>()? {
            match self.0.see(&name) {
                Some(name) => fields.put(&name, map.next_value_seed(ValueSeed(&left))?),
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(Ok(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
        while values.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err("an array"))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Err("a string"))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Err("a boolean"))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Err("null"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Err("a number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Err("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Err("a number"))
    }
}

/// Reads a value of JSON, as long as there are values left to read.
#[derive(Clone, Copy)]
struct ValueSeed<'a>(&'a Cell<usize>);

impl ValueSeed<'_> {
    fn one_more<E: Error>(self) -> Result<(), E> {
        let left = self.0.get().checked_sub(1);
        self.0.set(left.ok_or_else(|| E::custom("more than 100,000 values in one record"))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.one_more()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            fields.push((name, map.next_value_seed(self)?));
        }
        Ok(Value::Object(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_string()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other("a boolean"))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }
}

/// A value that a table's field holds as JSON, as lists do that went through CSV; none where it is no JSON.
pub(crate) fn parse(text: &str) -> Option<Value> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = ValueSeed(&Cell::new(MOST_VALUES)).deserialize(&mut json).ok()?;
    json.end().is_ok().then_some(value)
}
