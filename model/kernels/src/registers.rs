//! Which registers the kernels compute in: the widest that the processor has, unless narrower ones are asked for, to see
//! on one machine how others fare.

use std::sync::atomic::{AtomicBool, Ordering};

use pulp::{Arch, Simd, WithSimd};

static NARROW: AtomicBool = AtomicBool::new(false);

/// Registers that the kernels may be held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registers {
    /// The widest that the processor has; units for tiles of f32 as well.
    Widest,
    /// Those of AVX2, 16 of 256 bits, where the processor has wider ones; no units for tiles of f32.
    Avx2,
}

impl Registers {
    /// From now on all kernels of this process compute in these, but for products in bf16 with a
    /// [`TileUnit`](crate::TileUnit). Products of few rows in f32 then sum in another order.
    pub fn hold(self) {
        NARROW.store(self == Self::Avx2, Ordering::Relaxed);
    }
}

/// Bits of the registers that the kernels compute in now.
pub fn register_bits() -> usize {
    8 * size_of::<f32>() * lanes()
}

/// The f32 elements of one of them.
pub(crate) fn lanes() -> usize {
    arch().dispatch(Lanes)
}

/// Whether the kernels may use all that the processor has.
pub(crate) fn unheld() -> bool {
    !NARROW.load(Ordering::Relaxed)
}

/// What kernels are compiled for and run with.
pub(crate) fn arch() -> Arch {
    #[cfg(target_arch = "x86_64")]
    if !unheld()
        && let Some(simd) = pulp::x86::V3::try_new()
    {
        return Arch::V3(simd);
    }
    Arch::new()
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// All kinds of registers of this processor, for tests of what must not depend on them.
#[cfg(test)]
pub(crate) fn each_arch() -> Vec<Arch> {
    let mut all = vec![Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    {
        all.extend(pulp::x86::V3::try_new().map(Arch::V3));
        all.extend(pulp::x86::V4::try_new().map(Arch::V4));
    }
    #[cfg(target_arch = "aarch64")]
    all.push(Arch::new());
    all
}
