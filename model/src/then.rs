//! What follows a linear layer, which is left its bias where the backend joins them; and layers that are made together.

use burn::module::Param;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorPrimitive};

use crate::lora::Update;
use crate::ops::{self, Draws, Follow};
use crate::{LoraLinear, NeoBackend};

/// What follows a linear layer.
#[derive(Clone, Debug)]
pub(crate) enum Then<B: Backend> {
    /// GELU in its tanh form.
    Gelu,
    /// The sum with the residual stream, `[rows, out]`, in its type.
    AddTo(Tensor<B, 2>),
}

impl<B: NeoBackend> Then<B> {
    /// Of what a layer gave, `[rows, out]`, and the bias that it left.
    fn of(self, y: Tensor<B, 2>, bias: Option<Tensor<B, 1>>) -> Tensor<B, 2> {
        match (self, bias) {
            (Self::Gelu, Some(bias)) => ops::biased_gelu(y, bias),
            (Self::Gelu, None) => ops::gelu_new(y),
            (Self::AddTo(residual), Some(bias)) => ops::biased_sum(y, bias, residual),
            // The new tensor stands first: sums are made in its memory, as no one else needs it.
            (Self::AddTo(residual), None) => y.cast(residual.dtype()) + residual,
        }
    }
}

impl<B: NeoBackend> LoraLinear<B> {
    /// `[rows, in]` to `[rows, out]`, with the dropout that `draws` gives, and what follows.
    pub(crate) fn forward_then(&self, x: Tensor<B, 2>, draws: &mut Draws<B>, then: Then<B>) -> Tensor<B, 2> {
        let (y, bias) = self.forward_leaving_bias(x, draws);
        then.of(y, bias)
    }

    /// As [`LoraLinear::forward_adapted`], and what follows.
    pub(crate) fn forward_adapted_then<'a>(
        &self,
        x: Tensor<B, 2>,
        updates: impl Iterator<Item = Update<'a, B>>,
        then: Then<B>,
    ) -> Tensor<B, 2>
    where
        B: 'a,
    {
        let mut updates = updates.peekable();
        if updates.peek().is_none()
            && self.lora.is_none()
            && let Some(bias) = &self.bias
            && let Some(weight) = self.weight_for_few(&x)
        {
            let unwrap = |bias: &Param<Tensor<B, 1>>| bias.val().into_primitive().tensor();
            let follow = match then {
                Then::Gelu => Follow::Gelu(unwrap(bias)),
                Then::AddTo(residual) => Follow::Sum(unwrap(bias), residual.into_primitive().tensor()),
            };
            return ops::few_rows_product(x, weight, follow);
        }
        let (y, bias) = self.forward_leaving_bias(x.clone(), &mut Draws::New);
        then.of(Self::adapted(y, &x, updates), bias)
    }

    /// Layers of one input and of one shape, as [`LoraLinear::forward_adapted`] each; of few rows in one go where the
    /// backend can.
    pub(crate) fn forward_together<'a, const N: usize>(
        layers: [&Self; N],
        x: Tensor<B, 2>,
        updates: [impl Iterator<Item = Update<'a, B>>; N],
    ) -> [Tensor<B, 2>; N]
    where
        B: 'a,
    {
        let plain = |layer: &Self| layer.lora.is_none() && layer.bias.is_none();
        let weights = layers.map(|layer| layer.weight_for_few(&x).filter(|_| plain(layer)));
        let mut updates = updates.into_iter();
        let mut adapted = |y, x| match updates.next() {
            Some(updates) => Self::adapted(y, x, updates),
            None => y,
        };
        match all(weights) {
            Some(weights) => ops::few_rows_products(x.clone(), weights).map(|y| adapted(y, &x)),
            None => layers.map(|layer| adapted(layer.forward(x.clone()), &x)),
        }
    }

    /// The weight, where the backend makes products of so few rows in one go with what follows.
    fn weight_for_few(&self, x: &Tensor<B, 2>) -> Option<Tensor<B, 2>> {
        let [rows, _] = x.dims();
        let few = rows <= B::few_rows() && x.dtype() == DType::F32;
        let weight = few.then(|| self.weight.val())?;
        matches!(weight.clone().into_primitive(), TensorPrimitive::Float(_)).then_some(weight)
    }

    /// The layer, and its bias where what follows is to add it.
    fn forward_leaving_bias(
        &self,
        x: Tensor<B, 2>,
        draws: &mut Draws<B>,
    ) -> (Tensor<B, 2>, Option<Tensor<B, 1>>) {
        let has_magnitude = self.lora.as_ref().is_some_and(|lora| lora.magnitude.is_some());
        if has_magnitude || !B::joins_products() {
            return (self.forward_drawing(x, draws), None);
        }
        let bias = self.bias.as_ref().map(Param::val);
        (ops::linear_drawing(x, self.weights_without_bias(), self.precision, draws), bias)
    }
}

/// All of them, if none is missing.
fn all<T, const N: usize>(some: [Option<T>; N]) -> Option<[T; N]> {
    let all: Option<Vec<T>> = some.into_iter().collect();
    all.and_then(|all| all.try_into().ok())
}
