//! What a command tells on stderr while it works. `--quiet` silences notes; warnings, errors and results are told all the
//! same.
//!
//! Nothing that goes wrong with stderr ends anything: where it is closed or full, what was to be said is lost, and the
//! work goes on.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
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

/// Whether bars and the like may be drawn: stderr is a terminal that can, and nobody asked for plain words (`NO_COLOR`,
/// <https://no-color.org>) or for none.
pub(crate) fn may_be_drawn() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    std::io::stderr().is_terminal() && !plain && !are_quiet()
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

/// Writes what steers the terminal as it stands; text of others in it must be [`harmless`] already.
pub(super) fn draw(text: &str) {
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// Says a piece of a line at once, in any case.
pub(crate) fn piece(text: &str) {
    let mut stderr = std::io::stderr();
    // There is nobody to tell that nobody can be told.
    let _ = stderr.write_all(harmless(text).as_bytes()).and_then(|()| stderr.flush());
}

/// The text without characters that steer a terminal: paths and files may hold any.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
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
