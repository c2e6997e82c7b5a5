//! The values that an `adapter_config.json` gives to some of its layers (`rank_pattern`, `alpha_pattern`), and the regular
//! expressions that its fields may hold.
//!
//! The rules are those of `get_pattern_key` in PEFT: a key is a regular expression for the end of a path behind a dot,
//! and of several that fit a layer the first holds.

use std::collections::BTreeMap;

use fancy_regex::Regex;
use gptneo_files::excerpt;
use serde_json::{Map, Value};

use crate::ModuleName;
use crate::error::shown;
use crate::target::names;

/// The longest expression in bytes; a list of all paths of a large model would be better written as a list.
const LONGEST: usize = 10_000;

/// A regular expression of a field, as Python reads it: with look-around, and bounded in what it may try.
pub(super) struct Expression<'a> {
    field: &'a str,
    text: &'a str,
    regex: Regex,
}

impl<'a> Expression<'a> {
    /// One that must fit a whole path.
    ///
    /// # Errors
    ///
    /// It is none.
    pub(super) fn whole(field: &'a str, text: &'a str) -> Result<Self, String> {
        Self::new(field, text, format!(r"\A(?:{text})\z"))
    }

    /// One that must fit the end of a path behind a dot.
    fn end(field: &'a str, text: &'a str) -> Result<Self, String> {
        Self::new(field, text, format!(r"\A(?:.*\.)?(?:{text})\z"))
    }

    fn new(field: &'a str, text: &'a str, anchored: String) -> Result<Self, String> {
        // It must be one by itself too: a bracket in it must not close those around it.
        let compiled = match text.len() {
            ..=LONGEST => Regex::new(text).and_then(|_| Regex::new(&anchored)).ok(),
            _ => None,
        };
        match compiled {
            Some(regex) => Ok(Self { field, text, regex }),
            None => Err(format!("{field}: \"{}\" is no regular expression", excerpt(text))),
        }
    }

    /// Whether it fits `path`.
    ///
    /// # Errors
    ///
    /// It takes too long to tell.
    pub(super) fn fits(&self, path: &str) -> Result<bool, String> {
        let Self { field, text, regex } = self;
        let slow = |_| format!("{field}: the regular expression \"{}\" takes too long", excerpt(text));
        regex.is_match(path).map_err(slow)
    }

    /// Those of `paths` that it fits.
    ///
    /// # Errors
    ///
    /// As [`Expression::fits`].
    pub(super) fn those(&self, paths: &[String]) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        for path in paths {
            if self.fits(path)? {
                found.push(path.clone());
            }
        }
        Ok(found)
    }
}

/// The name that a pattern stands for, if it is a plain one.
fn plain(pattern: &str) -> Option<String> {
    let bare = pattern.strip_prefix('^').unwrap_or(pattern);
    let bare = bare.strip_suffix('$').unwrap_or(bare).replace("\\.", ".");
    let named = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
    (!bare.is_empty() && bare.chars().all(named)).then_some(bare)
}

/// A map from names of layers to values.
///
/// PEFT takes the first name that fits a layer, we take the longest. Of two names that fit one layer, one is the end
/// of the other; so a name behind its own end is never reached, and without such names both rules agree. Names that
/// fit none of the layers in `adapted` are dropped, as PEFT does.
///
/// # Errors
///
/// Every regular expression that is none, and every value that is not what was `expected`.
pub(super) fn read_pattern<T>(
    map: &Map<String, Value>,
    field: &str,
    adapted: &[&String],
    expected: &str,
    value: impl Fn(&Value) -> Option<T>,
) -> Result<BTreeMap<ModuleName, T>, Vec<String>> {
    let entries = match map.get(field) {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(entries)) => entries,
        Some(other) => {
            let found = shown(other);
            return Err(vec![format!("{field} is {found}, expected names of layers with a value each")]);
        }
    };
    if entries.keys().any(|key| plain(key).is_none()) {
        return of_expressions(field, entries, adapted, expected, value);
    }
    let (mut problems, mut earlier, mut pattern) = (Vec::new(), Vec::<String>::new(), BTreeMap::new());
    for (key, found) in entries {
        let Some(name) = plain(key) else { continue };
        let Some(value) = value(found) else {
            problems.push(format!("{field}: {} is {}, expected {expected}", excerpt(key), shown(found)));
            continue;
        };
        let whole = key.starts_with('^');
        let fits = adapted.iter().any(|path| if whole { **path == name } else { names(&name, path) });
        let reached = !earlier.iter().any(|before| names(before, &name));
        if !fits || !reached {
            continue;
        }
        match name.parse() {
            Ok(parsed) => drop(pattern.insert(parsed, value)),
            Err(error) => problems.push(format!("{field}: {error}")),
        }
        earlier.push(name);
    }
    if problems.is_empty() { Ok(pattern) } else { Err(problems) }
}

