//! `report.html`: what a run did, on one page that stands alone. No script and no network, light and dark, and the
//! figures are those of the run's CSV files, each with all its digits in the markup.

mod answers;
mod charts;
mod html;
mod measured;
mod summary;

use std::io::Write as _;
use std::path::Path;

use anyhow::Result;
use gptneo_datasets::DataReport;
use gptneo_datasets::grouped;
use gptneo_training::measure::{AnswerMetrics, PairedDifference};
use gptneo_training::metrics::MetricsRow;
use gptneo_training::report::{GenerationRow, PerformanceRow, write_whole};
use gptneo_training::samples::SampleRow;

pub(crate) use self::charts::curves;
use self::html::escape;
use crate::manifest::Manifest;
use crate::settings::Settings;

/// The file's name in a run's folder.
pub(crate) const FILE: &str = "report.html";

/// What the page tells.
pub(crate) struct Page<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) manifest: &'a Manifest,
    pub(crate) data: &'a DataReport,
    /// Optimiser steps done.
    pub(crate) steps: usize,
    /// The step that the saved weights are of.
    pub(crate) model_step: usize,
    pub(crate) metrics: &'a [MetricsRow],
    pub(crate) samples: &'a [SampleRow],
    /// What `run` measured; nothing after `train`.
    pub(crate) findings: Option<&'a Findings>,
}

/// What a run measured around its training.
pub(crate) struct Findings {
    pub(crate) performance: Vec<PerformanceRow>,
    /// The tuned model's loss on the answers less the base's, row by row.
    pub(crate) gain: Option<PairedDifference>,
    pub(crate) answers: Vec<GenerationRow>,
    /// The answers that the data have to the same questions.
    pub(crate) expected: Vec<String>,
    pub(crate) metrics: Vec<AnswerMetrics>,
}

impl Page<'_> {
    /// Writes the page, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written, or a chart cannot be drawn.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = self.render()?;
        Ok(write_whole(path, |file| file.write_all(text.as_bytes()))?)
    }

    fn render(&self) -> Result<String> {
        let name = |path: &Option<std::path::PathBuf>| {
            let name = path.as_deref().and_then(Path::file_name).unwrap_or_default();
            escape(&name.to_string_lossy())
        };
        let title =
            format!("{} tuned on {}", name(&self.settings.model.path), name(&self.settings.data.path));
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n",
            include_str!("report_page/style.css")
        );
        page += &self.opening();
        if let Some(findings) = self.findings {
            page += &measured::protocols(findings, self.manifest.counts.validation_examples)?;
        }
        page += &charts::loss(self.metrics)?;
        page += &charts::steps(self.metrics)?;
        if let Some(findings) = self.findings {
            page += &answers::side_by_side(findings);
        }
        page += &answers::samples(self.samples);
        if let Some(findings) = self.findings {
            page += &measured::answer_metrics(&findings.metrics);
        }
        page += &summary::data(self.data);
        page += &summary::settings(self.settings, self.manifest)?;
        page += "</main>\n</body>\n</html>\n";
        Ok(page)
    }

    fn opening(&self) -> String {
        let counts = &self.manifest.counts;
        let measured = match self.findings {
            Some(_) => "",
            None => {
                " It measured the validation loss alone; <code>run</code> measures the three protocols as well."
            }
        };
        format!(
            "<p>{} optimizer steps on {} examples; {} of {} parameters were trained. The saved weights are of step {}.\
             {measured} For research and education: answers may be wrong, and where they touch health they are not \
             for clinical use.</p>\n",
            grouped(self.steps),
            grouped(counts.train_examples),
            grouped(counts.trainable_parameters),
            grouped(counts.total_parameters),
            grouped(self.model_step)
        )
    }
}
