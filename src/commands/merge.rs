//! `merge`: an adapter's updates added to its base, with the proof that the model still computes the same.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use gptneo_datasets::{DEFAULT_INSTRUCTION, PromptTemplate, Tokenizer};
use gptneo_model::adapter;
use gptneo_model::checkpoint::save_model;
use gptneo_model::{GptNeoConfig, NeoBackend};
use gptneo_training::merge::{MergeProof, prove_merge};
use serde::Serialize;

use crate::backend::{Job, dispatch};
use crate::cli::{DtypeFlag, MergeArgs};
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
struct Report {
    holds: bool,
    #[serde(flatten)]
    proof: MergeProof,
    base: PathBuf,
    adapter: PathBuf,
    backend: &'static str,
    /// The format that the proven weights, which are float32, were then written in.
    dtype: DtypeFlag,
}

/// Runs the command.
pub(crate) fn run(args: &MergeArgs) -> Result<()> {
    refuse_used(&args.output)?;
    let config = read_config(&args.model)?;
    let tokenizer = read_tokenizer(&args.model, &config)?;
    let prompts = prompts(&tokenizer, &config)?;
    let report = dispatch(args.backend.backend.unwrap_or_default(), Merge { args, tokenizer, prompts })?;
    if args.json {
        return output::json(&report);
    }
    let MergeProof { prompts, largest_difference, largest_logit, tolerance, .. } = report.proof;
    output::line(format_args!(
        "merged equals base with adapter on {prompts} prompts: the logits differ by at most {largest_difference:.3e} \
         (allowed: {tolerance:.3e}; largest logit: {largest_logit:.3})\nwritten to {}",
        args.output.display()
    ))
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

struct Merge<'a> {
    args: &'a MergeArgs,
    tokenizer: Tokenizer,
    prompts: Vec<Vec<u32>>,
}

impl Job for Merge<'_> {
    type Output = Report;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Report> {
        let args = self.args;
        let adapted = load::<B>(&args.model, Some(&args.adapter), &device)?;
        let merged = adapter::merge(adapted.clone());
        let proof = prove_merge(&adapted, &merged, &self.prompts)?;
        let report = Report {
            holds: proof.holds(),
            proof,
            base: args.model.clone(),
            adapter: args.adapter.clone(),
            backend: args.backend.backend.unwrap_or_default().resolved().name(),
            dtype: args.dtype,
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
        files.extend(generation_config(&args.model));
        files.push((PROOF.to_string(), format!("{}\n", serde_json::to_string_pretty(&report)?).into_bytes()));
        save_model(&merged, &args.output, args.dtype.into(), &files)?;
        Ok(report)
    }
}

/// The base's own settings for generation, where it has some.
fn generation_config(model: &Path) -> Option<(String, Vec<u8>)> {
    let name = "generation_config.json";
    std::fs::read(model.join(name)).ok().map(|bytes| (name.to_string(), bytes))
}
