//! A chart of one measure of the training steps: the raw values, and their running mean where there are many.

use plotters::backend::DrawingBackend;

use super::axis::{Axis, Key, Plot, Swatch, heading, outside_note};
use super::canvas::{Canvas, Figure};
use super::charts::ChartError;
use super::curve::{Curve, MEAN, RAW};
use super::series::{shown_range, sorted, window};

/// One measure of the training steps.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSeries {
    /// The heading.
    pub title: &'static str,
    /// The vertical axis, with its unit.
    pub axis: &'static str,
    /// Whether the values are noisy: a running mean is drawn over them.
    pub noisy: bool,
    /// `(optimizer step, value)`; the values are 0 or more.
    pub points: Vec<(f64, f64)>,
}

/// A checked series, ready to draw.
pub(super) struct StepFigure {
    title: &'static str,
    axis: &'static str,
    curve: Curve,
    /// The top of the axis.
    high: f64,
}

impl StepFigure {
    /// Sorts and checks the series.
    ///
    /// # Errors
    /// [`ChartError::NotANumber`] for the first bad point, [`ChartError::Empty`] without any.
    pub(super) fn new(series: &StepSeries) -> Result<Self, ChartError> {
        let StepSeries { title, axis, noisy, .. } = *series;
        let points = sorted(&series.points);
        if let Some(&(step, value)) =
            points.iter().find(|(x, y)| !x.is_finite() || !y.is_finite() || *y < 0.0)
        {
            return Err(ChartError::NotANumber { chart: title, step, value });
        }
        let values = points.iter().map(|point| point.1);
        let (_, high) = match noisy {
            true => shown_range(values, std::iter::empty()),
            // A schedule has no outliers: its warm-up is meant.
            false => shown_range(std::iter::empty(), values),
        }
        .ok_or(ChartError::Empty { chart: title, expected: "training step" })?;
        let window = if noisy { window(points.len()) } else { 1 };
        let high = if high > 0.0 { 1.08 * high } else { 1.0 };
        Ok(Self { title, axis, curve: Curve::new(points, window), high })
    }
}

impl Figure for StepFigure {
    fn title(&self) -> &str {
        self.title
    }

    fn height(&self) -> f64 {
        500.0
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), ChartError> {
        let last = self.curve.points.last().map_or(1.0, |point| point.0);
        let x = Axis::linear(0.0, 1.015 * last.max(1.0), 7, 1.0);
        let y = Axis::linear(0.0, self.high, 4, 0.0);
        let keys = match self.curve.window {
            1 => Vec::new(),
            many => vec![
                Key { name: "each step".into(), color: RAW, swatch: Swatch::Line(2.5) },
                Key { name: format!("mean of {many} steps"), color: MEAN, swatch: Swatch::Line(3.5) },
            ],
        };
        let notes: Vec<String> = outside_note(&self.curve.points, &y).into_iter().collect();
        let top = heading(canvas, self.title, &notes, &keys)?;
        let plot = Plot::new(canvas, top, 104.0, x, y);
        plot.draw_y(canvas, self.axis)?;
        plot.draw_x(canvas, "optimizer step")?;
        self.curve.draw(canvas, &plot)?;
        plot.draw_frame(canvas)
    }
}
