//! A chart of one measure of the training steps: the raw values, and their running mean where there are many.

use plotters::backend::DrawingBackend;
use plotters::style::RGBColor;

use super::axis::{Axis, Key, Plot, Swatch, heading, outside_note};
use super::canvas::{Canvas, Figure};
use super::charts::ChartError;
use super::series::{Series, clipped, running_mean, shown_range, sorted, thinned, window};

const RAW: RGBColor = RGBColor(0xb5, 0xd9, 0xf0);
const MEAN: RGBColor = RGBColor(0x00, 0x72, 0xb2);
/// How many columns of a noisy line can be told apart.
const COLUMNS: usize = 550;
/// Up to this many points are few enough to be seen one by one.
const FEW: usize = 40;

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
    points: Series,
    mean: Series,
    window: usize,
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
        Ok(Self { title, axis, mean: running_mean(&points, window), points, window, high })
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
        let last = self.points.last().map_or(1.0, |point| point.0);
        let x = Axis::linear(0.0, 1.015 * last.max(1.0), 7, 1.0);
        let y = Axis::linear(0.0, self.high, 4, 0.0);
        let keys = match self.window {
            1 => Vec::new(),
            many => vec![
                Key { name: "each step".into(), color: RAW, swatch: Swatch::Line(2.5) },
                Key { name: format!("mean of {many} steps"), color: MEAN, swatch: Swatch::Line(3.5) },
            ],
        };
        let notes: Vec<String> = outside_note(&self.points, &y).into_iter().collect();
        let top = heading(canvas, self.title, &notes, &keys)?;
        let plot = Plot::new(canvas, top, 104.0, x, y);
        plot.draw_y(canvas, self.axis)?;
        plot.draw_x(canvas, "optimizer step")?;
        let curve = |points: &Series, color, width| -> Result<(), ChartError> {
            for part in clipped(&thinned(points, COLUMNS), plot.y.low, plot.y.high) {
                let part: Vec<_> = part.iter().map(|point| plot.at(point.0, point.1)).collect();
                canvas.line(&part, color, width)?;
            }
            Ok(())
        };
        if self.window > 1 {
            curve(&self.points, RAW, 1.3)?;
        }
        curve(&self.mean, MEAN, 3.0)?;
        if self.points.len() <= FEW {
            for point in self.points.iter().filter(|point| point.1 <= plot.y.high) {
                canvas.disc(plot.at(point.0, point.1), 5.0, MEAN)?;
            }
        }
        plot.draw_frame(canvas)
    }
}