/// As [`read_pattern`], of keys some of which are more than plain names: each layer by its whole path.
fn of_expressions<T>(
    field: &str,
    entries: &Map<String, Value>,
    adapted: &[&String],
    expected: &str,
    value: impl Fn(&Value) -> Option<T>,
) -> Result<BTreeMap<ModuleName, T>, Vec<String>> {
    let mut problems = Vec::new();
    let mut expressions = Vec::new();
    for (key, found) in entries {
        match Expression::end(field, key) {
            Ok(expression) => expressions.push((expression, found)),
            Err(problem) => problems.push(problem),
        }
        if value(found).is_none() {
            problems.push(format!("{field}: {} is {}, expected {expected}", excerpt(key), shown(found)));
        }
    }
    let mut pattern = BTreeMap::new();
    for path in adapted.iter().filter(|_| problems.is_empty()) {
        let first = expressions.iter().find_map(|(expression, found)| match expression.fits(path) {
            Ok(true) => Some(Ok(*found)),
            Ok(false) => None,
            Err(problem) => Some(Err(problem)),
        });
        let entry = first.transpose().and_then(|found| {
            let name = path.parse::<ModuleName>().map_err(|error| error.to_string())?;
            Ok(found.and_then(&value).map(|value| (name, value)))
        });
        match entry {
            Ok(entry) => pattern.extend(entry),
            Err(problem) => return Err(vec![problem]),
        }
    }
    if problems.is_empty() { Ok(pattern) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::Target;

    fn paths() -> Vec<String> {
        (0..4).flat_map(|layer| Target::ALL.map(|target| target.path(layer))).collect()
    }

    fn pattern(entries: Value) -> Result<Vec<(String, u64)>, String> {
        let (fields, paths) = (json!({ "rank_pattern": entries }), paths());
        let adapted: Vec<&String> = paths.iter().filter(|path| path.ends_with("q_proj")).collect();
        let read =
            read_pattern(fields.as_object().unwrap(), "rank_pattern", &adapted, "a number", Value::as_u64);
        let plain =
            |pattern: BTreeMap<ModuleName, u64>| pattern.into_iter().map(|(n, v)| (n.into(), v)).collect();
        read.map(plain).map_err(|reasons| reasons.join("; "))
    }

    #[test]
    fn of_two_names_for_a_layer_the_first_holds() {
        let one = "h.1.attn.attention.q_proj".to_string();
        let both = pattern(json!({ &one: 2, "q_proj": 3 })).unwrap();
        assert_eq!(both, [(one.clone(), 2), ("q_proj".into(), 3)]);
        let second_unreached = pattern(json!({ "q_proj": 3, &one: 2 })).unwrap();
        assert_eq!(second_unreached, [("q_proj".into(), 3)]);
    }

    #[test]
    fn names_of_other_layers_are_dropped_and_broken_expressions_refused() {
        let whole = "^transformer\\.h\\.1\\.attn\\.attention\\.q_proj$";
        let found = pattern(json!({ whole: 2, "^q_proj": 5, "v_proj": 6, "model.decoder": 7 })).unwrap();
        assert_eq!(found, [(Target::QProj.path(1), 2)]);
        for (entries, word) in [
            (json!({"h.[01.*q_proj": 2}), "regular expression"),
            (json!({"q_proj": "two"}), "expected a number"),
            (json!(["q_proj"]), "rank_pattern is"),
        ] {
            let message = pattern(entries).unwrap_err();
            assert!(message.contains(word) && message.contains("rank_pattern"), "{message}");
        }
    }

    #[test]
    fn of_expressions_the_first_that_fits_a_layer_holds() {
        let found = pattern(json!({ "h.[01].*q_proj": 2, r".*\.2\..*": 5, "q_proj": 3 })).unwrap();
        let of = |layer: usize, value: u64| (Target::QProj.path(layer), value);
        assert_eq!(found, [of(0, 2), of(1, 2), of(2, 5), of(3, 3)]);
        // What takes for ever elsewhere is given up.
        let slow = pattern(json!({ r"(.*)*(.*)*(.*)*(?=x)\1y": 2 }));
        assert!(slow.is_err() || slow.is_ok_and(|found| found.is_empty()));
    }
}
