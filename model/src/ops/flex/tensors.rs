//! Between Flex's tensors and the slices that the kernels take: tensors are made fit once, then lent.

use burn::tensor::{DType, Int, Shape, Tensor, TensorData, TensorMetadata};
use burn_flex::{Flex, FlexTensor};
use gptneo_kernels::{Attention, Linear, LowRank, TileUnit, Tokens, Weight};

use super::super::{AttentionRule, Dropout, LinearInputs, LoraInputs, Precision};

pub(super) fn is_f32(tensor: &FlexTensor) -> bool {
    tensor.dtype() == DType::F32
}

pub(super) fn all_f32(tensors: &[&FlexTensor]) -> bool {
    tensors.iter().all(|tensor| is_f32(tensor))
}

/// Copies a tensor unless it is one block already.
pub(super) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

/// Copies a tensor unless its last dimension is contiguous and its strides are not negative.
pub(super) fn with_dense_rows(tensor: FlexTensor) -> FlexTensor {
    let layout = tensor.layout();
    match layout.strides().last() {
        Some(1) if layout.has_positive_strides() => tensor,
        _ => tensor.to_contiguous(),
    }
}

/// The tensor in row-major order, to be written over: it is copied then if it is shared, and only then.
pub(super) fn owned(tensor: FlexTensor) -> FlexTensor {
    // `to_contiguous` borrows: its clone would count as a second owner while the first one lives.
    let contiguous = tensor.to_contiguous();
    drop(tensor);
    contiguous
}

/// The values of a contiguous f32 tensor.
pub(super) fn floats(tensor: &FlexTensor) -> &[f32] {
    let start = tensor.layout().start_offset();
    &tensor.storage()[start..start + tensor.shape().num_elements()]
}

/// A contiguous weight in f32 or bf16.
pub(super) fn stored(weight: &FlexTensor) -> Weight<'_> {
    let values = weight.layout().start_offset()..;
    match weight.dtype() {
        DType::BF16 => Weight::Bf16(&weight.storage()[values]),
        _ => Weight::F32(floats(weight)),
    }
}

/// The processor's unit for products in these numbers.
pub(super) fn tile_unit(precision: Precision) -> Option<TileUnit> {
    match precision {
        Precision::Bf16 => TileUnit::for_bf16(),
        Precision::F32 | Precision::F16 => None,
    }
}

/// A tensor `[batch, tokens, hidden]` of dense rows.
pub(super) fn tokens(tensor: &FlexTensor) -> Tokens<'_> {
    let layout = tensor.layout();
    let strides = layout.strides();
    Tokens {
        data: &tensor.storage::<f32>()[layout.start_offset()..],
        batch_stride: strides[0] as usize,
        token_stride: strides[1] as usize,
    }
}

/// The indices; a negative one becomes one past every end.
pub(super) fn indices(tensor: Tensor<Flex, 1, Int>) -> Vec<usize> {
    tensor.into_data().iter::<i64>().map(|index| usize::try_from(index).unwrap_or(usize::MAX)).collect()
}

/// Values in row-major order as a tensor.
pub(super) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

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

    pub(super) fn slices(&self, rule: AttentionRule) -> Attention<'_> {
        let [query, key, value] = &self.tensors;
        let [batch, queries, hidden] = query.shape().dims();
        let [_, keys, _] = key.shape().dims();
        let padding = self.padding.as_ref().map(|padding| {
            let start = padding.layout().start_offset();
            &padding.bytes()[start..start + batch * keys]
        });
        let (query, key, value) = (tokens(query), tokens(key), tokens(value));
        let AttentionRule { heads, window } = rule;
        Attention { query, key, value, batch, queries, keys, hidden, heads, window, padding }
    }
}

/// A low-rank update without gaps.
pub(super) struct UpdateTensors(LoraInputs<FlexTensor>);

impl UpdateTensors {
    /// None where the kernels do not fit: for types other than f32, and for a mask, which no kernel reads.
    pub(super) fn new(lora: &LoraInputs<FlexTensor>) -> Option<Self> {
        let fits = all_f32(&[&lora.a, &lora.b]) && !matches!(lora.dropout, Some(Dropout::Mask(_)));
        let LoraInputs { a, b, scale, dropout } = lora.clone();
        fits.then(|| Self(LoraInputs { a: contiguous(a), b: contiguous(b), scale, dropout }))
    }

    pub(super) fn slices(&self) -> LowRank<'_> {
        let Self(LoraInputs { a, b, scale, dropout }) = self;
        let [rank, _] = a.shape().dims();
        let dropout = match dropout {
            Some(Dropout::Seeded(rule)) => Some(*rule),
            Some(Dropout::Mask(_)) | None => None,
        };
        LowRank { a: floats(a), b: floats(b), rank, scale: *scale as f32, dropout }
    }
}

/// The inputs of a linear layer without gaps.
pub(super) struct LinearTensors {
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    lora: Option<UpdateTensors>,
    /// What products in half are made with.
    unit: Option<TileUnit>,
}

impl LinearTensors {
    /// None where the kernels do not fit: for types other than f32, but for a weight in bf16; for a mask, which no
    /// kernel reads; for products in half on a processor that does not multiply it.
    pub(super) fn new(inputs: &LinearInputs<FlexTensor>) -> Option<Self> {
        let lora = inputs.lora.as_ref();
        let update = lora.and_then(UpdateTensors::new);
        let weight_fits = matches!(inputs.weight.dtype(), DType::F32 | DType::BF16);
        let fits = weight_fits && is_f32(&inputs.x) && inputs.bias.as_ref().is_none_or(is_f32);
        if !fits || update.is_some() != lora.is_some() {
            return None;
        }
        let unit = tile_unit(inputs.precision);
        if inputs.precision.half().is_some() && (unit.is_none() || inputs.weight.dtype() != DType::BF16) {
            return None;
        }
        let LinearInputs { x, weight, bias, .. } = inputs.clone();
        let bias = bias.map(contiguous);
        Some(Self { x: contiguous(x), weight: contiguous(weight), bias, lora: update, unit })
    }

    pub(super) fn slices(&self) -> Linear<'_> {
        let [rows, input] = self.x.shape().dims();
        let [output, _] = self.weight.shape().dims();
        let low_rank = self.lora.as_ref().map(UpdateTensors::slices);
        Linear {
            x: floats(&self.x),
            weight: stored(&self.weight),
            bias: self.bias.as_ref().map(floats),
            low_rank,
            unit: self.unit,
            rows,
            input,
            output,
        }
    }
}
