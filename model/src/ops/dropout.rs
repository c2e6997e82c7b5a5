//! Inverted dropout (Srivastava et al. 2014, section 10, as PyTorch computes it): an element is dropped with
//! probability p and kept values are divided by 1 - p.
//!
//! What was dropped is either a mask that a backend drew, or a seed from which each element's fate follows by
//! itself: nothing is stored then, and the backward pass works out the same again. Seeds are drawn on the host, from one
//! generator whatever computes, so that the same seed drops the same elements on a CPU and on a GPU.

use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Distribution, Tensor, TensorPrimitive};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;

use super::NeoBackend;

/// Which elements of a matrix are dropped.
#[derive(Clone, Debug)]
pub enum Dropout<F> {
    /// Factors of the matrix' shape: 0 where an element is dropped, 1 / (1 - p) elsewhere.
    Mask(F),
    /// A hash of seed, row and column says it, the same in the forward and the backward pass.
    #[cfg(feature = "flex")]
    Seeded(gptneo_kernels::SeededDropout),
}

impl<F> Dropout<F> {
    /// The same for another kind of tensor.
    pub(super) fn map<G>(self, mask: impl FnOnce(F) -> G) -> Dropout<G> {
        match self {
            Self::Mask(factors) => Dropout::Mask(mask(factors)),
            #[cfg(feature = "flex")]
            Self::Seeded(rule) => Dropout::Seeded(rule),
        }
    }
}

/// The default of [`NeoBackend::draw_dropout`]: a mask.
pub(super) fn draw_mask<B: Backend>(x: &FloatTensor<B>, probability: f64) -> Dropout<FloatTensor<B>> {
    let x = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(x.clone()));
    let kept = x.random_like(Distribution::Bernoulli(1.0 - probability));
    Dropout::Mask((kept * (1.0 / (1.0 - probability))).into_primitive().tensor())
}

/// What the inner backend draws; no gradient reaches it.
pub(super) fn untracked<B: NeoBackend, C: CheckpointStrategy>(
    x: &FloatTensor<Autodiff<B, C>>,
    probability: f64,
) -> Dropout<FloatTensor<Autodiff<B, C>>> {
    B::draw_dropout(&x.primitive, probability).map(Autodiff::<B, C>::from_inner)
}

/// A rule whose seed comes from Flex's generator, which is the host's.
#[cfg(feature = "flex")]
pub(super) fn draw_rule(probability: f64) -> gptneo_kernels::SeededDropout {
    // Two draws of 24 bits, which a float holds exactly.
    let bits = Distribution::Uniform(0.0, f64::from(1 << 24));
    let draws = Tensor::<burn_flex::Flex, 1>::random([2], bits, &Default::default()).into_data();
    let seed = draws.iter::<f32>().fold(0, |seed, draw| (seed << 24) | draw as u64);
    gptneo_kernels::SeededDropout::new(seed, probability)
}

/// The default of [`NeoBackend::dropout_factors`]: worked out on the host.
#[cfg(feature = "flex")]
pub(super) fn host_factors<B: Backend>(
    rule: gptneo_kernels::SeededDropout,
    like: &FloatTensor<B>,
) -> FloatTensor<B> {
    let like = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(like.clone()));
    let [rows, columns] = like.dims();
    let factors = burn::tensor::TensorData::new(rule.factors(rows, columns), [rows, columns]);
    let factors = Tensor::<B, 2>::from_data(factors, (&like.device(), like.dtype()));
    factors.into_primitive().tensor()
}

/// The factors of each element, of the shape of `like` `[rows, columns]`.
pub(super) fn factors<B: NeoBackend>(dropout: Dropout<FloatTensor<B>>, like: &Tensor<B, 2>) -> Tensor<B, 2> {
    match dropout {
        Dropout::Mask(mask) => {
            let mask = Tensor::from_primitive(TensorPrimitive::Float(mask));
            assert_eq!(mask.dims(), like.dims(), "a dropout's mask is of another shape");
            mask
        }
        #[cfg(feature = "flex")]
        Dropout::Seeded(rule) => {
            let factors = B::dropout_factors(rule, &like.clone().into_primitive().tensor());
            Tensor::from_primitive(TensorPrimitive::Float(factors))
        }
    }
}
