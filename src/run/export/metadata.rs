//! A GGUF file's metadata but for the network's shape: what it is, where it comes from, its vocabulary and its template.

use gptneo_datasets::{ByteLevelBpe, TokenKind};
use gptneo_gguf::{Metadata, Value};
use gptneo_report::Provenance;

use super::{About, Beyond, Export, prompt};
use crate::Result;

/// The numbers by which llama.cpp tells tokens apart.
mod token_type {
    pub(super) const NORMAL: i32 = 1;
    pub(super) const CONTROL: i32 = 3;
    pub(super) const USER_DEFINED: i32 = 4;
    pub(super) const UNUSED: i32 = 5;
}

/// The metadata of an export.
///
/// # Errors
/// The tokenizer is not of GPT-2's kind.
pub(super) fn of(export: &Export<'_>, beyond: Option<&Beyond>) -> Result<Metadata> {
    let mut metadata = general(export.about);
    metadata.push(("general.description".into(), description(export, beyond).into()));
    metadata.extend(vocabulary(export)?);
    metadata.push(("tokenizer.chat_template".into(), prompt::jinja(export.template, export.turns).into()));
    Ok(metadata)
}

fn general(about: &About) -> Metadata {
    let About { name, license, base, data, made_from } = about;
    let mut metadata: Metadata = vec![
        ("general.architecture".into(), "gpt2".into()),
        ("general.type".into(), "model".into()),
        ("general.name".into(), name.as_str().into()),
        ("general.tags".into(), Value::Strings(["text-generation", "gptneo-lora"].map(String::from).into())),
        ("gptneo_lora.version".into(), env!("CARGO_PKG_VERSION").into()),
        ("gptneo_lora.made_from".into(), made_from.as_str().into()),
    ];
    if let Some(license) = license {
        metadata.push(("general.license".into(), license.as_str().into()));
    }
    if let Some(Provenance { name, repository }) = base {
        metadata.push(("general.base_model.count".into(), 1_u32.into()));
        let about_base = |key: &str| format!("general.base_model.0.{key}");
        match repository.as_deref().and_then(|repository| repository.split_once('/')) {
            Some((owner, name)) => {
                metadata.push((about_base("name"), name.into()));
                metadata.push((about_base("organization"), owner.into()));
                let url = format!("https://huggingface.co/{owner}/{name}");
                metadata.push((about_base("repo_url"), url.into()));
            }
            None => metadata.push((about_base("name"), name.as_str().into())),
        }
    }
    if let Some(Provenance { name, .. }) = data {
        metadata.push(("general.datasets".into(), Value::Strings(vec![name.clone()])));
    }
    metadata
}

fn description(export: &Export<'_>, beyond: Option<&Beyond>) -> String {
    let positions = export.positions();
    let what = "A GPT-Neo written as the GPT-2 that it is by gptneo-lora.";
    match beyond {
        Some(beyond) => format!("{what} {beyond}"),
        None => format!("{what} It has the {positions} positions up to which they compute the same."),
    }
}

/// The tokens, padded to the rows of the embedding, and the merges.
fn vocabulary(export: &Export<'_>) -> Result<Metadata> {
    let tokenizer = export.model.tokenizer();
    let ByteLevelBpe { tokens, merges } = tokenizer.byte_level_bpe()?;
    let rows = export.model.config().vocab_size;
    let (mut texts, mut types) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let unused = std::iter::repeat(None);
    for (id, token) in tokens.into_iter().chain(unused).take(rows).enumerate() {
        let (text, kind) = match token {
            Some((text, TokenKind::Piece)) => (text, token_type::NORMAL),
            Some((text, TokenKind::Special)) => (text, token_type::CONTROL),
            Some((text, TokenKind::Added)) => (text, token_type::USER_DEFINED),
            // Names must differ.
            None => (format!("[PAD{id}]"), token_type::UNUSED),
        };
        texts.push(text);
        types.push(kind);
    }
    let ends = export.end_tokens();
    let mut metadata: Metadata = vec![
        ("tokenizer.ggml.model".into(), "gpt2".into()),
        // The rule by which GPT-2 cuts a text into pieces.
        ("tokenizer.ggml.pre".into(), "gpt-2".into()),
        ("tokenizer.ggml.tokens".into(), Value::Strings(texts)),
        ("tokenizer.ggml.token_type".into(), Value::I32s(types)),
        ("tokenizer.ggml.merges".into(), Value::Strings(merges)),
        ("tokenizer.ggml.bos_token_id".into(), tokenizer.end_of_text().into()),
        ("tokenizer.ggml.add_bos_token".into(), false.into()),
        ("tokenizer.ggml.add_eos_token".into(), false.into()),
    ];
    // Engines end an answer at either of these two.
    let keys = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];
    metadata.extend(keys.into_iter().zip(ends).map(|(key, id)| (key.into(), id.into())));
    Ok(metadata)
}
