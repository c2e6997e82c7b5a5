//! What all operations promise: the same bits on any number of threads, and no slice of another shape.

#![allow(clippy::unwrap_used)]
use half::bf16;

use crate::testing::numbers;
use crate::*;

const ROWS: usize = 600;
const HIDDEN: usize = 96;
const OUTPUT: usize = 300;
const RANK: usize = 4;
/// Texts of this many tokens, several blocks of queries each.
const TOKENS: usize = 150;

/// Every result of every operation, at a shape of several tasks.
fn all_results() -> Vec<Vec<f32>> {
    let x = numbers(1, ROWS * HIDDEN);
    let dy = || numbers(2, ROWS * HIDDEN);
    let (scale, shift) = (numbers(3, HIDDEN), numbers(4, HIDDEN));
    let mut results = vec![gelu(&x), layer_norm(&x, &scale, &shift, 1e-5)];

    let mut of_x = dy();
    gelu_backward(&x, &mut of_x);
    results.push(of_x);
    let mut of_x = dy();
    layer_norm_input_gradient(&x, &scale, &mut of_x, 1e-5);
    results.push(of_x);
    let mut of_x = dy();
    results.extend(layer_norm_backward(&x, &scale, &mut of_x, 1e-5));
    results.push(of_x);

    let text = |seed| numbers(seed, ROWS * HIDDEN);
    let texts = [5, 6, 7, 8].map(text);
    let [query, key, value, gradient] = texts.each_ref().map(|data| Tokens::dense(data, TOKENS, HIDDEN));
    let inputs = Attention {
        query,
        key,
        value,
        batch: ROWS / TOKENS,
        queries: TOKENS,
        keys: TOKENS,
        hidden: HIDDEN,
        heads: 3,
        window: Some(70),
        padding: None,
    };
    results.push(attention(&inputs));
    results.push(attention(&Attention { query: Tokens::dense(&texts[0], 1, HIDDEN), queries: 1, ..inputs }));
    results.extend(attention_backward(&inputs, gradient));

    let weight = numbers(9, OUTPUT * HIDDEN);
    let half: Vec<bf16> = weight.iter().map(|value| bf16::from_f32(*value)).collect();
    let (a, b) = (numbers(10, RANK * HIDDEN), numbers(11, OUTPUT * RANK));
    let dropout = Some(SeededDropout::new(12, 0.1));
    let low_rank = Some(LowRank { a: &a, b: &b, rank: RANK, scale: 2.0, dropout });
    let dy = numbers(13, ROWS * OUTPUT);
    let layer = Linear {
        x: &x,
        weight: Weight::F32(&weight),
        bias: None,
        low_rank,
        unit: None,
        rows: ROWS,
        input: HIDDEN,
        output: OUTPUT,
    };
    let in_half = Linear { weight: Weight::Bf16(&half), unit: TileUnit::for_bf16(), ..layer };
    let few = Linear { x: &x[..5 * HIDDEN], rows: 5, ..layer };
    for layer in [layer, in_half] {
        results.push(linear(&layer));
        let wanted = LinearGradients { x: true, a: true, b: true };
        let LinearGradients { x, a, b } = linear_backward(&layer, &dy, wanted);
        results.extend([x, a, b].map(Option::unwrap));
    }
    results.push(linear(&few));
    for unit in [None, TileUnit::for_bf16()] {
        results.push(linear_weight_gradient(&x, unit, &dy, [ROWS, OUTPUT, HIDDEN]));
        results.push(linear_weight_gradient(&dy, unit, &x, [ROWS, HIDDEN, OUTPUT]));
    }

    let mut logits = linear(&layer);
    let targets: Vec<usize> = (0..ROWS).map(|row| row % OUTPUT).collect();
    let losses = [cross_entropy(&logits, &targets), cross_entropy_gradients(&mut logits, &targets)];
    results.extend(losses.map(|losses| losses.into_iter().map(|loss| loss as f32).collect()));
    results.push(logits);
    results
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let on =
        |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(all_results);
    let one = on(1);
    assert_eq!(one.len(), 28);
    assert!(one.iter().all(|result| result.iter().any(|value| *value != 0.0)));
    for threads in [2, 7] {
        for (index, (found, expected)) in on(threads).iter().zip(&one).enumerate() {
            let bits = |result: &[f32]| result.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert!(bits(found) == bits(expected), "result {index} on {threads} threads");
        }
    }
}

/// A layer of 2 inputs and 3 outputs for 1 row.
fn layer(x: &[f32]) -> Linear<'_> {
    let weight = Weight::F32(&[0.0; 6]);
    Linear { x, weight, bias: None, low_rank: None, unit: None, rows: 1, input: 2, output: 3 }
}

#[test]
#[should_panic(expected = "numbers of x")]
fn an_input_of_another_shape_is_refused() {
    linear(&layer(&[0.0; 3]));
}

#[test]
#[should_panic(expected = "a bias of other than 3 numbers")]
fn a_bias_of_another_shape_is_refused() {
    linear(&Linear { bias: Some(&[0.0; 2]), ..layer(&[0.0; 2]) });
}

#[test]
#[should_panic(expected = "numbers of A and B")]
fn a_low_rank_part_of_another_shape_is_refused() {
    let low_rank = LowRank { a: &[0.0; 2], b: &[0.0; 2], rank: 1, scale: 1.0, dropout: None };
    linear(&Linear { low_rank: Some(low_rank), ..layer(&[0.0; 2]) });
}

#[test]
#[should_panic(expected = "5 numbers are no rows of 2")]
fn a_row_that_is_not_whole_is_refused() {
    layer_norm(&[0.0; 5], &[1.0; 2], &[0.0; 2], 1e-5);
}

#[test]
#[should_panic(expected = "3 heads cannot share 4 numbers evenly")]
fn heads_that_do_not_share_a_token_evenly_are_refused() {
    let data = [0.0; 8];
    let tokens = Tokens::dense(&data, 2, 4);
    let [query, key, value] = [tokens; 3];
    attention(&Attention {
        query,
        key,
        value,
        batch: 1,
        queries: 2,
        keys: 2,
        hidden: 4,
        heads: 3,
        window: None,
        padding: None,
    });
}
