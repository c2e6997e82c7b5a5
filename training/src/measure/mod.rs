//! What a model is worth, in numbers: perplexity under three protocols, two models row by row, answers against the
//! expected ones, and the proofs that a merge and an export change nothing.

mod answers;
mod evaluation;
mod export;
mod merge;
mod paired;

pub use answers::{AnswerMetrics, Answered, exact_match, token_f1};
pub use evaluation::{Evaluation, RecordLoss, Score, evaluate, evaluate_records};
pub use export::{
    ExportProof, ExportRule, LogitsProof, PerplexityProof, block_losses, perplexity, prove_export,
};
pub use merge::{MergeProof, prove_merge};
pub use paired::{PairedDifference, Verdict};
