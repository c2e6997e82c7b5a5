//! What a command tells on stderr while it works. `--quiet` silences notes; warnings, errors and results are told all the
//! same.
//!
//! Nothing that goes wrong with stderr ends anything: where it is closed or full, what was to be said is lost, and the
//! work goes on.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write;
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

/// Says a line, or several, unless nothing is to be said.
pub(crate) fn say(text: impl Display) {
    if !are_quiet() {
        warn(text);
    }
}

/// Says a line, or several, in any case.
pub(crate) fn warn(text: impl Display) {
    piece(&format!("{text}\n"));
}

/// Says a piece of a line at once, in any case.
pub(crate) fn piece(text: &str) {
    let mut stderr = std::io::stderr();
    // There is nobody to tell that nobody can be told.
    let _ = stderr.write_all(harmless(text).as_bytes()).and_then(|()| stderr.flush());
}

/// The text without characters that steer a terminal: paths and files may hold any.
fn harmless(text: &str) -> Cow<'_, str> {
    let steers = |character: char| character.is_control() && !['\n', '\t'].contains(&character);
    if !text.contains(steers) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match steers(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_steers_the_terminal() {
        assert_eq!(harmless("a line\n\tand another"), "a line\n\tand another");
        assert_eq!(harmless("\u{1b}[2Jgone\r\u{9b}"), "\\u{1b}[2Jgone\\r\\u{9b}");
    }
}
