//! Whether Burn's training can have its threads: it panics where the system starts none.

use std::sync::{Arc, Barrier};
use std::thread;

use crate::TrainingError;

/// The threads that Burn runs beside a training: for its metrics and for what it would log.
const NEEDED: usize = 3;

/// Starts as many threads as a training needs, and ends them again.
///
/// # Errors
///
/// [`TrainingError::Threads`]: the system starts fewer.
pub fn check_threads() -> Result<(), TrainingError> {
    let mut waiting = Vec::new();
    let mut refused = None;
    while waiting.len() < NEEDED && refused.is_none() {
        let gate = Arc::new(Barrier::new(2));
        let behind = gate.clone();
        match thread::Builder::new().spawn(move || {
            behind.wait();
        }) {
            Ok(thread) => waiting.push((thread, gate)),
            Err(error) => refused = Some(error),
        }
    }
    for (thread, gate) in waiting {
        gate.wait();
        let _ = thread.join();
    }
    match refused {
        None => Ok(()),
        Some(source) => Err(TrainingError::Threads { needed: NEEDED, source }),
    }
}
