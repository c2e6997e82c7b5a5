//! Numbers in the type that they are written in.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, TensorData};

use super::Dtype;
use super::parameters::{Held, replaced};
use crate::{GptNeo, ModelError};

/// The model with every weight rounded to `dtype` and held as float32 again: what a file of that type gives back.
///
/// # Errors
///
/// [`ModelError::Overflow`] where a weight is larger than any number of the type.
pub fn rounded<B: Backend>(model: GptNeo<B>, dtype: Dtype) -> Result<GptNeo<B>, ModelError> {
    if dtype == Dtype::F32 {
        return Ok(model);
    }
    replaced(model, |path, numbers| Ok((to_dtype(numbers(), dtype, path)?, Held::As(DType::F32))))
}

/// The numbers of tensor `name` in `dtype`.
///
/// # Errors
///
/// As [`rounded`].
pub(super) fn to_dtype(data: TensorData, dtype: Dtype, name: &str) -> Result<TensorData, ModelError> {
    if data.dtype == dtype.burn() {
        return Ok(data);
    }
    let exact = data.convert_dtype(DType::F32);
    let written = exact.clone().convert_dtype(dtype.burn());
    let lost = exact
        .iter::<f32>()
        .zip(written.clone().convert_dtype(DType::F32).iter::<f32>())
        .find(|(exact, written)| exact.is_finite() && !written.is_finite());
    match lost {
        None => Ok(written),
        Some((value, _)) => {
            Err(ModelError::Overflow { tensor: name.to_string(), value, dtype: dtype.name() })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_overflows_is_refused_by_name() {
        let data = |values: &[f32]| TensorData::new(values.to_vec(), [values.len()]);
        let written = to_dtype(data(&[1.0, 65_504.0, f32::INFINITY]), Dtype::F16, "a").unwrap();
        assert_eq!(written.iter::<f32>().collect::<Vec<_>>(), [1.0, 65_504.0, f32::INFINITY]);
        let message = to_dtype(data(&[1.0, -70_000.0]), Dtype::F16, "a.weight").unwrap_err().to_string();
        assert!(
            message.contains("a.weight") && message.contains("-7e4") && message.contains("f32"),
            "{message}"
        );
        to_dtype(data(&[-70_000.0]), Dtype::Bf16, "a").unwrap();
        to_dtype(data(&[f32::MAX]), Dtype::Bf16, "a").unwrap_err();
    }
}
