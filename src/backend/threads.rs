//! The threads that compute on the processor: as many as there are cores, or as many as the system lets the program
//! have.
//!
//! Rayon makes its threads at their first use and panics where one cannot be made. So they are tried first, and its
//! pool is made with what there is.

use std::num::NonZero;
use std::sync::{Arc, Barrier, Once};
use std::thread;

/// Threads that are left to others where not all can be made: for signals, and for what Burn runs beside a training.
const SPARE: usize = 6;

/// Makes the threads, once; later calls do nothing.
pub(super) fn prepare() {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(|| {
        let wanted = wanted();
        let pool = match possible(wanted) {
            all if all == wanted => rayon::ThreadPoolBuilder::new().num_threads(all),
            // None at all: the work is done by whoever asks for it, and nobody else can be there to ask.
            0 => rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread(),
            few => rayon::ThreadPoolBuilder::new().num_threads(few.saturating_sub(SPARE).max(1)),
        };
        // Who uses this library may have made the pool already.
        let _ = pool.build_global();
    });
}

/// The threads that Rayon would make.
fn wanted() -> usize {
    let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|text| text.parse().ok());
    let cores = || thread::available_parallelism().map_or(1, NonZero::get);
    asked.filter(|threads| *threads > 0).unwrap_or_else(cores)
}

/// How many of `wanted` threads can be there at once, and so many more as are spared; no more than `wanted` counts.
fn possible(wanted: usize) -> usize {
    let tried = wanted + SPARE;
    let mut waiting = Vec::new();
    for _ in 0..tried {
        let gate = Arc::new(Barrier::new(2));
        let behind = gate.clone();
        match thread::Builder::new().spawn(move || {
            behind.wait();
        }) {
            Ok(thread) => waiting.push((thread, gate)),
            Err(_) => break,
        }
    }
    let made = waiting.len();
    for (thread, gate) in waiting {
        gate.wait();
        let _ = thread.join();
    }
    if made == tried { wanted } else { made }
}
