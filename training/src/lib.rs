//! Fine-tuning GPT-Neo: a run from model and examples to the trained model, and the measures of what it is worth.
//!
//! ```
//! use burn::backend::Autodiff;
//! use burn_flex::Flex;
//! use gptneo_datasets::Example;
//! use gptneo_model::{GptNeo, GptNeoConfig};
//! use gptneo_training::metrics::MetricsRow;
//! use gptneo_training::{Ending, Event, TrainingConfig, TrainingRun};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = GptNeoConfig::from_json(serde_json::from_str(
//!     r#"{"hidden_size": 16, "num_layers": 1, "num_heads": 2, "vocab_size": 32,
//!         "max_position_embeddings": 8, "attention_layers": ["global"]}"#,
//! )?)?;
//! // Random weights; `gptneo_model::checkpoint::load_model` reads a Hugging Face folder.
//! let model = GptNeo::<Autodiff<Flex>>::init(&config, &Default::default());
//! // Texts of token ids; `gptneo_datasets::Dataset` makes them of questions and answers.
//! let text = |ids: [u32; 4]| Example { ids: ids.to_vec(), response_from: 2, supervised_from: 1, ..Default::default() };
//! let examples = vec![text([5, 6, 7, 0]), text([5, 8, 9, 0]), text([6, 5, 7, 0])];
//!
//! let trained = TrainingRun::new(model, examples)
//!     .config(TrainingConfig { max_steps: Some(2), batch_size: 2, ..Default::default() })
//!     .observer(|event: Event<'_>| {
//!         if let Event::Row(MetricsRow::Train(row)) = event {
//!             println!("step {}: loss {:.3}", row.step, row.loss);
//!         }
//!     })
//!     .train()?;
//! assert_eq!((trained.ending, trained.state.step), (Ending::Finished, 2));
//! # Ok(())
//! # }
//! ```
//!
//! A [`TrainingRun`] trains what its [`Tuning`] says, by default a LoRA adapter, in the order of a [`BatchOrder`]. Given
//! a folder it leaves its [`metrics`], its [`samples`] and the [`checkpoint`]s that it can go on from. [`measure`] says
//! what a model is worth, and [`timing`] how long its training would take.
//!
//! The loop is Burn's `SupervisedTraining` with a strategy of this crate's. The crate writes into the folder of the run
//! and prints nothing.

mod batch_order;
pub mod checkpoint;
mod config;
mod error;
mod fine_tune;
mod gradient_norm;
mod gradients;
mod learner;
pub mod measure;
pub mod metrics;
mod observer;
mod optim;
mod parallel;
pub mod precision;
mod recompute;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod reference_tests;
mod run;
pub mod samples;
pub mod schedule;
mod step;
mod step_input;
pub mod step_log;
pub mod tensorboard;
mod texts;
mod threads;
pub mod timing;
mod tuning;

pub use batch_order::{BatchOrder, Workload};
pub use burn::train::Interrupter;
pub use config::{TrainingConfig, Unfit};
pub use error::TrainingError;
pub use gptneo_model::{Activations, Precision};
pub use gradient_norm::GradientNorm;
pub use observer::{Event, Observer, Silent};
pub use run::{Ending, Trained, TrainingRun};
pub use schedule::Schedule;
pub use threads::check_threads;
pub use tuning::{Tuning, TuningKind};
