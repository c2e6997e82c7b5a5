#![allow(clippy::unwrap_used)]
use burn::tensor::TensorData;
use burn_flex::Flex;
use burn_ndarray::NdArray;

use super::super::testing::{assert_near, assert_slope, numbers};
use super::*;

struct Case {
    name: &'static str,
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    size: usize,
    window: Option<usize>,
    /// For each text, padding on its left and on its right.
    padding: Option<Vec<[usize; 2]>>,
}

impl Case {
    fn all() -> Vec<Self> {
        let case = |name, queries, keys, window, padding: Option<Vec<[usize; 2]>>| {
            let batch = padding.as_ref().map_or(2, Vec::len);
            Self { name, batch, queries, keys, heads: 3, size: 5, window, padding }
        };
        vec![
            Self { heads: 1, batch: 1, ..case("one token", 1, 1, None, None) },
            case("global", 37, 37, None, None),
            case("window", 37, 37, Some(4), None),
            case("window wider than the text", 37, 37, Some(99), None),
            case("padding, and queries that see none but it", 37, 37, Some(4), Some(vec![[3, 0], [0, 9]])),
            case("padding, global", 37, 37, None, Some(vec![[3, 0], [0, 9], [0, 0]])),
            case("cached", 5, 37, Some(8), None),
            case("cached and padded", 5, 37, None, Some(vec![[4, 0], [0, 0]])),
            case("decoding", 1, 37, None, None),
            case("decoding in a window, padded", 1, 37, Some(9), Some(vec![[30, 0], [0, 0]])),
            Self { size: 16, ..case("several blocks", 150, 150, Some(70), Some(vec![[5, 0], [0, 0]])) },
            Self { heads: 2, size: 32, ..case("several blocks, cached", 70, 150, None, None) },
        ]
    }

    fn rule(&self) -> AttentionRule {
        AttentionRule { heads: self.heads, window: self.window }
    }

    fn shapes(&self) -> [[usize; 3]; 3] {
        let hidden = self.heads * self.size;
        [self.queries, self.keys, self.keys].map(|tokens| [self.batch, tokens, hidden])
    }

    /// Query, key, value and the factors of the output in the loss.
    fn inputs(&self) -> Vec<Vec<f32>> {
        let shapes = self.shapes();
        let shapes = shapes.iter().chain([&shapes[0]]).enumerate();
        shapes.map(|(seed, shape)| numbers(seed as u64, shape.iter().product())).collect()
    }

    fn is_padding(&self, text: usize, key: usize) -> bool {
        self.padding.as_ref().is_some_and(|padding| {
            let [left, right] = padding[text];
            key < left || key >= self.keys - right
        })
    }

    fn sees(&self, text: usize, query: usize, key: usize) -> bool {
        let position = self.keys - self.queries + query;
        let near = self.window.is_none_or(|window| key + window > position);
        key <= position && near && !self.is_padding(text, key)
    }

    /// The output by the formula, in f64.
    fn output(&self, inputs: &[Vec<f64>]) -> Vec<f64> {
        let hidden = self.heads * self.size;
        let mut out = vec![0.0; inputs[0].len()];
        for text in 0..self.batch {
            for head in 0..self.heads {
                let at = |tokens: usize, token: usize| (text * tokens + token) * hidden + head * self.size;
                for query in 0..self.queries {
                    let seen: Vec<usize> =
                        (0..self.keys).filter(|key| self.sees(text, query, *key)).collect();
                    let query = at(self.queries, query);
                    let exponential = |key: &usize| -> f64 {
                        let key = at(self.keys, *key);
                        let score: f64 =
                            (0..self.size).map(|i| inputs[0][query + i] * inputs[1][key + i]).sum();
                        score.exp()
                    };
                    let weights: Vec<f64> = seen.iter().map(exponential).collect();
                    let total: f64 = weights.iter().sum();
                    for (key, weight) in seen.iter().zip(weights) {
                        let key = at(self.keys, *key);
                        (0..self.size).for_each(|i| out[query + i] += weight / total * inputs[2][key + i]);
                    }
                }
            }
        }
        out
    }

    fn loss(&self, inputs: &[Vec<f64>]) -> f64 {
        self.output(inputs).iter().zip(&inputs[3]).map(|(out, factor)| out * factor).sum()
    }

    fn padding<B: Backend>(&self, device: &B::Device) -> Option<Tensor<B, 2, Bool>> {
        self.padding.as_ref()?;
        let (batch, keys) = (self.batch, self.keys);
        let marks: Vec<bool> =
            (0..batch * keys).map(|index| self.is_padding(index / keys, index % keys)).collect();
        Some(Tensor::from_data(TensorData::new(marks, [batch, keys]), device))
    }

    /// The output and the gradients of query, key and value, by a function on primitives.
    fn run<B: Backend>(&self, attention: Attention<Autodiff<B>>) -> [Vec<f32>; 4] {
        let device = Default::default();
        let inputs = self.inputs();
        let tensor = |values: &Vec<f32>, shape| {
            Tensor::<Autodiff<B>, 3>::from_data(TensorData::new(values.clone(), shape), &device)
        };
        let [q, k, v] = [0, 1, 2].map(|i| tensor(&inputs[i], self.shapes()[i]).require_grad());
        let padding = self.padding::<Autodiff<B>>(&device).map(Tensor::into_primitive);
        let [query, key, value] = [&q, &k, &v].map(|x| unwrap(x.clone()));
        let out: Tensor<Autodiff<B>, 3> = wrap(attention(query, key, value, self.rule(), padding));
        let gradients = (out.clone() * tensor(&inputs[3], self.shapes()[0])).sum().backward();
        let [q, k, v] = [q, k, v].map(|x| x.grad(&gradients).unwrap().into_data().to_vec().unwrap());
        [out.into_data().to_vec().unwrap(), q, k, v]
    }
}

