//! Losses of a chunk of rows after another, on Flex: the logits are made by the linear layer's kernels, in whatever format
//! the head is kept.

use burn::tensor::ops::IntTensor;
use burn::tensor::{DType, Int, Tensor, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};
use gptneo_kernels as kernels;

use super::super::{Precision, cross_entropy};
use super::tensors::{indices, is_f32, tensor};

/// Whether hidden states and head give logits that the kernels take.
pub(super) fn has_f32_logits(
    hidden: &FlexTensor,
    weight: &TensorPrimitive<Flex>,
    precision: Precision,
) -> bool {
    let head_fits = match weight {
        TensorPrimitive::Float(weight) => {
            precision.half().is_some() || matches!(weight.dtype(), DType::F32 | DType::BF16)
        }
        TensorPrimitive::QFloat(_) => true,
    };
    is_f32(hidden) && head_fits
}

/// The loss of each row, a chunk of rows at a time.
pub(super) fn row_losses(
    hidden: FlexTensor,
    weight: TensorPrimitive<Flex>,
    targets: IntTensor<Flex>,
    precision: Precision,
) -> Vec<f64> {
    let hidden = Tensor::<Flex, 2>::from_primitive(TensorPrimitive::Float(hidden));
    let head = Tensor::<Flex, 2>::from_primitive(weight);
    let targets = Tensor::<Flex, 1, Int>::from_primitive(targets);
    let mut losses = Vec::new();
    for (hidden, targets) in cross_entropy::chunks(&hidden, &targets) {
        let logits =
            cross_entropy::logits(hidden, head.clone(), precision).into_primitive().tensor().to_contiguous();
        losses.extend(kernels::cross_entropy(logits.storage(), &indices(targets)));
    }
    losses
}

/// The sum, `[1]`.
pub(super) fn total(losses: Vec<f64>) -> FlexTensor {
    tensor(vec![losses.into_iter().sum::<f64>() as f32], [1])
}
