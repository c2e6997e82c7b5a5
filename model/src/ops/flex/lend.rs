//! What the kernels of several tensors borrow: the tensors made fit once, then lent as slices.

use burn::tensor::{DType, TensorMetadata};
use burn_flex::FlexTensor;

use super::super::dropout::SeededDropout;
use super::super::{AttentionRule, Dropout, LinearInputs, LoraInputs};
use super::low_rank::Lora;
use super::tensors::{contiguous, floats, is_f32, with_dense_rows};
use super::weight::Weight;
use super::{attention, linear, tiles};

/// The inputs of an attention, such that [`AttentionTensors::slices`] can lend them.
pub(super) struct AttentionTensors {
    /// Query, key and value.
    tensors: [FlexTensor; 3],
    padding: Option<FlexTensor>,
}

impl AttentionTensors {
    pub(super) fn new(tensors: [FlexTensor; 3], padding: Option<FlexTensor>) -> Self {
        Self {
            tensors: tensors.map(with_dense_rows),
            padding: padding.map(|padding| padding.to_contiguous()),
        }
    }

    pub(super) fn slices(&self, rule: AttentionRule) -> attention::Inputs<'_> {
        let [query, key, value] = &self.tensors;
        let [batch, queries, hidden] = query.shape().dims();
        let [_, keys, _] = key.shape().dims();
        let padding = self.padding.as_ref().map(|padding| {
            let start = padding.layout().start_offset();
            &padding.bytes()[start..start + batch * keys]
        });
        let (query, key, value) = (tokens(query), tokens(key), tokens(value));
        attention::Inputs { query, key, value, batch, queries, keys, hidden, rule, padding }
    }
}

/// The inputs of a linear layer without gaps.
pub(super) struct LinearTensors {
    pub(super) x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    pub(super) lora: Option<LoraInputs<FlexTensor>>,
    /// What the products of a rounded layer are made with.
    unit: Option<tiles::Native>,
}

impl LinearTensors {
    /// None where the kernels do not fit: for types other than f32, but for a weight in bf16; for a mask, which no
    /// kernel reads; for a rounded layer on a processor that does not multiply bf16.
    pub(super) fn new(inputs: &LinearInputs<FlexTensor>) -> Option<Self> {
        let lora = inputs.lora.as_ref();
        let optional = [inputs.bias.as_ref(), lora.map(|lora| &lora.a), lora.map(|lora| &lora.b)];
        let weight_fits = matches!(inputs.weight.dtype(), DType::F32 | DType::BF16);
        let fits = weight_fits && is_f32(&inputs.x) && optional.into_iter().flatten().all(is_f32);
        if !fits || lora.is_some_and(|lora| matches!(lora.dropout, Some(Dropout::Mask(_)))) {
            return None;
        }
        let unit = inputs.rounded.then(tiles::Native::for_bf16).flatten();
        if inputs.rounded && (unit.is_none() || inputs.weight.dtype() != DType::BF16) {
            return None;
        }
        let LinearInputs { x, weight, bias, lora, .. } = inputs.clone();
        let lora = lora.map(|lora| LoraInputs { a: contiguous(lora.a), b: contiguous(lora.b), ..lora });
        Some(Self { x: contiguous(x), weight: contiguous(weight), bias: bias.map(contiguous), lora, unit })
    }

    /// Whether the kernels make the backward pass as well: that of a weight in bf16 only with the processor's own unit.
    pub(super) fn go_backward(&self) -> bool {
        is_f32(&self.weight) || self.unit.is_some()
    }

    pub(super) fn slices(&self) -> linear::Inputs<'_> {
        let [rows, input] = self.x.shape().dims();
        let [output, _] = self.weight.shape().dims();
        let lora = self.lora.as_ref().map(|lora| {
            let [rank, _] = lora.a.shape().dims();
            let dropout = match lora.dropout {
                Some(Dropout::Seed { seed, probability }) => Some(SeededDropout::new(seed, probability)),
                Some(Dropout::Mask(_)) | None => None,
            };
            Lora { a: floats(&lora.a), b: floats(&lora.b), rank, scale: lora.scale as f32, dropout }
        });
        linear::Inputs {
            x: floats(&self.x),
            weight: stored(&self.weight),
            bias: self.bias.as_ref().map(floats),
            lora,
            unit: self.unit,
            rows,
            input,
            output,
        }
    }
}

/// A contiguous weight in f32 or bf16.
pub(super) fn stored(weight: &FlexTensor) -> Weight<'_> {
    let values = weight.layout().start_offset()..;
    match weight.dtype() {
        DType::BF16 => Weight::Bf16(&weight.storage()[values]),
        _ => Weight::F32(floats(weight)),
    }
}

/// A tensor `[batch, tokens, hidden]` of dense rows as the kernels take it.
pub(super) fn tokens(tensor: &FlexTensor) -> attention::Tokens<'_> {
    let layout = tensor.layout();
    let strides = layout.strides();
    attention::Tokens {
        data: &tensor.storage::<f32>()[layout.start_offset()..],
        batch_stride: strides[0] as usize,
        token_stride: strides[1] as usize,
    }
}
