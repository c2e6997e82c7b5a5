//! `report.html`: what a run did, on one page that stands alone. No script and no network, light and dark, and the
//! figures are those of the run's CSV files, each with all its digits in the markup.

mod answers;
mod charts;
mod html;
mod inputs;
mod knowledge;
mod measured;

use std::io::Write as _;
use std::path::Path;

use gptneo_files::write_file;

use crate::answers::{AnswerScores, GenerationRow};
use crate::chart::{LossCurves, StepSeries};
use crate::decoding::Decoding;
use crate::error::ReportError;
use crate::knowledge::{DiscriminationFacts, ScoreChange};
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
    /// How all answers were chosen.
    pub decoding: Decoding,
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
    /// How each model tells true answers from others, where there were enough to choose from.
    pub discrimination: Option<DiscriminationFacts>,
    /// How good each model's answers are.
    pub scores: Vec<AnswerScores>,
    /// How far the scores of the answers went, answer by answer.
    pub changes: Vec<ScoreChange>,
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
            page += &knowledge::section(findings, self.decoding)?;
        }
        page += &charts::losses(&self.losses)?;
        page += &charts::steps(&self.steps)?;
        if let Some(findings) = self.findings {
            page += &answers::side_by_side(findings, self.decoding);
        }
        page += &answers::samples(&self.samples, self.decoding);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::knowledge::ModelShare;

    fn findings() -> Findings {
        let row = |model: &str, protocol: &str, perplexity: f64| PerplexityRow {
            model: model.into(),
            protocol: protocol.into(),
            loss: perplexity.ln(),
            perplexity,
            tokens: 1234,
            standard_error: Some(0.01),
            bits_per_byte: None,
        };
        Findings {
            perplexities: vec![row("Base Model", "response", 20.0), row("LoRA Model", "response", 15.0)],
            gain: Some(Gain {
                difference: -0.25,
                standard_error: Some(0.05),
                verdict: "more than two standard errors".into(),
            }),
            answers: vec![GenerationRow { question: "<b>?".into(), base: String::new(), tuned: "b".into() }],
            expected: vec!["c".into()],
            discrimination: None,
            scores: Vec::new(),
            changes: Vec::new(),
        }
    }

    fn page<'a>(run: &'a RunFacts, findings: Option<&'a Findings>) -> Page<'a> {
        Page {
            title: "a <model> tuned on cards".into(),
            run,
            losses: LossCurves { training: vec![(1.0, 3.0), (2.0, 2.5)], validation: vec![(2.0, 2.75)] },
            steps: Vec::new(),
            samples: Vec::new(),
            decoding: Decoding { repetition_penalty: 1.25 },
            data: DataFacts {
                facts: vec![("split".into(), "1 & 2".into())],
                lengths: vec![LengthBin { from: 1, to: 10, count: 1200 }],
            },
            settings: "name = \"<x>\"".into(),
            manifest: "{}".into(),
            findings,
        }
    }

    #[test]
    fn the_page_tells_what_there_is_and_no_more() {
        let run = RunFacts { steps: 1500, train_examples: 30_559, ..RunFacts::default() };
        let headings = |html: &str| -> Vec<String> {
            let parts = html.split("<h2>").skip(1);
            parts.map(|part| part.split_once("</h2>").unwrap().0.to_string()).collect()
        };
        let html = page(&run, None).render().unwrap();
        assert_eq!(headings(&html), ["Loss", "Data", "Settings", "Manifest"]);
        for part in [
            "<h1>a &lt;model&gt; tuned on cards</h1>",
            "1,500 optimizer steps on 30,559 examples",
            "It measured the validation loss alone",
            "Best validation loss 2.7500 nats per token (perplexity 15.64) after step 2.",
            "<dt>split</dt><dd>1 &amp; 2</dd>",
            "<td>1 – 10</td><td>1,200</td>",
            "name = &quot;&lt;x&gt;&quot;",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }

        let found = findings();
        let html = page(&run, Some(&found)).render().unwrap();
        let expected =
            ["Before and after", "Loss", "Answers before and after", "Data", "Settings", "Manifest"];
        assert_eq!(headings(&html), expected);
        for part in [
            "from 20.00 to 15.00 (-25.0\u{a0}%)",
            "changed by -0.2500 ± 0.0500 nats per token, more than two standard errors. ",
            "data-model=\"LoRA Model\" data-protocol=\"response\"",
            "<h3>&lt;b&gt;?</h3>",
            "with a repetition penalty of 1.25 on those that the answer has already",
            "<em>nothing</em>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("It measured the validation loss alone") && !html.contains("What it knows"));

        let model =
            |model: &str, share| ModelShare { model: model.into(), share, standard_error: Some(0.04) };
        let known = Findings {
            discrimination: Some(DiscriminationFacts {
                others: 3,
                questions: 120,
                parameters: 6_300_000,
                chance: 0.25,
                shared_words: 0.5,
                beside_shared_words: 0.04,
                models: vec![model("Base Model", 0.3), model("LoRA Model", 0.3125)],
                change: None,
            }),
            ..found
        };
        let html = page(&run, Some(&known)).render().unwrap();
        assert_eq!(headings(&html)[..3], ["Before and after", "What it knows", "Loss"]);
        for part in [
            "no better than guessing",
            "<td>LoRA Model</td><td><data value=\"0.3125\">31.2</data> %</td>",
            "guessing 25.0\u{a0}%",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }

    #[test]
    fn colours_of_the_charts_have_a_dark_form() {
        let css = include_str!("page/style.css");
        let html = page(&RunFacts::default(), None).render().unwrap();
        for attribute in ["fill", "stroke"] {
            let opening = format!(" {attribute}=\"#");
            let used = html.split(&opening).skip(1).map(|rest| &rest[..6]);
            for color in used {
                assert!(css.contains(&format!("svg [{attribute}=\"#{color}\"]")), "{attribute} {color}");
            }
        }
    }
}
