//! The charts of a run: what they show, which numbers they refuse, and the files they become.
//!
//! A PNG and an SVG of a chart come from the same drawing code and look alike. Colours are the Okabe-Ito palette,
//! which readers with the common colour deficiencies can tell apart.

use std::io::Write;
use std::path::Path;

use super::canvas::{png_bytes, svg_text};
use super::loss_figure::LossFigure;
use super::perplexity_figure::PerplexityFigure;
use super::step_figure::{StepFigure, StepSeries};
use super::{PerformanceRow, ReportError, write_whole};

/// Why a chart could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChartError {
    /// There is nothing to draw.
    #[error("the {chart} has no data; expected at least one {expected}")]
    Empty {
        /// Which chart.
        chart: &'static str,
        /// What would have been enough.
        expected: &'static str,
    },
    /// A loss curve holds NaN or an infinity.
    #[error(
        "the {curve} loss at step {step} is {value}; expected finite numbers: the run diverged there, or its log is damaged"
    )]
    NonFiniteLoss {
        /// `training` or `validation`.
        curve: &'static str,
        /// The optimizer step of the point.
        step: f64,
        /// The loss that was found.
        value: f64,
    },
    /// A measure of a step cannot be drawn.
    #[error(
        "the {chart} at step {step} is {value}; expected finite numbers from 0 on: the log is damaged there"
    )]
    NotANumber {
        /// Which chart.
        chart: &'static str,
        /// The optimizer step of the point.
        step: f64,
        /// The value that was found.
        value: f64,
    },
    /// A measurement cannot be drawn.
    #[error("{model:?} under the protocol {protocol:?} has the {field} {value}; expected {expected}")]
    Measurement {
        /// The row's model.
        model: String,
        /// The row's protocol.
        protocol: String,
        /// The row's bad field.
        field: &'static str,
        /// What it holds.
        value: f64,
        /// What it may hold.
        expected: &'static str,
    },
    /// Two measurements claim the same bar.
    #[error(
        "{model:?} is measured twice under the protocol {protocol:?}; keep one row, or give the models different names"
    )]
    Duplicate {
        /// The rows' model.
        model: String,
        /// The rows' protocol.
        protocol: String,
    },
    /// The drawing library failed.
    #[error("the chart could not be drawn: {0}")]
    Draw(String),
    /// The chart's file could not be written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// The loss by optimizer step. The order of the points does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossCurves {
    /// `(optimizer step, loss in nats per token)` of the training batches.
    pub training: Vec<(f64, f64)>,
    /// `(optimizer step, loss in nats per token)` of the evaluations.
    pub validation: Vec<(f64, f64)>,
}

/// Writes the loss chart as a PNG of 1200 by 800 pixels: the raw training loss, its running mean over a fiftieth of
/// the points, and the validation loss with its best point marked.
///
/// The y axis holds every validation point and the bulk of the training points; a note counts those outside.
///
/// # Errors
/// [`ChartError::Empty`] without any point, [`ChartError::NonFiniteLoss`] naming the first bad step,
/// [`ChartError::Report`] where the file cannot be written.
pub fn loss_chart(path: impl AsRef<Path>, curves: &LossCurves) -> Result<(), ChartError> {
    write_png(path.as_ref(), &png_bytes(&LossFigure::new(curves)?)?)
}

/// The chart of [`loss_chart`] as SVG text that can stand inside an HTML page.
///
/// # Errors
/// As [`loss_chart`], but for the file.
pub fn loss_chart_svg(curves: &LossCurves) -> Result<String, ChartError> {
    svg_text(&LossFigure::new(curves)?)
}

/// Writes the perplexity chart as a PNG of 1200 by 800 pixels: bars grouped by protocol, one a model, each with its
/// value. Models and protocols keep their first order, but for `notebook`, `text`, `response`, which lead.
///
/// The axis is logarithmic where the largest perplexity is over 20 times the smallest; bars then start at 1, so that
/// their length is the loss. Where a row has a standard error, a whisker spans `exp(loss - 1.96 error)` to
/// `exp(loss + 1.96 error)`.
///
/// # Errors
/// [`ChartError::Empty`] without rows, [`ChartError::Measurement`] for a number that cannot be drawn,
/// [`ChartError::Duplicate`] for two rows of one bar, [`ChartError::Report`] where the file cannot be written.
pub fn perplexity_chart(path: impl AsRef<Path>, rows: &[PerformanceRow]) -> Result<(), ChartError> {
    write_png(path.as_ref(), &png_bytes(&PerplexityFigure::new(rows)?)?)
}

