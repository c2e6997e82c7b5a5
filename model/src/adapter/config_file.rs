//! `adapter_config.json`: what each of PEFT's fields means here, read into our settings and written from them.
//!
//! The names in `target_modules`, `rank_pattern` and their kin are PEFT's: whole paths or their ends. Settings
//! that pick layers in other ways (`layers_to_transform`, `exclude_modules`) are read into the paths they leave, so
//! that what is saved says the same with `target_modules` alone.

use std::collections::BTreeMap;

use gptneo_files::excerpt;
use serde_json::{Map, Value, json};

use super::layers::{MERGE, chosen_layers};
use super::pattern::read_pattern;
use crate::error::shown;
use crate::{LoraConfig, ModuleName};

/// What a field of PEFT's `LoraConfig` is to us.
enum Meaning {
    /// It is read, here or in `layers.rs`.
    Read,
    /// It cannot change what a saved adapter computes on a GPT-Neo.
    Harmless,
    /// It changes the arithmetic in a way that is not implemented: it must be off, which is `null`, `false`, empty,
    /// or the first word. The second says what to do.
    MustBeOff(&'static str, &'static str),
}

use Meaning::{Harmless, MustBeOff, Read};

const RETRAIN: &str = "it cannot be merged either: train an adapter without it";

/// All fields of `LoraConfig` in PEFT 0.21, and two of its first versions.
const FIELDS: [(&str, Meaning); 44] = [
    ("peft_type", Read),
    ("r", Read),
    ("lora_alpha", Read),
    ("lora_dropout", Read),
    ("use_rslora", Read),
    ("use_dora", Read),
    ("target_modules", Read),
    ("exclude_modules", Read),
    ("layers_to_transform", Read),
    ("layers_pattern", Read),
    ("rank_pattern", Read),
    ("alpha_pattern", Read),
    ("init_lora_weights", Read),
    ("bias", MustBeOff("none", MERGE)),
    ("modules_to_save", MustBeOff("", MERGE)),
    ("trainable_token_indices", MustBeOff("", MERGE)),
    ("target_parameters", MustBeOff("", MERGE)),
    ("lora_bias", MustBeOff("", MERGE)),
    ("use_bdlora", MustBeOff("", MERGE)),
    ("kasa_config", MustBeOff("", MERGE)),
    ("monteclora_config", MustBeOff("", MERGE)),
    // Its updates are plain, but its files hold more than they.
    ("velora_config", MustBeOff("", MERGE)),
    ("alora_invocation_tokens", MustBeOff("", RETRAIN)),
    ("arrow_config", MustBeOff("", RETRAIN)),
    ("layer_replication", MustBeOff("", RETRAIN)),
    ("use_qalora", MustBeOff("", RETRAIN)),
    // A part of use_qalora.
    ("qalora_group_size", Harmless),
    // How the matrices began; init_lora_weights says whether that matters.
    ("loftq_config", Harmless),
    ("eva_config", Harmless),
    ("corda_config", Harmless),
    ("lora_ga_config", Harmless),
    // PEFT itself turns it off on linear layers like GPT-Neo's.
    ("fan_in_fan_out", Harmless),
    // For Megatron's layers, for embeddings, and for modules_to_save.
    ("megatron_config", Harmless),
    ("megatron_core", Harmless),
    ("ensure_weight_tying", Harmless),
    // Where the adapter comes from and how PEFT handles it. What fits is decided by the names of the tensors.
    ("task_type", Harmless),
    ("auto_mapping", Harmless),
    ("peft_version", Harmless),
    ("base_model_name_or_path", Harmless),
    ("revision", Harmless),
    ("inference_mode", Harmless),
    ("runtime_config", Harmless),
    // Of the first versions: for fused layers, which GPT-Neo has not, and whether eval() merges.
    ("enable_lora", Harmless),
    ("merge_weights", Harmless),
];

/// Ways to make fresh matrices that leave the base as it is; the others change it.
const PLAIN_STARTS: [&str; 4] = ["gaussian", "eva", "orthogonal", "mica"];

