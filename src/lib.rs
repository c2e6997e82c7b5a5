//! Fine-tuning GPT-Neo with LoRA on questions and answers: train, measure honestly, merge with proof, ask.
//!
//! ```
//! use gptneo_lora::{Base, FineTune, Record, TrainingConfig};
//!
//! let records = vec![
//!     Record::new("Which organ pumps blood?", "The heart pumps blood."),
//!     Record::new("What do the lungs take in?", "The lungs take in oxygen."),
//! ];
//! let tuned = FineTune::of(Base::embedded())
//!     .training(TrainingConfig { max_steps: Some(3), ..Default::default() })
//!     .on(records)?;
//! println!("{}", tuned.model().answer("Which organ pumps blood?")?);
//!
//! # let out = tempfile::tempdir().expect("a temporary folder");
//! # let out = out.path();
//! tuned.save_adapter(out.join("adapter"))?; // PEFT loads it
//! tuned.merge()?.save(out.join("merged"))?; // transformers loads it
//! # Ok::<(), gptneo_lora::Error>(())
//! ```
//!
//! [`FineTune`] is the short way: a [`Base`], records in memory, a [`Tuned`] model back. The rooms behind it:
//!
//! - [`run`]: the whole recipe, from [`settings`] and files to one folder with adapter, merged model, tables, charts and
//!   report, as the program `gptneo-lora` does it. Its parts can be had alone.
//! - [`settings`]: every setting of a run, its default, and the file that holds it.
//! - [`backend`]: what computes. The types are generic over Burn's backends and default to the CPU's.
//!
//! Below stand crates of their own: [`model`] (the network, its files, generation), [`datasets`] (records to batches),
//! [`training`] (the training loop and the measures) and [`mod@report`] (tables, charts, page and card).
//!
//! The library reads local files, prints nothing and ends nothing: an [`Error`] tells what was found, what was expected
//! and, as a [`Remedy`], what to do, in terms of settings. A program that trains calls [`use_whole_machine`] first.

pub mod backend;
mod error;
pub mod run;
pub mod settings;

pub use gptneo_datasets::{self as datasets, DataOptions, PromptTemplate, Record};
pub use gptneo_model::generate::GenerationConfig;
pub use gptneo_model::{self as model, LoraConfig, SamplingConfig};
pub use gptneo_report as report;
pub use gptneo_training::{self as training, TrainingConfig};

pub use self::backend::use_whole_machine;
pub use self::error::{Error, Problem, Remedy, Result};
pub use self::run::{Base, FineTune, Model, Tuned};
