//! The base that comes with the crate: a small GPT-Neo of our own, as the files of a Hugging Face folder. Its card,
//! `small-medical/README.md`, says how it was made and what it is good for.

/// The name of the folder that the files belong in.
pub const NAME: &str = "small-medical";

macro_rules! files {
    ($($name:literal),+) => {
        &[$(($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/small-medical/", $name)))),+]
    };
}

/// The files, by their names.
pub static FILES: &[(&str, &[u8])] = files!(
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "README.md"
);

#[cfg(test)]
mod tests {
    use super::*;

    /// The promise of the README: the program stays small.
    #[test]
    fn the_model_is_at_most_14_megabytes() {
        let bytes: usize = FILES.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes <= 14_000_000, "{bytes}");
    }
}
