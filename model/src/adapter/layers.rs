//! Which layers an `adapter_config.json` names, by PEFT's rules, and the values it gives to some of them.
//!
//! The rules are those of `check_target_module_exists` and `get_pattern_key` in PEFT. Regular expressions are
//! refused, but for what stands in them for a plain name: `^`, `$` and `\.`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::ModuleName;
use crate::target::names;

/// PEFT's word for every linear layer but the head.
const ALL_LINEAR: &str = "all-linear";

/// The modules of a GPT-Neo that PEFT can adapt and this program cannot.
const OTHER_MODULES: [&str; 3] = ["wte", "wpe", "lm_head"];

/// The names of the layers that carry an adapter: the file's own, or, where layers are left out by other settings,
/// the paths of those that are left. Names that fit nothing are dropped, as PEFT does.
///
/// # Errors
///
/// Every setting that is not implemented, or no layer is named.
pub(super) fn chosen_layers(
    map: &Map<String, Value>,
    paths: &[String],
) -> Result<Vec<ModuleName>, Vec<String>> {
    let mut problems = Vec::new();
    let names_found = match target_names(map.get("target_modules"), paths) {
        Ok(found) => found,
        Err(reason) => {
            problems.push(reason);
            Vec::new()
        }
    };
    let excluded = excluded_names(map.get("exclude_modules")).unwrap_or_else(|reason| {
        problems.push(reason);
        Vec::new()
    });
    let layers = transformed_layers(map).unwrap_or_else(|reason| {
        problems.push(reason);
        None
    });
    if !problems.is_empty() {
        return Err(problems);
    }
    let chosen: Vec<&String> = paths
        .iter()
        .filter(|path| !excluded.iter().any(|name| names(name, path)))
        .filter(|path| {
            let within =
                || layers.as_ref().is_none_or(|layers| layer_of(path).is_some_and(|n| layers.contains(&n)));
            // A whole path is meant whatever the layers say.
            names_found.iter().any(|name| name == *path || (names(name, path) && within()))
        })
        .collect();
    if chosen.is_empty() {
        let found = map.get("target_modules").unwrap_or(&Value::Null);
        return Err(vec![format!("target_modules is {found}, which leaves no layer of this model")]);
    }
    let fitting = |name: &&String| chosen.iter().any(|path| names(name, path));
    let mut kept: Vec<String> = names_found.iter().filter(fitting).cloned().collect();
    let meant = |path: &String| kept.iter().any(|name| names(name, path));
    if paths.iter().filter(|path| meant(path)).count() != chosen.len() {
        kept = chosen.into_iter().cloned().collect();
    }
    kept.sort();
    kept.dedup();
    kept.iter().map(|name| name.parse::<ModuleName>().map_err(|error| vec![error.to_string()])).collect()
}

fn target_names(value: Option<&Value>, paths: &[String]) -> Result<Vec<String>, String> {
    let expected = format!("expected a list of module names or \"{ALL_LINEAR}\"");
    match value {
        Some(Value::Array(list)) => {
            let found = strings("target_modules", list)?;
            let other = |name: &&String| OTHER_MODULES.iter().any(|other| names(other, name));
            match found.iter().find(other) {
                Some(name) => Err(format!(
                    "target_modules names \"{name}\", but adapters of embeddings and of the head are not implemented; \
                     merge the adapter with PEFT (merge_and_unload) and use the merged model"
                )),
                None => Ok(found),
            }
        }
        Some(Value::String(word)) if word.eq_ignore_ascii_case(ALL_LINEAR) => {
            let mut kinds: Vec<String> =
                paths.iter().filter_map(|path| path.rsplit('.').next()).map(String::from).collect();
            kinds.sort();
            kinds.dedup();
            Ok(kinds)
        }
        // PEFT wants a string to be a whole path.
        Some(Value::String(word)) => match plain(word).filter(|name| paths.contains(name)) {
            Some(name) => Ok(vec![name]),
            None => Err(format!(
                "target_modules is \"{word}\", a regular expression, which is not implemented; write the layers out as \
                 a list of names, such as [\"q_proj\", \"v_proj\"]"
            )),
        },
        other => Err(format!("target_modules is {}, {expected}", other.unwrap_or(&Value::Null))),
    }
}

fn excluded_names(value: Option<&Value>) -> Result<Vec<String>, String> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => strings("exclude_modules", list),
        Some(Value::String(word)) if word.is_empty() => Ok(Vec::new()),
        Some(other) => Err(format!(
            "exclude_modules is {other}, which is not implemented; write the layers out as a list of names"
        )),
    }
}

/// The layers that `layers_to_transform` leaves; all where it says nothing.
fn transformed_layers(map: &Map<String, Value>) -> Result<Option<Vec<u64>>, String> {
    let value = map.get("layers_to_transform").unwrap_or(&Value::Null);
    let layers = match value {
        Value::Null => return Ok(None),
        Value::Array(list) if list.is_empty() => return Ok(None),
        Value::Number(number) => number.as_u64().map(|layer| vec![layer]),
        Value::Array(list) => list.iter().map(Value::as_u64).collect(),
        _ => None,
    };
    let Some(layers) = layers else {
        return Err(format!("layers_to_transform is {value}, expected numbers of layers"));
    };
    let pattern = map.get("layers_pattern").unwrap_or(&Value::Null);
    let blocks = |name: &Value| name.as_str().is_some_and(|name| ["", "h", "transformer.h"].contains(&name));
    match pattern {
        Value::Null => Ok(Some(layers)),
        Value::Array(list) if list.iter().all(blocks) => Ok(Some(layers)),
        one if blocks(one) => Ok(Some(layers)),
        _ => Err(format!("layers_pattern is {pattern}, but GPT-Neo's layers are in \"h\"; write \"h\"")),
    }
}

