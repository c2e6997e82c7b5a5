//! The front matter of a model card: what the Hub reads of it, as YAML.
//!
//! Only what the run knows stands in it. A licence and a language are left to who publishes: the run knows neither.
//! Every name is quoted, so that the YAML is valid whatever the names hold.

use std::fmt::Write;

use super::Provenance;
use crate::perplexities::PerplexityRow;

/// What the Hub is told.
pub(super) struct FrontMatter<'a> {
    /// What the model is called.
    pub(super) title: &'a str,
    pub(super) base: &'a Provenance,
    pub(super) data: &'a Provenance,
    /// Whether an adapter was trained.
    pub(super) lora: bool,
    /// The tuned model's results on the held-out rows.
    pub(super) results: &'a [&'a PerplexityRow],
}

impl FrontMatter<'_> {
    /// Writes it with the lines that open and close it.
    pub(super) fn render(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "---")?;
        if let Some(name) = &self.base.repository {
            writeln!(text, "base_model: {}", quoted(name))?;
        }
        if let Some(name) = &self.data.repository {
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
        let data = &self.data.name;
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
        let row = |protocol: &str, perplexity: f64| PerplexityRow {
            model: "LoRA Model".into(),
            protocol: protocol.into(),
            loss: perplexity.ln(),
            perplexity,
            tokens: 1,
            standard_error: None,
            bits_per_byte: None,
        };
        let (known, endless) = (row("text", 12.5), row("response", f64::INFINITY));
        let named = |name: &str, repository: Option<&str>| Provenance {
            name: name.into(),
            repository: repository.map(String::from),
        };
        let render = |base: &Provenance, data: &Provenance| {
            let results = &[&known, &endless];
            let mut text = String::new();
            FrontMatter { title: "a: \"b\"", base, data, lora: true, results }.render(&mut text).unwrap();
            text
        };
        let text = render(&named("base", None), &named("cards.json", None));
        assert!(
            !text.contains("base_model") && !text.contains("datasets") && !text.contains("inf"),
            "{text}"
        );
        assert!(!text.contains("license") && !text.contains("language"), "{text}");
        assert!(text.contains("- name: \"a: \\\"b\\\"\"") && text.contains("value: 12.5000"), "{text}");
        let text = render(&named("me/base", Some("me/base")), &named("me/cards", Some("me/cards")));
        assert!(text.starts_with("---\nbase_model: \"me/base\"\ndatasets:\n- \"me/cards\"\n"), "{text}");
    }
}
