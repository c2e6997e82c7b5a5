//! Weights in bytes with a scale for each block of a row, on Flex: products read them as they are kept.

use burn::tensor::quantization::{QTensorPrimitive, QuantLevel};
use burn::tensor::{Int, Tensor, TensorMetadata};
use burn_flex::{Flex, FlexQTensor, FlexTensor};
use gptneo_kernels::{self as kernels, Linear, Weight};

use super::super::{embedding, linear as plain};
use super::tensors::{contiguous, floats, indices, is_f32, tensor};

/// The weight as the kernels read it; none where it is kept in another way.
pub(super) fn stored(weight: &FlexQTensor) -> Option<Weight<'_>> {
    let QuantLevel::Block(block) = weight.scheme().level else { return None };
    let tensor = weight.tensor();
    tensor.is_contiguous().then(|| Weight::Int8 {
        values: &tensor.storage()[tensor.layout().start_offset()..],
        scales: weight.scales(),
        block: block.num_elements(),
    })
}

/// `x W^T + b`.
pub(super) fn linear(x: FlexTensor, weight: FlexQTensor, bias: Option<FlexTensor>) -> FlexTensor {
    let fits = is_f32(&x) && bias.as_ref().is_none_or(is_f32);
    let Some(stored) = stored(&weight).filter(|_| fits) else {
        return plain::plain_quantized::<Flex>(x, weight, bias);
    };
    let ([rows, input], [output, _]) = (x.shape().dims(), weight.shape().dims());
    let (x, bias) = (contiguous(x), bias.map(contiguous));
    let bias = bias.as_ref().map(floats);
    let layer =
        Linear { x: floats(&x), weight: stored, bias, low_rank: None, unit: None, rows, input, output };
    tensor(kernels::linear(&layer), [rows, output])
}

/// `dy W`.
pub(super) fn input_gradient(weight: FlexQTensor, gradient: FlexTensor) -> FlexTensor {
    let Some(stored) = stored(&weight).filter(|_| is_f32(&gradient)) else {
        return plain::plain_quantized_input_gradient::<Flex>(weight, gradient);
    };
    let ([rows, output], [_, input]) = (gradient.shape().dims(), weight.shape().dims());
    let gradient = contiguous(gradient);
    let of_x = kernels::linear_input_gradient(stored, None, floats(&gradient), [rows, output, input]);
    tensor(of_x, [rows, input])
}

/// The rows of these numbers.
pub(super) fn rows(table: FlexQTensor, numbers: Tensor<Flex, 1, Int>) -> FlexTensor {
    let Some(Weight::Int8 { values, scales, block }) = stored(&table) else {
        return embedding::plain_rows::<Flex>(table, numbers.into_primitive());
    };
    let [_, hidden] = table.shape().dims();
    let numbers = indices(numbers);
    let mut rows = Vec::with_capacity(numbers.len() * hidden);
    for number in &numbers {
        let values = values[number * hidden..][..hidden].chunks(block);
        let scales = &scales[number * hidden / block..];
        rows.extend(
            values
                .zip(scales)
                .flat_map(|(values, scale)| values.iter().map(move |value| f32::from(*value) * scale)),
        );
    }
    tensor(rows, [numbers.len(), hidden])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{TensorData, TensorPrimitive};

    use super::super::super::testing::{assert_close, random, values};
    use super::*;
    use crate::WeightFormat;

    /// The plain operations bring the whole weight back to f32: the same numbers in another order.
    #[test]
    fn kernels_read_what_the_plain_operations_bring_back() {
        let quantized = || match WeightFormat::Int8.of(random::<Flex, 2>([50, 48], 1)).into_primitive() {
            TensorPrimitive::QFloat(weight) => weight,
            TensorPrimitive::Float(_) => panic!("a weight in int8 is quantised"),
        };
        let primitive = |shape, seed| random::<Flex, 2>(shape, seed).into_primitive().tensor();
        let same = |found: FlexTensor, expected: FlexTensor, what| {
            let [found, expected]: [TensorData; 2] = [found, expected].map(FlexTensor::into_data);
            assert_close(&found, &values(&expected), 1e-5, what);
        };
        for rows in [1, 70] {
            let (x, dy) = (|| primitive([rows, 48], 2), || primitive([rows, 50], 3));
            let bias = || Some(random::<Flex, 1>([50], 4).into_primitive().tensor());
            let expected = plain::plain_quantized::<Flex>(x(), quantized(), bias());
            same(linear(x(), quantized(), bias()), expected, "linear");
            let expected = plain::plain_quantized_input_gradient::<Flex>(quantized(), dy());
            same(input_gradient(quantized(), dy()), expected, "gradient");
        }
        let numbers = || Tensor::<Flex, 1, Int>::from_data([49, 0, 7, 49], &Default::default());
        let expected = embedding::plain_rows::<Flex>(quantized(), numbers().into_primitive());
        assert_eq!(rows(quantized(), numbers()).into_data(), expected.into_data());
    }
}
