//! What files say, and how they are refused.
#![allow(clippy::unwrap_used)]

use super::*;
use serde_json::json;

fn parse(value: Value) -> Result<GptNeoConfig, ModelError> {
    GptNeoConfig::from_json(value.as_object().unwrap().clone())
}

fn base() -> Value {
    json!({
        "model_type": "gpt_neo", "hidden_size": 48, "num_layers": 3, "num_heads": 3, "vocab_size": 100,
        "max_position_embeddings": 64, "attention_types": [[["global"], 1], [["local"], 2]],
        "intermediate_size": null, "window_size": 5
    })
}

#[test]
fn attention_types_expand_to_layers() {
    use AttentionKind::{Global, Local};
    let config = parse(base()).unwrap();
    assert_eq!(config.attention_layers, [Global, Local, Local]);
    assert_eq!(config.intermediate_size, 192);
    assert_eq!(config.head_size(), 16);
    let mut value = base();
    value["attention_types"] = json!([[["global", "local"], 2]]);
    value["num_layers"] = 4.into();
    assert_eq!(parse(value).unwrap().attention_layers, [Global, Local, Global, Local]);
}

#[test]
fn unsupported_settings_are_refused_by_name() {
    for (field, value, word) in [
        ("activation_function", json!("relu"), "relu"),
        ("activation_function", json!(5), "activation_function is 5"),
        ("num_hidden_layers", json!(4), "num_hidden_layers is 4"),
        ("hidden_size", json!("48"), "hidden_size is \"48\", expected a whole number"),
        ("hidden_size", json!(48.5), "hidden_size is 48.5"),
        ("hidden_size", json!(1u64 << 40), "hidden_size is 1099511627776"),
        ("vocab_size", json!(-1), "vocab_size is -1"),
        ("attention_layers", json!(["global", "sideways", "local"]), "sideways"),
        ("attention_types", json!([[["global", "local"], u64::MAX]]), "attention types name 4"),
        ("attention_types", json!([["global", 3]]), "attention_types"),
        ("eos_token_id", json!("end"), "eos_token_id is \"end\""),
        ("attention_dropout", json!(2), "attention_dropout is 2"),
        ("layer_norm_epsilon", json!("tiny"), "layer_norm_epsilon"),
        ("tie_word_embeddings", json!("yes"), "tie_word_embeddings"),
        ("num_heads", json!(5), "num_heads 5"),
        ("num_layers", json!(4), "num_layers is 4"),
        ("model_type", json!("gpt2"), "gpt2"),
        ("window_size", json!(0), "window_size"),
    ] {
        let mut config = base();
        config[field] = value;
        let message = parse(config).unwrap_err().to_string();
        assert!(message.contains(word), "{field}: {message}");
    }
}

#[test]
fn all_problems_are_named_together() {
    let mut config = base();
    config["activation_function"] = json!("relu");
    config["num_heads"] = json!(5);
    let message = parse(config).unwrap_err().to_string();
    assert!(message.contains("relu") && message.contains("num_heads 5"), "{message}");
}

#[test]
fn unknown_fields_survive_a_round_trip() {
    let mut value = base();
    value["summary_type"] = json!("cls_index");
    let saved = parse(value).unwrap().to_json("float32");
    assert_eq!(saved["summary_type"], "cls_index");
    assert_eq!(saved["torch_dtype"], "float32");
    assert_eq!(saved["architectures"], json!(["GPTNeoForCausalLM"]));
}

#[test]
fn what_is_left_out_is_what_transformers_takes_and_both_spellings_are_read() {
    let left_out = parse(json!({"model_type": "gpt_neo"})).unwrap();
    assert_eq!((left_out.hidden_size, left_out.num_layers(), left_out.num_heads), (2048, 24, 16));
    assert_eq!(
        (left_out.vocab_size, left_out.max_position_embeddings, left_out.window_size),
        (50257, 2048, 256)
    );
    assert_eq!(left_out.intermediate_size, 8192);
    let mut value = base();
    let map = value.as_object_mut().unwrap();
    for (one, other) in [("num_layers", "num_hidden_layers"), ("num_heads", "num_attention_heads")] {
        let size = map.remove(one).unwrap();
        map.insert(other.into(), size);
    }
    let mut other = parse(value).unwrap();
    other.source = parse(base()).unwrap().source;
    assert_eq!(other, parse(base()).unwrap());
    // transformers goes by the layers where a file has both.
    let mut value = base();
    value["attention_layers"] = json!(["local", "global", "local"]);
    assert_eq!(parse(value).unwrap().attention_layers[0], AttentionKind::Local);
    assert!(parse(json!({"peft_type": "LORA"})).unwrap_err().to_string().contains("hidden_size is missing"));
}

#[test]
fn ends_are_a_number_a_list_or_nothing() {
    for (value, expected) in
        [(json!(7), vec![7]), (json!([7, 9]), vec![7, 9]), (Value::Null, vec![]), (json!(-1), vec![])]
    {
        let mut config = base();
        config["eos_token_id"] = value;
        assert_eq!(parse(config).unwrap().eos_token_ids, expected);
    }
}

#[test]
fn both_forms_of_gelu_are_known_by_all_their_names() {
    for (name, expected) in ACTIVATIONS {
        let mut config = base();
        config["activation_function"] = json!(name);
        assert_eq!(parse(config).unwrap().activation, expected, "{name}");
    }
}

#[test]
fn sizes_that_no_machine_holds_are_refused_at_once() {
    let mut config = base();
    config["attention_types"] = json!([[["global"], 2_000_000_000]]);
    config["num_layers"] = json!(2_000_000_000);
    assert!(parse(config).unwrap_err().to_string().contains("num_layers is 2000000000"));
    let mut config = base();
    config["hidden_size"] = json!(48_000_000);
    assert!(parse(config).unwrap_err().to_string().contains("parameters"));
}

#[test]
fn a_file_that_is_none_is_named_in_short_words() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (text, word) in [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        ("[1, 2]", "expected a JSON object, found [1,2]"),
        ("{\"hidden_size\": ", "line 1"),
        ("{\"model_type\": \"\u{1b}[31mevil\"}", "expected a JSON object"),
        ("{\"model_type\": \"\\u001b[31mevil\"}", "model_type is"),
    ] {
        std::fs::write(file.path(), text).unwrap();
        let message = GptNeoConfig::from_file(file.path()).unwrap_err().to_string();
        let plain = !message.contains('\u{1b}') && !message.contains("usize");
        assert!(message.contains(word) && plain && message.len() < 300, "{word}: {message}");
        assert!(message.contains(&file.path().display().to_string()), "{message}");
    }
}

/// What a program changes is what is saved; what nobody changed stays as its file has it.
#[test]
fn a_changed_configuration_is_saved_as_it_is() {
    let read = parse(base()).unwrap();
    assert_eq!(read.changed_source(), read.source);
    let mut changed = read.clone();
    changed.window_size = 3;
    changed.hidden_size = 24;
    changed.num_heads = 1;
    changed.attention_layers = vec![AttentionKind::Local];
    changed.activation = Activation::Gelu;
    changed.layer_norm_epsilon = 1e-6;
    changed.base_dropout = 0.1;
    changed.eos_token_ids = vec![5, 7];
    let again = parse(changed.to_json("float32")).unwrap();
    let plain = |config: &GptNeoConfig| GptNeoConfig { source: Map::new(), ..config.clone() };
    assert_eq!(plain(&again), plain(&changed));
    assert_eq!(again.intermediate_size, 192, "which stood for four times the width");
}
