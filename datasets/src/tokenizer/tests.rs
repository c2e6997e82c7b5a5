//! What loading, saving and streaming promise, on a tokenizer trained here.
#![allow(clippy::unwrap_used)]

use tempfile::TempDir;

use super::*;
use crate::bpe::tests::small;

fn saved() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    small().save(folder.path()).unwrap();
    folder
}

fn write(folder: &TempDir, name: &str, text: &str) {
    std::fs::write(folder.path().join(name), text).unwrap();
}

#[test]
fn a_folder_without_a_tokenizer_says_what_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "vocab.json", "{}");
    let message = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
    assert!(
        message.contains("tokenizer.json") && message.contains("vocab.json with merges.txt"),
        "{message}"
    );
    write(&folder, "merges.txt", "#version: 0.2\na b c\n");
    let message = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
    assert!(message.contains("merges.txt line 2: expected two tokens, found \"a b c\""), "{message}");
    write(&folder, "tokenizer.json", "{}");
    let message = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
    assert!(message.contains("tokenizer.json: "), "{message}");
}

#[test]
fn end_of_text_comes_from_the_configuration() {
    let folder = saved();
    let virus = small().encode(" virus").unwrap();
    assert_eq!(virus.len(), 1, "the test needs a word that is one token");
    write(&folder, "tokenizer_config.json", r#"{"eos_token": null}"#);
    write(&folder, "special_tokens_map.json", r#"{"eos_token": {"content": "Ġvirus"}}"#);
    assert_eq!(Tokenizer::from_folder(folder.path()).unwrap().end_of_text(), virus[0]);
    write(&folder, "tokenizer_config.json", r#"{"eos_token": "<|endoftext|>"}"#);
    assert_eq!(Tokenizer::from_folder(folder.path()).unwrap().end_of_text(), 299);

    write(&folder, "tokenizer_config.json", r#"{"eos_token": "</s>"}"#);
    for source in ["tokenizer.json", "vocab.json and merges.txt"] {
        let message = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
        assert!(message.contains("\"</s>\" is not in the vocabulary"), "{source}: {message}");
        std::fs::remove_file(folder.path().join("tokenizer.json")).ok();
    }
}

#[test]
fn a_source_file_is_carried_byte_for_byte() {
    let folder = saved();
    let config = "{ \"eos_token\":\"<|endoftext|>\",   \"model_max_length\": 8 }";
    write(&folder, "tokenizer_config.json", config);
    std::fs::remove_file(folder.path().join("special_tokens_map.json")).unwrap();
    let files = Tokenizer::from_folder(folder.path()).unwrap().files();
    let find = |name: &str| files.iter().find(|file| file.0 == name).unwrap().1.clone();
    assert_eq!(find("tokenizer_config.json"), config.as_bytes());
    assert!(
        String::from_utf8(find("special_tokens_map.json"))
            .unwrap()
            .contains("\"eos_token\": \"<|endoftext|>\"")
    );
}

#[test]
fn cutting_and_padding_in_the_file_are_ignored() {
    let folder = saved();
    let path = folder.path().join("tokenizer.json");
    let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    value["truncation"] =
        serde_json::json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
    std::fs::write(&path, value.to_string()).unwrap();
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    assert_eq!(tokenizer.encode("zyxwv").unwrap().len(), 5);
}

#[test]
fn a_batch_is_its_texts_one_by_one() {
    let tokenizer = small();
    let texts: Vec<String> = (0..1100).map(|i| format!("the virus {i}")).collect();
    let batch = tokenizer.encode_batch(&texts).unwrap();
    assert_eq!(batch.len(), texts.len());
    assert!(batch.iter().zip(&texts).all(|(ids, text)| *ids == tokenizer.encode(text).unwrap()));
}

#[test]
fn decoding_leaves_end_of_text_out_unless_asked() {
    let tokenizer = small();
    let mut ids = tokenizer.encode("a cold").unwrap();
    ids.push(tokenizer.end_of_text());
    assert_eq!(tokenizer.decode(&ids).unwrap(), "a cold");
    assert_eq!(tokenizer.decode_all(&ids).unwrap(), "a cold<|endoftext|>");
}

#[test]
fn a_stream_never_shows_half_a_character_and_loses_none() {
    let tokenizer = small();
    let text = "flu: 感冒 🤒! naïve\u{fffd} x";
    let mut stream = tokenizer.stream();
    let mut pieces = Vec::new();
    for id in tokenizer.encode(text).unwrap() {
        pieces.push(stream.push(id).unwrap());
        assert!(text.starts_with(&pieces.concat()), "{pieces:?}");
    }
    assert!(pieces.iter().filter(|piece| !piece.is_empty()).count() > 5, "it streams: {pieces:?}");
    assert_eq!(stream.push(tokenizer.end_of_text()).unwrap(), "");
    assert_eq!(stream.finish().unwrap(), "");
    assert_eq!(pieces.concat(), text);
}

#[test]
fn a_stream_that_ends_in_half_a_character_says_so() {
    let tokenizer = small();
    let mut ids = tokenizer.encode("ok 🤒").unwrap();
    ids.pop();
    let mut stream = tokenizer.stream();
    let shown: String = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
    assert_eq!(shown, "ok ");
    let rest = stream.finish().unwrap();
    assert!(rest.chars().all(|c| c == '\u{fffd}') && !rest.is_empty(), "{rest:?}");
    assert_eq!(shown + &rest, tokenizer.decode(&ids).unwrap());

    // A byte that no character begins with is shown as soon as a whole one follows.
    let bytes: Vec<u32> = tokenizer.encode("é").unwrap();
    let mut stream = tokenizer.stream();
    let mut broken = vec![bytes[bytes.len() - 1]];
    broken.extend(tokenizer.encode("z").unwrap());
    let shown: String = broken.iter().map(|&id| stream.push(id).unwrap()).collect();
    assert_eq!(shown, tokenizer.decode(&broken).unwrap());
}

#[test]
fn a_stream_of_no_characters_is_given_out_as_it_comes() {
    let tokenizer = small();
    // The parts of a character: any one of them alone is none.
    let parts = tokenizer.encode("🤒").unwrap();
    assert!(parts.len() > 1);
    for part in parts {
        let mut ids = vec![part; 300];
        ids.extend(tokenizer.encode("\u{fffd}\u{fffd}é a").unwrap());
        let mut stream = tokenizer.stream();
        let mut shown = String::new();
        for (number, id) in ids.iter().enumerate() {
            shown += &stream.push(*id).unwrap();
            let behind = tokenizer.decode(&ids[..=number]).unwrap().chars().count() - shown.chars().count();
            assert!(behind < 4, "{behind} characters after {number} ids");
            assert!(stream.pending.len() <= 32, "{} ids wait", stream.pending.len());
        }
        assert_eq!(shown + &stream.finish().unwrap(), tokenizer.decode(&ids).unwrap());
    }
}

#[test]
fn a_token_of_a_character_and_half_the_next_is_shown_once() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [" é è ê ë ñ".to_string()];
    // One merge: the space with the first byte that all of these have.
    let tokenizer = crate::train_byte_level_bpe(texts.into_iter(), 258, folder.path()).unwrap();
    let ids = tokenizer.encode(" ü").unwrap();
    assert_eq!(ids.len(), 2, "the test needs a token that ends inside a character");
    let mut stream = tokenizer.stream();
    assert_eq!(stream.push(ids[0]).unwrap(), " ");
    assert_eq!(stream.push(ids[1]).unwrap(), "ü");
}

/// The small tokenizer as `vocab.json` and `merges.txt` alone.
fn classic() -> TempDir {
    let folder = saved();
    for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn added_tokens_are_read_from_every_file_that_has_them() {
    let text = "a<|pad|>b";
    for (name, content) in [
        ("added_tokens.json", r#"{"<|end|>": 301, "<|pad|>": 300}"#),
        (
            "tokenizer_config.json",
            r#"{"added_tokens_decoder": {"301": {"content": "<|end|>", "special": true},
                "300": {"content": "<|pad|>", "special": true}}}"#,
        ),
        ("tokenizer_config.json", r#"{"pad_token": "<|pad|>", "additional_special_tokens": ["<|end|>"]}"#),
        (
            "special_tokens_map.json",
            r#"{"pad_token": {"content": "<|pad|>"}, "extra_special_tokens": ["<|end|>"]}"#,
        ),
        (
            "tokenizer_config.json",
            r#"{"pad_token": "<|pad|>", "cls_token": "", "extra_special_tokens": {"end": "<|end|>"}}"#,
        ),
    ] {
        for folder in [classic(), saved()] {
            write(&folder, name, content);
            let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
            assert_eq!(tokenizer.vocab_size(), 302, "{name}");
            let ids = tokenizer.encode(text).unwrap();
            assert!(ids.len() == 3 && ids[1] == 300, "{name}: {ids:?}");
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
            // What is written reads back the same.
            let again = tempfile::tempdir().unwrap();
            tokenizer.save(again.path()).unwrap();
            assert_eq!(Tokenizer::from_folder(again.path()).unwrap().encode(text).unwrap(), ids, "{name}");
        }
    }
    let folder = classic();
    write(&folder, "added_tokens.json", r#"{"<|pad|>": 305}"#);
    let message = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
    assert!(
        message.contains("added_tokens.json") && message.contains("305") && message.contains("300"),
        "{message}"
    );
}

#[test]
fn a_space_before_a_text_goes_by_the_configuration_of_gpt2s_own_class() {
    let virus =
        |folder: &TempDir| Tokenizer::from_folder(folder.path()).unwrap().encode("virus").unwrap().len();
    for folder in [classic(), saved()] {
        write(
            &folder,
            "tokenizer_config.json",
            r#"{"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": true}"#,
        );
        assert_eq!(virus(&folder), 1, "\" virus\" is one token");
        write(&folder, "tokenizer_config.json", r#"{"tokenizer_class": "GPT2TokenizerFast"}"#);
        assert!(virus(&folder) > 1);
    }
    // It is made of vocabulary and merges, whatever else its file says.
    let folder = saved();
    let usual = Tokenizer::from_folder(folder.path()).unwrap().encode("The VIRUS 12").unwrap();
    let path = folder.path().join("tokenizer.json");
    let mut changed: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    changed["normalizer"] = serde_json::json!({ "type": "Lowercase" });
    changed["pre_tokenizer"] = serde_json::json!({ "type": "Whitespace" });
    std::fs::write(&path, changed.to_string()).unwrap();
    let ids = || Tokenizer::from_folder(folder.path()).unwrap().encode("The VIRUS 12").unwrap();
    for class in [r#"{"tokenizer_class": "GPT2Tokenizer"}"#, "{}"] {
        write(&folder, "tokenizer_config.json", class);
        assert_eq!(ids(), usual, "{class}");
    }
    write(&folder, "tokenizer_config.json", r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#);
    assert_ne!(ids(), usual);
    // Another class takes tokenizer.json as it stands.
    let folder = saved();
    write(
        &folder,
        "tokenizer_config.json",
        r#"{"tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": true}"#,
    );
    assert!(virus(&folder) > 1);
}

#[test]
fn a_model_may_have_fewer_rows_than_added_tokens_but_not_than_the_vocabulary() {
    let folder = saved();
    write(&folder, "tokenizer_config.json", r#"{"eos_token": "<|endoftext|>", "pad_token": "<|pad|>"}"#);
    let tokenizer = Tokenizer::for_model(folder.path(), 300).unwrap();
    assert_eq!(tokenizer.encode("a cold").unwrap(), small().encode("a cold").unwrap());
    let message = tokenizer.encode("a<|pad|>").unwrap_err().to_string();
    assert!(message.contains("\"<|pad|>\"") && message.contains("300 tokens"), "{message}");
    assert!(tokenizer.encode_batch(&["a", "<|pad|>"]).is_err());
    let message = Tokenizer::for_model(folder.path(), 299).unwrap_err().to_string();
    assert!(message.contains("300 tokens") && message.contains("do not belong together"), "{message}");

    // An end of its own gets the next number where the model has a row for it.
    write(&folder, "tokenizer_config.json", r#"{"eos_token": "<|end|>"}"#);
    assert_eq!(Tokenizer::for_model(folder.path(), 301).unwrap().end_of_text(), 300);
    let message = Tokenizer::for_model(folder.path(), 300).unwrap_err().to_string();
    assert!(message.contains("<|end|>") && message.contains("not in the vocabulary"), "{message}");
}

#[test]
fn files_that_hold_something_else_are_named_in_short_words() {
    for (name, content, word) in [
        ("tokenizer_config.json", "[1]", "found [1]"),
        ("tokenizer_config.json", "{", "expected a JSON object"),
        ("tokenizer_config.json", r#"{"added_tokens_decoder": {"x": "a"}}"#, "added_tokens_decoder has x"),
        ("tokenizer_config.json", r#"{"pad_token": 5}"#, "pad_token is 5"),
        (
            "special_tokens_map.json",
            r#"{"additional_special_tokens": [7]}"#,
            "additional_special_tokens holds 7",
        ),
        ("added_tokens.json", r#"{"a": "b"}"#, "expected a token's number"),
        ("tokenizer.json", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("tokenizer.json", "\u{1b}[31m", "tokenizer.json"),
    ] {
        let folder = saved();
        write(&folder, name, content);
        let message = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
        assert!(message.contains(word) && message.contains(name), "{word}: {message}");
        assert!(!message.contains('\u{1b}'), "{message}");
    }
}

/// What is written for a tokenizer has a place for every number, up to gigabytes of them.
#[test]
fn a_number_far_beyond_all_others_is_refused() {
    let folder = classic();
    write(&folder, "merges.txt", "#version: 0.2\n");
    write(&folder, "vocab.json", r#"{"a": 632222222, "<|endoftext|>": 1}"#);
    let message = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
    assert!(message.contains("vocab.json: a token has the number 632222222"), "{message}");
}
