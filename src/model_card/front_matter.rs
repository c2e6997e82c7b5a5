//! The front matter of a model card: what the Hub reads of it, as YAML.
//!
//! Only what the run knows stands in it. A licence and a language are left to who publishes: the run knows neither.
//! Every name is quoted, so that the YAML is valid whatever the names hold.

use std::fmt::Write;

use gptneo_training::report::PerformanceRow;

/// What the Hub is told.
pub(super) struct FrontMatter<'a> {
    /// What the model is called.
    pub(super) title: &'a str,
    /// The base's name on the Hub, if it came from there.
    pub(super) base_model: Option<&'a str>,
    /// The data's name on the Hub, if they came from there.
    pub(super) dataset: Option<&'a str>,
    /// What the data are called, wherever they came from.
    pub(super) data_name: &'a str,
    /// Whether an adapter was trained.
    pub(super) lora: bool,
    /// The tuned model's results on the held-out rows.
    pub(super) results: &'a [&'a PerformanceRow],
}

impl FrontMatter<'_> {
    /// Writes it with the lines that open and close it.
    pub(super) fn render(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "---")?;
        if let Some(name) = self.base_model {
            writeln!(text, "base_model: {}", quoted(name))?;
        }
        if let Some(name) = self.dataset {
            writeln!(text, "datasets:\n- {}", quoted(name))?;
        }
        writeln!(text, "library_name: {}", if self.lora { "peft" } else { "transformers" })?;
        writeln!(text, "pipeline_tag: text-generation\ntags:\n- gpt_neo\n- gptneo-lora")?;
        if self.lora {
            writeln!(text, "- lora")?;
        }
        self.render_results(text)?;
        writeln!(text, "---\n")
    }

    fn render_results(&self, text: &mut String) -> std::fmt::Result {
        // The Hub reads numbers as JSON, which knows no infinity.
        let results: Vec<_> = self.results.iter().filter(|row| row.perplexity.is_finite()).collect();
        if results.is_empty() {
            return Ok(());
        }
        let data = self.dataset.unwrap_or(self.data_name);
        writeln!(text, "model-index:\n- name: {}\n  results:", quoted(self.title))?;
        writeln!(text, "  - task:\n      type: text-generation")?;
        writeln!(text, "    dataset:\n      name: {}", quoted(&format!("held-out rows of {data}")))?;
        writeln!(text, "      type: {}\n    metrics:", quoted(data))?;
        for row in results {
            let name = format!("perplexity, protocol {}", row.protocol);
            writeln!(text, "    - type: perplexity\n      name: {}", quoted(&name))?;
            writeln!(text, "      value: {:.4}", row.perplexity)?;
        }
        Ok(())
    }
}

/// A text in double quotes: YAML and JSON escape alike, and what a parser may not show or may take for a line's end
/// is escaped as well.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                quoted.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_quoted_text_is_one_scalar_and_reads_back() {
        for text in
            ["a: b # c", "say \"yes\" \\ no", "two\nlines\u{2028}\u{85}", "- x", "---", "é {}[]&*!|>%@`"]
        {
            let line = quoted(text);
            assert!(!line.contains(['\n', '\u{2028}', '\u{85}']), "{line}");
            // Every JSON string is a YAML string of the same value.
            assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }

    #[test]
    fn only_what_is_known_is_told() {
        let row = |protocol: &str, perplexity: f64| PerformanceRow {
            model: "LoRA Model".into(),
            protocol: protocol.into(),
            loss: perplexity.ln(),
            perplexity,
            tokens: 1,
            standard_error: None,
        };
        let (known, endless) = (row("text", 12.5), row("response", f64::INFINITY));
        let mut matter = FrontMatter {
            title: "a: \"b\"",
            base_model: None,
            dataset: None,
            data_name: "cards.json",
            lora: true,
            results: &[&known, &endless],
        };
        let mut text = String::new();
        matter.render(&mut text).unwrap();
        assert!(
            !text.contains("base_model") && !text.contains("datasets") && !text.contains("inf"),
            "{text}"
        );
        assert!(!text.contains("license") && !text.contains("language"), "{text}");
        assert!(text.contains("- name: \"a: \\\"b\\\"\"") && text.contains("value: 12.5000"), "{text}");
        matter.base_model = Some("me/base");
        matter.dataset = Some("me/cards");
        text.clear();
        matter.render(&mut text).unwrap();
        assert!(text.starts_with("---\nbase_model: \"me/base\"\ndatasets:\n- \"me/cards\"\n"), "{text}");
    }
}
