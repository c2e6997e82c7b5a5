//! The model as it is trained.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use gptneo_model::GptNeo;

/// A model under training. It wraps [`GptNeo`] because Burn's traits and the model are both of other crates.
#[derive(Module, Debug)]
pub(crate) struct FineTune<B: Backend> {
    /// The model, with its adapter if it has one.
    pub(crate) model: GptNeo<B>,
}

/// The gradients of a module's parameters that are trained. Burn's own `from_grads` asks the others too, and a quantised
/// one cannot be asked.
pub(crate) fn gradients_of_trained<AB: AutodiffBackend>(
    gradients: &mut AB::Gradients,
    module: &impl Module<AB>,
) -> GradientsParams {
    struct Trained<'a, AB: AutodiffBackend> {
        gradients: &'a mut AB::Gradients,
        found: GradientsParams,
    }
    impl<AB: AutodiffBackend> ModuleVisitor<AB> for Trained<'_, AB> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<AB, D>>) {
            if param.is_require_grad()
                && let Some(gradient) = param.val().grad_remove(self.gradients)
            {
                self.found.register::<AB::InnerBackend, D>(param.id, gradient);
            }
        }
    }
    let mut trained = Trained::<AB> { gradients, found: GradientsParams::new() };
    module.visit(&mut trained);
    trained.found
}
