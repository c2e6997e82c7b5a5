//! What can go wrong between a run's facts and the files that show them.

use std::path::PathBuf;

use gptneo_files::FileError;

/// Why a chart, a table or a page could not be made, written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file could not be written. The path keeps what it held before, or stays absent.
    #[error(transparent)]
    Write(#[from] FileError),
    /// A table could not be read: absent, not CSV, a missing column or a cell of the wrong type.
    #[error("cannot read the table {}; expected a CSV file with the columns {expected}", path.display())]
    Read {
        /// The file that was read.
        path: PathBuf,
        /// The columns the table must have.
        expected: String,
        /// What was wrong, with the line where there is one.
        source: csv::Error,
    },
    /// There is nothing to draw.
    #[error("the {chart} has no data; expected at least one {expected}")]
    Empty {
        /// Which chart.
        chart: String,
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
        chart: String,
        /// The optimizer step of the point.
        step: f64,
        /// The value that was found.
        value: f64,
    },
    /// A share cannot be drawn.
    #[error("the chart {chart:?} has a share of {value}; expected 0 to 1")]
    Share {
        /// Which chart.
        chart: &'static str,
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
    /// The chart's SVG could not be made into a picture.
    #[error("the chart could not be drawn: {0}")]
    Draw(String),
}
