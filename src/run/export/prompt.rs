//! The prompt template as engines take it: Jinja in GGUF files and Hugging Face folders, Go's templates in Ollama's
//! Modelfile.
//!
//! A system message is the instruction, a user's message the question, an assistant's the answer. Several turns are texts
//! one behind the other, each closed with end-of-text, as the model learned them.

use gptneo_datasets::{DEFAULT_INSTRUCTION, PromptTemplate, Record, Turn, Turns};
use serde_json::Value;

/// Stand in the places of a record; private to whoever uses them, so that no template has them.
const INSTRUCTION: char = '\u{f8f0}';
const QUESTION: char = '\u{f8f1}';
const ANSWER: char = '\u{f8f2}';

/// A piece of a prompt.
enum Piece<'a> {
    Text(&'a str),
    Instruction,
    Question,
}

/// A template in two parts: the prompt up to where the model goes on, and the blanks that it then begins with.
struct Parts {
    prompt: String,
    /// The same of a later question.
    later: String,
    gap: String,
}

impl Parts {
    fn of(template: &PromptTemplate) -> Self {
        let marked = Record {
            instruction: INSTRUCTION.to_string(),
            input: QUESTION.to_string(),
            output: ANSWER.to_string(),
            further: vec![Turn { input: QUESTION.to_string(), output: ANSWER.to_string() }],
        };
        let prompt = template.prompt(&marked);
        let text = template.text(&marked);
        let gap = text.trim_end_matches(ANSWER)[prompt.len()..].to_string();
        let later = template.prompts(&marked).pop().unwrap_or_default();
        Self { prompt, later, gap }
    }

    fn pieces(prompt: &str) -> impl Iterator<Item = Piece<'_>> {
        let pieces = prompt.split_inclusive([INSTRUCTION, QUESTION]).flat_map(|piece| {
            let text = piece.trim_end_matches([INSTRUCTION, QUESTION]);
            let place = match piece[text.len()..].chars().next() {
                Some(INSTRUCTION) => Some(Piece::Instruction),
                Some(_) => Some(Piece::Question),
                None => None,
            };
            [(!text.is_empty()).then_some(Piece::Text(text)), place]
        });
        pieces.flatten()
    }
}

/// The chat template in Jinja, for what transformers, llama.cpp and LM Studio have of it. Of several turns, the later ones
/// go on with the text, as the model learned them.
pub(super) fn jinja(template: &PromptTemplate, turns: Turns) -> String {
    let parts = Parts::of(template);
    // A conversation's messages are learned without the blanks around them.
    let question = match turns {
        Turns::One => "message['content']",
        Turns::Several => "(message['content'] | trim)",
    };
    let expression = |prompt: &str| {
        let pieces = Parts::pieces(prompt).map(|piece| match piece {
            Piece::Text(text) => quoted(text),
            Piece::Instruction => "ns.instruction".into(),
            Piece::Question => question.into(),
        });
        pieces.collect::<Vec<String>>().join(" + ")
    };
    let (first, later) = (expression(&parts.prompt), expression(&parts.later));
    let (asked, prompt) = match turns {
        Turns::One => ("", format!("{{{{- {first} -}}}}")),
        Turns::Several => (
            ", asked=false",
            format!(
                "{{%- if ns.asked -%}}\n{{{{- {later} -}}}}\n{{%- else -%}}\n{{{{- {first} -}}}}\n{{%- endif -%}}\n\
                 {{%- set ns.asked = true -%}}"
            ),
        ),
    };
    format!(
        "{{%- set ns = namespace(instruction={instruction}{asked}) -%}}\n\
         {{%- for message in messages -%}}\n\
         {{%- if message['role'] == 'system' -%}}\n\
         {{%- if message['content'] | trim -%}}\n\
         {{%- set ns.instruction = message['content'] -%}}\n\
         {{%- endif -%}}\n\
         {{%- elif message['role'] == 'user' -%}}\n\
         {prompt}\n\
         {{%- else -%}}\n\
         {{{{- {gap} + (message['content'] | trim) + eos_token -}}}}\n\
         {{%- endif -%}}\n\
         {{%- endfor -%}}\n",
        instruction = quoted(DEFAULT_INSTRUCTION),
        gap = quoted(&parts.gap),
    )
}

