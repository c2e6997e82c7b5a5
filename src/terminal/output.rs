//! What goes to stdout. A closed pipe is an error here, not a panic, so that `| head` ends a command quietly.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

/// Prints a line, or several.
pub(crate) fn line(text: impl std::fmt::Display) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// Prints a piece of text at once, without a line's end.
pub(crate) fn piece(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout();
    write!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}

/// Prints one JSON object: all that `--json` prints.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string_pretty(value)?)
}
