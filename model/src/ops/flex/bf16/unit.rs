//! What adds products of bf16: the processor's instruction, or plain arithmetic in its place for tests.

/// f32 sums that are made at a time.
pub(in super::super) const LANES: usize = 16;

/// `VDPBF16PS`: to each of 16 sums in f32 it adds the products of two pairs of bf16.
pub(in super::super) trait Unit: Copy + Send + Sync {
    /// `LANES` sums.
    type Sums: Copy;

    /// No sum yet.
    fn zero(self) -> Self::Sums;

    /// Adds the products of the pair `x` with each of the pairs.
    fn add(self, sums: Self::Sums, x: u32, pairs: &[u32; LANES]) -> Self::Sums;

    fn lanes(self, sums: Self::Sums) -> [f32; LANES];

    /// Runs a task that is compiled for processors that have the unit, if all of it is inlined.
    fn run(self, task: impl FnOnce());
}

#[cfg(target_arch = "x86_64")]
pub(in super::super) use self::avx512::Avx512Bf16 as Native;

/// No other processor's instructions are used.
#[cfg(not(target_arch = "x86_64"))]
pub(in super::super) use self::Emulated as Native;

#[cfg(not(target_arch = "x86_64"))]
impl Emulated {
    pub(in super::super) fn new() -> Option<Self> {
        None
    }
}

/// The same sums without the instruction.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[derive(Clone, Copy)]
pub(in super::super) struct Emulated;

#[cfg(any(test, not(target_arch = "x86_64")))]
impl Unit for Emulated {
    type Sums = [f32; LANES];

    fn zero(self) -> Self::Sums {
        [0.0; LANES]
    }

    fn add(self, mut sums: Self::Sums, x: u32, pairs: &[u32; LANES]) -> Self::Sums {
        let [first, second] = floats(x);
        for (sum, pair) in sums.iter_mut().zip(pairs) {
            let pair = floats(*pair);
            *sum += first * pair[0];
            *sum += second * pair[1];
        }
        sums
    }

    fn lanes(self, sums: Self::Sums) -> [f32; LANES] {
        sums
    }

    fn run(self, task: impl FnOnce()) {
        task();
    }
}

/// A bf16 is the upper half of an f32.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn floats(pair: u32) -> [f32; 2] {
    [f32::from_bits(pair << 16), f32::from_bits(pair & 0xFFFF_0000)]
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512 {
    use std::arch::x86_64::{
        __m512, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_set1_epi32, _mm512_setzero_ps,
    };
    use std::mem::transmute;

    use super::{LANES, Unit};

    /// A processor with AVX512_BF16: AMD's from Zen 4 on, Intel's Cooper Lake and servers from Sapphire Rapids on.
    /// Whoever holds one has asked the processor.
    #[derive(Clone, Copy)]
    pub(in super::super::super) struct Avx512Bf16(());

    impl Avx512Bf16 {
        /// None where this processor lacks it.
        pub(in super::super::super) fn new() -> Option<Self> {
            let has = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bf16");
            has.then_some(Self(()))
        }
    }

    impl Unit for Avx512Bf16 {
        type Sums = __m512;

        #[inline(always)]
        fn zero(self) -> __m512 {
            // SAFETY: `self` exists on processors with AVX512F alone.
            unsafe { _mm512_setzero_ps() }
        }

        #[inline(always)]
        fn add(self, sums: __m512, x: u32, pairs: &[u32; LANES]) -> __m512 {
            // SAFETY: `self` exists on processors with AVX512F and AVX512_BF16 alone. The types are as large as each
            // other, and any bits are a value of each.
            unsafe {
                let x = transmute::<__m512i, __m512bh>(_mm512_set1_epi32(x.cast_signed()));
                _mm512_dpbf16_ps(sums, x, transmute::<[u32; LANES], __m512bh>(*pairs))
            }
        }

        #[inline(always)]
        fn lanes(self, sums: __m512) -> [f32; LANES] {
            // SAFETY: the types are as large as each other, and any bits are floats.
            unsafe { transmute(sums) }
        }

        #[inline(always)]
        fn run(self, task: impl FnOnce()) {
            // SAFETY: `self` exists on processors with these alone.
            unsafe { compiled(task) }
        }
    }

    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512bf16")]
    fn compiled(task: impl FnOnce()) {
        task();
    }
}
