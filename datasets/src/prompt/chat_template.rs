//! A prompt template as the rest of the world has them: as a chat template, which transformers renders with Jinja. What
//! it renders for a question is what the model was tuned with, so whoever asks the model asks it right.

use super::{DEFAULT_INSTRUCTION, Piece, PromptTemplate};

/// The file that transformers finds a chat template in.
pub const CHAT_TEMPLATE_FILE: &str = "chat_template.jinja";
/// The file that the template itself is kept in.
pub const PROMPT_TEMPLATE_FILE: &str = "prompt_template.txt";

impl PromptTemplate {
    /// The template as a chat template in Jinja: of a question, [`PromptTemplate::prompt`]; of a question with its
    /// answer, [`PromptTemplate::text`] and end-of-text. A system message is the instruction. Anything else is refused.
    pub fn chat_template(&self) -> String {
        let system = match self.uses_instruction() {
            true => format!(
                "{{%- set instruction = messages[0]['content'] if system else {} -%}}\n",
                quoted(DEFAULT_INSTRUCTION)
            ),
            false => {
                "{%- if system -%}{{- raise_exception('this model was tuned without instructions: leave the \
                      system message out') -}}{%- endif -%}\n"
                    .into()
            }
        };
        format!(
            "{{#- One question, as this model was tuned: a system message is the instruction. -#}}\n\
             {{%- set system = messages and messages[0]['role'] == 'system' -%}}\n\
             {system}\
             {{%- set turns = messages[1:] if system else messages -%}}\n\
             {{%- if not turns or turns[0]['role'] != 'user' -%}}{{{{- raise_exception('expected a question: a message \
             of the role user') -}}}}{{%- endif -%}}\n\
             {{%- if turns | length > 2 or (turns | length == 2 and turns[1]['role'] != 'assistant') -%}}{{{{- \
             raise_exception('this model was tuned on one question at a time: give one, without earlier turns') \
             -}}}}{{%- endif -%}}\n\
             {{%- set input = turns[0]['content'] -%}}\n\
             {{%- if turns | length == 2 -%}}\n\
             {{{{- {text} ~ turns[1]['content'] ~ eos_token -}}}}\n\
             {{%- else -%}}\n\
             {{{{- {prompt} -}}}}\n\
             {{%- endif -%}}\n",
            text = joined(&self.pieces),
            prompt = trimmed(&self.pieces),
        )
    }

    /// The files to keep beside weights that were tuned with this template: the template, and the chat template.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        vec![
            (CHAT_TEMPLATE_FILE.to_string(), self.chat_template().into_bytes()),
            (PROMPT_TEMPLATE_FILE.to_string(), self.as_str().as_bytes().to_vec()),
        ]
    }
}

/// What comes before the answer, as a Jinja expression.
fn joined(pieces: &[Piece]) -> String {
    let expressions: Vec<String> = pieces.iter().filter_map(expression).collect();
    expressions.join(" ~ ")
}

/// As [`joined`], without the white space at its end.
fn trimmed(pieces: &[Piece]) -> String {
    let mut kept: Vec<Piece> = pieces.iter().filter(|piece| **piece != Piece::Output).cloned().collect();
    match kept.pop() {
        Some(Piece::Literal(literal)) if !literal.trim_end().is_empty() => {
            kept.push(Piece::Literal(literal.trim_end().to_string()));
            joined(&kept)
        }
        // What is trimmed is the end of what is asked.
        _ => format!("({}).rstrip()", joined(pieces)),
    }
}

fn expression(piece: &Piece) -> Option<String> {
    match piece {
        Piece::Literal(literal) => Some(quoted(literal)),
        Piece::Instruction => Some("instruction".into()),
        Piece::Input => Some("input".into()),
        Piece::Output => None,
    }
}

/// A string of Jinja.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("'");
    for character in text.chars() {
        match character {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\\' | '\'' => quoted.extend(['\\', character]),
            other => quoted.push(other),
        }
    }
    quoted + "'"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn literals_are_quoted_and_the_white_space_before_the_answer_goes() {
        let template: PromptTemplate = "It's \\{n\\n{input}\\nA: {output}".parse().unwrap();
        let jinja = template.chat_template();
        assert!(jinja.contains(r"{{- 'It\'s \\{n\n' ~ input ~ '\nA:' -}}"), "{jinja}");
        assert!(jinja.contains(r"'\nA: ' ~ turns[1]['content'] ~ eos_token"), "{jinja}");
        assert!(jinja.contains("without instructions"), "{jinja}");
    }

    #[test]
    fn where_the_question_ends_the_prompt_its_end_is_trimmed() {
        let template: PromptTemplate = "{instruction}: {input} {output}".parse().unwrap();
        let jinja = template.chat_template();
        assert!(jinja.contains("{{- (instruction ~ ': ' ~ input ~ ' ').rstrip() -}}"), "{jinja}");
        assert!(jinja.contains("else 'Answer this question truthfully' -%}"), "{jinja}");
    }
}
