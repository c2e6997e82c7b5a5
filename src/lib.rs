//! Fine-tuning GPT-Neo with LoRA.

pub mod backend;
mod error;
#[allow(missing_docs)]
pub mod model_card;
#[allow(missing_docs)]
pub mod performance;
#[allow(missing_docs)]
pub mod report_page;
pub mod run;
pub mod settings;

pub use self::backend::use_whole_machine;
pub use self::error::{Error, Problem, Remedy, Result};
