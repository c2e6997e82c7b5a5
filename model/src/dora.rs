//! DoRA, a low-rank update whose result has rows of learned lengths (Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank
//! Adaptation", equation 5, as PEFT computes it).
//!
//! With `V = W + scale * B A` and magnitudes m, one for each output: `y = x (diag(m / |V|) V)^T + b`, where `|V|` are the
//! lengths of V's rows and no gradient goes through them. A fresh m is `|W|`, so that the layer computes what it did.
//! Dropout d touches what passes the update alone: `y = (x - d(x)) W^T + b + m / |V| * (d(x) V^T)`.

use burn::module::Param;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};

use crate::ops::{self, Draws};
use crate::{Lora, LoraLinear, NeoBackend};

impl<B: Backend> Lora<B> {
    /// Gives each row of the updated weight a length of its own, that of the row of `weight`, `[out, in]`, to begin with.
    pub(crate) fn with_magnitude_of(mut self, weight: Tensor<B, 2>) -> Self {
        // What is trained is f32, whatever the base is kept in.
        self.magnitude = Some(Param::from_tensor(ops::row_norms(weight.cast(DType::F32)).detach()));
        self
    }

    /// A weight `[out, in]` with the update in it.
    pub(crate) fn merged_into(&self, weight: Tensor<B, 2>) -> Tensor<B, 2> {
        let updated = weight + self.delta();
        match &self.magnitude {
            None => updated,
            Some(magnitude) => {
                let factors = magnitude.val() / ops::row_norms(updated.clone());
                // [out] -> [out, 1]
                updated * factors.unsqueeze_dim(1)
            }
        }
    }
}

impl<B: NeoBackend> LoraLinear<B> {
    /// `[rows, in]` to `[rows, out]`, with rows of the lengths `magnitude`.
    pub(crate) fn forward_with_magnitude(
        &self,
        x: Tensor<B, 2>,
        lora: &Lora<B>,
        magnitude: Tensor<B, 1>,
        draws: &mut Draws<B>,
    ) -> Tensor<B, 2> {
        let (weight, bias) = (self.weight.val(), self.bias.as_ref().map(Param::val));
        let update = lora.update();
        // [out] -> [1, out]
        let factors = (magnitude / ops::updated_row_norms(weight.clone(), &update)).unsqueeze();
        let (seen, unseen) = match ops::dropped(&x, update.dropout, draws) {
            Some(dropped) => (dropped.clone(), Some(x - dropped)),
            None => (x, None),
        };
        let update = Some(ops::LoraUpdate { dropout: 0.0, ..update });
        let updated = ops::LinearWeights { weight: weight.clone(), bias: None, update };
        let y = ops::linear(seen, updated, self.precision) * factors;
        match (unseen, bias) {
            (Some(unseen), bias) => {
                y + ops::linear(unseen, ops::LinearWeights { weight, bias, update: None }, self.precision)
            }
            (None, Some(bias)) => y + bias.unsqueeze(),
            (None, None) => y,
        }
    }
}
