//! Ctrl-C and termination: the first tells whoever listens, who finishes what was begun; the next, or one that nobody
//! listens to, ends the program at once, as it would without this.

use std::sync::{Mutex, Once, PoisonError};

use anyhow::Result;

/// The shell's exit code for a program that an interrupt ended.
pub(crate) const INTERRUPTED: i32 = 130;

type Listener = Box<dyn FnOnce() + Send>;

static LISTENER: Mutex<Option<Listener>> = Mutex::new(None);

/// While this lives, the first interrupt is told.
pub(crate) struct Listening;

/// Tells `listener` of the first interrupt until the returned value is dropped.
///
/// # Errors
/// The system refuses a signal handler.
pub(crate) fn listen(listener: impl FnOnce() + Send + 'static) -> Result<Listening> {
    static HANDLER: Once = Once::new();
    let mut installed = Ok(());
    HANDLER.call_once(|| installed = ctrlc::set_handler(handle));
    installed?;
    *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(listener));
    Ok(Listening)
}

fn handle() {
    let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner).take();
    match listener {
        Some(listener) => listener(),
        None => std::process::exit(INTERRUPTED),
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENER.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
