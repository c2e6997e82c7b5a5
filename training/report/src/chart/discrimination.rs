//! The chart of discrimination: each model's share of true answers found, against guessing and against shared words.

use super::axis::Axis;
use super::color::{GREY, INK, PALETTE, PAPER};
use super::heading::{Key, Swatch, draw_heading};
use super::plot::Plot;
use super::sheet::Sheet;
use super::typeface::{Anchor, TextStyle};
use crate::error::ReportError;
use crate::knowledge::DiscriminationFacts;

/// The height of the sheet.
const HEIGHT: f64 = 560.0;
/// A normal variable lies within so many standard errors 95 % of the time.
const WITHIN_95: f64 = 1.96;
/// Pixels under the plot, for the models' names.
const BELOW: f64 = 70.0;
const VALUE: TextStyle = TextStyle::new(22.0);
const MARK: TextStyle = TextStyle { color: GREY, anchor: Anchor::End, ..TextStyle::new(19.0) };

/// Draws the chart.
///
/// # Errors
/// [`ReportError::Empty`] without a model, [`ReportError::NotANumber`] for a share outside 0 to 1.
pub(super) fn draw(facts: &DiscriminationFacts) -> Result<Sheet, ReportError> {
    let title = "True answers told from others";
    if facts.models.is_empty() {
        return Err(ReportError::Empty { chart: title.into(), expected: "model" });
    }
    let shares = facts.models.iter().map(|model| model.share).chain([facts.chance, facts.shared_words]);
    if let Some(share) = shares.into_iter().find(|share| !(0.0..=1.0).contains(share)) {
        return Err(ReportError::Share { chart: title, value: share });
    }
    let mut sheet = Sheet::new(title, HEIGHT);
    let note = format!(
        "{} held-out questions, each true answer among {}. Whiskers span the 95\u{a0}% interval.",
        facts.questions,
        facts.others + 1
    );
    let keys: Vec<Key> = (facts.models.iter().enumerate())
        .map(|(at, model)| Key {
            name: model.model.clone(),
            color: PALETTE[at % PALETTE.len()],
            swatch: Swatch::Bar,
        })
        .collect();
    let top = draw_heading(&mut sheet, &[note], &keys);
    let across = Axis::linear(0.0, 1.0, 1, 1.0);
    let plot = Plot::new(&sheet, top, BELOW, across, Axis::linear(0.0, 110.0, 6, 0.0));
    plot.draw_y(&mut sheet, "found (%)");
    let height = |share: f64| plot.at(plot.x.low, 100.0 * share).1;
    let marks = marks(facts);
    // The bars stay clear of the lines' names.
    let room = marks.iter().map(|mark| MARK.width(&mark.text)).fold(0.0, f64::max);
    let pitch = (plot.right - plot.left - room) / facts.models.len() as f64;
    let center = |at: usize| plot.left + (at as f64 + 0.5) * pitch;
    for (at, model) in facts.models.iter().enumerate() {
        let half = (0.2 * pitch).min(90.0);
        let color = PALETTE[at % PALETTE.len()];
        sheet.rectangle((center(at) - half, plot.bottom), (center(at) + half, height(model.share)), color);
    }
    draw_marks(&mut sheet, &plot, &marks);
    for (at, model) in facts.models.iter().enumerate() {
        let center = center(at);
        let reach = WITHIN_95 * model.standard_error.unwrap_or(0.0);
        let (low, high) = (height((model.share - reach).max(0.0)), height((model.share + reach).min(1.0)));
        if model.standard_error.is_some() {
            sheet.line(&[(center, low), (center, high)], INK, 2.0);
            sheet.line(&[(center - 10.0, low), (center + 10.0, low)], INK, 2.0);
            sheet.line(&[(center - 10.0, high), (center + 10.0, high)], INK, 2.0);
        }
        let text = format!("{:.1}\u{a0}%", 100.0 * model.share);
        let (y, width) = (high - 20.0, VALUE.width(&text));
        sheet.rectangle(
            (center - width / 2.0 - 2.0, y - 11.0),
            (center + width / 2.0 + 2.0, y + 11.0),
            PAPER,
        );
        sheet.text(&text, (center, y), VALUE);
        let name = VALUE.fit(&model.model, pitch - 12.0);
        sheet.text(&name, (center, plot.bottom + 32.0), VALUE);
    }
    plot.draw_frame(&mut sheet);
    Ok(sheet)
}

/// A share to hold the models against.
struct Mark {
    share: f64,
    text: String,
}

/// Guessing, and shared words.
fn marks(facts: &DiscriminationFacts) -> [Mark; 2] {
    let mark = |name, share| Mark { share, text: format!("{name} {:.1}\u{a0}%", 100.0 * share) };
    [mark("guessing", facts.chance), mark("shared words", facts.shared_words)]
}

/// Lines at the marks, named at their right ends; where they lie close, the upper name stays over its line and the lower
/// goes under its own.
fn draw_marks(sheet: &mut Sheet, plot: &Plot, marks: &[Mark; 2]) {
    for (at, Mark { share, text }) in marks.iter().enumerate() {
        let y = plot.at(plot.x.low, 100.0 * share).1;
        sheet.line(&[(plot.left, y), (plot.right, y)], GREY, 2.0);
        let other = marks[1 - at].share;
        let is_lower = other > *share || at == 0 && other == *share;
        let at = (plot.right - 4.0, if is_lower { y + 16.0 } else { y - 16.0 });
        let width = MARK.width(text);
        sheet.rectangle((at.0 - width - 2.0, at.1 - 10.0), (at.0 + 2.0, at.1 + 10.0), PAPER);
        sheet.text(text, at, MARK);
    }
}
