//! What a run shows to people: plain numbers and texts go in, files come out.
//!
//! A [`Chart`] is drawn as SVG, which the page embeds, and becomes a PNG. The tables are CSV files: what each model
//! predicts ([`write_perplexities`]), what each row lost ([`write_held_out`]), what each model answers
//! ([`write_generation`]), how good that is ([`write_answer_scores`]) and what it knows ([`write_measures`],
//! [`write_scores`]). [`Page`] is the whole run on one HTML page
//! that needs nothing beside it, and [`ModelCard`] the `README.md` that the Hub shows. Every file appears whole or not
//! at all.
//!
//! The crate computes no loss and knows no model, no data set and no settings: who does fills [`RunFacts`] and the
//! rows.
//!
//! ```
//! use gptneo_report::{Chart, LossCurves};
//!
//! let curves = LossCurves {
//!     training: (1..=300).map(|step| (step as f64, 3.0 + 2.0 / (step as f64).sqrt())).collect(),
//!     validation: vec![(100.0, 3.31), (200.0, 3.24), (300.0, 3.22)],
//! };
//! let chart = Chart::losses(&curves)?;
//! assert!(chart.svg().contains("best 3.2200 at step 300"));
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("loss_chart.png");
//! chart.write_png(&path)?;
//! assert!(std::fs::read(path)?.starts_with(b"\x89PNG"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answers;
mod card;
mod chart;
mod decoding;
mod error;
mod held_out;
mod knowledge;
mod markup;
mod number;
mod page;
mod perplexities;
mod run_facts;
mod spread;
mod table;
mod trials;

pub use answers::{AnswerScores, GenerationRow, write_answer_scores, write_generation};
pub use card::{ModelCard, Provenance};
pub use chart::{Chart, LossCurves, StepSeries, TrialCurve};
pub use decoding::Decoding;
pub use error::ReportError;
pub use held_out::{HeldOutRow, read_held_out, write_held_out};
pub use knowledge::{
    DiscriminationFacts, MeasureRow, ModelShare, PairedShare, ScoreChange, ScoreRow, answers_reading,
    knowledge_reading, measure_rows, read_measures, read_scores, write_measures, write_scores,
};
pub use page::{DataFacts, Findings, Gain, LengthBin, Page, SampleAnswer};
pub use perplexities::{
    PROTOCOLS_NOTE, PerplexityRow, perplexity_cells, read_perplexities, write_perplexities,
};
pub use run_facts::RunFacts;
pub use spread::{SpreadRow, write_spread};
pub use trials::{TrialRow, write_trials};
