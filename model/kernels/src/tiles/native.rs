//! What this processor multiplies tiles with.

#[cfg(target_arch = "x86_64")]
use super::amx::Amx;
#[cfg(target_arch = "x86_64")]
use super::avx512_bf16::Avx512Bf16;
use super::pack::Values;
#[cfg(target_arch = "x86_64")]
use super::product::product;
use crate::products::{Factor, Matrix};

/// A unit of this processor that multiplies tiles of bf16. Whoever holds one has asked the processor.
#[derive(Clone, Copy, Debug)]
pub struct TileUnit(pub(super) Native);

/// The units that are known here; processors other than Intel's and AMD's have none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Native {
    #[cfg(target_arch = "x86_64")]
    Amx(Amx),
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(Avx512Bf16),
}

impl TileUnit {
    /// The fastest one that multiplies factors of bf16 faster than those of f32, where this processor has any.
    pub fn for_bf16() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return Amx::new().map(Native::Amx).or_else(|| Avx512Bf16::new().map(Native::Avx512Bf16)).map(Self);
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// One that multiplies even factors of f32, in three parts each, faster than other units do as they are.
    pub(crate) fn for_f32() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return Amx::new().map(Native::Amx).map(Self);
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// `x F` with both factors rounded to bf16, and the bias added to each row: x `[rows, depth]`, whose rows or whose
    /// columns stand together without gaps, F the factor, bias `[columns]`, to `[rows, columns]`; the depth is not 0.
    pub(crate) fn rounded_product(
        self,
        x: Matrix<'_>,
        factor: Factor<Values<'_>>,
        bias: Option<&[f32]>,
    ) -> Vec<f32> {
        self.of_parts::<1>(x, factor, bias)
    }

    /// As [`TileUnit::rounded_product`], but as good as in f32.
    pub(crate) fn product(self, x: Matrix<'_>, factor: Factor<Values<'_>>, bias: Option<&[f32]>) -> Vec<f32> {
        self.of_parts::<3>(x, factor, bias)
    }

    fn of_parts<const PARTS: usize>(
        self,
        x: Matrix<'_>,
        factor: Factor<Values<'_>>,
        bias: Option<&[f32]>,
    ) -> Vec<f32> {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Native::Amx(unit) => product::<_, PARTS>(unit, x, factor, bias),
            #[cfg(target_arch = "x86_64")]
            Native::Avx512Bf16(unit) => product::<_, PARTS>(unit, x, factor, bias),
        }
    }
}
