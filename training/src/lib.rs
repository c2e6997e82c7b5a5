//! Fine-tuning with Burn's `Learner`: optimisation, checkpoints, evaluation and reports.

pub mod answer_score;
pub mod bench;
pub mod checkpoint;
mod config;
mod error;
pub mod evaluate;
pub mod merge;
pub mod metrics;
pub mod optim;
pub mod paired;
mod parallel;
pub mod plan;
pub mod precision;
pub mod preflight;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod reference_tests;
mod renderer;
pub mod report;
pub mod samples;
pub mod schedule;
pub mod step;
pub mod step_log;
pub mod strategy;
pub mod tensorboard;
pub mod train;

pub use config::TrainingConfig;
pub use error::TrainingError;
pub use gptneo_model::Precision;
