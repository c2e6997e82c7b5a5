//! Where the dropouts of a forward pass come from: a stretch of the network that is computed a second time must drop the
//! same elements again, though the backend's generator has moved on.

use std::collections::VecDeque;

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;

use super::{Dropout, NeoBackend};

/// Where the dropouts of a forward pass come from.
#[derive(Clone, Debug, Default)]
pub enum Draws<B: Backend> {
    /// The backend's generator, and they are forgotten.
    #[default]
    New,
    /// The backend's generator, and they are remembered, in order.
    Remembered(VecDeque<Dropout<FloatTensor<B>>>),
    /// Those that were remembered, in order.
    Again(VecDeque<Dropout<FloatTensor<B>>>),
}

impl<B: Backend> Draws<B> {
    /// From the generator, to be remembered.
    pub fn remembering() -> Self {
        Self::Remembered(VecDeque::new())
    }

    /// What was remembered, for the same stretch of the network.
    #[must_use]
    pub fn again(self) -> Self {
        match self {
            Self::Remembered(drawn) | Self::Again(drawn) => Self::Again(drawn),
            Self::New => Self::New,
        }
    }
}

impl<B: NeoBackend> Draws<B> {
    /// Which elements of `x` `[rows, in]` are dropped with this probability.
    ///
    /// # Panics
    ///
    /// Where more is asked for again than was remembered.
    pub(super) fn next(&mut self, x: &FloatTensor<B>, probability: f64) -> Dropout<FloatTensor<B>> {
        match self {
            Self::New => B::draw_dropout(x, probability),
            Self::Remembered(drawn) => {
                let dropout = B::draw_dropout(x, probability);
                drawn.push_back(dropout.clone());
                dropout
            }
            Self::Again(drawn) => drawn.pop_front().unwrap_or_else(|| {
                panic!("a stretch of the network drops more the second time: it is not the one that was remembered")
            }),
        }
    }
}
