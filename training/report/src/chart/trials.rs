//! The chart of a sweep: how the validation loss of each trial fell, how far each was trained, and which was chosen.

use super::axis::Axis;
use super::color::{GREY, RAW, VALIDATION};
use super::heading::{Key, Swatch, draw_heading};
use super::plot::Plot;
use super::sheet::{HEIGHT, Point, Sheet};
use super::typeface::{Anchor, TextStyle};
use crate::error::ReportError;

const NAME: TextStyle = TextStyle { color: GREY, anchor: Anchor::Start, ..TextStyle::new(18.0) };
const CHOSEN: TextStyle = TextStyle { anchor: Anchor::Start, bold: true, ..TextStyle::new(20.0) };

/// Names closer than these, across and down, would lie on each other.
const APART: (f64, f64) = (30.0, 18.0);

/// One trial's validation losses.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialCurve {
    /// What the trial is called, such as "3".
    pub name: String,
    /// `(share of its own training from 0 to 1, validation loss)`.
    pub points: Vec<(f64, f64)>,
    /// Whether it was chosen.
    pub chosen: bool,
}

/// Draws the chart.
///
/// # Errors
/// [`ReportError::Empty`] without any point, [`ReportError::NonFiniteLoss`] naming the first bad one.
pub(super) fn draw(curves: &[TrialCurve]) -> Result<Sheet, ReportError> {
    let points = || curves.iter().flat_map(|curve| curve.points.iter().copied());
    if let Some((step, value)) = points().find(|(_, loss)| !loss.is_finite()) {
        return Err(ReportError::NonFiniteLoss { curve: "validation", step, value });
    }
    let low = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let high = points().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
    if !low.is_finite() {
        return Err(ReportError::Empty { chart: "sweep".into(), expected: "validation loss" });
    }
    let room = 0.08 * (high - low).max(0.01);
    let mut sheet = Sheet::new("Validation loss of the trials", HEIGHT);
    let stopped =
        curves.iter().filter(|curve| curve.points.last().is_some_and(|point| point.0 < 1.0)).count();
    let note = format!("{} trials, by number; {stopped} were stopped before their end.", curves.len());
    let keys = [("chosen", VALIDATION), ("others", RAW)].map(|(name, color)| Key {
        name: name.into(),
        color,
        swatch: Swatch::Points,
    });
    let top = draw_heading(&mut sheet, &[note], &keys);
    let x = Axis::linear(0.0, 108.0, 6, 0.0);
    let plot = Plot::new(&sheet, top, 104.0, x, Axis::linear(low - room, high + room, 6, 0.0));
    plot.draw_y(&mut sheet, "validation loss (nats per token)");
    plot.draw_x(&mut sheet, "share of the trial's training (%)");
    // Names that would lie on each other stand side by side.
    let mut named: Vec<Point> = Vec::new();
    // The chosen one last, over the others.
    let mut order: Vec<&TrialCurve> = curves.iter().filter(|curve| !curve.points.is_empty()).collect();
    order.sort_by_key(|curve| curve.chosen);
    for curve in order {
        let (color, width, style) = match curve.chosen {
            true => (VALIDATION, 4.0, CHOSEN),
            false => (RAW, 2.5, NAME),
        };
        let line: Vec<_> = curve.points.iter().map(|&(share, loss)| plot.at(100.0 * share, loss)).collect();
        sheet.line(&line, color, width);
        line.iter().for_each(|point| sheet.disc(*point, width + 2.0, color));
        if let Some(&(x, y)) = line.last() {
            let mut at = (x + 12.0, y);
            while named.iter().any(|one| (one.0 - at.0).abs() < APART.0 && (one.1 - at.1).abs() < APART.1) {
                at.0 += APART.0;
            }
            named.push(at);
            sheet.text(&curve.name, at, style);
        }
    }
    plot.draw_frame(&mut sheet);
    Ok(sheet)
}
