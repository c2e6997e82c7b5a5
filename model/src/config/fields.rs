//! The fields of a `config.json`, read one by one, so that everything wrong is told at once and in plain words.

use serde_json::{Map, Value};

use super::{ACTIVATIONS, Activation, AttentionKind, MOST_LAYERS};
use crate::error::shown;

/// The largest size of anything: what an index of a tensor can be.
const LARGEST: u64 = i32::MAX as u64;

/// The file's fields, and what is wrong with them so far. A field that is `null` is one that is left out.
pub(super) struct Fields<'a> {
    pub(super) map: &'a Map<String, Value>,
    pub(super) problems: Vec<String>,
}

impl Fields<'_> {
    pub(super) fn refuse(&mut self, problem: String) {
        self.problems.push(problem);
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn require(&mut self, names: &[&str]) {
        let missing: Vec<String> = names
            .iter()
            .filter(|name| self.get(name).is_none())
            .map(|name| format!("{name} is missing"))
            .collect();
        self.problems.extend(missing);
    }

    /// A size above zero, under any of its names.
    pub(super) fn size(&mut self, names: &[&str]) -> Option<usize> {
        let mut found: Option<(&str, u64)> = None;
        for name in names {
            let Some(value) = self.get(name) else { continue };
            let size = value.as_u64().filter(|size| *size <= LARGEST);
            match (size, found) {
                (Some(0), _) => self.refuse(format!("{name} is zero")),
                (Some(size), Some((other, before))) if size != before => {
                    self.refuse(format!("{name} is {size}, but {other} is {before}"));
                }
                (Some(size), _) => found = Some((name, size)),
                (None, _) => {
                    let problem =
                        format!("{name} is {}, expected a whole number from 1 to {LARGEST}", shown(value));
                    self.refuse(problem);
                }
            }
        }
        found.map(|(_, size)| size as usize)
    }

    pub(super) fn number(&mut self, name: &str, expected: &str, fits: impl Fn(f64) -> bool) -> Option<f64> {
        let value = self.get(name)?;
        let number = value.as_f64().filter(|number| fits(*number));
        if number.is_none() {
            let problem = format!("{name} is {}, expected a number, {expected}", shown(value));
            self.refuse(problem);
        }
        number
    }

    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        let value = self.get(name)?;
        let flag = value.as_bool();
        if flag.is_none() {
            let problem = format!("{name} is {}, expected true or false", shown(value));
            self.refuse(problem);
        }
        flag
    }

    /// Ids of tokens: one or a list. Some files say with -1 that there is none.
    pub(super) fn tokens(&mut self, name: &str) -> Vec<u32> {
        let Some(value) = self.get(name) else { return Vec::new() };
        match token_ids(value) {
            Some(ids) => ids,
            None => {
                let problem =
                    format!("{name} is {}, expected a token's number or a list of them", shown(value));
                self.refuse(problem);
                Vec::new()
            }
        }
    }

    pub(super) fn activation(&mut self) -> Activation {
        let Some(value) = self.get("activation_function") else { return Activation::GeluTanh };
        let known = ACTIVATIONS.iter().find(|(name, _)| value.as_str() == Some(name));
        if known.is_none() {
            let names: Vec<&str> = ACTIVATIONS.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            let problem =
                format!("activation_function is {}, of which only {names} are implemented", shown(value));
            self.refuse(problem);
        }
        known.map_or(Activation::GeluTanh, |(_, activation)| *activation)
    }

    /// What each of `layers` layers attends to: from `attention_layers`, else from `attention_types`.
    pub(super) fn attention_layers(&mut self, layers: usize) -> Vec<AttentionKind> {
        if layers > MOST_LAYERS {
            self.refuse(format!("num_layers is {layers}, expected at most {MOST_LAYERS}"));
            return Vec::new();
        }
        let (field, read) = match (self.get("attention_layers"), self.get("attention_types")) {
            (Some(value), _) => ("attention_layers", kinds(value)),
            (None, Some(value)) => ("attention_types", expanded(value, layers)),
            (None, None) => {
                ("attention_types", Some([AttentionKind::Global, AttentionKind::Local].repeat(12)))
            }
        };
        match read {
            Some(kinds) if kinds.len() == layers => kinds,
            Some(kinds) => {
                let named =
                    if kinds.len() > MOST_LAYERS { "more".to_string() } else { kinds.len().to_string() };
                self.refuse(format!("num_layers is {layers}, but the attention types name {named} layers"));
                Vec::new()
            }
            None => {
                let found = self.get(field).map(shown).unwrap_or_default();
                self.refuse(format!(
                    "{field} is {found}, expected layers that are \"global\" or \"local\", such as \
                     [[[\"global\", \"local\"], 6]] for twelve"
                ));
                Vec::new()
            }
        }
    }
}

/// The ids of a token or of a list of tokens; negative ones are none.
pub(crate) fn token_ids(value: &Value) -> Option<Vec<u32>> {
    let one = |value: &Value| match value.as_i64() {
        Some(negative) if negative < 0 => Some(None),
        Some(id) => u32::try_from(id).ok().map(Some),
        None => None,
    };
    let ids: Option<Vec<Option<u32>>> = match value {
        Value::Null => Some(Vec::new()),
        Value::Array(list) => list.iter().map(one).collect(),
        value => Some(vec![one(value)?]),
    };
    Some(ids?.into_iter().flatten().collect())
}

fn kinds(value: &Value) -> Option<Vec<AttentionKind>> {
    let kind = |value: &Value| match value.as_str() {
        Some("global") => Some(AttentionKind::Global),
        Some("local") => Some(AttentionKind::Local),
        _ => None,
    };
    value.as_array()?.iter().map(kind).collect()
}

/// Types with the times that each is repeated; a little more than `layers` at most, however many the file says.
fn expanded(value: &Value, layers: usize) -> Option<Vec<AttentionKind>> {
    let mut all = Vec::new();
    for entry in value.as_array()? {
        let [types, times] = entry.as_array()?.as_slice() else { return None };
        let (types, times) = (kinds(types)?, times.as_u64()?);
        if types.is_empty() {
            continue;
        }
        for _ in 0..times {
            all.extend(&types);
            if all.len() > layers {
                // More than there are, whatever follows.
                return Some(all);
            }
        }
    }
    Some(all)
}