/// Reads the settings for a model whose layers are at `paths`.
///
/// # Errors
///
/// Every field that is missing, wrong or asks for what is not implemented.
pub(super) fn config_from_json(
    map: &Map<String, Value>,
    paths: &[String],
) -> Result<LoraConfig, Vec<String>> {
    if map.get("peft_type").and_then(Value::as_str) != Some("LORA") {
        let found = shown(map.get("peft_type").unwrap_or(&Value::Null));
        return Err(vec![format!(
            "peft_type is {found}, expected \"LORA\": other methods are not implemented"
        )]);
    }
    let mut problems: Vec<String> = map.iter().filter_map(|(field, value)| refusal(field, value)).collect();
    problems.extend(map.get("init_lora_weights").and_then(refused_start));
    let targets = chosen_layers(map, paths).or_note(&mut problems);
    let adapted: Vec<&String> =
        paths.iter().filter(|path| targets.iter().any(|name| name.matches(path))).collect();
    let rank = |value: &Value| whole(value).filter(|rank| *rank > 0);
    let rank_pattern = read_pattern(map, "rank_pattern", &adapted, "a whole number above 0", rank);
    let alpha_pattern = read_pattern(map, "alpha_pattern", &adapted, "a number", Value::as_f64);
    let (rank_pattern, alpha_pattern) =
        (rank_pattern.or_note(&mut problems), alpha_pattern.or_note(&mut problems));
    let (r, alpha) = (map.get("r").and_then(whole), map.get("lora_alpha").and_then(Value::as_f64));
    if r.is_none() {
        problems.push("r is missing or not a whole number".into());
    }
    if alpha.is_none() {
        problems.push("lora_alpha is missing or not a number".into());
    }
    let dropout = match map.get("lora_dropout") {
        None => 0.0,
        Some(value) => value.as_f64().unwrap_or_else(|| {
            problems.push(format!("lora_dropout is {}, expected a number", shown(value)));
            0.0
        }),
    };
    let mut switch = |name: &str| match map.get(name) {
        None | Some(Value::Null) => false,
        Some(value) => value.as_bool().unwrap_or_else(|| {
            problems.push(format!("{name} is {}, expected true or false", shown(value)));
            false
        }),
    };
    let (use_rslora, use_dora) = (switch("use_rslora"), switch("use_dora"));
    let config = LoraConfig {
        r: r.unwrap_or(1),
        alpha: alpha.unwrap_or(1.0),
        dropout,
        target_modules: targets,
        use_rslora,
        use_dora,
        rank_pattern,
        alpha_pattern,
    };
    if problems.is_empty()
        && let Err(error) = config.validate()
    {
        problems.push(error.to_string());
    }
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// A value, or its default with the reasons noted.
trait OrNote<T> {
    fn or_note(self, problems: &mut Vec<String>) -> T;
}

impl<T: Default> OrNote<T> for Result<T, Vec<String>> {
    fn or_note(self, problems: &mut Vec<String>) -> T {
        self.unwrap_or_else(|reasons| {
            problems.extend(reasons);
            T::default()
        })
    }
}

fn whole(value: &Value) -> Option<usize> {
    value.as_u64().map(|number| number as usize)
}

/// `null`, `false` or empty.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Number(_) => false,
    }
}

/// Why a field's value cannot be used, if so.
fn refusal(field: &str, value: &Value) -> Option<String> {
    match FIELDS.iter().find(|(name, _)| *name == field) {
        Some((_, MustBeOff(off, advice))) => {
            let refused = !is_off(value) && value.as_str() != Some(off);
            refused.then(|| format!("{field} is {}, which is not implemented; {advice}", shown(value)))
        }
        Some((_, Read | Harmless)) => None,
        // A newer PEFT's. Features come as a switch or a group; a bare number or word is a part of one.
        None => {
            let refused = !is_off(value) && !value.is_number() && !value.is_string();
            refused.then(|| {
                format!(
                    "{} is {}, a field that this program does not know; {MERGE}",
                    excerpt(field),
                    shown(value)
                )
            })
        }
    }
}

/// Why the way the matrices began cannot be used, if so.
fn refused_start(value: &Value) -> Option<String> {
    let start = value.as_str()?;
    let plain = PLAIN_STARTS.iter().any(|plain| start.eq_ignore_ascii_case(plain));
    (!plain).then(|| {
        format!(
            "init_lora_weights is \"{}\", which changes the base as well, and this is not implemented; convert \
             the adapter to a plain one with PEFT (save_pretrained with path_initial_model_for_weight_conversion), \
             or {MERGE}",
            excerpt(start)
        )
    })
}

/// The settings as PEFT reads them.
pub(super) fn config_to_json(config: &LoraConfig, base: &str) -> Value {
    json!({
        "alpha_pattern": pattern_to_json(&config.alpha_pattern),
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": config.r,
        "rank_pattern": pattern_to_json(&config.rank_pattern),
        "target_modules": config.target_modules,
        "task_type": "CAUSAL_LM",
        "use_dora": config.use_dora,
        "use_rslora": config.use_rslora,
    })
}

