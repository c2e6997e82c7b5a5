//! The loss chart: training as it was, training as it went, and what the validation said.

use super::axis::Axis;
use super::color::{MEAN, PAPER, VALIDATION};
use super::curve::{Curve, draw_line, mean_keys};
use super::heading::{Key, Swatch, draw_heading};
use super::plot::Plot;
use super::series::{Series, shown_range, sorted, window};
use super::sheet::{HEIGHT, Point, Sheet};
use super::typeface::TextStyle;
use crate::error::ReportError;
use crate::number::number;

const LABEL: TextStyle = TextStyle { bold: true, color: VALIDATION, ..TextStyle::new(22.0) };

/// The loss by optimizer step. The order of the points does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossCurves {
    /// `(optimizer step, loss in nats per token)` of the training batches.
    pub training: Vec<(f64, f64)>,
    /// `(optimizer step, loss in nats per token)` of the evaluations.
    pub validation: Vec<(f64, f64)>,
}

impl LossCurves {
    /// The validation point with the lowest loss, the first of equals.
    pub(crate) fn best(&self) -> Option<(f64, f64)> {
        best(&self.validation)
    }
}

fn best(validation: &[(f64, f64)]) -> Option<(f64, f64)> {
    validation.iter().copied().reduce(|best, point| if point.1 < best.1 { point } else { best })
}

/// Draws the chart.
///
/// # Errors
/// [`ReportError::NonFiniteLoss`] for the first bad point, [`ReportError::Empty`] without any.
pub(super) fn draw(curves: &LossCurves) -> Result<Sheet, ReportError> {
    let figure = Figure::new(curves)?;
    let (x, y) = figure.axes();
    let notes: Vec<String> = figure.training.outside_note(&y).into_iter().collect();

    let mut sheet = Sheet::new("Training and validation loss", HEIGHT);
    let top = draw_heading(&mut sheet, &notes, &figure.keys());
    let plot = Plot::new(&sheet, top, 104.0, x, y);
    plot.draw_y(&mut sheet, "loss (nats per token)");
    plot.draw_x(&mut sheet, "optimizer step");
    figure.training.draw(&mut sheet, &plot);
    draw_line(&mut sheet, &plot, &figure.validation, VALIDATION, 3.0);
    for point in &figure.validation {
        sheet.disc(plot.at(point.0, point.1), 7.0, VALIDATION);
    }
    plot.draw_frame(&mut sheet);
    figure.draw_best(&mut sheet, &plot);
    Ok(sheet)
}

/// Checked curves.
struct Figure {
    training: Curve,
    validation: Series,
    /// The lowest and the highest loss to show.
    range: (f64, f64),
}

impl Figure {
    fn new(curves: &LossCurves) -> Result<Self, ReportError> {
        let (training, validation) = (sorted(&curves.training), sorted(&curves.validation));
        for (curve, points) in [("training", &training), ("validation", &validation)] {
            if let Some(&(step, value)) = points.iter().find(|(x, y)| !x.is_finite() || !y.is_finite()) {
                return Err(ReportError::NonFiniteLoss { curve, step, value });
            }
        }
        let losses = |points: &Series| points.iter().map(|point| point.1).collect::<Vec<_>>().into_iter();
        let range = shown_range(losses(&training), losses(&validation)).ok_or_else(|| {
            ReportError::Empty { chart: "loss chart".into(), expected: "training or validation loss" }
        })?;
        let window = window(training.len());
        Ok(Self { training: Curve::new(training, window), validation, range })
    }

    fn axes(&self) -> (Axis, Axis) {
        let steps = || self.training.points.iter().chain(&self.validation).map(|point| point.0);
        let (first, last) =
            (steps().fold(f64::INFINITY, f64::min), steps().fold(f64::NEG_INFINITY, f64::max));
        // A run is shown from its start; a stretch far from it is shown alone.
        let first = if first > 0.0 && first < 0.25 * last { 0.0 } else { first };
        let pad = if last > first { 0.015 * (last - first) } else { 1.0 };
        let low_pad = if first == 0.0 && last > first { 0.0 } else { pad };
        let (low, high) = self.range;
        let margin = if high > low { 0.06 * (high - low) } else { 0.05 * high.abs().max(0.1) };
        (Axis::linear(first - low_pad, last + pad, 7, 1.0), Axis::linear(low - margin, high + margin, 7, 0.0))
    }

    fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        if self.training.window > 1 {
            let mean = format!("training, mean of {} points", self.training.window);
            keys.extend(mean_keys("training, raw", mean));
        } else if !self.training.points.is_empty() {
            let swatch = if self.training.has_marks() { Swatch::Points } else { Swatch::Line(3.5) };
            keys.push(Key { name: "training".into(), color: MEAN, swatch });
        }
        if !self.validation.is_empty() {
            keys.push(Key { name: "validation".into(), color: VALIDATION, swatch: Swatch::Points });
        }
        keys
    }

    /// Marks the best validation point and writes its value beside it.
    fn draw_best(&self, sheet: &mut Sheet, plot: &Plot) {
        let Some(best) = best(&self.validation) else { return };
        let label = format!("best {} at step {}", number(best.1, 4), number(best.0, 0));
        let point = plot.at(best.0, best.1);
        self.draw_label(sheet, plot, point, &label);
        sheet.disc(point, 14.0, VALIDATION);
        sheet.disc(point, 10.5, PAPER);
        sheet.disc(point, 7.0, VALIDATION);
    }

    /// Writes the label of `point` where it hides the least of the curves, if there is room for it.
    fn draw_label(&self, sheet: &mut Sheet, plot: &Plot, point: Point, label: &str) {
        let (half_width, half_height) = (LABEL.width(label) / 2.0 + 6.0, 17.0);
        let line: Vec<Point> =
            dense(&self.training.mean, plot).chain(dense(&self.validation, plot)).collect();
        let noise: Vec<Point> = dense(&self.training.points, plot).collect();
        let hidden = |&(x, y): &Point| {
            let within =
                |of: &Point| (of.0 - x).abs() < half_width + 4.0 && (of.1 - y).abs() < half_height + 4.0;
            3 * line.iter().filter(|of| within(of)).count() + noise.iter().filter(|of| within(of)).count()
        };
        let clamp = |low: f64, high: f64, value: f64| value.min(high - 4.0).max(low + 4.0);
        let spots = [34.0, 58.0, 90.0, 130.0].into_iter().flat_map(|away| {
            [away, -away].into_iter().flat_map(move |down| {
                [0.0, -1.0, 1.0, -0.5, 0.5].map(|side| (point.0 + side * half_width, point.1 + down))
            })
        });
        let spot = spots
            .map(|(x, y)| (clamp(plot.left + half_width, plot.right - half_width, x), y))
            .filter(|(_, y)| *y - half_height > plot.top - 8.0 && *y + half_height < plot.bottom - 2.0)
            .min_by_key(hidden);
        let Some((x, y)) = spot else { return };
        let toward = if y > point.1 { y - half_height } else { y + half_height };
        if (toward - point.1).abs() > 24.0 {
            let foot = point.0.clamp(x - half_width + 10.0, x + half_width - 10.0);
            sheet.line(&[point, (foot, toward)], VALIDATION, 1.5);
        }
        // Neither a grid line nor a curve runs through the label.
        sheet.rectangle((x - half_width, y - half_height), (x + half_width, y + half_height), PAPER);
        sheet.text(label, (x, y), LABEL);
    }
}

/// Points every few pixels along a curve, as it lies on the sheet.
fn dense<'a>(points: &'a [(f64, f64)], plot: &'a Plot) -> impl Iterator<Item = Point> + 'a {
    points.windows(2).flat_map(|pair| {
        let (from, to) = (plot.at(pair[0].0, pair[0].1), plot.at(pair[1].0, pair[1].1));
        let count = ((to.0 - from.0).hypot(to.1 - from.1) / 5.0).ceil().clamp(1.0, 400.0) as usize;
        (0..=count).map(move |at| {
            let share = at as f64 / count as f64;
            (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1))
        })
    })
}