type Attention<B> = fn(
    FloatTensor<B>,
    FloatTensor<B>,
    FloatTensor<B>,
    AttentionRule,
    Option<BoolTensor<B>>,
) -> FloatTensor<B>;

fn no_padding<B: Backend>() -> Option<Tensor<B, 2, Bool>> {
    None
}

const NAMES: [&str; 4] = ["output", "query", "key", "value"];

/// Flex's kernels and the plain defaults equal the formula in f64 and its slopes.
#[test]
fn output_and_gradients_equal_the_formula() {
    for case in Case::all() {
        let inputs = case.inputs();
        let wide: Vec<Vec<f64>> =
            inputs.iter().map(|input| input.iter().map(|x| f64::from(*x)).collect()).collect();
        let expected: Vec<f32> = case.output(&wide).iter().map(|x| *x as f32).collect();
        let flex = case.run::<Flex>(<Autodiff<Flex> as NeoBackend>::causal_attention);
        let ndarray = case.run::<NdArray>(<Autodiff<NdArray> as NeoBackend>::causal_attention);
        for (backend, found) in [("flex", flex), ("ndarray", ndarray)] {
            let what = |part: usize| format!("{}: {backend}: {}", case.name, NAMES[part]);
            assert_near(&found[0], &expected, 1e-5, &what(0));
            // The f64 formula is slow; the long cases are compared with plain autodiff below.
            let parts = if case.keys < 100 { 0..3 } else { 0..0 };
            for part in parts {
                let loss = |inputs: &[Vec<f64>]| case.loss(inputs);
                assert_slope(loss, &inputs, part, &found[part + 1], 9, &what(part + 1));
            }
        }
    }
}

/// All elements equal what autodiff finds through the plain operations.
#[test]
fn gradients_equal_plain_autodiff() {
    for case in Case::all() {
        // On Flex: NdArray's softmax under autodiff differs from the slopes of the formula by up to 4e-4.
        let expected = case.run::<Flex>(plain::<Autodiff<Flex>>);
        let flex = case.run::<Flex>(<Autodiff<Flex> as NeoBackend>::causal_attention);
        let ndarray = case.run::<NdArray>(<Autodiff<NdArray> as NeoBackend>::causal_attention);
        for part in 0..4 {
            let what = |backend| format!("{}: {backend}: {}", case.name, NAMES[part]);
            assert_near(&flex[part], &expected[part], 2e-5, &what("flex"));
            assert_near(&ndarray[part], &expected[part], 2e-5, &what("ndarray"));
        }
    }
}

/// Keys and values that are a part of a larger cache, with gaps between the texts.
#[test]
fn views_equal_copies() {
    let device = Default::default();
    let cache: Tensor<Flex, 3> =
        Tensor::from_data(TensorData::new(numbers(1, 3 * 20 * 15), [3, 20, 15]), &device);
    let query = cache.clone().slice([0..3, 2..6]);
    let seen = cache.slice([0..3, 0..11]);
    let rule = AttentionRule { heads: 3, window: None };
    let found = causal_attention(query.clone(), seen.clone(), seen.clone(), rule, no_padding());
    let copy = |x: Tensor<Flex, 3>| Tensor::<NdArray, 3>::from_data(x.into_data(), &Default::default());
    let expected = causal_attention(copy(query), copy(seen.clone()), copy(seen), rule, no_padding());
    let (found, expected): (Vec<f32>, Vec<f32>) =
        (found.into_data().to_vec().unwrap(), expected.into_data().to_vec().unwrap());
    assert_near(&found, &expected, 1e-5, "views");
}

#[test]
fn what_is_no_number_comes_out_as_none() {
    for (queries, keys) in [(1, 7), (7, 7)] {
        let mut query = numbers(1, queries * 6);
        query[0] = f32::NAN;
        let tensor = |values: Vec<f32>, tokens| {
            Tensor::<Flex, 3>::from_data(TensorData::new(values, [1, tokens, 6]), &Default::default())
        };
        let other = tensor(numbers(2, keys * 6), keys);
        let rule = AttentionRule { heads: 2, window: None };
        let found = causal_attention(tensor(query, queries), other.clone(), other, rule, no_padding());
        let found = found.into_data().to_vec::<f32>().unwrap();
        // The first head of the first query alone.
        assert!(
            found[..3].iter().all(|x| x.is_nan()) && found[3..].iter().all(|x| x.is_finite()),
            "{found:?}"
        );
    }
}

/// In half precision a masked score would be minus infinity.
#[test]
#[should_panic(expected = "attention scores are f32")]
fn scores_in_half_precision_are_refused() {
    let x = Tensor::<Flex, 3>::ones([1, 2, 4], &Default::default()).cast(DType::F16);
    let [query, key, value] = [x.clone(), x.clone(), x].map(unwrap);
    plain::<Flex>(query, key, value, AttentionRule { heads: 1, window: None }, None);
}
