//! An adapter's updates added to its base, with the proof that the model still computes the same.

use std::fmt;
use std::path::{Path, PathBuf};

use gptneo_datasets::{
    CHAT_TEMPLATE_FILE, DEFAULT_INSTRUCTION, PROMPT_TEMPLATE_FILE, PromptTemplate, Tokenizer,
};
use gptneo_files::{Claim, read_small};
use gptneo_model::adapter::{self, adapter_folder, trained_over};
use gptneo_model::checkpoint::{Dtype, SaveFormat, rounded, save_model};
use gptneo_model::{GptNeo, GptNeoConfig, NeoBackend, WeightFormat};
use gptneo_training::measure::{MergeProof, prove_merge};
use serde::Serialize;

use super::folder::MERGE_PROOF;
use super::model_folder::ModelFolder;
use crate::backend::{BackendKind, Job, Place, dispatch};
use crate::{Error, Result};

/// The files that hold a prompt template.
const TEMPLATE_FILES: [&str; 2] = [CHAT_TEMPLATE_FILE, PROMPT_TEMPLATE_FILE];

/// What the two models are compared on, put into the prompt template.
pub(super) const QUESTIONS: [&str; 4] = [
    "What is the relationship between very low Mg2+ levels, PTH levels, and Ca2+ levels?",
    "What are the symptoms of asthma?",
    "How is high blood pressure treated?",
    "Who is at highest risk for type 2 diabetes, and which tests are used to find it early?",
];

/// What `merge_proof.json` says.
#[derive(Clone, Debug, Serialize)]
pub struct MergeReport {
    holds: bool,
    #[serde(flatten)]
    proof: MergeProof,
    base: PathBuf,
    adapter: PathBuf,
    backend: &'static str,
    /// The format that the weights were written in.
    dtype: Dtype,
    /// The largest difference of two logits with the weights as they were written, rounded to that format.
    written_difference: f64,
    /// The format that the base was kept in while the adapter was trained, where that was not f32.
    #[serde(skip_serializing_if = "Option::is_none")]
    base_weights: Option<WeightFormat>,
    /// The largest difference of two logits between the merged model and the one that was trained, over that base.
    #[serde(skip_serializing_if = "Option::is_none")]
    trained_difference: Option<f64>,
}

impl fmt::Display for MergeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MergeProof { prompts, largest_difference, largest_logit, tolerance, .. } = self.proof;
        write!(
            f,
            "merged equals base with adapter on {prompts} prompts: the logits differ by at most \
             {largest_difference:.3e} (allowed: {tolerance:.3e}; largest logit: {largest_logit:.3})"
        )?;
        if self.dtype != Dtype::F32 {
            let (dtype, difference) = (self.dtype, self.written_difference);
            write!(f, "; rounded to {dtype}, as written, by at most {difference:.3e}")?;
        }
        match self.base_weights.zip(self.trained_difference) {
            Some((format, difference)) => {
                write!(
                    f,
                    "; from the model as it was trained, over the base in {format}, by at most {difference:.3e}"
                )
            }
            None => Ok(()),
        }
    }
}

/// A merge: where its parts come from, and what it becomes.
#[derive(Clone, Copy)]
pub struct Merge<'a> {
    /// The base.
    pub base: &'a ModelFolder,
    /// The base as the user names it.
    pub base_name: &'a Path,
    /// The adapter's folder.
    pub adapter: &'a Path,
    /// How the merged model is written.
    pub format: SaveFormat,
    /// What computes, for the report.
    pub backend: BackendKind,
}

/// Merges the adapter of a folder into its base and writes the merged folder, which was claimed.
///
/// # Errors
/// The device lacks room, the adapter does not fit, the merged model computes otherwise, and nothing is written; or
/// the folder cannot be written.
pub fn merge(place: Place, merge: Merge<'_>, output: Claim) -> Result<MergeReport> {
    place.check_room(merge.base.config(), 0, 0)?;
    let report = dispatch(place, IntoFolder { merge, folder: &output.folder() })?;
    output.settle()?;
    Ok(report)
}

/// A merge and the folder to write, in place of one that may be there.
pub(crate) struct IntoFolder<'a> {
    pub(crate) merge: Merge<'a>,
    pub(crate) folder: &'a Path,
}

