//! A curve of the training steps: the raw values, and their running mean over them where there are many.

use super::axis::Axis;
use super::color::{Color, MEAN, RAW};
use super::heading::{Key, Swatch};
use super::plot::Plot;
use super::series::{Series, clipped, running_mean, thinned};
use super::sheet::Sheet;
use crate::number::number;

/// How many columns of a noisy line can be told apart.
const COLUMNS: usize = 550;
/// Up to this many points are few enough to be seen one by one.
const FEW: usize = 40;

/// The raw values and their running mean.
pub(super) struct Curve {
    pub(super) points: Series,
    pub(super) mean: Series,
    /// Over how many points the mean goes; 1 for the values themselves.
    pub(super) window: usize,
}

impl Curve {
    /// Of points sorted by step.
    pub(super) fn new(points: Series, window: usize) -> Self {
        Self { mean: running_mean(&points, window), points, window }
    }

    /// Whether each point is marked.
    pub(super) fn has_marks(&self) -> bool {
        self.points.len() <= FEW
    }

    /// Draws the curve, as far as it lies within the axis.
    pub(super) fn draw(&self, sheet: &mut Sheet, plot: &Plot) {
        if self.window > 1 {
            draw_line(sheet, plot, &self.points, RAW, 1.3);
        }
        draw_line(sheet, plot, &self.mean, MEAN, 3.0);
        if self.has_marks() {
            for point in self.points.iter().filter(|point| plot.y.holds(point.1)) {
                sheet.disc(plot.at(point.0, point.1), 5.0, MEAN);
            }
        }
    }

    /// Says how many points the vertical axis leaves out, and the farthest of them.
    pub(super) fn outside_note(&self, y: &Axis) -> Option<String> {
        let outside: Vec<_> = self.points.iter().filter(|point| !y.holds(point.1)).collect();
        let far = |point: &(f64, f64)| (point.1 - (y.low + y.high) / 2.0).abs();
        let farthest = outside.iter().max_by(|a, b| far(a).total_cmp(&far(b)))?;
        let (step, value) = (number(farthest.0, 0), number(farthest.1, 2));
        Some(match outside.len() {
            1 => format!("1 training value lies outside the axis: {value} at step {step}."),
            many => {
                format!("{many} training values lie outside the axis: the farthest {value} at step {step}.")
            }
        })
    }
}

/// A legend of raw values and their mean.
pub(super) fn mean_keys(raw: &str, mean: String) -> Vec<Key> {
    vec![
        Key { name: raw.to_owned(), color: RAW, swatch: Swatch::Line(2.5) },
        Key { name: mean, color: MEAN, swatch: Swatch::Line(3.5) },
    ]
}

/// A line through `points`, as far as it lies within the axis.
pub(super) fn draw_line(sheet: &mut Sheet, plot: &Plot, points: &Series, color: Color, width: f64) {
    for part in clipped(&thinned(points, COLUMNS), plot.y.low, plot.y.high) {
        let part: Vec<_> = part.iter().map(|point| plot.at(point.0, point.1)).collect();
        sheet.line(&part, color, width);
    }
}