/// The longest name first: PEFT takes the first that fits.
fn pattern_to_json<T: Copy + Into<Value>>(pattern: &BTreeMap<ModuleName, T>) -> Value {
    let mut entries: Vec<(&ModuleName, &T)> = pattern.iter().collect();
    entries.sort_by_key(|(name, _)| std::cmp::Reverse(name.as_str().len()));
    entries.into_iter().map(|(name, value)| (name.to_string(), (*value).into())).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Target;

    fn paths() -> Vec<String> {
        (0..4).flat_map(|layer| Target::ALL.map(|target| target.path(layer))).collect()
    }

    /// A plain adapter with some fields set.
    fn read(fields: Value) -> Result<LoraConfig, String> {
        let mut map = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]});
        for (field, value) in fields.as_object().unwrap() {
            map[field] = value.clone();
        }
        config_from_json(map.as_object().unwrap(), &paths()).map_err(|problems| problems.join("; "))
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_name_and_with_a_way_out() {
        for (field, value) in [
            ("bias", json!("all")),
            ("bias", json!("lora_only")),
            ("modules_to_save", json!(["wte"])),
            ("trainable_token_indices", json!([1, 2])),
            ("velora_config", json!({"num_groups": 4})),
            ("alora_invocation_tokens", json!([5])),
            ("use_qalora", json!(true)),
            ("monteclora_config", json!({"num_samples": 4})),
            ("layer_replication", json!([[0, 2], [1, 3]])),
            ("lora_bias", json!(true)),
            ("target_parameters", json!(["mlp.c_fc.weight"])),
            ("use_bdlora", json!({"target_modules_bd_a": ["q_proj"]})),
            ("arrow_config", json!({"top_k": 3})),
            ("kasa_config", json!({"beta": 1e-4})),
            ("init_lora_weights", json!("pissa_niter_4")),
            ("init_lora_weights", json!("olora")),
            ("init_lora_weights", json!("loftq")),
            ("use_something_new", json!(true)),
            ("something_new_config", json!({"x": 1})),
        ] {
            let message = read(json!({ field: value })).unwrap_err();
            assert!(message.contains(field) && message.contains("adapter"), "{field}: {message}");
        }
        for (field, value, word) in [
            ("peft_type", json!("IA3"), "expected \"LORA\""),
            ("r", json!(2.5), "whole number"),
            ("r", json!(0), "at least 1"),
            ("lora_alpha", Value::Null, "not a number"),
            ("lora_dropout", json!(1.5), "dropout"),
            ("lora_dropout", json!("0.1"), "expected a number"),
            ("use_rslora", json!(1), "expected true or false"),
            ("use_dora", json!("yes"), "expected true or false"),
        ] {
            let message = read(json!({ field: value })).unwrap_err();
            assert!(message.contains(word), "{field}: {message}");
        }
    }

    #[test]
    fn fields_that_are_off_or_harmless_do_not_matter() {
        let plain = read(json!({})).unwrap();
        for (field, meaning) in &FIELDS {
            if let MustBeOff(off, _) = meaning {
                for value in [json!(null), json!(false), json!([]), json!({}), json!(off)] {
                    assert_eq!(read(json!({ *field: value })).unwrap(), plain, "{field}");
                }
            }
        }
        let fields = json!({
            "init_lora_weights": "gaussian", "fan_in_fan_out": true, "task_type": null, "exclude_modules": null,
            "layers_to_transform": null, "layers_pattern": null, "rank_pattern": null, "alpha_pattern": {},
            "loftq_config": {"loftq_bits": 4}, "megatron_core": "megatron.core", "qalora_group_size": 16,
            "something_new": false, "something_new_size": 16, "something_new_kind": "usual",
        });
        assert_eq!(read(fields).unwrap(), plain);
    }

    #[test]
    fn the_table_knows_every_field_that_peft_saves() {
        let saved = include_str!("../../../tests/fixtures/adapter_qv/adapter_config.json");
        let saved: Map<String, Value> = serde_json::from_str(saved).unwrap();
        let known = |field: &String| FIELDS.iter().any(|(name, _)| name == field);
        let unknown: Vec<&String> = saved.keys().filter(|field| !known(field)).collect();
        assert!(saved.len() > 40 && unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let message =
            read(json!({"lora_bias": true, "bias": "all", "r": "x", "target_modules": 3})).unwrap_err();
        for word in ["lora_bias", "bias", "r is", "target_modules"] {
            assert!(message.contains(word), "{word}: {message}");
        }
    }

    #[test]
    fn a_pattern_is_written_the_longest_name_first() {
        let config = read(json!({"rank_pattern": {"h.1.attn.attention.q_proj": 2, "q_proj": 3}})).unwrap();
        let written = config_to_json(&config, "base");
        let names: Vec<&String> = written["rank_pattern"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["h.1.attn.attention.q_proj", "q_proj"]);
        assert_eq!(config_from_json(written.as_object().unwrap(), &paths()).unwrap(), config);
    }
}
