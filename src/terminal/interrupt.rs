//! Ctrl-C and termination: the first lets a training step finish and save; the next, or one outside of training,
//! ends the program at once, as it would without this.

use std::sync::{Mutex, Once, PoisonError};

use anyhow::Result;
use burn::train::Interrupter;

use super::notes;

/// The shell's exit code for a program that an interrupt ended.
pub(crate) const INTERRUPTED: i32 = 130;

static TRAINING: Mutex<Option<Interrupter>> = Mutex::new(None);

/// While this lives, the first interrupt stops the training that listens to `interrupter`.
pub(crate) struct Listening;

/// Hands interrupts to `interrupter` until the returned value is dropped.
///
/// # Errors
/// The system refuses a signal handler.
pub(crate) fn listen(interrupter: Interrupter) -> Result<Listening> {
    static HANDLER: Once = Once::new();
    let mut installed = Ok(());
    HANDLER.call_once(|| installed = ctrlc::set_handler(handle));
    installed?;
    *TRAINING.lock().unwrap_or_else(PoisonError::into_inner) = Some(interrupter);
    Ok(Listening)
}

fn handle() {
    match TRAINING.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(interrupter) => {
            notes::warn("finishing the step and saving; interrupt again to stop at once");
            interrupter.stop(None);
        }
        None => std::process::exit(INTERRUPTED),
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        TRAINING.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
