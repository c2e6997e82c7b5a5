//! Which layers an `adapter_config.json` names, by PEFT's rules.
//!
//! The rules are those of `check_target_module_exists` in PEFT: a list holds names, which are whole paths or their ends; a
//! single text is a regular expression for whole paths.

use gptneo_files::excerpt;
use serde_json::{Map, Value};

use super::pattern::Expression;
use crate::ModuleName;
use crate::error::shown;
use crate::target::names;

pub(super) const MERGE: &str = "merge the adapter with PEFT (merge_and_unload) and use the merged model";

/// PEFT's word for every linear layer but the head.
const ALL_LINEAR: &str = "all-linear";

/// The modules of a GPT-Neo that PEFT can adapt and this program cannot, by the ends of their paths.
const OTHER_MODULES: [&str; 3] = ["wte", "wpe", "lm_head"];
/// Their whole paths.
const OTHER_PATHS: [&str; 3] = ["transformer.wte", "transformer.wpe", "lm_head"];

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
    let excluded = excluded_names(map.get("exclude_modules"), paths).unwrap_or_else(|reason| {
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
        let found = shown(map.get("target_modules").unwrap_or(&Value::Null));
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
    let other = |name: &str| {
        let name = excerpt(name);
        Err(format!(
            "target_modules names \"{name}\", but adapters of embeddings and of the head are not implemented; {MERGE}"
        ))
    };
    match value {
        Some(Value::Array(list)) => {
            let found = strings("target_modules", list)?;
            match found.iter().find(|name| OTHER_MODULES.iter().any(|other| names(other, name))) {
                Some(name) => other(name),
                None => Ok(found),
            }
        }
        Some(Value::String(word)) if word.eq_ignore_ascii_case(ALL_LINEAR) => Ok(kinds(paths)),
        Some(Value::String(word)) => {
            let expression = Expression::whole("target_modules", word)?;
            for path in OTHER_PATHS {
                if expression.fits(path)? {
                    return other(path);
                }
            }
            let found = expression.those(paths)?;
            if found.is_empty() {
                let word = excerpt(word);
                return Err(format!(
                    "target_modules is the regular expression \"{word}\", which fits no layer of this model; it must fit \
                     whole paths, such as {}",
                    paths.first().map_or("", String::as_str)
                ));
            }
            Ok(folded(found, paths))
        }
        other => Err(format!(
            "target_modules is {}, expected a list of module names, a regular expression, or \"{ALL_LINEAR}\"",
            shown(other.unwrap_or(&Value::Null))
        )),
    }
}

/// The last parts of paths, each once.
fn kinds(paths: &[String]) -> Vec<String> {
    let mut kinds: Vec<String> =
        paths.iter().filter_map(|path| path.rsplit('.').next()).map(String::from).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// Paths by their kinds, where they are all that there are of these kinds.
fn folded(found: Vec<String>, paths: &[String]) -> Vec<String> {
    let kinds = kinds(&found);
    let of_kinds = paths.iter().filter(|path| kinds.iter().any(|kind| names(kind, path))).count();
    if of_kinds == found.len() { kinds } else { found }
}

fn excluded_names(value: Option<&Value>, paths: &[String]) -> Result<Vec<String>, String> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => strings("exclude_modules", list),
        Some(Value::String(word)) if word.is_empty() => Ok(Vec::new()),
        Some(Value::String(word)) => Expression::whole("exclude_modules", word)?.those(paths),
        Some(other) => Err(format!(
            "exclude_modules is {}, expected a list of names or a regular expression",
            shown(other)
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
        return Err(format!("layers_to_transform is {}, expected numbers of layers", shown(value)));
    };
    let pattern = map.get("layers_pattern").unwrap_or(&Value::Null);
    let blocks = |name: &Value| name.as_str().is_some_and(|name| ["", "h", "transformer.h"].contains(&name));
    match pattern {
        Value::Null => Ok(Some(layers)),
        Value::Array(list) if list.iter().all(blocks) => Ok(Some(layers)),
        one if blocks(one) => Ok(Some(layers)),
        _ => {
            let found = shown(pattern);
            Err(format!("layers_pattern is {found}, but GPT-Neo's layers are in \"h\"; write \"h\""))
        }
    }
}

fn layer_of(path: &str) -> Option<u64> {
    path.split('.').find_map(|part| part.parse().ok())
}

fn strings(field: &str, list: &[Value]) -> Result<Vec<String>, String> {
    let text = |value: &Value| match value.as_str() {
        Some(text) => Ok(text.to_string()),
        None => Err(format!("{field} holds {}, expected names of modules", shown(value))),
    };
    list.iter().map(text).collect()
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
    fn a_regular_expression_fits_whole_paths() {
        let found = chosen(json!({"target_modules": ".*\\.(q|v)_proj"})).unwrap();
        assert_eq!(found, ["q_proj", "v_proj"]);
        let found = chosen(json!({"target_modules": r".*\.h\.[13]\.(?!mlp).*q_proj"})).unwrap();
        assert_eq!(found, [Target::QProj.path(1), Target::QProj.path(3)]);
        let found =
            chosen(json!({"target_modules": ["q_proj"], "exclude_modules": r".*\.h\.[012]\..*"})).unwrap();
        assert_eq!(found, [Target::QProj.path(3)]);
    }

    #[test]
    fn what_cannot_be_followed_is_refused_by_name() {
        for (fields, word) in [
            (json!({"target_modules": ["q_proj", "wte"]}), "\"wte\""),
            (json!({"target_modules": ["query"]}), "no layer"),
            (json!({"target_modules": ".*\\.(q|v_proj"}), "regular expression"),
            (json!({"target_modules": ".*"}), "\"transformer.wte\""),
            (json!({"target_modules": "q_proj"}), "regular expression"),
            (json!({"target_modules": []}), "no layer"),
            (json!({}), "target_modules is null"),
            (json!({"target_modules": ["q_proj"], "exclude_modules": "*0"}), "exclude_modules"),
            (json!({"target_modules": ["q_proj"], "exclude_modules": ".*"}), "no layer"),
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
}
