//! The lengths of an updated weight's rows on Flex, whatever the weight is kept in.

use burn::tensor::{DType, TensorMetadata, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};
use gptneo_kernels as kernels;

use super::super::{LoraInputs, dora};
use super::quantized;
use super::tensors::{UpdateTensors, contiguous, stored, tensor};

/// The kernel's where it reads the weight as it is kept, else those of the plain operations.
pub(super) fn updated_row_norms(
    weight: TensorPrimitive<Flex>,
    a: FlexTensor,
    b: FlexTensor,
    scale: f64,
) -> FlexTensor {
    let weight = match weight {
        TensorPrimitive::Float(weight) => TensorPrimitive::Float(contiguous(weight)),
        quantized => quantized,
    };
    let (kept, shape) = match &weight {
        TensorPrimitive::Float(weight) => {
            let read = matches!(weight.dtype(), DType::F32 | DType::BF16);
            (read.then(|| stored(weight)), weight.shape())
        }
        TensorPrimitive::QFloat(weight) => (quantized::stored(weight), weight.shape()),
    };
    let update = UpdateTensors::new(&LoraInputs { a: a.clone(), b: b.clone(), scale, dropout: None });
    let (Some(kept), Some(update)) = (kept, update) else {
        return dora::plain_row_norms::<Flex>(weight, a, b, scale);
    };
    let [output, input] = shape.dims();
    tensor(kernels::updated_row_norms(kept, &update.slices(), [input, output]), [output])
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::super::super::testing::{assert_close, random, values};
    use super::*;
    use crate::WeightFormat;

    #[test]
    fn the_kernel_gives_the_plain_operations_lengths() {
        let float = |tensor: Tensor<Flex, 2>| tensor.into_primitive().tensor();
        let (a, b) = (random::<Flex, 2>([4, 48], 2), random::<Flex, 2>([50, 4], 3));
        for format in [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8] {
            let weight = || format.of(random::<Flex, 2>([50, 48], 1)).into_primitive();
            let found = updated_row_norms(weight(), float(a.clone()), float(b.clone()), 0.5);
            let plain = dora::plain_row_norms::<Flex>(weight(), float(a.clone()), float(b.clone()), 0.5);
            let [found, plain] = [found, plain]
                .map(|norms| Tensor::<Flex, 1>::from_primitive(TensorPrimitive::Float(norms)).into_data());
            assert_close(&found, &values(&plain), 1e-5, &format!("{format:?}"));
        }
    }
}
