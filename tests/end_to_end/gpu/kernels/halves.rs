//! What the kernels make of half types where a GPU's matrix units take part: the weights of attention are rounded then.

use burn::tensor::{DType, TensorMetadata};
use burn_flex::Flex;

use super::joined::halves;
use super::*;

/// As [`ATTENTIONS`], of heads that matrix units take: of one tile, of some, of the most; a cube's rows and one more, what
/// is brought at a time and one less, keys before the queries, windows.
const OF_TILES: [(usize, usize, usize, usize, usize, Option<usize>); 8] = [
    (2, 110, 110, 2, 16, Some(40)),
    (1, 65, 65, 1, 64, None),
    (2, 31, 31, 3, 48, None),
    (1, 130, 193, 2, 64, Some(64)),
    (1, 5, 110, 2, 32, None),
    (1, 1, 110, 2, 64, Some(30)),
    (1, 1, 1, 1, 16, Some(1)),
    (1, 300, 300, 1, 64, Some(256)),
];

/// Output and gradients of attention of numbers rounded to `half`, in the type `made_in`.
fn outcome<B: NeoBackend>(index: usize, half: DType, made_in: DType) -> [Vec<f32>; 4] {
    let (batch, queries, keys, heads, size, window) = OF_TILES[index];
    let (rule, hidden) = (AttentionRule { heads, window }, heads * size);
    let given = |seed, rows| {
        let exact = Tensor::<Flex, 3>::from_data(numbers(seed, [batch, rows, hidden]), &Default::default());
        let rounded = exact.cast(half).cast(DType::F32).into_data();
        Tensor::<B, 3>::from_data(rounded, &Default::default()).cast(made_in).into_primitive().tensor()
    };
    let [query, gradient, key, value] =
        [given(1, queries), given(2, queries), given(3, keys), given(4, keys)];
    let output = B::causal_attention(query.clone(), key.clone(), value.clone(), rule, None);
    let [dq, dk, dv] = B::causal_attention_backward(query, key, value, rule, None, gradient);
    assert_eq!(output.dtype(), made_in);
    [output, dq, dk, dv].map(|found| {
        let found = Tensor::<B, 3>::from_primitive(TensorPrimitive::Float(found)).cast(DType::F32);
        read::<B, 3>(found.into_primitive().tensor())
    })
}

fn attention<B: NeoBackend>() {
    for half in halves::<B>() {
        let tolerance = if half == DType::F16 { 1e-3 } else { 8e-3 };
        for (index, shape) in OF_TILES.iter().enumerate() {
            let (found, expected) =
                (outcome::<B>(index, half, half), outcome::<NdArray>(index, half, DType::F32));
            let whats = ["output", "query", "key", "value"];
            for ((found, expected), what) in found.iter().zip(&expected).zip(whats) {
                near(found, expected, tolerance, &format!("{what} of {shape:?} in {half:?}"));
            }
        }
    }
}

#[test]
fn attention_of_half_types_is_that_of_f32_but_for_rounding() {
    on_the_gpu!(attention);
}
