//! Which of the processor's registers are computed in: what a machine with narrower ones takes can be measured on one that
//! has wider ones.

use crate::{Error, Remedy, Result};

/// Has all products and sums on the processor computed in registers of so many bits, from now on; without a number nothing
/// changes.
///
/// # Errors
/// The processor has no such registers, or the build no backend whose registers can be chosen.
pub fn hold_registers(bits: Option<usize>) -> Result<()> {
    let Some(bits) = bits else { return Ok(()) };
    match held(bits) {
        Some(found) if found == bits => Ok(()),
        Some(found) => Err(refused(format!("this processor's registers have {found} bits"))),
        None => {
            Err(refused("only the backend flex lets its registers be chosen, and it is not in this build"))
        }
    }
}

fn refused(what: impl Into<String>) -> Error {
    Error::settings(what, Remedy::LeaveOut("registers"))
}

/// The bits of the registers that serve, after `bits` were asked for.
#[cfg(feature = "flex")]
fn held(bits: usize) -> Option<usize> {
    if bits == 256 {
        gptneo_kernels::Registers::Avx2.hold();
    }
    Some(gptneo_kernels::register_bits())
}

#[cfg(not(feature = "flex"))]
fn held(_bits: usize) -> Option<usize> {
    None
}
