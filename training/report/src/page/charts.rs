//! The charts of the training: loss, and what the steps themselves did.

use super::html::chart;
use crate::chart::{Chart, LossCurves, StepSeries};
use crate::error::ReportError;

/// The section of the loss.
pub(super) fn losses(curves: &LossCurves) -> Result<String, ReportError> {
    if curves.training.is_empty() && curves.validation.is_empty() {
        return Ok(String::new());
    }
    let text = match curves.best() {
        Some((step, loss)) => format!(
            "<p>Best validation loss {loss:.4} nats per token (perplexity {:.2}) after step {step}.</p>\n",
            loss.exp()
        ),
        None => String::new(),
    };
    Ok(format!("<section>\n<h2>Loss</h2>\n{text}{}</section>\n", chart(&Chart::losses(curves)?)))
}

/// The section of the other measures of the steps.
pub(super) fn steps(all: &[StepSeries]) -> Result<String, ReportError> {
    let mut section = String::new();
    for series in all.iter().filter(|series| !series.points.is_empty()) {
        section += &chart(&Chart::steps(series)?);
    }
    Ok(match section.is_empty() {
        true => section,
        false => format!("<section>\n<h2>Steps</h2>\n{section}</section>\n"),
    })
}
