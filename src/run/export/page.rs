//! The page of an exported folder: what it is, what was proven, what differs, and how it is run.

use gptneo_report::Provenance;
use serde_json::Value;

use super::{About, Export, ExportFormat, ExportReport, GGUF_FILE, MODELFILE};

/// The page as Markdown, with the front matter that the Hub reads.
pub(super) fn render(export: &Export<'_>, report: &ExportReport) -> String {
    let about = export.about;
    let name = about.name.replace(['\n', '\r'], " ");
    let exact = report.exact_positions;
    let limit = match &report.beyond {
        Some(beyond) => beyond.to_string(),
        None => format!(
            "It has {} positions, prompt and answer together; up to {exact} a GPT-2 computes what the model does.",
            report.positions
        ),
    };
    let mut text = format!(
        "{}\n# {name}\n\nA GPT-Neo written as the GPT-2 that it is, by gptneo-lora {}. Made from: {}.\n\n{limit}\n\n\
         ## Proof\n\nRead back from the written files: {}.\n",
        front_matter(about, report.format),
        env!("CARGO_PKG_VERSION"),
        report.made_from,
        report.proof,
    );
    if let Some(kind) = report.gguf_type {
        text.push_str(&format!("\nMatrices are {kind}; norms, biases and positions are f32.\n"));
    }
    text.push_str("\n## Use\n\n```sh\n");
    text.push_str(&match report.format {
        ExportFormat::Gguf => format!(
            "llama-completion -m {GGUF_FILE} --temp 0 -p \"PROMPT\"\n\
             ollama create NAME -f {MODELFILE} && ollama run NAME \"QUESTION\"\n"
        ),
        ExportFormat::Gpt2 => "vllm serve .\nmlx_lm.generate --model . --prompt \"QUESTION\"\n".to_string(),
    });
    text.push_str("```\n\nA prompt is:\n\n```text\n");
    text.push_str(export.template.as_str());
    text.push_str("\n```\n");
    text
}

fn front_matter(about: &About, format: ExportFormat) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let mut text = String::from("---\n");
    if let Some(license) = &about.license {
        text.push_str(&format!("license: {license}\n"));
    }
    if let Some(Provenance { repository: Some(name), .. }) = &about.base {
        text.push_str(&format!("base_model: {}\n", quoted(name)));
    }
    if let Some(Provenance { repository: Some(name), .. }) = &about.data {
        text.push_str(&format!("datasets:\n- {}\n", quoted(name)));
    }
    let library = match format {
        ExportFormat::Gpt2 => "transformers",
        ExportFormat::Gguf => "gguf",
    };
    text.push_str(&format!(
        "library_name: {library}\npipeline_tag: text-generation\ntags:\n- gpt2\n- gptneo-lora\n---\n"
    ));
    text
}
