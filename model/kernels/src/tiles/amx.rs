//! Intel's Advanced Matrix Extensions: servers from Sapphire Rapids on. A tile is a register of its own there, and one
//! instruction, `TDPBF16PS`, multiplies two and adds to the sums of a third. Rust has no stable functions for them yet.

#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, __get_cpuid_max, _xgetbv};
use std::sync::OnceLock;

use super::avx512_bf16::Avx512Bf16;
use super::unit::{SIDE, Sums, Tile, Unit};

/// A processor that multiplies tiles. Whoever holds one has asked the processor, and the system for leave to use them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amx(Avx512Bf16);

impl Amx {
    /// None where this processor lacks them, or the system keeps them to itself.
    pub(super) fn new() -> Option<Self> {
        static USABLE: OnceLock<bool> = OnceLock::new();
        let base = Avx512Bf16::new()?;
        USABLE.get_or_init(|| processor_has_tiles() && system_lends_tiles()).then_some(Self(base))
    }
}

/// AMX-TILE and AMX-BF16 (Intel's manual, volume 1, 18.1), and that the system saves the registers of tiles.
fn processor_has_tiles() -> bool {
    const FEATURES: u32 = 1 << 24 | 1 << 22;
    const SAVED: u64 = 1 << 18 | 1 << 17;
    if !is_x86_feature_detected!("xsave") || __get_cpuid_max(0).0 < 7 {
        return false;
    }
    // SAFETY: the processor has just said that it has XSAVE, which is off where the system does not use it.
    let saved = unsafe { saved_registers() };
    __cpuid_count(7, 0).edx & FEATURES == FEATURES && saved & SAVED == SAVED
}

#[target_feature(enable = "xsave")]
fn saved_registers() -> u64 {
    // SAFETY: register 0 exists wherever XSAVE does.
    unsafe { _xgetbv(0) }
}

/// Asks Linux for the tiles' place in the state of every thread; it gives it to those who ask.
#[cfg(target_os = "linux")]
fn system_lends_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const TILE_DATA: libc::c_ulong = 18;
    // SAFETY: the call reads two numbers; all it changes is what this process may do.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn system_lends_tiles() -> bool {
    false
}

/// What `LDTILECFG` reads: palette 1, and eight tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static SHAPES: Shapes = Shapes {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Loads the part of x at an offset: 16 rows into tile 4, the other 16 into tile 5.
macro_rules! x {
    ($offset:literal) => {
        concat!(
            "tileloadd tmm4, [{x0} + {line} + ",
            $offset,
            "]\ntileloadd tmm5, [{x1} + {line} + ",
            $offset,
            "]"
        )
    };
}

/// Loads the part of the other factor at an offset into tiles 6 and 7.
macro_rules! factor {
    ($offset:literal) => {
        concat!(
            "tileloadd tmm6, [{f0} + {line} + ",
            $offset,
            "]\ntileloadd tmm7, [{f1} + {line} + ",
            $offset,
            "]"
        )
    };
}

/// Adds the four products of what is loaded, and asks on the way for the cache lines at four offsets, if any.
macro_rules! add {
    () => {
        "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7\ntdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7"
    };
    ($a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "tdpbf16ps tmm0, tmm4, tmm6\nprefetcht1 [{next} + ",
            $a,
            "]\ntdpbf16ps tmm1, tmm4, tmm7\nprefetcht1 [{next} + ",
            $b,
            "]\ntdpbf16ps tmm2, tmm5, tmm6\nprefetcht1 [{next} + ",
            $c,
            "]\ntdpbf16ps tmm3, tmm5, tmm7\nprefetcht1 [{next} + ",
            $d,
            "]"
        )
    };
}

/// Sums into tiles 0 to 3 by the given steps for each 32 terms, whose tiles take `$size` bytes; `$asked` bytes are asked
/// for on the way.
macro_rules! sum {
    (
        $x:ident, $factor:ident, $next:ident, $steps:ident, $sums:ident,
        $size:literal, $asked:literal, $($step:expr),+
    ) => {
        asm!(
            "ldtilecfg [{shapes}]",
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "2:",
            $($step,)+
            concat!("add {x0}, ", $size), concat!("add {x1}, ", $size),
            concat!("add {f0}, ", $size), concat!("add {f1}, ", $size),
            concat!("add {next}, ", $asked),
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {row}], tmm0",
            "tilestored [{sums} + {row} + 64], tmm1",
            "tilestored [{sums} + {row} + 2048], tmm2",
            "tilestored [{sums} + {row} + 2112], tmm3",
            "tilerelease",
            shapes = in(reg) &raw const SHAPES,
            x0 = inout(reg) $x.0.as_ptr() => _,
            x1 = inout(reg) $x.1.as_ptr() => _,
            f0 = inout(reg) $factor.0.as_ptr() => _,
            f1 = inout(reg) $factor.1.as_ptr() => _,
            next = inout(reg) $next.as_ptr() => _,
            steps = inout(reg) $steps => _,
            sums = in(reg) $sums,
            line = in(reg) 64usize,
            row = in(reg) 4 * SIDE,
            options(nostack),
        )
    };
}

impl Unit for Amx {
    #[inline(always)]
    fn multiply<const PARTS: usize>(self, x: &[Tile], factor: &[Tile], next: &[Tile], sums: &mut Sums) {
        let steps = x.len() / 2 / PARTS;
        let (x, factor) = (x.split_at(x.len() / 2), factor.split_at(factor.len() / 2));
        let all = [x.0, x.1, factor.0, factor.1];
        assert!(
            steps > 0 && all.into_iter().all(|tiles| tiles.len() == steps * PARTS),
            "tiles of other terms"
        );
        let sums = sums.0.as_mut_ptr();
        // SAFETY: `self` exists where the processor has tiles and the system lends them. The loop reads `steps` times
        // `PARTS` tiles of 1024 bytes from each of four places, which have as many, and 32 rows of 128 bytes are written
        // to `sums`, which has as many. Asking for a cache line reads nothing. The registers of tiles are used nowhere
        // else and are given back.
        unsafe {
            match PARTS {
                1 => sum!(x, factor, next, steps, sums, 1024, 256, x!(0), factor!(0), add!(0, 64, 128, 192)),
                // As `products` lists them.
                3 => sum!(
                    x,
                    factor,
                    next,
                    steps,
                    sums,
                    3072,
                    1024,
                    x!(0),
                    factor!(2048),
                    add!(0, 64, 128, 192),
                    factor!(1024),
                    add!(256, 320, 384, 448),
                    x!(1024),
                    add!(512, 576, 640, 704),
                    factor!(0),
                    add!(768, 832, 896, 960),
                    x!(2048),
                    add!(),
                    x!(0),
                    add!()
                ),
                _ => panic!("a factor enters in one or three parts"),
            }
        }
    }

    #[inline(always)]
    fn transpose(self, tile: &mut Tile) {
        self.0.transpose(tile);
    }

    #[inline(always)]
    fn run<T>(self, task: impl FnOnce() -> T) -> T {
        self.0.run(task)
    }
}
