//! Bits per byte: a loss in terms of the text itself, so that models with different vocabularies compare.
//!
//! A loss per token depends on how long the tokens are. The bits that all tokens of a text cost together, for each byte
//! of it, do not. The bytes are those of the tokens that are scored: nothing predicts the first of a text.

use gptneo_datasets::{DataError, Example, Tokenizer};

use super::evaluation::{Evaluation, Score};

/// The bytes of UTF-8 that the scored tokens of examples stand for: without their first token and their end-of-text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    /// Of the whole texts.
    pub text: u64,
    /// Of the answers, with the space that leads each; of a conversation, without its questions.
    pub response: u64,
}

impl Bytes {
    /// Counts those of `examples`, each cut to its first `max_length` ids as it is scored.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn of(examples: &[Example], tokenizer: &Tokenizer, max_length: usize) -> Result<Self, DataError> {
        let mut bytes = Self { text: 0, response: 0 };
        for example in examples {
            let ids = &example.ids[..example.ids.len().min(max_length)];
            bytes.text += tokenizer.decode(ids.get(1..).unwrap_or_default())?.len() as u64;
            for answer in example.answers() {
                // Of plain text, the answer is all of it.
                let [from, to] = [answer.start.max(1), answer.end].map(|position| position.min(ids.len()));
                bytes.response += tokenizer.decode(ids.get(from..to).unwrap_or_default())?.len() as u64;
            }
        }
        Ok(bytes)
    }
}

impl Evaluation {
    /// The same with [`Score::bits_per_byte`]. `notebook` scores padding as well, which stands for no text: it has none.
    #[must_use]
    pub fn in_bytes(self, bytes: Bytes) -> Self {
        let over = |score: Score, bytes: u64| Score { bits_per_byte: bits_per_byte(&score, bytes), ..score };
        Self {
            notebook: Score { bits_per_byte: None, ..self.notebook },
            text: over(self.text, bytes.text),
            response: over(self.response, bytes.response),
        }
    }
}

/// The bits of all tokens together for each byte; none without a byte.
fn bits_per_byte(score: &Score, bytes: u64) -> Option<f64> {
    let bits = score.loss * score.tokens as f64 / std::f64::consts::LN_2;
    (bytes > 0).then(|| bits / bytes as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use gptneo_datasets::{Overlong, PromptTemplate, Record, Supervise, Turn, encode_examples};

    use super::*;

    #[test]
    fn bytes_are_those_of_the_text_whatever_the_tokens() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/wide");
        let tokenizer = Tokenizer::from_folder(Path::new(folder)).unwrap();
        let template: PromptTemplate = "{input} {output}".parse().unwrap();
        let records = [Record::new("Why?", "Paper – and paste."), Record::new("25 °C?", "Yes.")];
        let (supervise, cut) = (Supervise::Text, Overlong::Cut);
        let texts = encode_examples(&records, &template, &tokenizer, 64, supervise, cut).unwrap();
        let found = Bytes::of(&texts.examples, &tokenizer, 64).unwrap();
        let length = |texts: [&str; 2]| texts.map(|text| text.len() as u64).iter().sum::<u64>();
        let first = |example: &Example| tokenizer.decode(&example.ids[..1]).unwrap().len() as u64;
        let firsts: u64 = texts.examples.iter().map(first).sum();
        let scored = length(["Why? Paper – and paste.", "25 °C? Yes."]) - firsts;
        assert_eq!(found, Bytes { text: scored, response: length([" Paper – and paste.", " Yes."]) });
        let cut = Bytes::of(&texts.examples, &tokenizer, 5).unwrap();
        assert!(cut.text < scored && cut.response < found.response, "{cut:?}");
        assert_eq!(Bytes::of(&texts.examples, &tokenizer, 0).unwrap(), Bytes { text: 0, response: 0 });
        // Of plain text both protocols score the same.
        let plain = Example { response_from: 0, ..texts.examples[0].clone() };
        let found = Bytes::of(&[plain], &tokenizer, 64).unwrap();
        assert_eq!(found.text, found.response);
    }

    #[test]
    fn a_conversations_later_questions_are_no_bytes_of_its_answers() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/wide");
        let tokenizer = Tokenizer::from_folder(Path::new(folder)).unwrap();
        let turn = Turn { input: "And for how long?".into(), output: "A week.".into() };
        let records = [Record { further: vec![turn], ..Record::new("Why?", "For rest.") }];
        let template = PromptTemplate::default();
        let (supervise, cut) = (Supervise::Text, Overlong::Cut);
        let texts = encode_examples(&records, &template, &tokenizer, 256, supervise, cut).unwrap().examples;
        let found = Bytes::of(&texts, &tokenizer, 256).unwrap();
        assert_eq!(found.response, (" For rest.".len() + " A week.".len()) as u64);
        let to_the_question = texts[0].later_prompts[0].end - 1;
        let cut = Bytes::of(&texts, &tokenizer, to_the_question).unwrap();
        assert_eq!(cut.response, " For rest.".len() as u64);
    }

    #[test]
    fn bits_per_byte_are_the_loss_in_other_units() {
        let nats = std::f64::consts::LN_2 * 3.0;
        let score =
            Score { loss: nats, perplexity: 8.0, tokens: 10, standard_error: None, bits_per_byte: None };
        assert_eq!(bits_per_byte(&score, 40), Some(0.75));
        assert_eq!(bits_per_byte(&score, 0), None);
        let found = Evaluation { notebook: score, text: score, response: score };
        let found = found.in_bytes(Bytes { text: 40, response: 20 });
        let bits = [found.notebook, found.text, found.response].map(|score| score.bits_per_byte);
        assert_eq!(bits, [None, Some(0.75), Some(1.5)]);
    }
}
