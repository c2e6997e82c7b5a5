//! The network with its matrix products in half precision, for training on hardware that multiplies halves several times
//! faster: what PyTorch's autocast does with a model whose base is frozen.
//!
//! A product rounds its f32 input to the half type, multiplies there and brings the result back to f32. (A backend that
//! rounds inside the product, see [`crate::NeoBackend::rounds_factors`], does so for the layer's own weight and makes the
//! low-rank update in f32.) All else stays f32: embeddings, biases, residual stream, layer norms, attention's scores, the
//! loss, and what is trained, which is rounded anew for each product. [`crate::WeightFormat`] is for inference: bf16 and
//! int8 only store weights small and sum in f32; f16 is this, with the token embedding in f16 as well.

use burn::module::{Param, ParamId};
use burn::tensor::backend::Backend;

use crate::{GptNeo, LoraLinear, Precision};

impl<B: Backend> GptNeo<B> {
    /// The model with the products of its linear layers and its head in these numbers; the backend must have them, see
    /// [`Precision::check`].
    ///
    /// In a half type, matrices that are frozen are rounded once and kept in it; the head becomes one of its own then, and
    /// the token embedding that it was tied to stays f32. So the result is for computing, not for saving or merging: see
    /// [`crate::adapter::hand_over`]. Matrices that are trained stay f32. Back in f32, what was rounded stays rounded.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        self.made_anew(|mut model| {
            if precision.half().is_some() {
                let head = model.head_weight();
                if !head.is_require_grad() {
                    let mut frozen = LoraLinear::of(Param::initialized(ParamId::new(), head));
                    frozen.set_precision(precision);
                    model.lm_head = Some(frozen);
                }
            }
            for (_, _, linear) in model.linears_mut() {
                linear.set_precision(precision);
            }
            model.precision = precision;
            model
        })
    }

    /// The model with weights that `change` makes anew, to stay. Each has memory of its own then, as the loaded ones have,
    /// and a GPU gets back what those had.
    pub(crate) fn made_anew(self, change: impl Fn(Self) -> Self + Send) -> Self {
        let device = self.transformer.wte.weight.device();
        let changed = B::memory_persistent_allocations(&device, self, change);
        B::memory_cleanup(&device);
        changed
    }
}

impl<B: Backend> LoraLinear<B> {
    /// Makes the products in these numbers from now on, and keeps the weight in a half type unless it is trained.
    fn set_precision(&mut self, precision: Precision) {
        if let Some(half) = precision.half()
            && !self.weight.val().is_require_grad()
        {
            self.weight = self.weight.clone().map(|weight| weight.cast(half));
        }
        self.precision = precision;
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests;
