//! The recipe, and what it leaves: from settings and local files to a trained, measured and merged model in one folder.
//!
//! - A run: [`Opening`] settles it, [`Run`] does it, an [`Observer`] hears of it, a [`RunFolder`] holds all its files.
//! - Its steps, each to be had alone: [`preflight`], [`merge`], [`answers`], [`evaluate`], [`generate`], [`init`].
//! - Around it: [`compare`] tells two runs apart, [`side_by_side`] asks two models the same, [`bench`] takes the time.

pub mod answers;
pub mod bench;
pub mod compare;
mod embedded;
pub mod evaluate;
mod facts;
mod fine_tune;
mod folder;
pub mod generate;
pub mod init;
mod manifest;
pub mod merge;
mod model;
mod model_folder;
mod opening;
mod pipeline;
pub mod preflight;
mod progress;
pub mod side_by_side;
mod source;
mod start;
mod tensorboard;

pub use self::embedded::refuse as refuse_embedded;
pub use self::fine_tune::{Base, FineTune, Tuned};
pub use self::folder::{MERGE_PROOF, RunFolder, refuse_used};
pub use self::manifest::{BURN_VERSION, Counts, Inputs, Manifest};
pub use self::model::Model;
pub use self::model_folder::ModelFolder;
pub use self::opening::{Opening, Run, local};
pub use self::pipeline::Outcome;
pub use self::progress::{Event, Measured, Observer, Silent, TrainingSummary};
pub use self::source::{Found, Kind, Source, Sources};
