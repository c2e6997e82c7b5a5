//! The kernels of decoding: products of few rows with what follows them, attention that appends to its cache, the likeliest
//! token.

use burn::tensor::{DType, s};
use burn_flex::Flex;
use gptneo_lora::model::ops::Follow;

use super::*;

/// Rows, input, output: one of each, odd sizes, as many rows as there may be and one more, more outputs than a cube has.
const PRODUCTS: [[usize; 3]; 5] = [[1, 1, 1], [1, 64, 100], [3, 37, 21], [8, 66, 9], [9, 12, 17]];

fn few_rows<B: NeoBackend>() {
    fn outcome<B: NeoBackend>([rows, input, output]: [usize; 3], kept: DType) -> Vec<Vec<f32>> {
        let x = || tensor::<B, 2>(1, [rows, input]);
        let weight = |seed| {
            let weight = Tensor::<B, 2>::from_data(numbers(seed, [output, input]), &Default::default());
            weight.cast(kept).into_primitive().tensor()
        };
        let (bias, residual) = (|| tensor::<B, 1>(2, [output]), tensor::<B, 2>(3, [rows, output]));
        let mut found = B::few_rows_products(x(), vec![weight(4), weight(5), weight(6)], Follow::Nothing);
        found.extend(B::few_rows_products(x(), vec![weight(7)], Follow::Gelu(bias())));
        found.extend(B::few_rows_products(x(), vec![weight(8)], Follow::Sum(bias(), residual)));
        found.into_iter().map(read::<B, 2>).collect()
    }
    for sizes in PRODUCTS {
        for kept in [DType::F32, DType::F16] {
            if kept == DType::F16 && !B::supports_dtype(&Default::default(), kept) {
                continue;
            }
            let (found, expected) = (outcome::<B>(sizes, kept), outcome::<Flex>(sizes, kept));
            assert_eq!(found.len(), 5);
            for (part, (found, expected)) in found.iter().zip(&expected).enumerate() {
                // Nine rows are a product like others.
                let tolerance = if sizes[0] > 8 { of_products(1e-5) } else { 1e-5 };
                near(found, expected, tolerance, &format!("part {part} of {sizes:?} in {kept:?}"));
            }
        }
    }
}

#[test]
fn products_of_few_rows_and_what_follows_are_those_of_the_plain_operations() {
    on_the_gpu!(few_rows);
}

/// The newest token of each of some texts, in places together and backwards; and some of one text, which see one another.
fn appended<B: NeoBackend>() {
    const PLACES: usize = 400;
    fn outcome<B: NeoBackend>(window: Option<usize>, texts: &[(usize, usize)]) -> [Vec<f32>; 3] {
        let (mut next, mut cached, mut own) = (0, Vec::new(), Vec::new());
        for (index, (queries, count)) in texts.iter().copied().enumerate() {
            let mut places: Vec<usize> = (next..next + count).collect();
            next += count;
            if index % 2 == 1 {
                places.reverse();
            }
            own.extend(&places[count - queries..]);
            cached.push(CachedText { queries, places });
        }
        let (rows, hidden) = (own.len(), 3 * 20);
        let [query, key, value] = [1, 2, 3].map(|seed| tensor::<B, 2>(seed, [rows, hidden]));
        let cache = [4, 5].map(|seed| tensor::<B, 2>(seed, [PLACES, hidden]));
        let (rule, texts) = (AttentionRule { heads: 3, window }, CachedTexts::new(cached));
        let (mixed, [keys, values]) = B::appended_attention(query, [key, value], cache, &own, rule, &texts);
        [mixed, keys, values].map(read::<B, 2>)
    }
    let newest = [(1, 1), (1, 30), (1, 9), (1, 300)];
    let several = [(1, 30), (4, 20)];
    for texts in [&newest[..], &several[..]] {
        for window in [None, Some(4)] {
            let (found, expected) = (outcome::<B>(window, texts), outcome::<NdArray>(window, texts));
            for ((found, expected), what) in found.iter().zip(&expected).zip(["output", "keys", "values"]) {
                near(found, expected, 1e-5, &format!("{what} of {texts:?}, window {window:?}"));
            }
        }
    }
}

#[test]
fn attention_sees_what_it_appends_and_leaves_it_in_the_cache() {
    on_the_gpu!(appended);
}

/// The lowest of equals, wherever the units meet them; numbers that are none; rows of a slice.
fn likeliest<B: NeoBackend>() {
    let found = |rows: Vec<Vec<f32>>| -> Vec<i64> {
        let shape = [rows.len(), rows[0].len()];
        let logits = given::<B, 2>(TensorData::new(rows.concat(), shape));
        let ids = Tensor::<B, 1, Int>::from_primitive(B::likeliest(logits)).into_data();
        ids.iter::<i64>().collect()
    };
    let row = |length: usize, raised: &[usize], to: f32| {
        let mut row: Vec<f32> = numbers(1, [length]).iter::<f32>().collect();
        raised.iter().for_each(|index| row[*index] = to);
        row
    };
    assert_eq!(found(vec![vec![-3.0]]), [0]);
    let rows = vec![row(1001, &[700], 2.0), row(1001, &[999, 300, 44], 2.0), row(1001, &[1000, 0], 5.0)];
    assert_eq!(found(rows), [700, 44, 0]);
    assert_eq!(found(vec![row(300, &[299, 3], f32::NAN), row(300, &[299], f32::INFINITY)]), [-1, 299]);
    assert_eq!(found(vec![vec![f32::NEG_INFINITY; 5]]), [0]);
    let logits = Tensor::<B, 2>::from_data(numbers(3, [4, 517]), &Default::default()).slice(s![1..3, ..]);
    let expected: Vec<i64> = logits.clone().argmax(1).into_data().iter::<i64>().collect();
    let ids = Tensor::<B, 1, Int>::from_primitive(B::likeliest(logits.into_primitive().tensor()));
    assert_eq!(ids.into_data().iter::<i64>().collect::<Vec<_>>(), expected);
}

#[test]
fn the_likeliest_is_the_lowest_of_the_largest() {
    on_the_gpu!(likeliest);
    likeliest::<Flex>();
}
