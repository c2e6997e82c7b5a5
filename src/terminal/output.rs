//! What goes to stdout. A closed pipe is an error here, not a panic, so that `| head` ends a command quietly.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{IsTerminal, Write};

use anyhow::Result;
use serde::Serialize;

use super::notes::harmless;

/// Prints a line, or several.
pub(crate) fn line(text: impl Display) -> Result<()> {
    let text = text.to_string();
    Ok(writeln!(std::io::stdout(), "{}", shown(&text))?)
}

/// Prints a piece of text at once, without a line's end.
pub(crate) fn piece(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout();
    write!(stdout, "{}", shown(text))?;
    Ok(stdout.flush()?)
}

/// A text as it is, but on a terminal, which what data and models say must not steer.
fn shown(text: &str) -> Cow<'_, str> {
    if std::io::stdout().is_terminal() { harmless(text) } else { text.into() }
}

/// Prints one JSON object: all that `--json` prints.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string_pretty(value)?)
}
