//! What stands over a plot: the title, the notes and the legend.

use super::color::{Color, GREY};
use super::plot::MARGIN;
use super::sheet::{Sheet, WIDTH};
use super::typeface::{Anchor, TextStyle};

const TITLE: TextStyle = TextStyle { bold: true, anchor: Anchor::Start, ..TextStyle::new(32.0) };
const NOTE: TextStyle = TextStyle { color: GREY, anchor: Anchor::Start, ..TextStyle::new(20.0) };
const KEY: TextStyle = TextStyle { anchor: Anchor::Start, ..TextStyle::new(22.0) };

/// What a legend shows beside a name.
#[derive(Clone, Copy)]
pub(super) enum Swatch {
    /// A line of this width.
    Line(f64),
    /// A line with a disc on it.
    Points,
    /// A filled square.
    Bar,
}

/// One entry of a legend.
pub(super) struct Key {
    pub(super) name: String,
    pub(super) color: Color,
    pub(super) swatch: Swatch,
}

/// Draws the sheet's title, the notes under it and the legend, from the top. Returns where the plot may begin.
pub(super) fn draw_heading(sheet: &mut Sheet, notes: &[String], keys: &[Key]) -> f64 {
    let mut y = 44.0;
    let title = TITLE.fit(&sheet.title, WIDTH - 2.0 * MARGIN);
    sheet.text(&title, (MARGIN, y), TITLE);
    y += 42.0;
    for note in notes {
        for line in NOTE.wrap(note, WIDTH - 2.0 * MARGIN) {
            sheet.text(&line, (MARGIN, y), NOTE);
            y += 30.0;
        }
    }
    y += 8.0;
    let mut x = MARGIN;
    for key in keys {
        let swatch = if matches!(key.swatch, Swatch::Bar) { 34.0 } else { 44.0 };
        let name = KEY.fit(&key.name, WIDTH - 2.0 * MARGIN - swatch);
        let width = swatch + KEY.width(&name);
        if x > MARGIN && x + width > WIDTH - MARGIN {
            (x, y) = (MARGIN, y + 32.0);
        }
        match key.swatch {
            Swatch::Line(width) => sheet.line(&[(x, y), (x + 32.0, y)], key.color, width),
            Swatch::Points => {
                sheet.line(&[(x, y), (x + 32.0, y)], key.color, 3.0);
                sheet.disc((x + 16.0, y), 7.0, key.color);
            }
            Swatch::Bar => sheet.rectangle((x, y - 11.0), (x + 22.0, y + 11.0), key.color),
        }
        sheet.text(&name, (x + swatch, y), KEY);
        x += width + 36.0;
    }
    y + if keys.is_empty() { 0.0 } else { 34.0 }
}
