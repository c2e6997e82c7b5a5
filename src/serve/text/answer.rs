//! An answer's text while its tokens come: what can be shown, the tokens that stand in it, and whether it is at its end.

use std::collections::VecDeque;

use gptneo_datasets::{DataError, Tokenizer};

use super::places::PlacingDecoder;
use super::stop::{Heard, StopStrings};

/// The text of one answer, made of tokens that carry a `T` along.
pub(crate) struct AnswerText<'a, T> {
    decoder: PlacingDecoder<'a>,
    stops: StopStrings,
    /// Tokens whose places are not known yet.
    unplaced: VecDeque<T>,
    /// Tokens whose text is not yet given out, with the characters before each.
    waiting: VecDeque<(usize, T)>,
    /// Characters before what is given out next, those before the answer included.
    given: usize,
}

/// What can be given out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece<T> {
    /// Whole characters; none of them belongs to a stop string.
    pub(crate) text: String,
    /// The tokens that begin in the text given out so far, each with its place.
    pub(crate) tokens: Vec<(usize, T)>,
    /// Whether a stop string ends the answer here.
    pub(crate) stopped: bool,
}

impl<'a, T> AnswerText<'a, T> {
    /// An answer that begins behind `start` characters.
    pub(crate) fn new(tokenizer: &'a Tokenizer, stops: StopStrings, start: usize) -> Self {
        let decoder = PlacingDecoder::new(tokenizer, start);
        Self { decoder, stops, unplaced: VecDeque::new(), waiting: VecDeque::new(), given: start }
    }

    /// Takes the next token.
    pub(crate) fn push(&mut self, id: u32, with: T) -> Result<Piece<T>, DataError> {
        self.unplaced.push_back(with);
        let (text, places) = self.decoder.push(id)?;
        let placed = self.unplaced.drain(..places.len());
        self.waiting.extend(places.into_iter().zip(placed));
        Ok(self.hear(&text))
    }

    /// What is left when no token follows.
    pub(crate) fn finish(self) -> Result<Piece<T>, DataError> {
        let Self { decoder, mut stops, unplaced, mut waiting, given } = self;
        let (left, places, _) = decoder.finish()?;
        waiting.extend(places.into_iter().zip(unplaced));
        let (mut text, stopped) = match stops.push(&left) {
            Heard::Text(text) => (text, false),
            Heard::Stopped(text) => (text, true),
        };
        match stopped {
            true => {
                let given = given + text.chars().count();
                waiting.retain(|(offset, _)| *offset < given);
            }
            false => text.push_str(&stops.finish()),
        }
        Ok(Piece { text, tokens: waiting.into(), stopped })
    }

