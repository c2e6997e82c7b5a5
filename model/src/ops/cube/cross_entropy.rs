//! The head and its cross-entropy, a chunk of rows at a time: a product for the logits, a kernel that puts their gradient
//! in their place, products for the gradients of hidden states and head.
//!
//! A vocabulary of an odd size is filled up with words of zeros, since a product reads and writes rows faster that begin
//! at a multiple of what its units take together. The kernel leaves those out: they are in no sum, and their logits, which
//! are zeros, stand for their gradients as they are.

use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{DType, Int, Tensor, TensorMetadata, TensorPrimitive, s};

use super::super::cross_entropy::{CHUNK, LIFT, is_half, loss_type};
use super::super::{NeoBackend, Parameters, Precision};
use super::{OnCubes, kernels};

/// Words to a multiple of which a vocabulary is filled up.
const WORDS: usize = 128;

/// The most logits that exist at a time: those of 8 texts of 256 tokens over GPT-2's words, 206 MB in half.
const LOGITS: usize = 2048 * 50_304;

/// How often a page for a chunk's logits is halved for fewer rows.
const MOST_HALVES: usize = 3;

/// Bytes of a number, in the widest type in use.
const F32: usize = 4;

/// What a loss comes from: hidden states `[rows, hidden]`, a head `[vocabulary, hidden]`, targets `[rows]`.
pub(super) struct Head<B: OnCubes> {
    hidden: Tensor<B, 2>,
    /// With words of zeros at its end.
    weight: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
    vocabulary: usize,
    /// Rows whose logits exist at a time.
    rows: usize,
}

impl<B: OnCubes> Head<B> {
    /// These, where the kernels know their types. A GPU has them cast before, see [`NeoBackend::rounds_factors`], and is
    /// asked for products in their own type.
    pub(super) fn new(
        hidden: &FloatTensor<B>,
        weight: &TensorPrimitive<B>,
        targets: &IntTensor<B>,
        precision: Precision,
    ) -> Option<Self> {
        let (TensorPrimitive::Float(weight), None) = (weight, precision.half()) else { return None };
        let known =
            matches!(hidden.dtype(), DType::F32 | DType::F16 | DType::BF16) && targets.dtype() == DType::I32;
        known.then(|| {
            let [vocabulary, _] = weight.shape().dims();
            // Numbers that the GPU holds in one tensor.
            let most = weight.client.properties().memory.max_page_size as usize / F32;
            let weight = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(weight.clone()));
            let weight = B::memory_persistent_allocations(&weight.device(), weight, |weight| {
                filled_up(weight.cast(hidden.dtype()), most)
            });
            let [words, _] = weight.dims();
            Self {
                weight,
                rows: (LOGITS.min(most) / words).max(CHUNK),
                hidden: Tensor::from_primitive(TensorPrimitive::Float(hidden.clone())),
                targets: Tensor::from_primitive(targets.clone()),
                vocabulary,
            }
        })
    }

    /// Each chunk's hidden states, its logits' gradient times `lift` and its negative log-likelihoods `[rows]`.
    fn chunks(&self, lift: f64) -> impl Iterator<Item = (Tensor<B, 2>, Tensor<B, 2>, Tensor<B, 1>)> {
        let ([rows, _], chunk) = (self.hidden.dims(), self.rows);
        (0..rows).step_by(chunk).map(move |start| {
            let end = (start + chunk).min(rows);
            let (mut hidden, mut targets) = (self.hidden.clone(), self.targets.clone());
            if chunk < rows {
                (hidden, targets) = (hidden.slice(s![start..end, ..]), targets.slice(s![start..end]));
            }
            let factors = [hidden.clone(), self.weight.clone().transpose()];
            let factors = factors.map(|factor| factor.into_primitive().tensor());
            let logits = match self.page(end - start) {
                Some(page) => kernels::product_of_its_own(factors, page),
                None => kernels::product(factors),
            };
            let targets = targets.into_primitive();
            let [gradient, nll] =
                kernels::cross_entropy_rows([logits, targets], self.vocabulary, lift as f32);
            let gradient = Tensor::from_primitive(TensorPrimitive::Float(gradient));
            (hidden, gradient, Tensor::from_primitive(TensorPrimitive::Float(nll)))
        })
    }

    /// For how many rows a page has room that is for the logits of `rows` rows alone: those of a whole chunk, of half of
    /// it and so on; none for few rows.
    fn page(&self, rows: usize) -> Option<usize> {
        (0..=MOST_HALVES)
            .map(|halves| self.rows >> halves)
            .find(|page| (page / 2 + 1..=*page).contains(&rows))
    }

    /// Each row's negative log-likelihood.
    pub(super) fn nll(&self) -> FloatTensor<B> {
        joined(self.chunks(1.0).map(|(_, _, nll)| nll).collect()).into_primitive().tensor()
    }

    /// The sum, and its gradients with respect to the hidden states and, where it is trained, the head.
    pub(super) fn gradients(
        self,
        head: Parameters,
    ) -> (FloatTensor<B>, FloatTensor<B>, Option<FloatTensor<B>>) {
        let (number, full) = (self.hidden.dtype(), loss_type(self.hidden.dtype()));
        // A half type takes the gradient of logits lifted.
        let lift = if is_half(number) { LIFT } else { 1.0 };
        let unlifted = |x: Tensor<B, 2>| if lift == 1.0 { x } else { x / lift };
        let (mut sums, mut of_hidden) = (Vec::new(), Vec::new());
        let mut of_weight: Option<Tensor<B, 2>> = None;
        for (hidden, gradient, nll) in self.chunks(lift) {
            sums.push(nll);
            if head.are_trained() {
                // In half, a sum over the rows of a frequent word could overflow whatever the scale of the loss.
                let part = multiply(gradient.clone().cast(full).transpose(), hidden.cast(full));
                of_weight = Some(match of_weight.take() {
                    Some(so_far) => so_far + part,
                    None => part,
                });
            }
            of_hidden.push(multiply(gradient, self.weight.clone()));
        }
        let of_weight = of_weight
            .map(|of_weight| unlifted(of_weight.slice(s![..self.vocabulary, ..])).into_primitive().tensor());
        let of_hidden = unlifted(joined(of_hidden).cast(full)).into_primitive().tensor();
        (joined(sums).sum().into_primitive().tensor(), of_hidden, of_weight)
    }
}

/// Parts one below the other; a copy only where there are several.
fn joined<B: NeoBackend, const D: usize>(mut parts: Vec<Tensor<B, D>>) -> Tensor<B, D> {
    if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, 0) }
}

/// The product by the backend's own way.
fn multiply<B: NeoBackend>(lhs: Tensor<B, 2>, rhs: Tensor<B, 2>) -> Tensor<B, 2> {
    let [lhs, rhs] = [lhs, rhs].map(|factor| factor.into_primitive().tensor());
    Tensor::from_primitive(TensorPrimitive::Float(B::product(lhs, rhs)))
}

/// The head with words of zeros up to a multiple, unless that makes it longer than the `most` numbers of a tensor.
fn filled_up<B: OnCubes>(weight: Tensor<B, 2>, most: usize) -> Tensor<B, 2> {
    let [vocabulary, hidden] = weight.dims();
    let words = vocabulary.next_multiple_of(WORDS);
    if words == vocabulary || words * hidden > most {
        return weight;
    }
    let zeros = Tensor::zeros([words - vocabulary, hidden], (&weight.device(), weight.dtype()));
    Tensor::cat(vec![weight, zeros], 0)
}
