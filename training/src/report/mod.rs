//! What a run shows to people: CSV tables and charts. It owns how they look and how they reach the disk.
//!
//! Nothing here computes a loss. The rows and curves come in as plain numbers, so this module knows no tensor and
//! no model. Every file appears whole or not at all, see [`write_whole`].

mod axis;
mod canvas;
mod charts;
mod curve;
mod loss_figure;
mod measured_tables;
mod perplexity_figure;
mod raster;
mod series;
mod step_figure;
mod tables;
mod whole_file;

pub use charts::{
    ChartError, LossCurves, loss_chart, loss_chart_svg, perplexity_chart, perplexity_chart_svg,
    step_chart_svg,
};
pub use measured_tables::{HeldOutRow, read_held_out, write_answer_metrics, write_held_out};
pub use step_figure::StepSeries;
pub use tables::{GenerationRow, PerformanceRow, read_performance, write_generation, write_performance};
pub use whole_file::write_whole;

use std::path::PathBuf;

/// Why a report could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file could not be written. The path keeps what it held before, or stays absent.
    #[error("cannot write {}: {action} failed; check that the folder exists, is writable and has room", path.display())]
    Write {
        /// The file that was asked for.
        path: PathBuf,
        /// The step that failed.
        action: &'static str,
        /// What the system answered.
        source: std::io::Error,
    },
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
}