impl Job for IntoFolder<'_> {
    type Output = MergeReport;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<MergeReport> {
        let Merge { base, adapter, backend, .. } = self.merge;
        let adapted = base.load_adapted::<B>(Some(adapter), WeightFormat::F32, &device)?;
        let trained = match trained_over(adapter)? {
            format if format != WeightFormat::F32 && backend.resolved() == BackendKind::Flex => {
                Some(base.load_trained::<B>(adapter, format, &device)?)
            }
            _ => None,
        };
        self.merge.write(adapted, trained.as_ref(), self.folder)
    }
}

impl Merge<'_> {
    /// Merges `adapted`, the base with its adapter, and writes the folder with the proof in it; with how far that is from
    /// the model that was `trained`, where that was over a base in another format.
    ///
    /// # Errors
    /// The merged model answers otherwise, or a weight is too large for the format, and nothing is written; or the folder
    /// cannot be written.
    pub(crate) fn write<B: NeoBackend>(
        self,
        adapted: GptNeo<B>,
        trained: Option<&GptNeo<B>>,
        folder: &Path,
    ) -> Result<MergeReport> {
        let (merged, proof) = merged_with_proof(adapted.clone(), self.base.tokenizer())?;
        let written_difference = match self.format.dtype {
            Dtype::F32 => proof.largest_difference,
            dtype => {
                let prompts = prompts(self.base.tokenizer(), adapted.config())?;
                let written = prove_merge(&adapted, &rounded(merged.clone(), dtype)?, &prompts)?;
                if !written.largest_difference.is_finite() {
                    return Err(Error::Merge(written));
                }
                written.largest_difference
            }
        };
        let trained_difference = match trained {
            Some(trained) => {
                let prompts = prompts(self.base.tokenizer(), adapted.config())?;
                Some(prove_merge(trained, &merged, &prompts)?.largest_difference)
            }
            None => None,
        };
        let report = MergeReport {
            holds: proof.holds(),
            proof,
            base: self.base_name.to_path_buf(),
            adapter: self.adapter.to_path_buf(),
            backend: self.backend.resolved().name(),
            dtype: self.format.dtype,
            written_difference,
            base_weights: trained.map(GptNeo::base_weights),
            trained_difference,
        };
        let mut files = self.base.kept_files_of_tuned()?;
        let of_adapter = template_files(&adapter_folder(self.adapter));
        if !of_adapter.is_empty() {
            // What the adapter was tuned with, in place of all that the base brought along: of two files that say the same
            // in two ways, neither may be another model's.
            files.retain(|(name, _)| !TEMPLATE_FILES.contains(&name.as_str()));
            files.extend(of_adapter);
        }
        let text = serde_json::to_string_pretty(&report).unwrap_or_default();
        files.push((MERGE_PROOF.to_string(), format!("{text}\n").into_bytes()));
        save_model(&merged, folder, self.format, &files)?;
        Ok(report)
    }
}

/// The files of the prompt template that a folder has.
fn template_files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |name: &str| Some((name.to_string(), read_small(&folder.join(name)).ok()?));
    TEMPLATE_FILES.into_iter().filter_map(read).collect()
}

/// The plain model of a base with its adapter, and the proof that it computes the same.
///
/// # Errors
/// It does not.
pub(crate) fn merged_with_proof<B: NeoBackend>(
    adapted: GptNeo<B>,
    tokenizer: &Tokenizer,
) -> Result<(GptNeo<B>, MergeProof)> {
    let prompts = prompts(tokenizer, adapted.config())?;
    let merged = adapter::merge(adapted.clone());
    let proof = prove_merge(&adapted, &merged, &prompts)?;
    if proof.holds() { Ok((merged, proof)) } else { Err(Error::Merge(proof)) }
}

/// The questions as a model is asked them, cut where a model has few positions.
fn prompts(tokenizer: &Tokenizer, config: &GptNeoConfig) -> Result<Vec<Vec<u32>>> {
    let template = PromptTemplate::default();
    let prompt = |question: &&str| {
        let mut ids = tokenizer.encode(&template.question_prompt(question, DEFAULT_INSTRUCTION))?;
        ids.truncate(config.max_position_embeddings);
        Ok(ids)
    };
    QUESTIONS.iter().map(prompt).collect()
}
