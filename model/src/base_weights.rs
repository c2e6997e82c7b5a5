//! A frozen base that stays small while an adapter is trained over it: every matrix of the linear layers, the token
//! embedding and the head in bf16 or int8, which forward and backward pass read as they are kept. Norms, biases, the
//! position embedding and the adapter are f32, and so are all sums.
//!
//! What is rounded is the base that the adapter learns to correct; the adapter is for the base as it was published, so that
//! merging goes into that one.

use burn::module::Param;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};

use crate::{GptNeo, Precision, WeightFormat};

impl<B: Backend> GptNeo<B> {
    /// The model with its matrices in this format, one after another, to train an adapter over; see the formats that
    /// backends have at [`GptNeo::with_weights`]. A head that is the token embedding stays it.
    #[must_use]
    pub fn with_base_weights(mut self, format: WeightFormat) -> Self {
        if format == WeightFormat::F32 {
            return self;
        }
        let kept = |matrix: Param<Tensor<B, 2>>| matrix.map(|matrix| format.of(matrix));
        let table = &mut self.transformer.wte;
        table.weight = kept(table.weight.clone());
        if let Some(head) = &mut self.lm_head {
            head.weight = kept(head.weight.clone());
        }
        for (_, _, linear) in self.linears_mut() {
            linear.weight = kept(linear.weight.clone());
        }
        self
    }

    /// The format that the matrices of a base in f32 products are kept in.
    pub fn base_weights(&self) -> WeightFormat {
        let first = self.linears().next().map(|(_, _, linear)| linear);
        match first
            .filter(|linear| linear.precision == Precision::F32)
            .map(|linear| linear.weight.val().dtype())
        {
            Some(DType::BF16) => WeightFormat::Bf16,
            Some(DType::QFloat(_)) => WeightFormat::Int8,
            _ => WeightFormat::F32,
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;

    use burn::module::AutodiffModule;
    use burn::tensor::{Int, TensorData};
    use burn_autodiff::Autodiff;
    use burn_flex::Flex;

    use super::*;
    use crate::adapter::{adapter_tensors, attach};
    use crate::checkpoint::{load_base, load_model};
    use crate::{GptNeoConfig, LoraConfig, Target};

    type Diff = Autodiff<Flex>;

    fn folder() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/window")
    }

    fn base() -> GptNeo<Flex> {
        load_model(&folder(), &Default::default()).unwrap()
    }

    /// What each matrix of the base is worth in this format, in f32.
    fn rounded(format: WeightFormat) -> GptNeo<Flex> {
        let round = |matrix: Param<Tensor<Flex, 2>>| {
            matrix.map(|matrix| match format {
                WeightFormat::Int8 => format.of(matrix).dequantize(),
                _ => format.of(matrix).cast(DType::F32),
            })
        };
        let mut model = base();
        model.transformer.wte.weight = round(model.transformer.wte.weight.clone());
        for (_, _, linear) in model.linears_mut() {
            linear.weight = round(linear.weight.clone());
        }
        model
    }

    /// Numbers of either sign, none like its neighbours.
    fn filled(like: Param<Tensor<Diff, 2>>, step: usize) -> Param<Tensor<Diff, 2>> {
        like.map(|like| {
            let shape = like.dims();
            let numbers = (0..shape[0] * shape[1]).map(|i| ((i * step) % 101) as f32 / 500.0 - 0.1);
            let data = TensorData::new(numbers.collect::<Vec<_>>(), shape);
            Tensor::<Diff, 2>::from_data(data, &like.device()).require_grad()
        })
    }

    /// The loss, and the gradients of an adapter on every layer.
    fn step(base: GptNeo<Flex>) -> (f32, Vec<(String, Vec<f32>)>) {
        let device = Default::default();
        let lora = LoraConfig {
            target_modules: Target::ALL.map(Into::into).to_vec(),
            dropout: 0.0,
            ..LoraConfig::default()
        };
        let mut model = attach(GptNeo::<Diff>::from_inner(base), &lora, &device).unwrap();
        for (_, _, linear) in model.linears_mut() {
            let lora = linear.lora.as_mut().unwrap();
            lora.a = filled(lora.a.clone(), 37);
            lora.b = filled(lora.b.clone(), 29);
        }
        let [batch, tokens] = [2, 40];
        let ids: Vec<i32> = (0..(batch * tokens) as i32).map(|index| index * 31 % 399).collect();
        let targets: Vec<i32> = ids.iter().map(|id| (id + 7) % 399).collect();
        let ids = Tensor::<Diff, 2, Int>::from_data(TensorData::new(ids, [batch, tokens]), &device);
        let targets = Tensor::from_data(TensorData::new(targets, [batch * tokens]), &device);
        let hidden = model.hidden(ids);
        let [_, _, width] = hidden.dims();
        let loss = model.cross_entropy_sum(hidden.reshape([batch * tokens, width]), targets);
        let gradients = loss.backward();
        let of = |tensor: Tensor<Diff, 2>| tensor.grad(&gradients).unwrap().into_data().to_vec().unwrap();
        let adapter = adapter_tensors(&model).into_iter().map(|(name, param)| (name, of(param.val())));
        (loss.into_scalar(), adapter.collect())
    }

    /// The kernels read what is kept as the numbers that it is worth: the same sums in another order. Seen: 1e-5 of the
    /// largest gradient of a matrix; a product the wrong way round is off by as much as there is.
    #[test]
    fn a_base_in_a_format_trains_as_the_numbers_that_it_is_worth() {
        let (exact, _) = step(base());
        for format in [WeightFormat::Bf16, WeightFormat::Int8] {
            let packed = base().with_base_weights(format);
            assert_eq!((packed.base_weights(), packed.lm_head.is_none()), (format, true));
            let ((loss, found), (expected_loss, expected)) = (step(packed), step(rounded(format)));
            assert!(
                (loss - expected_loss).abs() < 1e-5 * expected_loss,
                "{format:?}: {loss} {expected_loss}"
            );
            assert!((loss - exact).abs() > 1e-4, "{format:?} changes nothing");
            for ((name, found), (_, expected)) in found.iter().zip(&expected) {
                let largest = expected.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
                assert!(largest > 0.0, "{format:?}: no gradient of {name}");
                for (found, expected) in found.iter().zip(expected) {
                    assert!(
                        (found - expected).abs() < 1e-4 * largest,
                        "{format:?}, {name}: {found} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_folder_is_read_as_its_model_would_be_packed() {
        let device = Default::default();
        let config = GptNeoConfig::from_folder(&folder()).unwrap();
        for format in [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8] {
            let read = load_base::<Flex>(&config, format, &folder(), &device).unwrap();
            let packed = base().with_base_weights(format);
            let numbers = |model: &GptNeo<Flex>| -> Vec<TensorData> {
                let tables = [&model.transformer.wte.weight, &model.transformer.wpe.weight];
                let matrices = model.linears().map(|(_, _, linear)| linear.weight.val().into_data());
                matrices.chain(tables.map(|table| table.val().into_data())).collect()
            };
            assert_eq!(numbers(&read), numbers(&packed), "{format:?}");
            assert_eq!(read.base_weights(), format);
        }
    }
}
