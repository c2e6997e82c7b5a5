//! How text looks, and how wide it is.
//!
//! The fonts are compiled in, so that a picture does not depend on the machine. Text is measured by the library that
//! sets it in the picture; a browser sets it in a face as wide or narrower.

use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, LazyLock};

use resvg::usvg::fontdb::{Database, Source};
use resvg::usvg::{Node, Options, Tree};

use super::color::{Color, INK};
use crate::markup::escape;

/// The face of the pictures, then others for readers that lack it.
pub(super) const FAMILIES: &str = "DejaVu Sans, Verdana, Arial, sans-serif";

static FONTS: LazyLock<Arc<Database>> = LazyLock::new(|| {
    let mut fonts = Database::new();
    for face in [dejavu::sans::regular(), dejavu::sans::bold()] {
        fonts.load_font_source(Source::Binary(Arc::new(face)));
    }
    Arc::new(fonts)
});

/// How an SVG is read: with these fonts and no others.
pub(super) fn options() -> Options<'static> {
    Options { fontdb: Arc::clone(&FONTS), ..Options::default() }
}

/// Which part of a line of text lies on its point. The words are SVG's.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a line of text looks.
#[derive(Clone, Copy)]
pub(super) struct TextStyle {
    /// The font size, in pixels.
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) color: Color,
    pub(super) anchor: Anchor,
    /// Reads upwards.
    pub(super) upright: bool,
}

impl TextStyle {
    /// Regular dark text, centred on its point.
    pub(super) const fn new(size: f64) -> Self {
        Self { size, bold: false, color: INK, anchor: Anchor::Middle, upright: false }
    }

    /// The width of a line of text, in pixels.
    pub(super) fn width(&self, text: &str) -> f64 {
        let size = self.size;
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1\" height=\"1\"><text font-family=\"{FAMILIES}\" \
             font-size=\"{size}\"{}>{}</text></svg>",
            self.weight(),
            escape(text)
        );
        // Nothing is left of a text of spaces.
        let tree = Tree::from_str(&svg, &options()).ok();
        let node = tree.as_ref().and_then(|tree| tree.root().children().first());
        node.map_or(0.0, |node: &Node| f64::from(node.bounding_box().width()))
    }

    /// The attribute that makes text bold.
    pub(super) fn weight(&self) -> &'static str {
        if self.bold { " font-weight=\"bold\"" } else { "" }
    }

    /// The text, with its middle left out where it is wider than `limit`.
    pub(super) fn fit(&self, text: &str, limit: f64) -> String {
        let characters: Vec<char> = text.chars().collect();
        let shortened = |kept: usize| -> String {
            let (head, tail) = (&characters[..kept.div_ceil(2)], &characters[characters.len() - kept / 2..]);
            head.iter().chain(&['…']).chain(tail).collect()
        };
        if characters.len() <= 2 || self.width(text) <= limit {
            return text.to_owned();
        }
        let lengths: Vec<usize> = (3..characters.len()).collect();
        let fitting = lengths.partition_point(|&kept| self.width(&shortened(kept)) <= limit);
        shortened(2 + fitting)
    }

    /// The text as lines no wider than `limit`, broken at spaces.
    pub(super) fn wrap(&self, text: &str, limit: f64) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split(' ') {
            match lines.last_mut() {
                Some(line) if self.width(&format!("{line} {word}")) <= limit => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines
    }
}

impl Display for Anchor {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_the_font() {
        let regular = TextStyle::new(100.0);
        // The advances in the font files (table hmtx), of 2048 units an em: 1995 and 1303; bold, 2134.
        assert!((regular.width("m") - 97.41).abs() < 0.05, "{}", regular.width("m"));
        assert!((regular.width("000") - 3.0 * 63.62).abs() < 0.05, "{}", regular.width("000"));
        let bold = TextStyle { bold: true, ..regular };
        assert!((bold.width("m") - 104.2).abs() < 0.05, "{}", bold.width("m"));
        assert_eq!(regular.width(" "), 0.0);
        assert!(regular.width("<&>") > regular.width("<>"), "markup is measured as text");
    }

    #[test]
    fn what_does_not_fit_loses_its_middle() {
        let style = TextStyle::new(20.0);
        let name = "a-name-that-is-much-too-long-for-its-place";
        assert_eq!(style.fit(name, 1000.0), name);
        let fitted = style.fit(name, 200.0);
        assert!(
            fitted.starts_with("a-name") && fitted.ends_with("place") && fitted.contains('…'),
            "{fitted}"
        );
        assert!((170.0..=200.0).contains(&style.width(&fitted)), "as much as there is room for");
        assert_eq!(style.fit(name, 0.0), "a…e");
    }

    #[test]
    fn lines_break_at_spaces() {
        let style = TextStyle::new(20.0);
        let lines = style.wrap("one two three four", style.width("one two ") + 20.0);
        assert_eq!(lines, ["one two", "three four"].map(String::from));
    }
}
