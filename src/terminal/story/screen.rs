//! Lines that are drawn anew where they stand, on standard error.
//!
//! Nothing is switched that would have to be switched back: however the program ends, what was drawn last stays, and
//! whatever comes next is written under it.

use console::{Term, measure_text_width};

use crate::terminal::notes;

/// The size of a terminal that does not tell its own.
const USUAL: (usize, usize) = (80, 24);

/// A piece of a line and how it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece(pub(super) Look, pub(super) String);

/// How a piece looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Bold,
    Faint,
    Good,
    Curve,
}

impl Look {
    fn codes(self) -> (&'static str, &'static str) {
        match self {
            Self::Plain => ("", ""),
            Self::Bold => ("\u{1b}[1m", "\u{1b}[0m"),
            Self::Faint => ("\u{1b}[2m", "\u{1b}[0m"),
            Self::Good => ("\u{1b}[32m", "\u{1b}[0m"),
            Self::Curve => ("\u{1b}[36m", "\u{1b}[0m"),
        }
    }
}

/// A line.
pub(super) type Line = Vec<Piece>;

/// The part of the terminal that is drawn on.
#[derive(Default)]
pub(super) struct Screen {
    /// The widths of the lines that stand there.
    drawn: Vec<usize>,
}

impl Screen {
    /// Puts other lines in place of those that stand there: as many as `lines` makes for a width and a height.
    pub(super) fn draw(&mut self, lines: impl FnOnce(usize, usize) -> Vec<Line>) {
        let (width, height) = size();
        // A line that fills the last column may or may not have begun the next.
        let lines: Vec<Line> =
            lines(width - 1, height - 1).into_iter().map(|line| cut(line, width - 1)).collect();
        let mut text = self.back(width, height);
        for line in lines.iter().take(height - 1) {
            for Piece(look, piece) in line {
                let (on, off) = look.codes();
                text += &format!("{on}{piece}{off}");
            }
            text += "\u{1b}[K\r\n";
        }
        notes::draw(&(text + "\u{1b}[J\u{1b}[?2026l"));
        self.drawn = lines.iter().take(height - 1).map(|line| line_width(line)).collect();
    }

    /// Says a line that stays, over those that are drawn; they are gone until they are drawn again.
    pub(super) fn above(&mut self, line: &str) {
        let (width, height) = size();
        notes::draw(&(self.back(width, height) + "\u{1b}[J\u{1b}[?2026l"));
        self.drawn.clear();
        notes::warn(line);
    }

    /// The way back to the first of the lines, and that the terminal may wait with showing what comes. A terminal that
    /// was made narrower has wrapped them.
    fn back(&self, width: usize, height: usize) -> String {
        let rows: usize = self.drawn.iter().map(|drawn| drawn.div_ceil(width).max(1)).sum();
        let up = match rows.min(height - 1) {
            0 => String::new(),
            rows => format!("\u{1b}[{rows}A"),
        };
        format!("\u{1b}[?2026h{up}\r")
    }
}

/// Width and height, neither so small that nothing could be said.
fn size() -> (usize, usize) {
    let told = Term::stderr().size_checked().map(|(rows, columns)| (usize::from(columns), usize::from(rows)));
    let (width, height) = told.filter(|(width, height)| *width > 0 && *height > 0).unwrap_or(USUAL);
    (width.max(20), height.max(4))
}

pub(super) fn line_width(line: &[Piece]) -> usize {
    line.iter().map(|Piece(_, text)| measure_text_width(text)).sum()
}

/// As much of a line as fits into `width`; an ellipsis at its end where that is not all.
fn cut(line: Line, width: usize) -> Line {
    if line_width(&line) <= width {
        return line;
    }
    let mut left = width.saturating_sub(1);
    let mut fitting = Line::new();
    for Piece(look, text) in line {
        let mut kept = String::new();
        let mut whole = true;
        for character in text.chars() {
            let wide = measure_text_width(character.encode_utf8(&mut [0; 4]));
            match left.checked_sub(wide) {
                Some(rest) => left = rest,
                None => {
                    whole = false;
                    break;
                }
            }
            kept.push(character);
        }
        fitting.push(Piece(look, if whole { kept } else { kept + "…" }));
        if !whole {
            break;
        }
    }
    fitting
}

/// A text in lines of at most `width`, broken at blanks where it has any.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let wide = measure_text_width(word);
        match lines.last_mut() {
            Some(line) if measure_text_width(line) + 1 + wide <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_by_what_it_takes_on_the_screen() {
        let piece = |text: &str| Piece(Look::Plain, text.into());
        let shown = |line: Line| line.into_iter().map(|Piece(_, text)| text).collect::<String>();
        assert_eq!(shown(cut(vec![piece("ab"), piece("cdef")], 6)), "abcdef");
        assert_eq!(shown(cut(vec![piece("ab"), piece("cdef"), piece("g")], 5)), "abcd…");
        // Characters that take two columns.
        assert_eq!(shown(cut(vec![piece("感冒感冒")], 6)), "感冒…");
        assert_eq!(wrapped("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrapped("", 7), Vec::<String>::new());
    }

    #[test]
    fn the_way_back_counts_wrapped_lines() {
        let screen = Screen { drawn: vec![0, 79, 30] };
        assert!(screen.back(80, 24).contains("\u{1b}[3A"));
        assert!(screen.back(40, 24).contains("\u{1b}[4A"));
        assert!(screen.back(10, 4).contains("\u{1b}[3A"), "no higher than the screen");
        assert!(!Screen::default().back(80, 24).contains('A'));
    }
}
