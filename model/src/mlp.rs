//! The feed-forward half of a block.

use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, activation};

use crate::config::Activation;
use crate::ops::Draws;
use crate::pass::Pass;
use crate::then::Then;
use crate::{GptNeoConfig, LoraLinear, NeoBackend, Target};

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
    /// Of `x` `[rows, hidden]`, added to the `residual` stream of the same shape, with the dropouts that `draws` gives.
    pub fn forward(&self, x: Tensor<B, 2>, residual: Tensor<B, 2>, draws: &mut Draws<B>) -> Tensor<B, 2> {
        let inner = match self.activation {
            Activation::GeluTanh => self.c_fc.forward_then(x, draws, Then::Gelu),
            Activation::Gelu => exact_gelu(self.c_fc.forward_drawing(x, draws)),
        };
        self.c_proj.forward_then(inner, draws, Then::AddTo(residual))
    }

    /// The rows of a pass, `[rows, hidden]`, added to theirs of the residual stream.
    pub(crate) fn forward_rows(
        &self,
        x: Tensor<B, 2>,
        residual: Tensor<B, 2>,
        layer: usize,
        pass: &Pass<'_, B>,
    ) -> Tensor<B, 2> {
        let updates = pass.updates(layer, Target::CFc);
        let inner = match self.activation {
            Activation::GeluTanh => self.c_fc.forward_adapted_then(x, updates, Then::Gelu),
            Activation::Gelu => exact_gelu(self.c_fc.forward_adapted(x, updates)),
        };
        self.c_proj.forward_adapted_then(inner, pass.updates(layer, Target::CProj), Then::AddTo(residual))
    }
}

/// GELU by the error function, in f32 whatever the products are made in.
fn exact_gelu<B: NeoBackend>(inner: Tensor<B, 2>) -> Tensor<B, 2> {
    activation::gelu(inner.cast(DType::F32))
}
