//! Matrix products in half precision, for training on hardware that multiplies halves several times faster: what
//! PyTorch's autocast does with a model whose base is frozen.
//!
//! A product rounds its f32 input to the half type, multiplies there and brings the result back to f32. (A backend that
//! rounds inside the product, see [`crate::NeoBackend::rounds_factors`], does so for the layer's own weight and makes the
//! low-rank update in f32.) All else stays
//! f32: embeddings, biases, residual stream, layer norms, attention's scores, the loss, and what is trained, which is
//! rounded anew for each product. [`crate::WeightFormat`] is for inference: bf16 and int8 only store weights small and
//! sum in f32; f16 is this, with the token embedding in f16 as well.

use burn::module::{Param, ParamId};
use burn::tensor::DType;
use burn::tensor::backend::Backend;

use crate::{GptNeo, LoraLinear};

impl<B: Backend> GptNeo<B> {
    /// The model with the products of its linear layers and its head in `half`, f16 or bf16; the backend must have
    /// that type.
    ///
    /// Matrices that are frozen are rounded once and kept in `half`; the head becomes one of its own then, and the
    /// token embedding that it was tied to stays f32. So the result is for computing, not for saving or merging: see
    /// [`crate::adapter::hand_over`]. Matrices that are trained stay f32.
    #[must_use]
    pub fn with_half_products(mut self, half: DType) -> Self {
        let head = self.head_weight();
        if !head.is_require_grad() {
            let mut frozen = LoraLinear::of(Param::initialized(ParamId::new(), head));
            frozen.multiply_in(half);
            self.lm_head = Some(frozen);
        }
        for (_, _, linear) in self.linears_mut() {
            linear.multiply_in(half);
        }
        self.half_products = Some(half);
        self
    }

    /// The model with its products in the type of its weights again. What was rounded stays rounded.
    #[must_use]
    pub fn with_full_products(mut self) -> Self {
        for (_, _, linear) in self.linears_mut() {
            linear.half_products = None;
        }
        self.half_products = None;
        self
    }
}

impl<B: Backend> LoraLinear<B> {
    /// Makes the products in `half` from now on, and keeps the weight in it unless it is trained.
    fn multiply_in(&mut self, half: DType) {
        if !self.weight.val().is_require_grad() {
            self.weight = self.weight.clone().map(|weight| weight.cast(half));
        }
        self.half_products = Some(half);
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests;
