//! The recipe, and what it leaves: from settings and local files to a trained, measured and merged model in one folder.
//!
//! ```no_run
//! use gptneo_lora::run::{Event, Opening, local};
//! use gptneo_lora::settings::{Layer, Origin, Preset, Settings};
//!
//! let mut settings = Settings::resolve(Origin::Preset(Preset::Quick), Layer::default())?;
//! settings.run.output = Some("runs/quick".into());
//! let outcome = Opening::new(settings)?.read(local)?.complete(|event: Event<'_>| {
//!     if let Event::Preflight(found) = event {
//!         println!("{}", found.render());
//!     }
//! })?;
//! for row in &outcome.findings.perplexities {
//!     println!("{} {}: {:.2}", row.model, row.protocol, row.perplexity);
//! }
//! # Ok::<(), gptneo_lora::Error>(())
//! ```
//!
//! - A run: [`Opening`] settles it, [`Run`] does it, an [`Observer`] hears of it, a [`RunFolder`] holds all its files.
//! - The short way, without settings or a folder: a [`FineTune`] of a [`Base`] gives a [`Model`] that is [`Tuned`].
//! - Its steps, each to be had alone: [`data`], [`preflight`], [`merge`], [`answers`], [`export`], [`evaluate`],
//!   [`generate`], [`init`].
//! - A model that others ask: [`engine`] starts it on a thread of its own.
//! - Around it: [`seeds`] repeats a run, [`sweep`] searches its settings, [`compare`] tells runs apart, [`side_by_side`]
//!   asks two models the same, [`mod@bench`] takes the time.

pub mod answers;
pub mod bench;
pub mod compare;
pub mod data;
mod embedded;
pub mod engine;
pub mod evaluate;
pub mod export;
mod facts;
mod fine_tune;
mod folder;
pub mod generate;
pub mod init;
mod knowledge;
mod manifest;
mod measures;
pub mod merge;
mod model;
mod model_folder;
mod opening;
mod pipeline;
pub mod preflight;
mod progress;
pub mod seeds;
pub mod side_by_side;
mod source;
mod start;
pub mod sweep;
mod taken;
mod template;
mod tensorboard;

pub use gptneo_files::{Claim, ClaimError};

pub use self::embedded::refuse as refuse_embedded;
pub use self::fine_tune::{Base, FineTune, Tuned};
pub use self::folder::{EXPORT_PROOF, MERGE_PROOF, RunFolder, refuse_used};
pub use self::manifest::{BURN_VERSION, Counts, Inputs, Manifest};
pub use self::model::Model;
pub use self::model_folder::ModelFolder;
pub use self::opening::{Opening, Run, local};
pub use self::pipeline::Outcome;
pub use self::progress::{Event, Measured, Observer, Silent, TrainingSummary};
pub use self::source::{Found, Kind, Source, Sources};
