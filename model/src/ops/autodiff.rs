//! The operations on an autodiff backend: each records its own backward pass, which works on the inner backend.

use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;

use super::{AttentionRule, Dropout, LinearInputs, NeoBackend, Precision};
use super::{attention, cross_entropy, dropout, gelu, layer_norm, linear};

impl<B: NeoBackend, C: CheckpointStrategy> NeoBackend for Autodiff<B, C> {
    fn causal_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        rule: AttentionRule,
        padding: Option<BoolTensor<Self>>,
    ) -> FloatTensor<Self> {
        attention::tracked::<B, C>(query, key, value, rule, padding)
    }

    fn lora_linear(inputs: LinearInputs<FloatTensor<Self>>) -> FloatTensor<Self> {
        linear::tracked::<B, C>(inputs)
    }

    fn rounds_factors(precision: Precision) -> bool {
        B::rounds_factors(precision)
    }

    fn draw_dropout(x: &FloatTensor<Self>, probability: f64) -> Dropout<FloatTensor<Self>> {
        dropout::untracked::<B, C>(x, probability)
    }

    fn gelu_new(x: FloatTensor<Self>) -> FloatTensor<Self> {
        gelu::tracked::<B, C>(x)
    }

    fn layer_norm_rows(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        layer_norm::tracked::<B, C>(x, weight, bias, epsilon)
    }

    fn cross_entropy_sum(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        cross_entropy::tracked::<B, C>(hidden, weight, targets, precision)
    }
}
