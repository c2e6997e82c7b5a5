//! An adapter's updates added to its base, with the proof that the model still computes the same.

use std::fmt;
use std::path::{Path, PathBuf};

use gptneo_datasets::{
    CHAT_TEMPLATE_FILE, DEFAULT_INSTRUCTION, PROMPT_TEMPLATE_FILE, PromptTemplate, Tokenizer,
};
use gptneo_model::adapter;
use gptneo_model::checkpoint::{Dtype, SaveFormat, save_model};
use gptneo_model::{GptNeo, GptNeoConfig, NeoBackend, WeightFormat};
use gptneo_training::measure::{MergeProof, prove_merge};
use serde::Serialize;

use super::folder::{MERGE_PROOF, refuse_used};
use super::model_folder::ModelFolder;
use crate::backend::{BackendKind, Job, Place, dispatch};
use crate::error::{Error, Result};

/// What the two models are compared on, put into the prompt template.
const QUESTIONS: [&str; 4] = [
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
    /// The format that the proven weights, which are float32, were then written in.
    dtype: Dtype,
}

impl fmt::Display for MergeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MergeProof { prompts, largest_difference, largest_logit, tolerance, .. } = self.proof;
        write!(
            f,
            "merged equals base with adapter on {prompts} prompts: the logits differ by at most \
             {largest_difference:.3e} (allowed: {tolerance:.3e}; largest logit: {largest_logit:.3})"
        )
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
    /// The folder to write.
    pub output: &'a Path,
    /// How the merged model is written.
    pub format: SaveFormat,
    /// What computes, for the report.
    pub backend: BackendKind,
}

/// Merges the adapter of a folder into its base and writes the merged folder, which must be new or empty.
///
/// # Errors
/// The device lacks room, the adapter does not fit, the merged model computes otherwise, and nothing is written; or
/// the folder cannot be written.
pub fn merge(place: Place, merge: Merge<'_>) -> Result<MergeReport> {
    refuse_used(merge.output)?;
    place.check_room(merge.base.config(), 0, 0)?;
    dispatch(place, merge)
}

impl Job for Merge<'_> {
    type Output = MergeReport;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<MergeReport> {
        let adapted = self.base.load_adapted::<B>(Some(self.adapter), WeightFormat::F32, &device)?;
        self.write(adapted)
    }
}

impl Merge<'_> {
    /// Merges `adapted`, the base with its adapter, and writes the folder with the proof in it.
    ///
    /// # Errors
    /// The merged model answers otherwise, and nothing is written; or the folder cannot be written.
    pub(crate) fn write<B: NeoBackend>(self, adapted: GptNeo<B>) -> Result<MergeReport> {
        let (merged, proof) = merged_with_proof(adapted, self.base.tokenizer())?;
        let report = MergeReport {
            holds: proof.holds(),
            proof,
            base: self.base_name.to_path_buf(),
            adapter: self.adapter.to_path_buf(),
            backend: self.backend.resolved().name(),
            dtype: self.format.dtype,
        };
        let mut files = self.base.tokenizer().files();
        files.extend(self.base.generation_config());
        files.extend(template_files(&[self.adapter, self.base.path()]));
        let text = serde_json::to_string_pretty(&report).unwrap_or_default();
        files.push((MERGE_PROOF.to_string(), format!("{text}\n").into_bytes()));
        save_model(&merged, self.output, self.format, &files)?;
        Ok(report)
    }
}

/// The files of the prompt template in the first of these folders that has one.
fn template_files(folders: &[&Path]) -> Vec<(String, Vec<u8>)> {
    let read = |folder: &&Path| -> Vec<(String, Vec<u8>)> {
        let names = [CHAT_TEMPLATE_FILE, PROMPT_TEMPLATE_FILE];
        let read = |name: &str| Some((name.to_string(), std::fs::read(folder.join(name)).ok()?));
        names.into_iter().filter_map(read).collect()
    };
    folders.iter().map(read).find(|files| !files.is_empty()).unwrap_or_default()
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
