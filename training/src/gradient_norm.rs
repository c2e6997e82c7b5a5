//! What a step asks of its gradients before it is taken: their norm, and whether all of them are finite. On a GPU the
//! answer waits there until it is read, together with whatever else the host wants to know.

use burn::backend::Autodiff;
use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive, Transaction};
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
        GradientSums::of(model, gradients, loss_scale).read(Vec::new()).0
    }

    /// What the gradients are multiplied with so that their norm is at most `max_norm`, as PyTorch's `clip_grad_norm_`
    /// does; nothing where it is not above. A `max_norm` of 0 clips nothing.
    pub fn clip(&self, max_norm: f64) -> Option<f64> {
        // PyTorch's own guard against a division by zero.
        let factor = max_norm / (self.norm + 1e-6);
        (max_norm > 0.0 && factor < 1.0).then_some(factor)
    }
}

/// The norm of a step's gradients, not read yet.
pub(crate) struct GradientSums<B: Backend>(Option<Tensor<B, 1>>);

impl<B: NeoBackend> GradientSums<B> {
    /// As [`GradientNorm::of`].
    pub(crate) fn of<M: AutodiffModule<Autodiff<B>>>(
        model: &M,
        gradients: &GradientsParams,
        loss_scale: Option<f64>,
    ) -> Self {
        let mut all = All::<B> { gradients, tensors: Vec::new() };
        model.visit(&mut all);
        let any = !all.tensors.is_empty();
        Self(any.then(|| {
            let sums = B::gradient_sums(all.tensors, loss_scale.map(|scale| 1.0 / scale));
            Tensor::from_primitive(TensorPrimitive::Float(sums))
        }))
    }

    /// Waits for the answer, and for the numbers of `also`, of one element each: once for all.
    pub(crate) fn read(self, also: Vec<Tensor<B, 1>>) -> (GradientNorm, Vec<f64>) {
        let asked = self.0.is_some();
        let transaction = self.0.into_iter().chain(also).fold(Transaction::default(), Transaction::register);
        let mut read = transaction.execute().into_iter().map(|data| data.iter::<f64>().collect::<Vec<_>>());
        let norm = match asked.then(|| read.next()).flatten().as_deref() {
            Some([sum, not_finite]) => GradientNorm { norm: sum.sqrt(), finite: *not_finite == 0.0 },
            Some(_) => GradientNorm { norm: f64::NAN, finite: false },
            None => GradientNorm { norm: 0.0, finite: true },
        };
        (norm, read.map(|numbers| numbers.first().copied().unwrap_or(f64::NAN)).collect())
    }
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
