//! A framed plot: two axes over a rectangle of the sheet, with their grid, ticks and names.

use super::axis::Axis;
use super::color::{GRID, INK};
use super::sheet::{Point, Sheet, WIDTH};
use super::typeface::{Anchor, TextStyle};

/// The free space at the sides of a sheet, in pixels.
pub(super) const MARGIN: f64 = 36.0;
const TICK: TextStyle = TextStyle::new(22.0);
const NAME: TextStyle = TextStyle::new(24.0);
const FRAME_WIDTH: f64 = 1.5;

/// Two axes over a rectangle of the sheet. Edges are in pixels.
pub(super) struct Plot {
    /// The horizontal axis.
    pub(super) x: Axis,
    /// The vertical axis.
    pub(super) y: Axis,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Plot {
    /// A plot below `top` with room for the labels of `y` on its left and `below` pixels under it.
    pub(super) fn new(sheet: &Sheet, top: f64, below: f64, x: Axis, y: Axis) -> Self {
        let widest = y.labels().iter().map(|label| TICK.width(label)).fold(0.0, f64::max);
        let left = (MARGIN + NAME.size + 18.0 + widest + 12.0).round();
        Self { x, y, left, right: WIDTH - MARGIN, top, bottom: sheet.height - below }
    }

    /// Where a pair of values lies on the sheet.
    pub(super) fn at(&self, x: f64, y: f64) -> Point {
        (
            self.left + self.x.share(x) * (self.right - self.left),
            self.bottom - self.y.share(y) * (self.bottom - self.top),
        )
    }

    /// The grid and labels of the vertical axis, and its name.
    pub(super) fn draw_y(&self, sheet: &mut Sheet, name: &str) {
        let style = TextStyle { anchor: Anchor::End, ..TICK };
        for (tick, label) in self.y.ticks.iter().zip(self.y.labels()) {
            let (_, y) = self.at(self.x.low, *tick);
            // On whole pixels a thin line is sharp.
            let y = y.floor() + 0.5;
            sheet.line(&[(self.left, y), (self.right, y)], GRID, 1.0);
            sheet.text(&label, (self.left - 12.0, y), style);
        }
        let middle = (self.top + self.bottom) / 2.0;
        sheet.text(name, (MARGIN + NAME.size / 2.0 - 6.0, middle), TextStyle { upright: true, ..NAME });
    }

    /// The ticks and labels of the horizontal axis, and its name.
    pub(super) fn draw_x(&self, sheet: &mut Sheet, name: &str) {
        for (tick, label) in self.x.ticks.iter().zip(self.x.labels()) {
            let (x, _) = self.at(*tick, self.y.low);
            sheet.line(&[(x, self.bottom), (x, self.bottom + 8.0)], INK, FRAME_WIDTH);
            // A label at the end of the axis must not leave the sheet.
            let x = x.min(WIDTH - 8.0 - TICK.width(&label) / 2.0);
            sheet.text(&label, (x, self.bottom + 26.0), TICK);
        }
        sheet.text(name, ((self.left + self.right) / 2.0, sheet.height - 30.0), NAME);
    }

    /// The two lines that the values stand against. Drawn last, over what touches them.
    pub(super) fn draw_frame(&self, sheet: &mut Sheet) {
        let corner = (self.left, self.bottom);
        sheet.line(&[(self.left, self.top), corner, (self.right, self.bottom)], INK, FRAME_WIDTH);
    }
}
