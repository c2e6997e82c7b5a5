//! The `README.md` of a run: what was trained, how, and what it measured, as the Hub shows model cards.
//!
//! Only what the run knows stands in it; who publishes adds the licence and what the data allow.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::Result;
use gptneo_training::report::{GenerationRow, PerformanceRow, write_whole};

use crate::manifest::Manifest;
use crate::performance;
use crate::settings::{Settings, Tuning};

/// What a card tells.
pub(crate) struct ModelCard<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) manifest: &'a Manifest,
    /// Optimiser steps done.
    pub(crate) steps: usize,
    /// The step that the saved weights are of.
    pub(crate) model_step: usize,
    pub(crate) performance: &'a [PerformanceRow],
    pub(crate) answers: &'a [GenerationRow],
}

impl ModelCard<'_> {
    /// Writes the card, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.render(&mut text);
        Ok(write_whole(path, |file| file.write_all(text.as_bytes()))?)
    }

    fn render(&self, text: &mut String) -> std::fmt::Result {
        let Settings { model, data, lora, training, .. } = self.settings;
        let name = |path: &Option<std::path::PathBuf>| {
            path.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned()
        };
        let tuned = model.tuning == Tuning::Lora;
        let library = if tuned { "peft" } else { "transformers" };
        writeln!(text, "---\nlibrary_name: {library}\npipeline_tag: text-generation")?;
        writeln!(text, "tags:\n- gpt_neo{}\n---\n", if tuned { "\n- lora" } else { "" })?;
        writeln!(text, "# {} tuned on {}\n", name(&model.path), name(&data.path))?;
        writeln!(
            text,
            "For research and education. Its answers may be wrong; where they touch health they are not for clinical \
             use.\n"
        )?;
        writeln!(
            text,
            "## Results\n\nPerplexity on {} held-out examples.",
            self.manifest.counts.validation_examples
        )?;
        writeln!(text, "{}\n", performance::NOTE)?;
        writeln!(text, "| | notebook | text | response |\n|---|---:|---:|---:|")?;
        for [model, notebook, all, response] in performance::cells(self.performance) {
            writeln!(text, "| {model} | {notebook} | {all} | {response} |")?;
        }
        self.render_training(text, tuned)?;
        if tuned {
            writeln!(text, "\n- LoRA: {}", lora_text(lora))?;
        }
        writeln!(
            text,
            "- AdamW, learning rate {}, weight decay {}",
            training.learning_rate, training.weight_decay
        )?;
        self.render_answers(text)?;
        render_use(text, tuned)
    }

    fn render_training(&self, text: &mut String, lora: bool) -> std::fmt::Result {
        let Manifest { version, burn, backend, seed, counts, .. } = self.manifest;
        let what = if lora { "an adapter" } else { "all weights" };
        writeln!(text, "\n## Training\n")?;
        writeln!(
            text,
            "{} steps on {} examples, {what}: {} of {} parameters. The saved weights are of step {}. \
             gptneo-lora {version} on Burn {burn}, backend {backend}, seed {seed}; every setting is in \
             `settings.toml`, the hashes of base and data in `manifest.json`.",
            self.steps,
            counts.train_examples,
            counts.trainable_parameters,
            counts.total_parameters,
            self.model_step
        )
    }

    fn render_answers(&self, text: &mut String) -> std::fmt::Result {
        if self.answers.is_empty() {
            return Ok(());
        }
        writeln!(text, "\n## Answers to held-out questions\n\n| Question | Before | After |\n|---|---|---|")?;
        for row in self.answers {
            let cells = [&row.question, &row.base, &row.tuned].map(|cell| table_cell(cell));
            writeln!(text, "| {} |", cells.join(" | "))?;
        }
        Ok(())
    }
}

fn lora_text(lora: &gptneo_model::LoraConfig) -> String {
    let targets: Vec<&str> = lora.target_modules.iter().map(|target| target.as_str()).collect();
    let patterned = if lora.rank_pattern.is_empty() && lora.alpha_pattern.is_empty() {
        ""
    } else {
        ", some layers of their own (rank_pattern and alpha_pattern in adapter_config.json)"
    };
    format!(
        "r {}, alpha {}, dropout {}, on {}{patterned}",
        lora.r,
        lora.alpha,
        lora.dropout,
        targets.join(", ")
    )
}

/// A text as a cell of a Markdown table: on one line, its bars escaped.
fn table_cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn render_use(text: &mut String, lora: bool) -> std::fmt::Result {
    writeln!(text, "\n## Use\n\n```python")?;
    writeln!(text, "from transformers import AutoModelForCausalLM, AutoTokenizer\n")?;
    writeln!(text, "model = AutoModelForCausalLM.from_pretrained(\"merged\")")?;
    writeln!(text, "tokenizer = AutoTokenizer.from_pretrained(\"merged\")\n```\n")?;
    if lora {
        writeln!(
            text,
            "`adapter/` is in PEFT's format: `PeftModel.from_pretrained(base, \"adapter\")` over the same base.\n"
        )?;
    }
    writeln!(text, "```sh\ngptneo-lora generate --model merged --question \"What causes asthma?\"\n```")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_break_the_table() {
        assert_eq!(table_cell("a | b\nc"), "a \\| b c");
    }
}
