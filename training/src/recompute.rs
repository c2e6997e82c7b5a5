//! A batch's gradients by a walk over the blocks: of each block what enters it is kept, and its inside is computed again
//! when the backward pass comes to it (gradient checkpointing). Memory then grows with the texts by one row of the
//! hidden size for each position and block, and one block's inside.
//!
//! Burn's own checkpointing (`Autodiff<B, BalancedCheckpointing>`) works operation by operation and recomputes those
//! that are marked as bound by memory; what a block keeps is the state of operations that are not. Nor can an operation
//! stand for a block and differentiate its inside when its turn comes: a backward pass holds the lock of its graph, and
//! another one, in its midst, waits for it. So each block is a graph of its own here, and the walk hands gradients on.
//!
//! Bit for bit the same as one graph: each block runs the same operations on the same numbers and drops the same elements.

use burn::backend::Autodiff;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use gptneo_model::NeoBackend;
use gptneo_model::ops::{Draws, backward_from};

use crate::fine_tune::{FineTune, gradients_of_trained};
use crate::texts::Texts;

/// The summed loss of a batch, `[1]`, and the gradients of `part` of it.
pub(crate) fn loss_and_gradients<B: NeoBackend>(
    model: &FineTune<Autodiff<B>>,
    texts: &Texts<Autodiff<B>>,
    part: impl FnOnce(Tensor<Autodiff<B>, 1>) -> Tensor<Autodiff<B>, 1>,
) -> (Tensor<B, 1>, GradientsParams) {
    let network = &model.model.transformer;
    let embeddings_learn = learns(&network.wte) || learns(&network.wpe);
    // Below the first block that learns, nothing asks for a gradient. All parameters are looked at, and so are drawn: a
    // clone of one that is yet to be drawn would draw another.
    let first = match learns(model) {
        false => None,
        true if embeddings_learn => Some(0),
        true => network.h.iter().position(learns),
    };
    let first = first.unwrap_or(network.h.len());

    let mut x = model.model.embed_texts(texts.ids.clone()).detach();
    let mut kept = Vec::new();
    for (index, block) in network.h.iter().enumerate() {
        let mut draws = Draws::remembering();
        let no_padding = None;
        let y = block.clone().no_grad().forward_drawing(x.clone(), no_padding, &mut draws);
        if index >= first {
            kept.push((block, x, draws));
        }
        x = y;
    }

    let mut accumulator = GradientsAccumulator::new();
    let x = if kept.is_empty() { x } else { x.require_grad() };
    let loss = texts.loss_sum(&model.model, network.ln_f.forward(x.clone()));
    let value = loss.clone().inner();
    let mut gradients = part(loss).backward();
    let mut of_output = x.grad_remove(&mut gradients);
    accumulator.accumulate(model, gradients_of_trained(&mut gradients, model));

    for (index, (block, x, draws)) in kept.into_iter().enumerate().rev() {
        let Some(gradient) = of_output.take() else { break };
        let goes_on = embeddings_learn || index > 0;
        let x = if goes_on { x.require_grad() } else { x };
        let no_padding = None;
        let y = block.forward_drawing(x.clone(), no_padding, &mut draws.again());
        let mut gradients = backward_from(y, gradient);
        of_output = x.grad_remove(&mut gradients);
        accumulator.accumulate(model, gradients_of_trained(&mut gradients, block));
    }
    if let Some(gradient) = of_output {
        // Anew: a backward pass takes what shares a parameter with it out of the graph, as the head does with the embedding
        // that it is.
        let embedded = model.model.embed_texts(texts.ids.clone());
        let mut gradients = backward_from(embedded, gradient);
        accumulator.accumulate(model, gradients_of_trained(&mut gradients, model));
    }
    (value, accumulator.grads())
}

/// Whether anything of a module is trained.
fn learns<B: Backend, M: Module<B>>(module: &M) -> bool {
    struct Any(bool);
    impl<B: Backend> ModuleVisitor<B> for Any {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0 |= param.is_require_grad();
        }
    }
    let mut any = Any(false);
    module.visit(&mut any);
    any.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
