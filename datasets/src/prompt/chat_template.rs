//! A prompt template as the rest of the world has them: as a chat template, which transformers renders with Jinja. What
//! it renders for a question is what the model was tuned with, so whoever asks the model asks it right.

use super::{DEFAULT_INSTRUCTION, Piece, PromptTemplate, Record};

/// The file that transformers finds a chat template in.
pub const CHAT_TEMPLATE_FILE: &str = "chat_template.jinja";
/// The file that the template itself is kept in.
pub const PROMPT_TEMPLATE_FILE: &str = "prompt_template.txt";

/// How many questions a text has that a model was tuned with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// One.
    One,
    /// Several, some of them.
    Several,
}

impl Turns {
    /// Those of these records.
    pub fn of(records: &[Record]) -> Self {
        match records.iter().any(|record| !record.further.is_empty()) {
            true => Self::Several,
            false => Self::One,
        }
    }
}

impl PromptTemplate {
    /// The template as a chat template in Jinja: of a question, [`PromptTemplate::prompt`]; of a question with its
    /// answer, [`PromptTemplate::text`] and end-of-text; of several, [`PromptTemplate::turns`], each closed with it, and
    /// for the last without an answer what [`PromptTemplate::prompts`] has; a conversation's messages lose the
    /// blanks around them, as when they are learned. A system message is the instruction, a blank one is none. Anything
    /// else is refused.
    pub fn chat_template(&self, turns: Turns) -> String {
        let system = match self.uses_instruction() {
            true => format!(
                "{{%- set instruction = messages[0]['content'] if system and (messages[0]['content'] | trim) else {} -%}}\n",
                quoted(DEFAULT_INSTRUCTION)
            ),
            false => {
                "{%- if system -%}{{- raise_exception('this model was tuned without instructions: leave the \
                      system message out') -}}{%- endif -%}\n"
                    .into()
            }
        };
        let (what, body) = match turns {
            Turns::One => ("One question, as this model was tuned", self.of_one()),
            Turns::Several => ("Questions and answers in turn, as this model was tuned", self.of_several()),
        };
        format!(
            "{{#- {what}: a system message is the instruction. -#}}\n\
             {{%- set system = messages and messages[0]['role'] == 'system' -%}}\n\
             {system}\
             {{%- for message in messages -%}}{{%- if message['content'] is not string -%}}{{{{- raise_exception('expected \
             messages whose content is a text') -}}}}{{%- endif -%}}{{%- endfor -%}}\n\
             {{%- set turns = messages[1:] if system else messages -%}}\n\
             {{%- if not turns or turns[0]['role'] != 'user' -%}}{{{{- raise_exception('expected a question: a message \
             of the role user') -}}}}{{%- endif -%}}\n\
             {body}"
        )
    }

    fn of_one(&self) -> String {
        format!(
            "{{%- if turns | length > 2 or (turns | length == 2 and turns[1]['role'] != 'assistant') -%}}{{{{- \
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

    fn of_several(&self) -> String {
        let later = self.later();
        let at_its_line = |text: String| match later.first() {
            Some(Piece::Literal(_)) => text,
            _ => format!("'\\n' ~ {text}"),
        };
        format!(
            "{{%- for turn in turns -%}}\n\
             {{%- set asked = loop.index0 % 2 == 0 -%}}\n\
             {{%- if turn['role'] != ('user' if asked else 'assistant') -%}}{{{{- raise_exception('expected questions and \
             answers in turn: messages of the roles user and assistant') -}}}}{{%- endif -%}}\n\
             {{%- set input = turn['content'] | trim -%}}\n\
             {{%- if not asked -%}}\n\
             {{{{- input ~ eos_token -}}}}\n\
             {{%- elif loop.first and loop.last -%}}\n\
             {{{{- {prompt} -}}}}\n\
             {{%- elif loop.first -%}}\n\
             {{{{- {text} -}}}}\n\
             {{%- elif loop.last -%}}\n\
             {{{{- {later_prompt} -}}}}\n\
             {{%- else -%}}\n\
             {{{{- {later_text} -}}}}\n\
             {{%- endif -%}}\n\
             {{%- endfor -%}}\n",
            prompt = trimmed(&self.pieces),
            text = joined(&self.pieces),
            later_prompt = at_its_line(trimmed(&later)),
            later_text = at_its_line(joined(&later)),
        )
    }

    /// The pieces of a later question, on a line of its own where a literal begins them.
    fn later(&self) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = self.pieces_of_later().to_vec();
        pieces.retain(|piece| *piece != Piece::Instruction);
        if let Some(Piece::Literal(literal)) = pieces.first_mut() {
            match literal.trim_start_matches('\n') {
                "" => _ = pieces.remove(0),
                text => *literal = format!("\n{text}"),
            }
        }
        pieces
    }

    /// The files to keep beside weights that were tuned with this template: the template, and the chat template.
    pub fn files(&self, turns: Turns) -> Vec<(String, Vec<u8>)> {
        vec![
            (CHAT_TEMPLATE_FILE.to_string(), self.chat_template(turns).into_bytes()),
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
        let jinja = template.chat_template(Turns::One);
        assert!(jinja.contains(r"{{- 'It\'s \\{n\n' ~ input ~ '\nA:' -}}"), "{jinja}");
        assert!(jinja.contains(r"'\nA: ' ~ turns[1]['content'] ~ eos_token"), "{jinja}");
        assert!(jinja.contains("without instructions"), "{jinja}");
    }

    #[test]
    fn where_the_question_ends_the_prompt_its_end_is_trimmed() {
        let template: PromptTemplate = "{instruction}: {input} {output}".parse().unwrap();
        let jinja = template.chat_template(Turns::One);
        assert!(jinja.contains("{{- (instruction ~ ': ' ~ input ~ ' ').rstrip() -}}"), "{jinja}");
        assert!(jinja.contains("else 'Answer this question truthfully' -%}"), "{jinja}");
    }
}
