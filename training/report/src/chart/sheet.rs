//! The sheet a chart is drawn on: SVG text, an element at a time.
//!
//! Lengths are pixels of the PNG; points go right, then down.

use std::fmt::{self, Display, Formatter};

use super::color::{Color, PAPER};
use super::typeface::{FAMILIES, TextStyle};
use crate::markup::escape;

/// The width of every chart, in pixels.
pub(super) const WIDTH: f64 = 1200.0;
/// The height of a chart that is read by itself.
pub(super) const HEIGHT: f64 = 800.0;
/// Half the height of a capital, in font sizes: from the middle of a line of text down to its baseline.
const HALF_CAPITAL: f64 = 0.365;

/// A point on the sheet.
pub(super) type Point = (f64, f64);

/// A sheet and what is drawn on it, the later over the earlier.
pub(super) struct Sheet {
    /// The heading, also the document's accessible name.
    pub(super) title: String,
    pub(super) height: f64,
    elements: String,
}

impl Sheet {
    /// An empty sheet.
    pub(super) fn new(title: &str, height: f64) -> Self {
        let mut sheet = Self { title: title.to_owned(), height, elements: String::new() };
        sheet.rectangle((0.0, 0.0), (WIDTH, height), PAPER);
        sheet
    }

    /// A line through `points`, `width` pixels wide, with round joints and ends.
    pub(super) fn line(&mut self, points: &[Point], color: Color, width: f64) {
        let points: Vec<String> =
            points.iter().map(|&(x, y)| format!("{},{}", Length(x), Length(y))).collect();
        self.add(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{}\"/>",
            points.join(" "),
            Length(width)
        ));
    }

    /// A filled rectangle between two corners.
    pub(super) fn rectangle(&mut self, from: Point, to: Point, color: Color) {
        self.add(format_args!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{color}\"/>",
            Length(from.0.min(to.0)),
            Length(from.1.min(to.1)),
            Length((to.0 - from.0).abs()),
            Length((to.1 - from.1).abs())
        ));
    }

    /// A filled disc.
    pub(super) fn disc(&mut self, center: Point, radius: f64, color: Color) {
        self.add(format_args!(
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{color}\"/>",
            Length(center.0),
            Length(center.1),
            Length(radius)
        ));
    }

    /// A line of text whose capitals are centred on the height of `at`.
    pub(super) fn text(&mut self, text: &str, (x, y): Point, style: TextStyle) {
        let down = HALF_CAPITAL * style.size;
        let (x, y) = if style.upright { (x + down, y) } else { (x, y + down) };
        let (x, y) = (Length(x), Length(y));
        let turn = if style.upright { format!(" transform=\"rotate(-90 {x} {y})\"") } else { String::new() };
        self.add(format_args!(
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\"{} text-anchor=\"{}\" fill=\"{}\"{turn}>{}</text>",
            Length(style.size),
            style.weight(),
            style.anchor,
            style.color,
            escape(text)
        ));
    }

    /// The document, without an XML declaration so that it can stand inside HTML.
    pub(super) fn into_svg(self) -> String {
        let Self { title, height, elements } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\" font-family=\"{FAMILIES}\" \
             stroke-linejoin=\"round\" stroke-linecap=\"round\">\n{elements}</svg>\n",
            escape(&title)
        )
    }

    fn add(&mut self, element: fmt::Arguments<'_>) {
        self.elements.push_str(&element.to_string());
        self.elements.push('\n');
    }
}

/// A length to the hundredth of a pixel, without zeros at the end.
struct Length(f64);

impl Display for Length {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}", (self.0 * 100.0).round() / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_plain_svg() {
        let mut sheet = Sheet::new("a \"b\"", 500.0);
        sheet.line(&[(0.0, 1.0 / 3.0), (10.0, 20.0)], "#123456", 1.5);
        sheet.disc((5.0, 6.0), 7.0, "#123456");
        sheet.text("<x>", (100.0, 100.0), TextStyle { upright: true, ..TextStyle::new(20.0) });
        let svg = sheet.into_svg();
        for part in [
            "height=\"500\"",
            "aria-label=\"a &quot;b&quot;\"",
            "<rect x=\"0\" y=\"0\" width=\"1200\" height=\"500\" fill=\"#ffffff\"/>",
            "<polyline points=\"0,0.33 10,20\" fill=\"none\" stroke=\"#123456\" stroke-width=\"1.5\"/>",
            "<circle cx=\"5\" cy=\"6\" r=\"7\" fill=\"#123456\"/>",
            "<text x=\"107.3\" y=\"100\" font-size=\"20\" text-anchor=\"middle\" fill=\"#222222\" \
             transform=\"rotate(-90 107.3 100)\">&lt;x&gt;</text>",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
    }
}
