//! What a model takes of a device, against what there is: its largest tensors, and all weights together.
//!
//! GPUs bound the size of one buffer, often far below their memory, and software ones most of all. What is above a
//! bound fails deep within the device, so the sizes are compared before anything is loaded.

use crate::ops::HEAD_ROWS;
use crate::{GptNeoConfig, LoraConfig, ModelError, Target, WeightFormat};

/// Bytes of a number, in the widest type in use.
const F32: u64 = 4;
/// What helps where the token embedding is too large in f32, but not in half.
const IN_HALF: &str = "where the device computes in f16, generate and evaluate with weights in f16, which keep it in \
                       half; or take a device that holds larger tensors, or the backend flex";
/// What helps where a weight is too large.
const OTHER_DEVICE: &str =
    "a tensor is never split, so take a device that holds larger ones, or the backend flex";
/// What helps where what a batch needs is too large.
const SMALLER_BATCH: &str =
    "take a smaller batch size or longest length, or give fewer or shorter prompts at a time";

impl GptNeoConfig {
    /// Compares the weights, to be kept in `format`, and what a batch of `batch` texts of `tokens` tokens needs, with the
    /// most bytes that `device` holds in one tensor.
    ///
    /// # Errors
    ///
    /// [`ModelError::TooLarge`] with the largest weight that does not fit, or else the largest tensor of a batch.
    pub fn check_fits(
        &self,
        format: WeightFormat,
        [batch, tokens]: [usize; 2],
        device: &str,
        limit: u64,
    ) -> Result<(), ModelError> {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let (vocabulary, positions) = (self.vocab_size, self.max_position_embeddings);
        let rows = batch.saturating_mul(tokens);
        let bytes = |shape: &[usize], number: u64| {
            shape.iter().fold(number, |size, length| size.saturating_mul(*length as u64))
        };
        let table = vec![vocabulary, hidden];
        let of_table = match bytes(&table, 2) <= limit {
            true => IN_HALF,
            false => OTHER_DEVICE,
        };
        let tensors = [
            ("the token embedding", table, format.of_table().size() as u64, of_table),
            ("the position embedding", vec![positions, hidden], F32, OTHER_DEVICE),
            ("a feed-forward weight", vec![inner, hidden], F32, OTHER_DEVICE),
            ("the attention of a batch", vec![batch, self.num_heads, tokens, tokens], F32, SMALLER_BATCH),
            ("the feed-forward layer of a batch", vec![rows, inner], F32, SMALLER_BATCH),
            ("the logits of a batch", vec![rows.min(HEAD_ROWS.max(batch)), vocabulary], F32, SMALLER_BATCH),
        ];
        let sized =
            tensors.map(|(tensor, shape, number, remedy)| (bytes(&shape, number), tensor, shape, remedy));
        let too_large = sized.into_iter().filter(|(size, ..)| *size > limit);
        // A weight before all else: no batch is small enough then.
        match too_large.max_by_key(|(size, _, _, remedy)| (*remedy != SMALLER_BATCH, *size)) {
            Some((size, tensor, shape, remedy)) => {
                Err(ModelError::TooLarge { tensor, shape, size, device: device.into(), limit, remedy })
            }
            None => Ok(()),
        }
    }

    /// Compares all weights, in the type that `format` has for the token embedding, with the `memory` of `device` in
    /// bytes. What a batch needs comes on top: only a step tells how much.
    ///
    /// # Errors
    ///
    /// [`ModelError::WeightsTooLarge`].
    pub fn check_memory(&self, format: WeightFormat, device: &str, memory: u64) -> Result<(), ModelError> {
        let size = self.parameters().saturating_mul(format.of_table().size() as u64);
        if size > memory {
            return Err(ModelError::WeightsTooLarge { size, device: device.into(), memory });
        }
        Ok(())
    }

    /// The numbers that the model is made of, or the largest number there is.
    pub(crate) fn parameters(&self) -> u64 {
        let [hidden, inner, layers, vocabulary, positions] = [
            self.hidden_size,
            self.intermediate_size,
            self.num_layers(),
            self.vocab_size,
            self.max_position_embeddings,
        ]
        .map(|size| size as u128);
        // Four projections with one bias, two norms, and the feed-forward layer with its biases.
        let block = (4 * hidden + 1) * hidden + 4 * hidden + 2 * hidden * inner + inner + hidden;
        let heads = if self.tie_word_embeddings { 0 } else { vocabulary * hidden };
        let all = (vocabulary + positions) * hidden + layers * block + 2 * hidden + heads;
        u64::try_from(all).unwrap_or(u64::MAX)
    }

