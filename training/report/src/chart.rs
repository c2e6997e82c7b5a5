//! The charts of a run: which there are, and what a chart is.
//!
//! A chart is SVG text, written element by element. The page embeds it as it is, and the PNG is made from it, so both
//! show the same. Colours are the Okabe-Ito palette, which readers with the common colour deficiencies can tell apart.

mod axis;
mod color;
mod curve;
mod discrimination;
mod heading;
mod loss;
mod perplexity;
mod picture;
mod plot;
mod series;
mod sheet;
mod step;
#[cfg(test)]
mod tests;
mod trials;
mod typeface;

use std::io::Write;
use std::path::Path;

use gptneo_files::write_file;

use crate::error::ReportError;
use crate::knowledge::DiscriminationFacts;
use crate::perplexities::PerplexityRow;

pub use loss::LossCurves;
pub use step::StepSeries;
pub use trials::TrialCurve;

/// A chart that is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    svg: String,
}

impl Chart {
    /// The loss, 1200 by 800 pixels: of the training raw and as a running mean over a fiftieth of the points, of the
    /// validation with its best point marked.
    ///
    /// The y axis holds every validation point and the bulk of the training points; a note counts those outside.
    ///
    /// # Errors
    /// [`ReportError::Empty`] without any point, [`ReportError::NonFiniteLoss`] naming the first bad step.
    pub fn losses(curves: &LossCurves) -> Result<Self, ReportError> {
        Ok(Self { svg: loss::draw(curves)?.into_svg() })
    }

    /// The perplexities, 1200 by 800 pixels: bars grouped by protocol, one a model, each with its value. Models and
    /// protocols keep their first order, but for `notebook`, `text`, `response`, which lead.
    ///
    /// The axis is logarithmic where the largest perplexity is over 20 times the smallest; bars then start at 1, so
    /// that their length is the loss. Where a row has a standard error, a whisker spans `exp(loss - 1.96 error)` to
    /// `exp(loss + 1.96 error)`.
    ///
    /// # Errors
    /// [`ReportError::Empty`] without rows, [`ReportError::Measurement`] for a number that cannot be drawn,
    /// [`ReportError::Duplicate`] for two rows of one bar.
    pub fn perplexities(rows: &[PerplexityRow]) -> Result<Self, ReportError> {
        Ok(Self { svg: perplexity::draw(rows)?.into_svg() })
    }

    /// One measure of the steps, 1200 by 500 pixels. Its axis begins at 0; of a noisy measure it holds the bulk, and a
    /// note counts the values outside.
    ///
    /// # Errors
    /// [`ReportError::Empty`] without any point, [`ReportError::NotANumber`] naming the first bad step.
    pub fn steps(series: &StepSeries) -> Result<Self, ReportError> {
        Ok(Self { svg: step::draw(series)?.into_svg() })
    }

    /// What each model finds of true answers among others, 1200 by 560 pixels: a bar a model with its 95 % interval, and
    /// lines for guessing and for shared words.
    ///
    /// # Errors
    /// [`ReportError::Empty`] without a model, [`ReportError::Share`] for a share that is none.
    pub fn discrimination(facts: &DiscriminationFacts) -> Result<Self, ReportError> {
        Ok(Self { svg: discrimination::draw(facts)?.into_svg() })
    }

    /// The validation losses of a sweep's trials, 1200 by 800 pixels: a line a trial over the share of its training, as far
    /// as it went, the chosen one in colour.
    ///
    /// # Errors
    /// [`ReportError::Empty`] without any point, [`ReportError::NonFiniteLoss`] naming the first bad one.
    pub fn trials(curves: &[TrialCurve]) -> Result<Self, ReportError> {
        Ok(Self { svg: trials::draw(curves)?.into_svg() })
    }

    /// The SVG document, without an XML declaration so that it can stand inside HTML.
    pub fn svg(&self) -> &str {
        &self.svg
    }

    /// The picture as the bytes of a PNG file.
    ///
    /// # Errors
    /// [`ReportError::Draw`] where there is no memory for the picture.
    pub fn png(&self) -> Result<Vec<u8>, ReportError> {
        picture::png(&self.svg)
    }

    /// Writes the picture as a PNG file.
    ///
    /// # Errors
    /// As [`Chart::png`]; [`ReportError::Write`] where the file cannot be written.
    pub fn write_png(&self, path: impl AsRef<Path>) -> Result<(), ReportError> {
        let bytes = self.png()?;
        Ok(write_file(path.as_ref(), |file| file.write_all(&bytes))?)
    }
}
