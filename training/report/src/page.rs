//! `report.html`: what a run did, on one page that stands alone. No script and no network, light and dark, and the
//! figures are those of the run's CSV files, each with all its digits in the markup.

mod answers;
mod charts;
mod html;
mod inputs;
mod measured;

use std::io::Write as _;
use std::path::Path;

use gptneo_files::write_file;

use crate::answers::{AnswerScores, GenerationRow};
use crate::chart::{LossCurves, StepSeries};
use crate::error::ReportError;
use crate::markup::escape;
use crate::number::grouped;
use crate::perplexities::PerplexityRow;
use crate::run_facts::RunFacts;

pub use answers::SampleAnswer;
pub use inputs::{DataFacts, LengthBin};
pub use measured::Gain;

/// What the page tells. A part without content has no section.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// The heading, such as "gpt-neo-125m tuned on flashcards.json".
    pub title: String,
    /// The run's counts.
    pub run: &'a RunFacts,
    /// The loss by step.
    pub losses: LossCurves,
    /// Further measures of the steps, a chart each.
    pub steps: Vec<StepSeries>,
    /// The answers to the same questions after every evaluation.
    pub samples: Vec<SampleAnswer>,
    /// What the data hold.
    pub data: DataFacts,
    /// The settings, as their file has them.
    pub settings: String,
    /// The manifest, as its file has it.
    pub manifest: String,
    /// What was measured around the training; nothing where it was training alone.
    pub findings: Option<&'a Findings>,
}

/// What a run measured around its training.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// Each model under each protocol.
    pub perplexities: Vec<PerplexityRow>,
    /// The tuned model's loss on the answers less the base's, row by row.
    pub gain: Option<Gain>,
    /// Both models' answers.
    pub answers: Vec<GenerationRow>,
    /// The answers that the data have to the same questions.
    pub expected: Vec<String>,
    /// How good each model's answers are.
    pub scores: Vec<AnswerScores>,
}

impl Page<'_> {
    /// Writes the page, whole or not at all.
    ///
    /// # Errors
    /// As [`Page::render`]; [`ReportError::Write`] where the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), ReportError> {
        let text = self.render()?;
        Ok(write_file(path.as_ref(), |file| file.write_all(text.as_bytes()))?)
    }

    /// The page's HTML.
    ///
    /// # Errors
    /// A chart cannot be drawn: see [`Chart`](crate::Chart).
    pub fn render(&self) -> Result<String, ReportError> {
        let title = escape(&self.title);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n",
            include_str!("page/style.css")
        );
        page += &self.opening();
        if let Some(findings) = self.findings {
            page += &measured::protocols(findings, self.run.held_out_examples)?;
        }
        page += &charts::losses(&self.losses)?;
        page += &charts::steps(&self.steps)?;
        if let Some(findings) = self.findings {
            page += &answers::side_by_side(findings);
        }
        page += &answers::samples(&self.samples);
        if let Some(findings) = self.findings {
            page += &measured::scores(&findings.scores);
        }
        page += &inputs::data(&self.data);
        page += &inputs::verbatim("Settings", &self.settings);
        page += &inputs::verbatim("Manifest", &self.manifest);
        page += "</main>\n</body>\n</html>\n";
        Ok(page)
    }

    fn opening(&self) -> String {
        let RunFacts { steps, model_step, train_examples, trainable_parameters, total_parameters, .. } =
            self.run;
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
            grouped(steps),
            grouped(train_examples),
            grouped(trainable_parameters),
            grouped(total_parameters),
            grouped(model_step)
        )
    }
}
