//! `config.json`: whatever it says, it becomes a shape that can be built, or is refused.

use gptneo_model::GptNeoConfig;

pub(crate) fn read(data: &[u8]) {
    let Ok(map) = serde_json::from_slice(data) else { return };
    let Ok(config) = GptNeoConfig::from_json(map) else { return };
    assert!(config.num_layers() > 0 && config.head_size() * config.num_heads == config.hidden_size);
    // What is written is read again as the same shape.
    let written = config.to_json("float32");
    let again = GptNeoConfig::from_json(written.as_object().cloned().unwrap_or_default());
    assert!(again.is_ok_and(|again| again.attention_layers == config.attention_layers));
}
