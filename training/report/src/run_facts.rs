//! What page and card both tell of a run.

/// How much a run was about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunFacts {
    /// Optimizer steps done.
    pub steps: usize,
    /// The step that the saved weights are of.
    pub model_step: usize,
    /// Examples to learn from.
    pub train_examples: usize,
    /// Examples that were measured on.
    pub held_out_examples: usize,
    /// Parameters that were trained.
    pub trainable_parameters: usize,
    /// All parameters.
    pub total_parameters: usize,
}
