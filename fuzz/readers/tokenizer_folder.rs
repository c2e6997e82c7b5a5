//! A tokenizer's folder. The input is its files one after the other, each behind a line `=== NAME`.

use gptneo_datasets::Tokenizer;

const NAMES: [&str; 6] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
];

pub(crate) fn read(data: &[u8]) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let text = String::from_utf8_lossy(data);
    for part in text.split("=== ") {
        let Some((name, content)) = part.split_once('\n') else { continue };
        if NAMES.contains(&name) && std::fs::write(folder.path().join(name), content).is_err() {
            return;
        }
    }
    let Ok(tokenizer) = Tokenizer::for_model(folder.path(), 300) else { return };
    if let Ok(ids) = tokenizer.encode("The flu: what is it?\n\u{1f912} <|endoftext|>") {
        assert!(ids.iter().all(|id| *id < 300), "{ids:?}");
        let _ = tokenizer.decode(&ids);
    }
}
