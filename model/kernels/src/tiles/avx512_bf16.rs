//! AVX512_BF16: AMD's processors from Zen 4 on, Intel's Cooper Lake and servers from Sapphire Rapids on. `VDPBF16PS` adds
//! to each of 16 sums in f32 the products of two pairs of bf16: twice what a processor does in f32.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_shuffle_i32x4,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::mem::transmute;

use super::unit::{LANES, Sums, Tile, Unit, products};

/// Rows whose sums are made at a time: with two registers of columns, half of the processor's registers.
const TALL: usize = 8;

/// A processor with AVX512_BF16. Whoever holds one has asked the processor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512Bf16(());

impl Avx512Bf16 {
    /// None where this processor lacks it.
    pub(super) fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bf16");
        has.then_some(Self(()))
    }
}

impl Unit for Avx512Bf16 {
    #[inline(always)]
    fn multiply<const PARTS: usize>(self, x: &[Tile], factor: &[Tile], _next: &[Tile], sums: &mut Sums) {
        // SAFETY: `self` exists on processors with these features alone.
        unsafe { multiply::<PARTS>(x, factor, sums) }
    }

    #[inline(always)]
    fn transpose(self, tile: &mut Tile) {
        // SAFETY: as above.
        unsafe { transpose(tile) }
    }

    #[inline(always)]
    fn run<T>(self, task: impl FnOnce() -> T) -> T {
        // SAFETY: as above.
        unsafe { compiled(task) }
    }
}

#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn compiled<T>(task: impl FnOnce() -> T) -> T {
    task()
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn multiply<const PARTS: usize>(x: &[Tile], factor: &[Tile], sums: &mut Sums) {
    let (x, (left, right)) = (x.split_at(x.len() / 2), factor.split_at(factor.len() / 2));
    for (index, sums) in sums.0.chunks_exact_mut(TALL).enumerate() {
        let first = index * TALL % LANES;
        let mut totals = [[_mm512_setzero_ps(); 2]; TALL];
        let steps = if index * TALL < LANES { x.0 } else { x.1 }.chunks_exact(PARTS);
        for ((x, left), right) in steps.zip(left.chunks_exact(PARTS)).zip(right.chunks_exact(PARTS)) {
            for [of_x, of_factor] in products(PARTS) {
                let rows = &x[*of_x].0[first..][..TALL];
                for (pair, (left, right)) in left[*of_factor].0.iter().zip(&right[*of_factor].0).enumerate() {
                    let [left, right] = [pairs(left), pairs(right)];
                    for (row, totals) in rows.iter().zip(&mut totals) {
                        let x = pairs_of(_mm512_set1_epi32(row[pair].cast_signed()));
                        totals[0] = _mm512_dpbf16_ps(totals[0], x, left);
                        totals[1] = _mm512_dpbf16_ps(totals[1], x, right);
                    }
                }
            }
        }
        for (sums, totals) in sums.iter_mut().zip(totals) {
            // SAFETY: the types are as large as each other, and any bits are floats.
            *sums = unsafe { transmute::<[__m512; 2], [f32; 2 * LANES]>(totals) };
        }
    }
}

#[inline(always)]
fn pairs(line: &[u32; LANES]) -> __m512bh {
    // SAFETY: the types are as large as each other, and any bits are a value of each.
    unsafe { transmute::<[u32; LANES], __m512bh>(*line) }
}

#[inline(always)]
fn pairs_of(line: __m512i) -> __m512bh {
    // SAFETY: the types are as large as each other, and any bits are a value of each.
    unsafe { transmute::<__m512i, __m512bh>(line) }
}

/// Squares of 2 x 2 numbers, then of 4 x 4, then those among each other.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn transpose(tile: &mut Tile) {
    // SAFETY: the types are as large as each other, and any bits are a value of each.
    let mut rows = unsafe { transmute::<[[u32; LANES]; LANES], [__m512i; LANES]>(tile.0) };
    let mut next = rows;
    for i in (0..LANES).step_by(2) {
        next[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        next[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    for i in (0..LANES).step_by(4) {
        rows[i] = _mm512_unpacklo_epi64(next[i], next[i + 2]);
        rows[i + 1] = _mm512_unpackhi_epi64(next[i], next[i + 2]);
        rows[i + 2] = _mm512_unpacklo_epi64(next[i + 1], next[i + 3]);
        rows[i + 3] = _mm512_unpackhi_epi64(next[i + 1], next[i + 3]);
    }
    // Quarter q of row 4 g + i now holds column 4 q + i of rows 4 g to 4 g + 3.
    for i in 0..4 {
        let even = [0, 8].map(|g| _mm512_shuffle_i32x4::<0x88>(rows[g + i], rows[g + 4 + i]));
        let odd = [0, 8].map(|g| _mm512_shuffle_i32x4::<0xDD>(rows[g + i], rows[g + 4 + i]));
        next[i] = _mm512_shuffle_i32x4::<0x88>(even[0], even[1]);
        next[4 + i] = _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]);
        next[8 + i] = _mm512_shuffle_i32x4::<0xDD>(even[0], even[1]);
        next[12 + i] = _mm512_shuffle_i32x4::<0xDD>(odd[0], odd[1]);
    }
    // SAFETY: as above.
    tile.0 = unsafe { transmute::<[__m512i; LANES], [[u32; LANES]; LANES]>(next) };
}
