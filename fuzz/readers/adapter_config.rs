//! `adapter_config.json`, beside no weights: it is refused, at the latest for them.

use burn_flex::Flex;
use gptneo_model::adapter::{CONFIG_FILE, load_adapter};
use gptneo_model::{GptNeo, GptNeoConfig};

const SHAPE: &str = r#"{"model_type": "gpt_neo", "vocab_size": 8, "hidden_size": 4, "num_layers": 2, "num_heads": 2,
    "max_position_embeddings": 8, "attention_types": [[["global", "local"], 1]]}"#;

pub(crate) fn read(data: &[u8]) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let shape = serde_json::from_str(SHAPE).ok().and_then(|map| GptNeoConfig::from_json(map).ok());
    let (Some(shape), Ok(())) = (shape, std::fs::write(folder.path().join(CONFIG_FILE), data)) else {
        return;
    };
    let model = GptNeo::<Flex>::init(&shape, &Default::default());
    let refused = load_adapter(model, folder.path(), &Default::default());
    let message = refused.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(!message.is_empty(), "an adapter without weights was loaded");
    assert!(message.chars().all(|letter| letter == '\n' || !letter.is_control()), "{message:?}");
}
