//! The charts of the training: loss, and what the steps themselves did.

use anyhow::Result;
use gptneo_training::metrics::{MetricsRow, TrainRow};
use gptneo_training::report::{LossCurves, StepSeries, loss_chart_svg, step_chart_svg};

/// A chart in a box that scrolls where the page is narrow.
pub(super) fn chart(svg: &str) -> String {
    format!("<figure class=\"wide chart\">{svg}</figure>\n")
}

/// The loss of a run's rows as curves.
pub fn curves(rows: &[MetricsRow]) -> LossCurves {
    let mut curves = LossCurves::default();
    for row in rows {
        match row {
            // A step that was skipped may have had no loss.
            MetricsRow::Train(row) if row.skipped && !row.loss.is_finite() => {}
            MetricsRow::Train(row) => curves.training.push((row.step as f64, row.loss)),
            MetricsRow::Validation(row) => curves.validation.push((row.step as f64, row.loss)),
        }
    }
    curves
}

/// The section of the loss.
pub(super) fn loss(rows: &[MetricsRow]) -> Result<String> {
    if rows.is_empty() {
        return Ok(String::new());
    }
    let best = rows
        .iter()
        .filter_map(|row| match row {
            MetricsRow::Validation(row) => Some(row),
            MetricsRow::Train(_) => None,
        })
        .reduce(|best, row| if row.loss < best.loss { row } else { best });
    let text = match best {
        Some(best) => format!(
            "<p>Best validation loss {:.4} nats per token (perplexity {:.2}) after step {}.</p>\n",
            best.loss, best.perplexity, best.step
        ),
        None => String::new(),
    };
    Ok(format!("<section>\n<h2>Loss</h2>\n{text}{}</section>\n", chart(&loss_chart_svg(&curves(rows))?)))
}

/// The section of the learning rate, the gradient norm and the speed.
pub(super) fn steps(rows: &[MetricsRow]) -> Result<String> {
    let steps = || {
        rows.iter().filter_map(|row| match row {
            MetricsRow::Train(row) => Some(row),
            MetricsRow::Validation(_) => None,
        })
    };
    let series = |title, axis, noisy, value: fn(&TrainRow) -> Option<f64>| StepSeries {
        title,
        axis,
        noisy,
        points: steps().filter_map(|row| Some((row.step as f64, value(row)?))).collect(),
    };
    let all = [
        series("Learning rate", "learning rate", false, |row| Some(row.learning_rate)),
        series("Gradient norm before clipping", "L2 norm", true, |row| Some(row.grad_norm)),
        series("Speed, in supervised tokens", "tokens per second", true, |row| row.tokens_per_second),
    ];
    let mut section = String::new();
    for series in all.iter().filter(|series| !series.points.is_empty()) {
        section += &chart(&step_chart_svg(series)?);
    }
    Ok(match section.is_empty() {
        true => section,
        false => format!("<section>\n<h2>Steps</h2>\n{section}</section>\n"),
    })
}
