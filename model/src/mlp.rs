//! The feed-forward half of a block.

use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};

use crate::config::Activation;
use crate::ops::Draws;
use crate::pass::Pass;
use crate::{GptNeoConfig, LoraLinear, NeoBackend, Target, ops};

/// `c_proj(gelu(c_fc(x)))`, with GELU in the form that the configuration names.
#[derive(Module, Debug)]
pub struct Mlp<B: Backend> {
    /// Hidden to intermediate.
    pub c_fc: LoraLinear<B>,
    /// Intermediate to hidden.
    pub c_proj: LoraLinear<B>,
    #[module(skip)]
    activation: Activation,
}

impl<B: Backend> Mlp<B> {
    /// Random weights as the configuration says.
    pub fn init(config: &GptNeoConfig, device: &B::Device) -> Self {
        let (hidden, inner, std) = (config.hidden_size, config.intermediate_size, config.initializer_range);
        Self {
            c_fc: LoraLinear::init([inner, hidden], std, device).with_bias(device),
            c_proj: LoraLinear::init([hidden, inner], std, device).with_bias(device),
            activation: config.activation,
        }
    }
}

impl<B: NeoBackend> Mlp<B> {
    /// `[rows, hidden]` to `[rows, hidden]`, with the dropouts that `draws` gives.
    pub fn forward(&self, x: Tensor<B, 2>, draws: &mut Draws<B>) -> Tensor<B, 2> {
        let inner = self.activated(self.c_fc.forward_drawing(x, draws));
        self.c_proj.forward_drawing(inner, draws)
    }

    /// The rows of a pass, `[rows, hidden]` to the same shape.
    pub(crate) fn forward_rows(&self, x: Tensor<B, 2>, layer: usize, pass: &Pass<'_, B>) -> Tensor<B, 2> {
        let inner = self.c_fc.forward_adapted(x, pass.updates(layer, Target::CFc));
        self.c_proj.forward_adapted(self.activated(inner), pass.updates(layer, Target::CProj))
    }

    fn activated(&self, inner: Tensor<B, 2>) -> Tensor<B, 2> {
        match self.activation {
            Activation::GeluTanh => ops::gelu_new(inner),
            Activation::Gelu => activation::gelu(inner),
        }
    }
}