    /// Compares the matrices of an adapter, and what training keeps beside each of its numbers, with the `memory` of
    /// `device` in bytes.
    ///
    /// # Errors
    ///
    /// [`ModelError::AdapterTooLarge`].
    pub fn check_adapter(&self, lora: &LoraConfig, device: &str, memory: u64) -> Result<(), ModelError> {
        /// Its value, its gradient and AdamW's two moments.
        const KEPT: u128 = 4;
        let (hidden, inner) = (self.hidden_size as u128, self.intermediate_size as u128);
        let of_layer = |layer: usize, target: Target| {
            let path = target.path(layer);
            let sides = match target {
                Target::CFc | Target::CProj => hidden + inner,
                _ => 2 * hidden,
            };
            if lora.targets(&path) { sides * lora.rank(&path) as u128 } else { 0 }
        };
        let layers = 0..self.num_layers();
        let numbers: u128 = layers
            .flat_map(|layer| Target::ALL.map(|target| of_layer(layer, target)))
            .fold(0, u128::saturating_add);
        let size = u64::try_from(numbers.saturating_mul(KEPT * u128::from(F32))).unwrap_or(u64::MAX);
        if size > memory {
            return Err(ModelError::AdapterTooLarge { size, device: device.into(), memory });
        }
        Ok(())
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
        config.check_fits(WeightFormat::F32, [8, 256], "a GPU", USUAL).unwrap();
        let text = config.check_fits(WeightFormat::F32, [8, 256], "llvmpipe", SMALL).unwrap_err().to_string();
        for part in ["the token embedding [50257, 768]", "154.4 MB", "llvmpipe", "134.2 MB", "weights in f16"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        config.check_fits(WeightFormat::F16, [1, 256], "llvmpipe", SMALL).unwrap();
        let none =
            config.check_fits(WeightFormat::F16, [1, 256], "llvmpipe", SMALL / 2).unwrap_err().to_string();
        assert!(none.contains("77.2 MB") && none.contains("never split"), "{none}");
    }

    #[test]
    fn weights_beyond_the_memory_are_refused() {
        let config = config(12, 768, 12);
        // What the published checkpoint holds.
        assert_eq!(config.parameters(), 125_198_592);
        config.check_memory(WeightFormat::F32, "a GPU", 4 * 125_198_592).unwrap();
        let text = config.check_memory(WeightFormat::F32, "a GPU", 500_000_000).unwrap_err().to_string();
        assert!(text.contains("0.50 GB") && text.contains("a GPU"), "{text}");
        config.check_memory(WeightFormat::F16, "a GPU", 500_000_000).unwrap();
    }

    #[test]
    fn an_adapter_beyond_the_memory_is_refused() {
        let config = config(12, 768, 12);
        // 589,824 numbers, 16 bytes each.
        config.check_adapter(&LoraConfig::default(), "a GPU", 9_437_184).unwrap();
        config.check_adapter(&LoraConfig::default(), "a GPU", 9_437_183).unwrap_err();
        let huge = LoraConfig { r: usize::MAX, ..LoraConfig::default() };
        let text = config.check_adapter(&huge, "this machine", u64::MAX - 1).unwrap_err().to_string();
        assert!(text.contains("rank") && text.contains("this machine"), "{text}");
    }

    #[test]
    fn a_batch_of_long_texts_is_told_to_shrink() {
        let config = config(12, 768, 12);
        // 8 x 12 x 2048 x 2048 numbers: 1.6 GB.
        config.check_fits(WeightFormat::F32, [8, 2048], "a GPU", USUAL).unwrap();
        let text = config.check_fits(WeightFormat::F32, [16, 2048], "a GPU", USUAL).unwrap_err().to_string();
        assert!(text.contains("the attention of a batch [16, 12, 2048, 2048]"), "{text}");
        assert!(text.contains("longest length"), "{text}");
        assert!(config.check_fits(WeightFormat::F32, [usize::MAX, 2048], "a GPU", USUAL).is_err());
        let weight =
            config.check_fits(WeightFormat::F32, [16, 2048], "llvmpipe", SMALL).unwrap_err().to_string();
        assert!(weight.contains("the token embedding"), "{weight}");
    }
}
