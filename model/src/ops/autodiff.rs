//! The operations on an autodiff backend: each records its own backward pass, which works on the inner backend.

use std::ops::Range;

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor, QuantizedTensor};
use burn::tensor::{DType, TensorPrimitive};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;

use super::{AttentionRule, Dropout, LinearInputs, LoraInputs, NeoBackend, Precision};
use super::{attention, biased, cross_entropy, dropout, gelu, layer_norm, linear};

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

    fn add_low_rank(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        rows: Range<usize>,
        lora: LoraInputs<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        linear::tracked_low_rank::<B, C>(y, x, rows, lora)
    }

    fn quantized_linear(
        x: FloatTensor<Self>,
        weight: QuantizedTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        linear::tracked_quantized::<B, C>(x, weight, bias)
    }

    fn quantized_rows(table: QuantizedTensor<Self>, indices: IntTensor<Self>) -> FloatTensor<Self> {
        Self::from_inner(B::quantized_rows(table, indices))
    }

    fn rounds_factors(precision: Precision) -> bool {
        B::rounds_factors(precision)
    }

    fn joins_products() -> bool {
        B::joins_products()
    }

    fn seed_draws(device: &Self::Device, seed: u64) {
        B::seed_draws(device, seed);
    }

    fn draw_dropout(x: &FloatTensor<Self>, probability: f64) -> Dropout<FloatTensor<Self>> {
        dropout::untracked::<B, C>(x, probability)
    }

    #[cfg(feature = "flex")]
    fn dropout_factors(rule: gptneo_kernels::SeededDropout, like: &FloatTensor<Self>) -> FloatTensor<Self> {
        Self::from_inner(B::dropout_factors(rule, &like.primitive))
    }

    fn updated_row_norms(
        weight: TensorPrimitive<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        let weight = match weight {
            TensorPrimitive::Float(weight) => TensorPrimitive::Float(weight.primitive),
            TensorPrimitive::QFloat(weight) => TensorPrimitive::QFloat(weight),
        };
        Self::from_inner(B::updated_row_norms(weight, a.primitive, b.primitive, scale))
    }

    fn gelu_new(x: FloatTensor<Self>) -> FloatTensor<Self> {
        gelu::tracked::<B, C>(x)
    }

    fn biased_gelu(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        biased::tracked_gelu::<B, C>(x, bias)
    }

    fn biased_sum(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        biased::tracked_sum::<B, C>(x, bias, residual)
    }

    fn layer_norm_rows(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let in_full = None;
        layer_norm::tracked::<B, C>(x, weight, bias, epsilon, in_full)
    }

    fn layer_norm_rows_in(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
        half: DType,
    ) -> FloatTensor<Self> {
        layer_norm::tracked::<B, C>(x, weight, bias, epsilon, Some(half))
    }

    fn cross_entropy_sum(
        hidden: FloatTensor<Self>,
        weight: TensorPrimitive<Self>,
        targets: IntTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        cross_entropy::tracked::<B, C>(hidden, weight, targets, precision)
    }
}