fn layer_of(path: &str) -> Option<u64> {
    path.split('.').find_map(|part| part.parse().ok())
}

fn strings(field: &str, list: &[Value]) -> Result<Vec<String>, String> {
    let text = |value: &Value| match value.as_str() {
        Some(text) => Ok(text.to_string()),
        None => Err(format!("{field} holds {value}, expected names of modules")),
    };
    list.iter().map(text).collect()
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
/// Every name that is a regular expression, and every value that is not what was `expected`.
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
            return Err(vec![format!("{field} is {other}, expected names of layers with a value each")]);
        }
    };
    let (mut problems, mut earlier, mut pattern) = (Vec::new(), Vec::<String>::new(), BTreeMap::new());
    for (key, found) in entries {
        let Some(name) = plain(key) else {
            problems.push(format!(
                "{field} holds \"{key}\", a regular expression, which is not implemented; write the layers out, each \
                 by its path or the end of it"
            ));
            continue;
        };
        let Some(value) = value(found) else {
            problems.push(format!("{field}: {key} is {found}, expected {expected}"));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::Target;

    fn paths() -> Vec<String> {
        (0..4).flat_map(|layer| Target::ALL.map(|target| target.path(layer))).collect()
    }

    fn chosen(fields: Value) -> Result<Vec<String>, String> {
        let names = chosen_layers(fields.as_object().unwrap(), &paths());
        names.map(|names| names.into_iter().map(String::from).collect()).map_err(|reasons| reasons.join("; "))
    }

    #[test]
    fn names_are_kept_and_those_that_fit_nothing_dropped() {
        let found =
            chosen(json!({"target_modules": ["v_proj", "q_proj", "o_proj", "h.9.mlp.c_fc"]})).unwrap();
        assert_eq!(found, ["q_proj", "v_proj"]);
        let all = chosen(json!({"target_modules": "All-Linear"})).unwrap();
        assert_eq!(all, ["c_fc", "c_proj", "k_proj", "out_proj", "q_proj", "v_proj"]);
        let one = chosen(json!({"target_modules": "transformer\\.h\\.1\\.mlp\\.c_fc"})).unwrap();
        assert_eq!(one, ["transformer.h.1.mlp.c_fc"]);
    }

    #[test]
    fn layers_that_are_left_out_leave_paths() {
        let query = |layer| Target::QProj.path(layer);
        let fields =
            json!({"target_modules": ["q_proj"], "layers_to_transform": [1, 3], "layers_pattern": "h"});
        assert_eq!(chosen(fields).unwrap(), [query(1), query(3)]);
        let fields = json!({"target_modules": ["q_proj"], "layers_to_transform": 2, "layers_pattern": []});
        assert_eq!(chosen(fields).unwrap(), [query(2)]);
        let fields =
            json!({"target_modules": ["q_proj"], "exclude_modules": ["h.0.attn.attention.q_proj", "c_fc"]});
        assert_eq!(chosen(fields).unwrap(), [query(1), query(2), query(3)]);
        // A whole path is meant whatever the layers say.
        let fields = json!({"target_modules": [query(0), "q_proj"], "layers_to_transform": [1]});
        assert_eq!(chosen(fields).unwrap(), [query(0), query(1)]);
    }

    #[test]
    fn what_cannot_be_followed_is_refused_by_name() {
        for (fields, word) in [
            (json!({"target_modules": ["q_proj", "wte"]}), "\"wte\""),
            (json!({"target_modules": ["query"]}), "no layer"),
            (json!({"target_modules": ".*\\.(q|v)_proj"}), "regular expression"),
            (json!({"target_modules": "q_proj"}), "regular expression"),
            (json!({"target_modules": []}), "no layer"),
            (json!({}), "target_modules is null"),
            (json!({"target_modules": ["q_proj"], "exclude_modules": ".*0.*"}), "exclude_modules"),
            (json!({"target_modules": ["q_proj"], "exclude_modules": ["q_proj"]}), "no layer"),
            (json!({"target_modules": ["q_proj"], "layers_to_transform": ["a"]}), "layers_to_transform"),
            (
                json!({"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "block"}),
                "block",
            ),
        ] {
            let message = chosen(fields).unwrap_err();
            assert!(message.contains(word), "{word}: {message}");
        }
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
    fn names_of_other_layers_are_dropped_and_expressions_refused() {
        let whole = "^transformer\\.h\\.1\\.attn\\.attention\\.q_proj$";
        let found = pattern(json!({ whole: 2, "^q_proj": 5, "v_proj": 6, "model.decoder": 7 })).unwrap();
        assert_eq!(found, [(Target::QProj.path(1), 2)]);
        for (entries, word) in [
            (json!({"h.[01].*q_proj": 2}), "regular expression"),
            (json!({"q_proj": "two"}), "expected a number"),
            (json!(["q_proj"]), "rank_pattern is"),
        ] {
            let message = pattern(entries).unwrap_err();
            assert!(message.contains(word) && message.contains("rank_pattern"), "{message}");
        }
    }
}
