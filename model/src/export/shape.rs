//! The shape of a GPT-2, whatever file it comes from or goes to.

use burn::tensor::backend::Backend;

use crate::{Activation, GptNeo, GptNeoConfig, ModelError};

/// The fewest positions: with one there is no next token to learn or to make.
const FEWEST_POSITIONS: usize = 2;

/// Refuses a model whose activation is not that of an exported GPT-2, which engines compute whatever a file says.
///
/// # Errors
/// [`ModelError::Activation`]: it is GELU with the error function.
pub fn check_activation(config: &GptNeoConfig) -> Result<(), ModelError> {
    match config.activation {
        Activation::GeluTanh => Ok(()),
        Activation::Gelu => Err(ModelError::Activation(config.activation_name().into())),
    }
}

/// The sizes of a GPT-2 and the one number of its arithmetic.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gpt2Shape {
    pub(super) hidden: usize,
    pub(super) inner: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) vocabulary: usize,
    pub(super) positions: usize,
    pub(super) epsilon: f64,
    /// Whether the head is the token embedding.
    pub(super) tied: bool,
    pub(super) end_of_text: Option<u32>,
}

impl Gpt2Shape {
    /// That of a model's first `positions`.
    ///
    /// # Errors
    /// The model has fewer positions, another activation, or carries an adapter.
    pub(super) fn of<B: Backend>(model: &GptNeo<B>, positions: usize) -> Result<Self, ModelError> {
        let config = model.config();
        check_activation(config)?;
        let most = config.max_position_embeddings;
        if positions < FEWEST_POSITIONS || positions > most {
            return Err(ModelError::Positions { found: positions, fewest: FEWEST_POSITIONS, most });
        }
        if model.linears().any(|(_, _, linear)| linear.lora.is_some()) {
            return Err(ModelError::Lora(
                "the model still carries an adapter: merge it before it is exported".into(),
            ));
        }
        Ok(Self {
            hidden: config.hidden_size,
            inner: config.intermediate_size,
            layers: config.num_layers(),
            heads: config.num_heads,
            vocabulary: config.vocab_size,
            positions,
            epsilon: config.layer_norm_epsilon,
            tied: model.lm_head.is_none(),
            end_of_text: config.eos_token_ids.first().copied(),
        })
    }

    /// What GPT-2 divides scores by.
    pub(super) fn score_divisor(&self) -> f64 {
        ((self.hidden / self.heads) as f64).sqrt()
    }
}
