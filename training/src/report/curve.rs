//! A curve of the training steps: the raw values, and their running mean over them where there are many.

use plotters::backend::DrawingBackend;
use plotters::style::RGBColor;

use super::axis::Plot;
use super::canvas::Canvas;
use super::charts::ChartError;
use super::series::{Series, clipped, running_mean, thinned};

pub(super) const RAW: RGBColor = RGBColor(0xb5, 0xd9, 0xf0);
pub(super) const MEAN: RGBColor = RGBColor(0x00, 0x72, 0xb2);
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

    pub(super) fn draw<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        plot: &Plot,
    ) -> Result<(), ChartError> {
        if self.window > 1 {
            line(canvas, plot, &self.points, RAW, 1.3)?;
        }
        line(canvas, plot, &self.mean, MEAN, 3.0)?;
        if self.has_marks() {
            for point in self.points.iter().filter(|point| (plot.y.low..=plot.y.high).contains(&point.1)) {
                canvas.disc(plot.at(point.0, point.1), 5.0, MEAN)?;
            }
        }
        Ok(())
    }
}

/// A line through `points`, as far as it lies within the axis.
pub(super) fn line<DB: DrawingBackend>(
    canvas: &Canvas<'_, DB>,
    plot: &Plot,
    points: &Series,
    color: RGBColor,
    width: f64,
) -> Result<(), ChartError> {
    for part in clipped(&thinned(points, COLUMNS), plot.y.low, plot.y.high) {
        let part: Vec<_> = part.iter().map(|point| plot.at(point.0, point.1)).collect();
        canvas.line(&part, color, width)?;
    }
    Ok(())
}