    fn hear(&mut self, text: &str) -> Piece<T> {
        let (text, stopped) = match self.stops.push(text) {
            Heard::Text(text) => (text, false),
            Heard::Stopped(text) => (text, true),
        };
        self.given += text.chars().count();
        let begun = self.waiting.iter().take_while(|(offset, _)| *offset < self.given).count();
        Piece { text, tokens: self.waiting.drain(..begun).collect(), stopped }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::text::prompt_text;

    fn tokenizer() -> Tokenizer {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/window");
        Tokenizer::from_folder(&folder).unwrap()
    }

    /// The pieces of a text's tokens, each token with its number, until it is stopped.
    fn pieces(text: &str, stops: &[&str]) -> (Vec<Piece<usize>>, Vec<u32>) {
        let tokenizer = tokenizer();
        let ids = tokenizer.encode(text).unwrap();
        let stops = StopStrings::new(stops.iter().map(ToString::to_string).collect());
        let mut answer = AnswerText::new(&tokenizer, stops, 100);
        let mut pieces = Vec::new();
        for (number, id) in ids.iter().enumerate() {
            pieces.push(answer.push(*id, number).unwrap());
            if pieces.last().unwrap().stopped {
                return (pieces, ids);
            }
        }
        pieces.push(answer.finish().unwrap());
        (pieces, ids)
    }

    fn text(pieces: &[Piece<usize>]) -> String {
        pieces.iter().map(|piece| piece.text.as_str()).collect()
    }

    fn tokens(pieces: &[Piece<usize>]) -> Vec<(usize, usize)> {
        pieces.iter().flat_map(|piece| piece.tokens.iter().copied()).collect()
    }

    #[test]
    fn each_token_comes_once_in_its_place() {
        let whole = "The skin 感冒 is naïve";
        let (pieces, ids) = pieces(whole, &[]);
        assert_eq!(text(&pieces), whole);
        let found = tokens(&pieces);
        assert_eq!(found.iter().map(|token| token.1).collect::<Vec<_>>(), (0..ids.len()).collect::<Vec<_>>());
        let (_, placed) = prompt_text(&tokenizer(), &ids).unwrap();
        let offsets: Vec<usize> = placed.iter().map(|placed| placed.offset + 100).collect();
        assert_eq!(found.iter().map(|token| token.0).collect::<Vec<_>>(), offsets);
        // No token is told before a character of its text is.
        let mut given = 100;
        for piece in &pieces[..pieces.len() - 1] {
            given += piece.text.chars().count();
            assert!(piece.tokens.iter().all(|(offset, _)| *offset < given));
        }
    }

    #[test]
    fn a_stop_string_takes_its_tokens_along() {
        let whole = "What is it?\nQuestion: What is it?";
        for (stop, left) in [("\nQuestion:", "What is it?"), ("tion: W", "What is it?\nQues"), ("W", "")] {
            let (pieces, ids) = pieces(whole, &[stop]);
            assert_eq!(text(&pieces), left, "{stop:?}");
            let kept = tokens(&pieces).len();
            let tokenizer = tokenizer();
            let before = tokenizer.decode(&ids[..kept]).unwrap();
            assert!(before.len() >= left.len() && before.starts_with(left), "{stop:?} {before:?}");
            assert!(kept == 0 || tokenizer.decode(&ids[..kept - 1]).unwrap().len() < left.len(), "{stop:?}");
        }
    }

    /// Half a character is one that cannot be read, and what follows it begins behind it.
    #[test]
    fn half_a_character_has_a_place_and_what_stops_behind_it_goes() {
        let tokenizer = tokenizer();
        let skin = tokenizer.encode("感").unwrap();
        let [half, last] = [tokenizer.encode("é").unwrap()[0], tokenizer.encode("A").unwrap()[0]];
        let ids = [&[half], &skin[..], &[half, last]].concat();
        let (text, placed) = prompt_text(&tokenizer, &ids).unwrap();
        assert_eq!(text, "\u{fffd}感\u{fffd}A");
        let offsets: Vec<usize> = placed.iter().map(|placed| placed.offset).collect();
        let expected = [&[0], &vec![1; skin.len()][..], &[2, 3]].concat();
        assert_eq!(offsets, expected);
        let mut answer = AnswerText::new(&tokenizer, StopStrings::new(vec!["A".into()]), 0);
        let mut found = Vec::new();
        for (number, id) in ids.iter().enumerate() {
            let piece = answer.push(*id, number).unwrap();
            found.extend(piece.tokens);
            assert_eq!(piece.stopped, number + 1 == ids.len());
        }
        assert_eq!(found.iter().map(|(place, _)| *place).collect::<Vec<_>>(), expected[..ids.len() - 1]);
    }

    #[test]
    fn a_beginning_that_stays_one_is_given_out_at_the_end() {
        let (pieces, ids) = pieces("a skin\n", &["\n\n"]);
        assert_eq!(text(&pieces), "a skin\n");
        assert_eq!(tokens(&pieces).len(), ids.len());
        assert_eq!(pieces.last().unwrap().text, "\n");
    }
}