/// The chart of [`perplexity_chart`] as SVG text that can stand inside an HTML page.
///
/// # Errors
/// As [`perplexity_chart`], but for the file.
pub fn perplexity_chart_svg(rows: &[PerformanceRow]) -> Result<String, ChartError> {
    svg_text(&PerplexityFigure::new(rows)?)
}

/// A chart of one measure of the steps as SVG text that can stand inside an HTML page, 1200 by 500 pixels. Its axis
/// begins at 0; of a noisy measure it holds the bulk, and a note counts the values outside.
///
/// # Errors
/// [`ChartError::Empty`] without any point, [`ChartError::NotANumber`] naming the first bad step.
pub fn step_chart_svg(series: &StepSeries) -> Result<String, ChartError> {
    svg_text(&StepFigure::new(series)?)
}

fn write_png(path: &Path, bytes: &[u8]) -> Result<(), ChartError> {
    Ok(write_whole(path, |file| file.write_all(bytes))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn curves(steps: u32) -> LossCurves {
        let loss = |step: u32| 3.0 + 3.5 * (-9.0 * f64::from(step) / f64::from(steps)).exp();
        let noise = |step: u32| 0.3 * f64::from(step * 7919 % 101) / 101.0;
        LossCurves {
            training: (1..=steps).map(|step| (f64::from(step), loss(step) + noise(step))).collect(),
            validation: (1..=6)
                .map(|at| (f64::from(at * steps / 6), if at == 5 { 2.9871 } else { loss(at * steps / 6) }))
                .collect(),
        }
    }

    fn row(model: &str, protocol: &str, perplexity: f64) -> PerformanceRow {
        PerformanceRow {
            model: model.into(),
            protocol: protocol.into(),
            loss: perplexity.ln(),
            perplexity,
            tokens: 1000,
            standard_error: Some(0.02),
        }
    }

    fn rows() -> Vec<PerformanceRow> {
        vec![
            row("Base <raw>", "response", 38.0),
            row("LoRA", "response", 14.2),
            row("Base <raw>", "notebook", 115.51),
            row("LoRA", "notebook", 2.37),
        ]
    }

    /// The size of a PNG file and how many of its pixels have the colour.
    fn decoded(path: &Path, color: [u8; 3]) -> (u32, u32, usize) {
        let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, info.height, pixels.chunks_exact(3).filter(|pixel| *pixel == color).count())
    }

    #[test]
    fn the_pictures_decode_and_hold_the_data() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chart.png");
        loss_chart(&path, &curves(60)).unwrap();
        let (width, height, validation) = decoded(&path, [0xd5, 0x5e, 0x00]);
        assert_eq!((width, height), (1200, 800));
        assert!(validation > 1000, "{validation} pixels of the validation colour");

        perplexity_chart(&path, &rows()).unwrap();
        let (width, height, base) = decoded(&path, [0xe6, 0x9f, 0x00]);
        let (_, _, tuned) = decoded(&path, [0x00, 0x72, 0xb2]);
        assert_eq!((width, height), (1200, 800));
        assert!(base > tuned && tuned > 10_000, "{base} and {tuned} pixels of bars");
    }

    #[test]
    fn the_loss_svg_is_the_same_each_time_and_names_what_it_shows() {
        let svg = loss_chart_svg(&curves(600)).unwrap();
        assert_eq!(svg, loss_chart_svg(&curves(600)).unwrap());
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        for part in ["optimizer step", "loss (nats per token)", "training, mean of 13 points", "validation"] {
            assert!(svg.contains(part), "{part}");
        }
        assert!(svg.contains("best 2.9871 at step 500"), "the best point and its value");
    }

    #[test]
    fn an_outlier_is_counted_in_a_note() {
        let mut curves = curves(600);
        assert!(!loss_chart_svg(&curves).unwrap().contains("outside the axis"));
        curves.training[0].1 = 60.0;
        let svg = loss_chart_svg(&curves).unwrap();
        assert!(svg.contains("1 training value lies outside the axis: 60.00 at step 1."), "{svg}");
    }

    #[test]
    fn a_measure_of_the_steps_has_its_axis_from_zero_and_its_unit() {
        let points = (1..=600).map(|step| (f64::from(step), if step == 7 { 9.0 } else { 0.5 })).collect();
        let series = StepSeries { title: "Gradient norm", axis: "norm", noisy: true, points };
        let svg = step_chart_svg(&series).unwrap();
        for part in ["height=\"500\"", "mean of 13 steps", "\n0.0\n", "outside the axis: 9.00 at step 7"] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        let rate = StepSeries { noisy: false, ..series.clone() };
        assert!(!step_chart_svg(&rate).unwrap().contains("outside"));
        let bad = StepSeries { points: vec![(1.0, 2.0), (2.0, f64::NAN)], ..series };
        assert!(step_chart_svg(&bad).unwrap_err().to_string().contains("step 2 is NaN"));
        assert!(step_chart_svg(&StepSeries { points: vec![], ..bad }).is_err());
    }

    #[test]
    fn short_runs_have_a_chart() {
        let one = LossCurves { training: vec![(1.0, 6.5)], validation: Vec::new() };
        assert!(loss_chart_svg(&one).unwrap().contains("<circle"));
        let validation_only = LossCurves { training: Vec::new(), validation: vec![(0.0, 0.0)] };
        assert!(loss_chart_svg(&validation_only).unwrap().contains("best 0.0000 at step 0"));
    }

    #[test]
    fn the_perplexity_svg_is_the_same_each_time_and_holds_every_value() {
        let svg = perplexity_chart_svg(&rows()).unwrap();
        assert_eq!(svg, perplexity_chart_svg(&rows()).unwrap());
        for part in
            ["38.00", "14.20", "115.51", "2.37", "LoRA", "Base &lt;raw&gt;", "log scale", "padding as well"]
        {
            assert!(svg.contains(part), "{part}");
        }
        assert!(svg.find("\nnotebook").unwrap() < svg.find("\nresponse").unwrap(), "notebook leads");
        let svg = perplexity_chart_svg(&rows()[..2]).unwrap();
        assert!(!svg.contains("log scale") && !svg.contains("padding as well"));
    }

    #[test]
    fn nothing_to_draw_is_an_error_and_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chart.png");
        assert!(matches!(loss_chart(&path, &LossCurves::default()), Err(ChartError::Empty { .. })));
        assert!(matches!(perplexity_chart(&path, &[]), Err(ChartError::Empty { .. })));
        assert!(!path.exists());
        let absent = folder.path().join("absent").join("chart.png");
        assert!(matches!(perplexity_chart(&absent, &rows()), Err(ChartError::Report(_))));
    }

    #[test]
    fn bad_numbers_are_named() {
        let mut bad = curves(60);
        bad.training[41].1 = f64::NAN;
        let error = loss_chart_svg(&bad).unwrap_err().to_string();
        assert!(error.contains("training loss at step 42 is NaN"), "{error}");
        let mut bad = curves(60);
        bad.validation[1].1 = f64::INFINITY;
        let error = loss_chart_svg(&bad).unwrap_err().to_string();
        assert!(error.contains("validation loss at step 20 is inf"), "{error}");

        let mut bad = rows();
        bad[1].perplexity = 0.0;
        let error = perplexity_chart_svg(&bad).unwrap_err().to_string();
        assert!(error.contains("\"LoRA\"") && error.contains("the perplexity 0;"), "{error}");
        let mut bad = rows();
        bad[2].standard_error = Some(-1.0);
        let error = perplexity_chart_svg(&bad).unwrap_err().to_string();
        assert!(error.contains("the standard error -1;"), "{error}");
        let mut bad = rows();
        bad[3] = bad[1].clone();
        assert!(matches!(perplexity_chart_svg(&bad), Err(ChartError::Duplicate { .. })));
    }
}
