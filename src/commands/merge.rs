//! `merge`: an adapter's updates added to its base, with the proof that the model still computes the same.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use gptneo_datasets::{DEFAULT_INSTRUCTION, PromptTemplate, Tokenizer};
use gptneo_model::adapter;
use gptneo_model::checkpoint::{SaveFormat, ShardSize, save_model};
use gptneo_model::{GptNeo, GptNeoConfig, NeoBackend};
use gptneo_training::merge::{MergeProof, prove_merge};
use serde::Serialize;

use crate::backend::{BackendKind, Job, dispatch};
use crate::cli::{DtypeFlag, MergeArgs};
use crate::hub;
use crate::loading::{load, read_config, read_tokenizer, refuse_used};
use crate::output;

/// The file beside the merged weights.
const PROOF: &str = "merge_proof.json";

/// What the two models are compared on, put into the prompt template.
const QUESTIONS: [&str; 4] = [
    "What is the relationship between very low Mg2+ levels, PTH levels, and Ca2+ levels?",
    "What are the symptoms of asthma?",
    "How is high blood pressure treated?",
    "Who is at highest risk for type 2 diabetes, and which tests are used to find it early?",
];

/// What `merge_proof.json` says.
#[derive(Serialize)]
pub(crate) struct Report {
    holds: bool,
    #[serde(flatten)]
    proof: MergeProof,
    base: PathBuf,
    adapter: PathBuf,
    backend: &'static str,
    /// The format that the proven weights, which are float32, were then written in.
    dtype: DtypeFlag,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let MergeProof { prompts, largest_difference, largest_logit, tolerance, .. } = self.proof;
        write!(
            f,
            "merged equals base with adapter on {prompts} prompts: the logits differ by at most \
             {largest_difference:.3e} (allowed: {tolerance:.3e}; largest logit: {largest_logit:.3})"
        )
    }
}

/// Runs the command.
pub(crate) fn run(args: &MergeArgs) -> Result<()> {
    refuse_used(&args.output)?;
    // GPUs may multiply in TF32, and what a merge writes is to be exact.
    let place = args.backend.place().on_processor();
    place.check()?;
    let base = hub::model(&args.model)?;
    let config = read_config(&base)?;
    place.check_room(&config, 0, 0)?;
    let tokenizer = read_tokenizer(&base, &config)?;
    let merge = Merge {
        base: &base,
        base_name: &args.model,
        adapter: &args.adapter,
        output: &args.output,
        dtype: args.dtype,
        max_shard_size: args.max_shard_size,
        backend: place.kind,
        tokenizer: &tokenizer,
    };
    let report = dispatch(place, FromFiles(merge))?;
    if args.json {
        return output::json(&report);
    }
    output::line(format_args!("{report}\nwritten to {}", args.output.display()))
}

/// A merge of what the files hold.
pub(crate) struct FromFiles<'a>(pub(crate) Merge<'a>);

impl Job for FromFiles<'_> {
    type Output = Report;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Report> {
        let Self(merge) = self;
        let adapted = load::<B>(merge.base, Some(merge.adapter), &device)?;
        merge.write(adapted)
    }
}

/// The questions as a model is asked them, cut where a model has few positions.
fn prompts(tokenizer: &Tokenizer, config: &GptNeoConfig) -> Result<Vec<Vec<u32>>> {
    let template = PromptTemplate::default();
    QUESTIONS
        .iter()
        .map(|question| {
            let mut ids = tokenizer.encode(&template.question_prompt(question, DEFAULT_INSTRUCTION))?;
            ids.truncate(config.max_position_embeddings);
            Ok(ids)
        })
        .collect()
}

/// A merge: where its parts come from, and what it becomes.
pub(crate) struct Merge<'a> {
    /// The base's folder.
    pub(crate) base: &'a Path,
    /// The base as the user names it.
    pub(crate) base_name: &'a Path,
    pub(crate) adapter: &'a Path,
    pub(crate) output: &'a Path,
    pub(crate) dtype: DtypeFlag,
    pub(crate) max_shard_size: Option<ShardSize>,
    pub(crate) backend: BackendKind,
    pub(crate) tokenizer: &'a Tokenizer,
}

impl Merge<'_> {
    /// Merges `adapted`, the base with its adapter, and writes the folder with the proof in it.
    ///
    /// # Errors
    /// The merged model answers otherwise, and nothing is written; or the folder cannot be written.
    pub(crate) fn write<B: NeoBackend>(self, adapted: GptNeo<B>) -> Result<Report> {
        let prompts = prompts(self.tokenizer, adapted.config())?;
        let merged = adapter::merge(adapted.clone());
        let proof = prove_merge(&adapted, &merged, &prompts)?;
        let report = Report {
            holds: proof.holds(),
            proof,
            base: self.base_name.to_path_buf(),
            adapter: self.adapter.to_path_buf(),
            backend: self.backend.resolved().name(),
            dtype: self.dtype,
        };
        if !report.holds {
            bail!(
                "the merged model is not the base with its adapter: over {} prompts the logits differ by up to {:.3e}, \
                 where {:.3e} is allowed; nothing was written. The adapter's weights are likely damaged or huge",
                proof.prompts,
                proof.largest_difference,
                proof.tolerance
            );
        }
        let mut files = self.tokenizer.files();
        files.extend(generation_config(self.base));
        files.push((PROOF.to_string(), format!("{}\n", serde_json::to_string_pretty(&report)?).into_bytes()));
        let format = SaveFormat { dtype: self.dtype.into(), max_shard_size: self.max_shard_size };
        save_model(&merged, self.output, format, &files)?;
        Ok(report)
    }
}

/// The base's own settings for generation, where it has some.
fn generation_config(model: &Path) -> Option<(String, Vec<u8>)> {
    let name = "generation_config.json";
    std::fs::read(model.join(name)).ok().map(|bytes| (name.to_string(), bytes))
}
