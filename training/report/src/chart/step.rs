//! A chart of one measure of the training steps: the raw values, and their running mean where there are many.

use super::axis::Axis;
use super::curve::{Curve, mean_keys};
use super::heading::draw_heading;
use super::plot::Plot;
use super::series::{shown_range, sorted, window};
use super::sheet::Sheet;
use crate::error::ReportError;

/// The height of the sheet: less than that of a chart that is read by itself.
const HEIGHT: f64 = 500.0;

/// One measure of the training steps.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSeries {
    /// The heading.
    pub title: String,
    /// The vertical axis, with its unit.
    pub axis: String,
    /// Whether the values are noisy: a running mean is drawn over them.
    pub noisy: bool,
    /// `(optimizer step, value)`; the values are 0 or more.
    pub points: Vec<(f64, f64)>,
}

/// Draws the chart.
///
/// # Errors
/// [`ReportError::NotANumber`] for the first bad point, [`ReportError::Empty`] without any.
pub(super) fn draw(series: &StepSeries) -> Result<Sheet, ReportError> {
    let points = sorted(&series.points);
    let bad = |(x, y): &&(f64, f64)| !x.is_finite() || !y.is_finite() || *y < 0.0;
    if let Some(&(step, value)) = points.iter().find(bad) {
        return Err(ReportError::NotANumber { chart: series.title.clone(), step, value });
    }
    let Some(&(last, _)) = points.last() else {
        return Err(ReportError::Empty { chart: series.title.clone(), expected: "training step" });
    };
    let high = highest(series, points.iter().map(|point| point.1));
    let window = if series.noisy { window(points.len()) } else { 1 };
    let curve = Curve::new(points, window);

    let x = Axis::linear(0.0, 1.015 * last.max(1.0), 7, 1.0);
    let y = Axis::linear(0.0, if high > 0.0 { 1.08 * high } else { 1.0 }, 4, 0.0);
    let keys =
        if window > 1 { mean_keys("each step", format!("mean of {window} steps")) } else { Vec::new() };
    let notes: Vec<String> = curve.outside_note(&y).into_iter().collect();

    let mut sheet = Sheet::new(&series.title, HEIGHT);
    let top = draw_heading(&mut sheet, &notes, &keys);
    let plot = Plot::new(&sheet, top, 104.0, x, y);
    plot.draw_y(&mut sheet, &series.axis);
    plot.draw_x(&mut sheet, "optimizer step");
    curve.draw(&mut sheet, &plot);
    plot.draw_frame(&mut sheet);
    Ok(sheet)
}

/// The highest of `values` that the axis should hold.
fn highest(series: &StepSeries, values: impl Iterator<Item = f64>) -> f64 {
    let range = match series.noisy {
        true => shown_range(values, std::iter::empty()),
        // A schedule has no outliers: its warm-up is meant.
        false => shown_range(std::iter::empty(), values),
    };
    range.map_or(0.0, |(_, high)| high)
}
