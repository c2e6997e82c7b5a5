//! Whether a model and the work on it can be in the processor's memory at all, before any of it is.
//!
//! Everything is counted at its least, so that nothing is refused that could be done; what a step really takes is
//! measured before a run.

use gptneo_model::{GptNeoConfig, LoraConfig, Target, WeightFormat};
use gptneo_training::{Activations, TuningKind};

use super::machine::{memory_limit, size};
use super::place::Place;
use crate::{Error, Remedy, Result};

/// Bytes of a number in f32.
const F32: f64 = 4.0;
/// What AdamW keeps of a parameter that is trained: its gradient and two moments.
const TRAINED: f64 = 3.0 * F32;
/// Numbers of the width of the model that a step keeps of a position and layer for its way back, at the least and in
/// half precision. In f32 the reference recipe keeps some 15 of 4 bytes.
const KEPT: f64 = 4.0;

/// What is done with a model.
#[derive(Clone, Copy, Debug)]
pub enum Work<'a> {
    /// It answers, is measured, or is written.
    Answering,
    /// It is trained, in full or with an adapter of this shape.
    Training(TuningKind, &'a LoraConfig, Activations),
    /// It goes on writing texts, whose keys and values it keeps.
    Writing,
}

/// A model and the work on it.
#[derive(Clone, Debug)]
pub struct Load<'a> {
    /// The model's shape.
    pub model: &'a GptNeoConfig,
    /// The format that its weights are kept in.
    pub weights: WeightFormat,
    /// What is done with it.
    pub work: Work<'a>,
    /// The positions that are worked on at a time.
    pub positions: f64,
    /// What makes them fewer.
    pub smaller: Remedy,
}

/// What makes the batches of a run smaller.
pub(crate) fn smaller_batches() -> Remedy {
    Remedy::Either(vec![
        Remedy::Both(vec![
            Remedy::Lower("training.batch_size"),
            Remedy::Raise("training.grad_accumulation_steps"),
        ]),
        Remedy::Lower("data.max_seq_length"),
    ])
}

impl Place {
    /// Refuses what the machine has no memory for. Of a GPU nothing is said: its memory is another.
    ///
    /// # Errors
    /// The weights, the adapter or the batch take more than there is.
    pub fn check_memory(self, load: &Load<'_>) -> Result<()> {
        if self.kind.is_cpu() { load.check_processor() } else { Ok(()) }
    }
}

/// What a load begins with.
const MODEL: &str = "the model takes";

impl Load<'_> {
    /// As [`Place::check_memory`], on the processor.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn check_processor(&self) -> Result<()> {
        memory_limit().map_or(Ok(()), |limit| self.check(limit as f64))
    }

    fn check(&self, limit: f64) -> Result<()> {
        let mut taken = 0.0;
        for (what, bytes, remedy) in self.parts() {
            taken += bytes;
            if taken > limit {
                let what = format!(
                    "{what} at least {}, but this program can have {} of memory",
                    size(taken),
                    size(limit)
                );
                // A model that is too large is no setting's fault.
                return Err(match what.starts_with(MODEL) {
                    true => Error::input(what, remedy),
                    false => Error::settings(what, remedy),
                });
            }
        }
        Ok(())
    }

    /// What the load is made of, the unavoidable first: what takes how much together with what is before it, and what
    /// to do about it.
    fn parts(&self) -> Vec<(&'static str, f64, Remedy)> {
        let (layers, hidden) = (self.model.num_layers() as f64, self.model.hidden_size as f64);
        let of_weight = match self.weights {
            WeightFormat::F32 => F32,
            WeightFormat::F16 | WeightFormat::Bf16 => 2.0,
            WeightFormat::Int8 => 1.0,
        };
        let parameters = parameters(self.model);
        let mut parts = vec![(
            MODEL,
            parameters * of_weight,
            Remedy::say("take a smaller model, or a machine with more memory"),
        )];
        match self.work {
            Work::Answering => {
                let inner = self.model.intermediate_size as f64;
                parts.push((
                    "a batch and the model take",
                    self.positions * inner * F32,
                    self.smaller.clone(),
                ));
            }
            Work::Writing => {
                let kept = 2.0 * layers * hidden * F32;
                parts.push(("the texts and the model take", self.positions * kept, self.smaller.clone()));
            }
            Work::Training(tuning, lora, activations) => {
                parts.push(match tuning {
                    TuningKind::Full => (
                        "training the whole model takes",
                        parameters * TRAINED,
                        Remedy::Set("model.tuning", TuningKind::Lora.name().into()),
                    ),
                    TuningKind::Lora => (
                        "the adapter and the model take",
                        adapter_parameters(self.model, lora) * (F32 + TRAINED),
                        Remedy::Lower("lora.r"),
                    ),
                });
                let kept = layers
                    * hidden
                    * match activations {
                        Activations::Kept => KEPT * F32 / 2.0,
                        // What enters a block.
                        Activations::Recomputed => F32,
                    };
                parts.push(("a training step takes", self.positions * kept, self.smaller.clone()));
            }
        }
        parts
    }
}

