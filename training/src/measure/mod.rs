//! What a model is worth, in numbers: perplexity under three protocols, two models row by row, exams, answers told from
//! others, answers against the expected ones, and the proofs that a merge and an export change nothing.

mod answers;
mod bootstrap;
mod bytes;
mod choices;
mod chrf;
mod discrimination;
mod evaluation;
mod export;
mod loglikelihood;
mod mcnemar;
mod merge;
mod paired;
#[cfg(test)]
mod reference_tests;
mod repetition;
mod rouge;
mod share;

pub use answers::{AnswerMetrics, AnswerScore, Answered, exact_match, token_f1};
pub use bootstrap::Bootstrap;
pub use bytes::Bytes;
pub use choices::{ChoiceItem, ChoiceScores, score_choices};
pub use chrf::chrf;
pub use discrimination::{Discrimination, DiscriminationItem, DiscriminationTask};
pub use evaluation::{Evaluation, RecordLoss, Score, evaluate, evaluate_records};
pub use export::{
    ExportProof, ExportRule, LogitsProof, PerplexityProof, block_losses, perplexity, prove_export,
};
pub use mcnemar::McNemar;
pub use merge::{MergeProof, prove_merge};
pub use paired::{PairedDifference, Verdict};
pub use repetition::{distinct_2, repeats_itself};
pub use rouge::rouge_l;
