//! The largest tensors of a model at work, against what a device holds in one piece.
//!
//! GPUs bound the size of one buffer, often far below their memory, and software ones most of all. A tensor above the
//! bound fails deep within the device, so the sizes are compared before anything is loaded.

use crate::ops::HEAD_ROWS;
use crate::{GptNeoConfig, ModelError};

/// Bytes of a number: f32 is the widest type in use.
const NUMBER: u64 = 4;
/// What helps where a weight is too large.
const OTHER_DEVICE: &str =
    "a tensor is never split, so take a device that holds larger ones, or --backend flex";
/// What helps where what a batch needs is too large.
const SMALLER_BATCH: &str =
    "lower --batch-size or --max-seq-length, or give fewer or shorter prompts at a time";

impl GptNeoConfig {
    /// Compares the weights, and what a batch of `batch` texts of `tokens` tokens needs, with the most bytes that
    /// `device` holds in one tensor.
    ///
    /// # Errors
    ///
    /// [`ModelError::TooLarge`] with the largest weight that does not fit, or else the largest tensor of a batch.
    pub fn check_fits(
        &self,
        [batch, tokens]: [usize; 2],
        device: &str,
        limit: u64,
    ) -> Result<(), ModelError> {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let (vocabulary, positions) = (self.vocab_size, self.max_position_embeddings);
        let rows = batch.saturating_mul(tokens);
        let tensors = [
            ("the token embedding", vec![vocabulary, hidden], OTHER_DEVICE),
            ("the position embedding", vec![positions, hidden], OTHER_DEVICE),
            ("a feed-forward weight", vec![inner, hidden], OTHER_DEVICE),
            ("the attention of a batch", vec![batch, self.num_heads, tokens, tokens], SMALLER_BATCH),
            ("the feed-forward layer of a batch", vec![rows, inner], SMALLER_BATCH),
            ("the logits of a batch", vec![rows.min(HEAD_ROWS.max(batch)), vocabulary], SMALLER_BATCH),
        ];
        let sized = tensors.map(|(tensor, shape, remedy)| {
            let size = shape.iter().fold(NUMBER, |size, length| size.saturating_mul(*length as u64));
            (size, tensor, shape, remedy)
        });
        let too_large = sized.into_iter().filter(|(size, ..)| *size > limit);
        // A weight before all else: no batch is small enough then.
        match too_large.max_by_key(|(size, _, _, remedy)| (*remedy == OTHER_DEVICE, *size)) {
            Some((size, tensor, shape, remedy)) => {
                Err(ModelError::TooLarge { tensor, shape, size, device: device.into(), limit, remedy })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    /// Most GPUs allow 2 GiB less a little; lavapipe 128 MiB.
    const USUAL: u64 = (1 << 31) - 4;
    const SMALL: u64 = 128 << 20;

    fn config(layers: usize, hidden: usize, heads: usize) -> GptNeoConfig {
        let config = json!({
            "hidden_size": hidden, "num_layers": layers, "num_heads": heads, "vocab_size": 50257,
            "max_position_embeddings": 2048, "attention_types": [[["global", "local"], layers / 2]],
        });
        GptNeoConfig::from_json(config.as_object().unwrap().clone()).unwrap()
    }

    #[test]
    fn the_embedding_of_the_125m_model_is_too_large_for_small_buffers() {
        let config = config(12, 768, 12);
        config.check_fits([8, 256], "a GPU", USUAL).unwrap();
        let text = config.check_fits([8, 256], "llvmpipe", SMALL).unwrap_err().to_string();
        for part in ["the token embedding [50257, 768]", "154.4 MB", "llvmpipe", "134.2 MB", "--backend flex"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_batch_of_long_texts_is_told_to_shrink() {
        let config = config(12, 768, 12);
        // 8 x 12 x 2048 x 2048 numbers: 1.6 GB.
        config.check_fits([8, 2048], "a GPU", USUAL).unwrap();
        let text = config.check_fits([16, 2048], "a GPU", USUAL).unwrap_err().to_string();
        assert!(text.contains("the attention of a batch [16, 12, 2048, 2048]"), "{text}");
        assert!(text.contains("--max-seq-length"), "{text}");
        assert!(config.check_fits([usize::MAX, 2048], "a GPU", USUAL).is_err());
        let weight = config.check_fits([16, 2048], "llvmpipe", SMALL).unwrap_err().to_string();
        assert!(weight.contains("the token embedding"), "{weight}");
    }
}
