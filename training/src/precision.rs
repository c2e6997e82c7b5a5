//! In which numbers a model is trained.
//!
//! Half precision means half products ([`gptneo_model::GptNeo::with_precision`]), forward and backward, in training and
//! in the evaluations during it. What is trained, its gradients and the optimizer's state are f32, and so is what comes
//! out. f16 also needs a [`LossScale`].

mod loss_scale;

pub use self::loss_scale::LossScale;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
