//! The `README.md` of a run: what was trained, how, and what it measured, as the Hub shows model cards.
//!
//! Only what the run knows stands in it; who publishes adds the licence and what the data allow.

mod front_matter;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::Result;
use gptneo_datasets::DEFAULT_INSTRUCTION;
use gptneo_training::TuningKind;
use gptneo_training::report::{GenerationRow, PerformanceRow, write_whole};

use self::front_matter::{FrontMatter, quoted};
use crate::hub::Source;
use crate::manifest::Manifest;
use crate::performance;
use crate::settings::Settings;

/// What the examples of use ask.
const QUESTION: &str = "What causes asthma?";

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
        let Settings { model, data, .. } = self.settings;
        let sources = &self.manifest.sources;
        let base = called(sources.model.as_ref(), model.path.as_deref());
        let data = called(sources.data.as_ref(), data.path.as_deref());
        let lora = model.tuning == TuningKind::Lora;
        let title = format!("{base} tuned on {data}");
        // Each model has a row a protocol; the tuned one comes after the base.
        let tuned = self.performance.iter().find(|row| row.model != self.performance[0].model);
        let results: Vec<&PerformanceRow> = self
            .performance
            .iter()
            .filter(|row| tuned.is_some_and(|tuned| tuned.model == row.model))
            .collect();
        let matter = FrontMatter {
            title: &title,
            base_model: sources.model.as_ref().map(|source| source.repository.as_str()),
            dataset: sources.data.as_ref().map(|source| source.repository.as_str()),
            data_name: &data,
            lora,
            results: &results,
        };
        matter.render(text)?;
        writeln!(text, "# {}\n", one_line(&title))?;
        render_limits(text)?;
        self.render_results(text)?;
        self.render_training(text, lora)?;
        self.render_answers(text)?;
        self.render_use(text, lora, &base)
    }

    fn render_results(&self, text: &mut String) -> std::fmt::Result {
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
        Ok(())
    }

    fn render_training(&self, text: &mut String, lora: bool) -> std::fmt::Result {
        let Manifest { version, burn, backend, seed, counts, sources, .. } = self.manifest;
        let Settings { data, training, lora: adapter, .. } = self.settings;
        let what = if lora { "an adapter" } else { "all weights" };
        writeln!(text, "\n## Training\n")?;
        writeln!(
            text,
            "{} steps on {} examples, {what}: {} of {} parameters. The saved weights are of step {}. \
             gptneo-lora {version} on Burn {burn}, backend {backend}, seed {seed}.\n",
            self.steps,
            counts.train_examples,
            counts.trainable_parameters,
            counts.total_parameters,
            self.model_step
        )?;
        for (noun, source) in [("Base", &sources.model), ("Data", &sources.data)] {
            if let Some(Source { repository, commit, file, .. }) = source {
                let file = file.as_ref().map(|file| format!(", file `{file}`")).unwrap_or_default();
                writeln!(text, "- {noun}: `{repository}` at commit `{commit}`{file}")?;
            }
        }
        if lora {
            writeln!(text, "- LoRA: {}", lora_text(adapter))?;
        }
        writeln!(
            text,
            "- AdamW, learning rate {}, {} schedule, {} warm-up steps, weight decay {}, gradient norm at most {}",
            training.learning_rate,
            name_of(&training.schedule),
            training.warmup_steps,
            training.weight_decay,
            training.max_grad_norm
        )?;
        writeln!(
            text,
            "- batches of {} x {}, at most {} tokens, supervised: {}",
            training.batch_size,
            training.grad_accumulation_steps,
            data.options.max_seq_length.unwrap_or_default(),
            name_of(&data.options.supervise)
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

    fn render_use(&self, text: &mut String, lora: bool, base: &str) -> std::fmt::Result {
        let prompt =
            self.settings.data.options.prompt_template.question_prompt(QUESTION, DEFAULT_INSTRUCTION);
        writeln!(text, "\n## Use\n")?;
        writeln!(
            text,
            "The run's folder holds the folders named here. On the Hub the files stand at the top: put the \
             repository's name in the folder's place.\n"
        )?;
        writeln!(text, "With transformers:\n\n```python")?;
        writeln!(text, "from transformers import AutoModelForCausalLM, AutoTokenizer\n")?;
        writeln!(text, "tokenizer = AutoTokenizer.from_pretrained(\"merged\")")?;
        writeln!(text, "model = AutoModelForCausalLM.from_pretrained(\"merged\")")?;
        writeln!(text, "inputs = tokenizer({}, return_tensors=\"pt\")", quoted(&prompt))?;
        writeln!(text, "answer = model.generate(**inputs, max_new_tokens=100)")?;
        writeln!(text, "print(tokenizer.decode(answer[0], skip_special_tokens=True))\n```\n")?;
        if lora {
            writeln!(text, "With PEFT, the adapter over its base:\n\n```python")?;
            writeln!(text, "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n")?;
            writeln!(text, "base = AutoModelForCausalLM.from_pretrained({})", quoted(base))?;
            writeln!(text, "model = PeftModel.from_pretrained(base, \"adapter\")\n```\n")?;
        }
        writeln!(text, "With this program:\n\n```sh")?;
        writeln!(text, "gptneo-lora generate --model merged --question \"{QUESTION}\"\n```")
    }
}

/// What a model or a data file is called: its name on the Hub, else the last part of its path.
fn called(source: Option<&Source>, path: Option<&Path>) -> String {
    let file = || path.and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    source.map_or_else(file, |source| source.repository.clone())
}

/// A setting's value by the name that the settings file has for it.
fn name_of(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

fn render_limits(text: &mut String) -> std::fmt::Result {
    writeln!(text, "## Intended use and limits\n")?;
    writeln!(
        text,
        "For research and education: to study how a small language model learns to answer questions. It is not for \
         clinical use. It makes up facts, cites nothing and knows nothing newer than its data; nobody should decide \
         about health by its answers. What its base and its data may not be used for, it may not either.\n"
    )
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

/// A text on one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text as a cell of a Markdown table: on one line, its bars escaped.
fn table_cell(text: &str) -> String {
    one_line(text).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_break_the_table() {
        assert_eq!(table_cell("a | b\nc"), "a \\| b c");
    }
}