/// A text as Jinja and Go read it between double quotes: JSON's way of escaping is one of both.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Ollama's Modelfile for the GGUF file `gguf` beside it.
pub(super) fn modelfile(template: &PromptTemplate, gguf: &str, positions: usize, ends: &[String]) -> String {
    let stops: String = ends.iter().map(|end| format!("PARAMETER stop {}\n", quoted(end))).collect();
    let prompt: String = Parts::pieces(&Parts::of(template).prompt)
        .map(|piece| match piece {
            Piece::Text(text) if text.contains("{{") || text.contains('"') => {
                format!("{{{{ {} }}}}", go(text))
            }
            Piece::Text(text) => text.to_string(),
            Piece::Instruction => {
                format!(
                    "{{{{ if .System }}}}{{{{ .System }}}}{{{{ else }}}}{DEFAULT_INSTRUCTION}{{{{ end }}}}"
                )
            }
            Piece::Question => "{{ .Prompt }}".to_string(),
        })
        .collect();
    format!(
        "# ollama create NAME -f Modelfile\n\
         FROM ./{gguf}\n\
         TEMPLATE \"\"\"{prompt}{{{{ .Response }}}}\"\"\"\n\
         PARAMETER num_ctx {positions}\n\
         {stops}\
         PARAMETER temperature 0\n"
    )
}

/// A text as a constant of Go's templates; three quotes in a row would end Ollama's text.
fn go(text: &str) -> String {
    quoted(&text.replace('"', "\u{f8f3}")).replace('\u{f8f3}', "\\x22")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_recipes_template_in_jinja() {
        let text = jinja(&PromptTemplate::default(), Turns::One);
        let prompt = r#"{{- "Instruction: " + ns.instruction + "\nQuestion: " + message['content'] + "\nResponse:" -}}"#;
        assert!(text.contains(prompt), "{text}");
        assert!(text.contains(r#"{{- " " + (message['content'] | trim) + eos_token -}}"#), "{text}");
        assert!(
            text.starts_with(r#"{%- set ns = namespace(instruction="Answer this question truthfully") -%}"#)
        );
    }

    #[test]
    fn of_several_turns_the_later_go_on_without_the_instruction() {
        let text = jinja(&PromptTemplate::default(), Turns::Several);
        let later = r#"{{- "\nQuestion: " + (message['content'] | trim) + "\nResponse:" -}}"#;
        let first = r#"{{- "Instruction: " + ns.instruction"#;
        let places = ["if ns.asked", later, "else", first, "set ns.asked = true"].map(|part| text.find(part));
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} {text}");
    }

    #[test]
    fn the_recipes_template_in_a_modelfile() {
        let text =
            modelfile(&PromptTemplate::default(), "cards.gguf", 256, &["<|endoftext|>".into(), "X".into()]);
        let expected = "# ollama create NAME -f Modelfile\nFROM ./cards.gguf\n\
            TEMPLATE \"\"\"Instruction: {{ if .System }}{{ .System }}{{ else }}Answer this question truthfully{{ end }}\n\
            Question: {{ .Prompt }}\nResponse:{{ .Response }}\"\"\"\n\
            PARAMETER num_ctx 256\nPARAMETER stop \"<|endoftext|>\"\nPARAMETER stop \"X\"\nPARAMETER temperature 0\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_the_engines_would_read_as_their_own_is_escaped() {
        let template: PromptTemplate = "{\"q\": \"{input}\", {% x \"\"\"{{ y: {output}".parse().unwrap();
        let text = jinja(&template, Turns::One);
        assert!(
            text.contains(r#"{{- "{\"q\": \"" + message['content'] + "\", {% x \"\"\"{{ y:" -}}"#),
            "{text}"
        );
        let text = modelfile(&template, "m.gguf", 8, &["<|endoftext|>".into()]);
        let expected =
            r#"{{ "{\x22q\x22: \x22" }}{{ .Prompt }}{{ "\x22, {% x \x22\x22\x22{{ y:" }}{{ .Response }}"#;
        assert!(text.contains(&format!("TEMPLATE \"\"\"{expected}\"\"\"\n")), "{text}");
    }
}
