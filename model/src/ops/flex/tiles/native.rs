//! What this processor multiplies tiles with.

use super::super::weight::Factor;
use super::Values;
#[cfg(target_arch = "x86_64")]
use super::{amx::Amx, avx512_bf16::Avx512Bf16, product};

/// The fastest unit of this processor; other than Intel's and AMD's have none here.
#[derive(Clone, Copy)]
pub(in super::super) enum Native {
    #[cfg(target_arch = "x86_64")]
    Amx(Amx),
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(Avx512Bf16),
}

impl Native {
    /// One that multiplies factors of bf16 faster than those of f32.
    pub(in super::super) fn for_bf16() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return Amx::new().map(Self::Amx).or_else(|| Avx512Bf16::new().map(Self::Avx512Bf16));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// One that multiplies even factors of f32, in three parts each, faster than other units do as they are.
    pub(in super::super) fn for_f32() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return Amx::new().map(Self::Amx);
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// `x F` with both factors rounded to bf16, and the bias added to each row: x `[rows, depth]`, F the factor, bias
    /// `[columns]`, to `[rows, columns]`; the depth is not 0.
    pub(in super::super) fn rounded_product(
        self,
        x: &[f32],
        factor: Factor<Values<'_>>,
        bias: Option<&[f32]>,
    ) -> Vec<f32> {
        self.of_parts::<1>(x, factor, bias)
    }

    /// As [`Native::rounded_product`], but as good as in f32.
    pub(in super::super) fn product(
        self,
        x: &[f32],
        factor: Factor<Values<'_>>,
        bias: Option<&[f32]>,
    ) -> Vec<f32> {
        self.of_parts::<3>(x, factor, bias)
    }

    fn of_parts<const PARTS: usize>(
        self,
        x: &[f32],
        factor: Factor<Values<'_>>,
        bias: Option<&[f32]>,
    ) -> Vec<f32> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx(unit) => product::<_, PARTS>(unit, x, factor, bias),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(unit) => product::<_, PARTS>(unit, x, factor, bias),
        }
    }
}