/// The numbers that a model is made of, but for its biases and norms; in floating point, which does not overflow.
fn parameters(model: &GptNeoConfig) -> f64 {
    let [hidden, inner, layers, vocabulary, positions] = [
        model.hidden_size,
        model.intermediate_size,
        model.num_layers(),
        model.vocab_size,
        model.max_position_embeddings,
    ]
    .map(|size| size as f64);
    layers * hidden * (4.0 * hidden + 2.0 * inner) + (vocabulary + positions) * hidden
}

/// The numbers that an adapter of the model is made of.
fn adapter_parameters(model: &GptNeoConfig, lora: &LoraConfig) -> f64 {
    let (hidden, inner) = (model.hidden_size as f64, model.intermediate_size as f64);
    let layers =
        (0..model.num_layers()).flat_map(|layer| Target::ALL.map(|target| (target, target.path(layer))));
    let carrying = layers.filter(|(_, path)| lora.targets(path));
    carrying
        .map(|(target, path)| {
            let width = match target {
                Target::CFc | Target::CProj => hidden + inner,
                _ => 2.0 * hidden,
            };
            lora.rank(&path) as f64 * width
        })
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The shape of the 125M model.
    fn model() -> GptNeoConfig {
        let config = serde_json::json!({
            "hidden_size": 768, "num_layers": 12, "num_heads": 12, "vocab_size": 50257,
            "max_position_embeddings": 2048, "attention_types": [[["global", "local"], 6]],
        });
        GptNeoConfig::from_json(config.as_object().unwrap().clone()).unwrap()
    }

    fn refused(load: &Load<'_>, limit: f64) -> String {
        load.check(limit).unwrap_err().to_string()
    }

    #[test]
    fn the_recipe_fits_and_what_is_too_much_is_named_with_its_way_out() {
        let (model, lora) = (model(), LoraConfig::default());
        assert_eq!(adapter_parameters(&model, &lora), 589_824.0);
        let recipe = Load {
            model: &model,
            weights: WeightFormat::F32,
            work: Work::Training(TuningKind::Lora, &lora, Activations::Kept),
            positions: 2048.0,
            smaller: smaller_batches(),
        };
        // It took 1.7 GB.
        recipe.check(1.6e9).unwrap();
        assert!(refused(&recipe, 4e8).starts_with("the model takes at least 500."));
        let batch = Load { positions: 2048.0 * 1e6, ..recipe.clone() };
        assert!(refused(&batch, 1e10).contains("a training step takes at least"));
        assert!(refused(&batch, 1e10).contains("lower training.batch_size"));
        let huge = LoraConfig { r: usize::MAX, ..lora.clone() };
        let adapter =
            Load { work: Work::Training(TuningKind::Lora, &huge, Activations::Kept), ..recipe.clone() };
        assert!(refused(&adapter, 1e12).contains("lower lora.r"), "{}", refused(&adapter, 1e12));
        let full =
            Load { work: Work::Training(TuningKind::Full, &lora, Activations::Kept), ..recipe.clone() };
        assert!(refused(&full, 1.5e9).contains("set model.tuning to lora"));
        let texts = Load { work: Work::Writing, positions: 1e9, ..recipe };
        assert!(refused(&texts, 1e10).contains("the texts and the model take"));
    }

    #[test]
    fn one_layer_of_another_rank_counts() {
        let mut lora = LoraConfig::default();
        lora.rank_pattern.insert("h.3.attn.attention.q_proj".parse().unwrap(), 16 + 1_000_000);
        assert_eq!(adapter_parameters(&model(), &lora), 589_824.0 + 1e6 * 1536.0);
    }
}
