//! Rows of a table by their numbers, in f32 whatever the table is kept in: of a quantised one those rows alone are
//! brought back.

use burn::tensor::backend::Backend;
use burn::tensor::module::embedding;
use burn::tensor::ops::{FloatTensor, IntTensor, QuantizedTensor};
use burn::tensor::{Int, Tensor, TensorPrimitive};

use super::NeoBackend;

/// The rows of `table` `[rows, hidden]` that `indices` `[batch, tokens]` name, `[batch, tokens, hidden]`. Those of a table
/// in half are in half.
pub fn embedding_rows<B: NeoBackend>(table: Tensor<B, 2>, indices: Tensor<B, 2, Int>) -> Tensor<B, 3> {
    let [batch, tokens] = indices.dims();
    let [_, hidden] = table.dims();
    match table.into_primitive() {
        TensorPrimitive::Float(table) => {
            embedding(Tensor::from_primitive(TensorPrimitive::Float(table)), indices)
        }
        TensorPrimitive::QFloat(table) => {
            let rows = B::quantized_rows(table, indices.reshape([batch * tokens]).into_primitive());
            // [batch * tokens, hidden] -> [batch, tokens, hidden]
            Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(rows)).reshape([batch, tokens, hidden])
        }
    }
}

/// The default of [`NeoBackend::quantized_rows`].
pub(super) fn plain_rows<B: Backend>(table: QuantizedTensor<B>, indices: IntTensor<B>) -> FloatTensor<B> {
    let table = Tensor::<B, 2>::from_primitive(TensorPrimitive::QFloat(table)).dequantize();
    table.select(0, Tensor::from_primitive(indices)).into_primitive().tensor()
}
