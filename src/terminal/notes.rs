//! What a command tells on stderr while it works. `--quiet` silences it; errors and results are printed elsewhere.

use std::sync::atomic::{AtomicBool, Ordering};

static QUIET: AtomicBool = AtomicBool::new(false);

/// Says nothing from now on.
pub(crate) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether nothing is to be said.
pub(crate) fn are_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Prints a line, or several.
pub(crate) fn say(text: impl std::fmt::Display) {
    if !are_quiet() {
        eprintln!("{text}");
    }
}
