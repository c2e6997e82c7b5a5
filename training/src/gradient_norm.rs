//! What a step asks of its gradients before it is taken: their norm, and whether all of them are finite. On a GPU the
//! optimizer finds the answer where it is, and the host reads it later.

use burn::backend::Autodiff;
use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Tensor, TensorPrimitive};
use gptneo_model::NeoBackend;

/// All gradients of a step together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientNorm {
    /// The norm of all elements, without the scale of the loss.
    pub norm: f64,
    /// Whether every element is finite, where the loss was scaled; else the norm tells.
    pub finite: bool,
}

impl GradientNorm {
    /// Of the gradients of `model`, which are divided by `loss_scale` first, if there is one.
    pub fn of<B: NeoBackend, M: AutodiffModule<Autodiff<B>>>(
        model: &M,
        gradients: &GradientsParams,
        loss_scale: Option<f64>,
    ) -> Self {
        let sums = gradient_sums::<B, M>(model, gradients, loss_scale).into_data();
        Self::of_sums(&sums.iter::<f64>().collect::<Vec<_>>())
    }

    /// Of the two numbers that [`NeoBackend::gradient_sums`] gives.
    pub(crate) fn of_sums(sums: &[f64]) -> Self {
        match sums {
            [sum, not_finite] => Self { norm: sum.sqrt(), finite: *not_finite < 1.0 },
            _ => Self { norm: f64::NAN, finite: false },
        }
    }
}

/// What [`NeoBackend::gradient_sums`] gives of a step's gradients, f32 `[2]`; zeros where there are none.
pub(crate) fn gradient_sums<B: NeoBackend, M: AutodiffModule<Autodiff<B>>>(
    model: &M,
    gradients: &GradientsParams,
    loss_scale: Option<f64>,
) -> Tensor<B, 1> {
    let mut all = All::<B> { gradients, tensors: Vec::new() };
    model.visit(&mut all);
    if all.tensors.is_empty() {
        let device = model.devices().into_iter().next().unwrap_or_default();
        return Tensor::zeros([2], (&device, DType::F32));
    }
    let sums = B::gradient_sums(all.tensors, loss_scale.map(|scale| 1.0 / scale));
    Tensor::from_primitive(TensorPrimitive::Float(sums))
}

struct All<'a, B: NeoBackend> {
    gradients: &'a GradientsParams,
    tensors: Vec<FloatTensor<B>>,
}

impl<B: NeoBackend> ModuleVisitor<Autodiff<B>> for All<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        if let Some(gradient) = self.gradients.get::<B, D>(param.id) {
            self.tensors.push(gradient.into_primitive().tensor());
        }
    }
}
