//! Every unit of this processor, and plain arithmetic, against sums in f64.

#![allow(clippy::unwrap_used)]
use half::bf16;

use super::amx::Amx;
use super::avx512_bf16::Avx512Bf16;
use super::emulated::Emulated;
use super::native::{Native, TileUnit};
use super::pack::Values;
use super::product::{COLUMNS, DEPTH, product};
use super::unit::{Tile, Unit};
use crate::products::{Factor, Matrix};
use crate::testing::numbers;

/// One of each, sizes that fill no pair, tile, panel or task, and more terms than are added at a time.
const SIZES: [[usize; 3]; 7] = [
    [1, 1, 1],
    [3, 7, 5],
    [16, 2, 32],
    [33, 32, 17],
    [70, 65, COLUMNS + 33],
    [5, DEPTH + 3, 40],
    [9, 2 * DEPTH, 16],
];

/// What the other factor is kept in.
#[derive(Clone, Copy, PartialEq)]
enum Kept {
    F32,
    Bf16,
}

/// Sums in f64 against the product, with a bias or without: the distance in shares of the sum of absolute terms.
fn check<U: Unit, const PARTS: usize>(unit: U, [rows, depth, columns]: [usize; 3], kept: Kept) {
    let x = numbers(1, rows * depth);
    let (weight, bias) = (numbers(2, depth * columns), numbers(3, columns));
    let stored: Vec<bf16> = weight.iter().map(|value| bf16::from_f32(*value)).collect();
    let halves = kept == Kept::Bf16;
    let values = if halves { Values::Bf16(&stored) } else { Values::F32(&weight) };
    let entering = |value: f32, half: bool| match half {
        true => f64::from(bf16::from_f32(value)),
        false => f64::from(value),
    };
    for transposed in [true, false] {
        let factor = match transposed {
            true => Factor::transposed(values, [columns, depth]),
            false => Factor::plain(values, [depth, columns]),
        };
        let bias = transposed.then_some(&*bias);
        let by_rows = Matrix::dense(&x, rows, depth);
        let out = product::<U, PARTS>(unit, by_rows, factor, bias);
        let turned = by_rows.by_columns();
        let by_columns = Matrix::dense(&turned, depth, rows).t();
        assert_eq!(product::<U, PARTS>(unit, by_columns, factor, bias), out, "columns of x together");
        assert_eq!(out.len(), rows * columns);
        for (place, found) in out.iter().enumerate() {
            let (row, column) = (place / columns, place % columns);
            let mut sum = bias.map_or(0.0, |bias| f64::from(bias[column]));
            let mut size = sum.abs();
            for term in 0..depth {
                let place = if transposed { column * depth + term } else { term * columns + column };
                let product = entering(x[row * depth + term], PARTS == 1)
                    * entering(weight[place], halves || PARTS == 1);
                sum += product;
                size += product.abs();
            }
            // A rounding of f32 is 6e-8 at most; those of the additions go either way.
            let allowed = 6e-8 * (3.0 + (depth as f64).sqrt());
            let error = (f64::from(*found) - sum).abs() / size;
            assert!(
                error < allowed,
                "{rows} x {depth} x {columns}, {PARTS} parts, {place}: {found} for {sum}"
            );
        }
    }
}

fn check_all<U: Unit>(unit: U) {
    for sizes in SIZES {
        check::<U, 1>(unit, sizes, Kept::Bf16);
        check::<U, 1>(unit, sizes, Kept::F32);
        check::<U, 3>(unit, sizes, Kept::F32);
    }
}

#[test]
fn products_of_one_part_are_those_of_bf16_and_of_three_those_of_f32() {
    check_all(Emulated);
    if let Some(unit) = Avx512Bf16::new() {
        check_all(unit);
    }
    if let Some(unit) = Amx::new() {
        check_all(unit);
    }
}

#[test]
fn rows_become_columns() {
    let tile = Tile(std::array::from_fn(|i| std::array::from_fn(|j| (16 * i + j) as u32)));
    let check = |unit: &dyn Fn(&mut Tile)| {
        let mut turned = tile;
        unit(&mut turned);
        for i in 0..16 {
            for j in 0..16 {
                assert_eq!(turned.0[i][j], tile.0[j][i]);
            }
        }
    };
    check(&|tile| Emulated.transpose(tile));
    if let Some(unit) = Avx512Bf16::new() {
        check(&|tile| unit.transpose(tile));
    }
}

/// What is no number stays none, whatever its bits; what is infinite stays so in one part and becomes none in three.
fn check_ends<U: Unit, const PARTS: usize>(unit: U) {
    let weight = [1.0, 2.0];
    let x = [f32::from_bits(0x7FFF_FFFF), f32::from_bits(0x7F80_0001), f32::INFINITY, f32::NEG_INFINITY];
    let factor = |depth| Factor::transposed(Values::F32(&weight[..depth]), [1, depth]);
    let out = product::<U, PARTS>(unit, Matrix::dense(&x, x.len(), 1), factor(1), None);
    assert!(out[0].is_nan() && out[1].is_nan(), "{out:?}");
    match PARTS {
        1 => assert_eq!(out[2..], [f32::INFINITY, f32::NEG_INFINITY]),
        _ => assert!(out[2].is_nan() && out[3].is_nan(), "{out:?}"),
    }
    let out = product::<U, PARTS>(unit, Matrix::dense(&[1e38, 1e38], 1, 2), factor(2), None);
    assert!((out[0] / 3e38 - 1.0).abs() < 0.01, "{out:?}");
}

#[test]
fn what_is_no_number_stays_none() {
    check_ends::<_, 1>(Emulated);
    check_ends::<_, 3>(Emulated);
    if let Some(TileUnit(unit)) = TileUnit::for_bf16() {
        match unit {
            Native::Amx(unit) => {
                check_ends::<_, 1>(unit);
                check_ends::<_, 3>(unit);
            }
            Native::Avx512Bf16(unit) => check_ends::<_, 1>(unit),
        }
    }
}

#[test]
fn a_result_does_not_depend_on_how_the_work_is_cut() {
    let (rows, depth, columns) = (150, 40, 300);
    let (x, weight) = (numbers(3, rows * depth), numbers(4, depth * columns));
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let factor = Factor::plain(Values::F32(&weight), [depth, columns]);
        pool.install(|| product::<_, 3>(Emulated, Matrix::dense(&x, rows, depth), factor, None))
    };
    assert_eq!(on(1), on(7));
}
