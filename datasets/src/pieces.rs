//! Texts to ids a few at a time: a tokenizer keeps some hundred bytes for each token that it works on, so that long
//! texts go through it in pieces.

use crate::error::DataError;
use crate::tokenizer::Tokenizer;

/// The longest piece, in bytes.
const PIECE: usize = 1 << 16;
/// How many bytes of pieces are worked on at once.
const PORTION: usize = 1 << 18;

/// The ids of each text, nothing added.
///
/// # Errors
/// As [`Tokenizer::encode_batch`].
pub(crate) fn encode_all(
    texts: &[impl AsRef<str>],
    tokenizer: &Tokenizer,
) -> Result<Vec<Vec<u32>>, DataError> {
    let mut encoded: Vec<Vec<u32>> = Vec::with_capacity(texts.len());
    let mut portion: Vec<(usize, &str)> = Vec::new();
    let mut bytes = 0;
    let encode = |portion: &mut Vec<(usize, &str)>, encoded: &mut Vec<Vec<u32>>| {
        let pieces: Vec<&str> = portion.iter().map(|(_, piece)| *piece).collect();
        for (ids, (text, _)) in tokenizer.encode_batch(&pieces)?.into_iter().zip(portion.drain(..)) {
            match encoded.get_mut(text) {
                Some(whole) => whole.extend(ids),
                None => encoded.push(ids),
            }
        }
        Ok::<(), DataError>(())
    };
    for (number, text) in texts.iter().enumerate() {
        for piece in pieces(text.as_ref(), PIECE) {
            bytes += piece.len();
            portion.push((number, piece));
            if bytes >= PORTION {
                encode(&mut portion, &mut encoded)?;
                bytes = 0;
            }
        }
    }
    encode(&mut portion, &mut encoded)?;
    Ok(encoded)
}

/// `text` in pieces of about `most` bytes; in one where it is no longer.
///
/// It is cut before a single white space between two words, where a byte-level tokenizer lets no token go across.
/// Where no such place is near, as in a word of many thousand letters, it is cut between any two characters.
fn pieces(mut text: &str, most: usize) -> impl Iterator<Item = &str> {
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let piece;
        (piece, text) = text.split_at(if text.len() > most { border(text, most) } else { text.len() });
        done = text.is_empty();
        Some(piece)
    })
}

/// Where to cut a text that is longer than `most` bytes.
fn border(text: &str, most: usize) -> usize {
    let any = text.floor_char_boundary(most);
    let bytes = &text.as_bytes()[..any];
    let between_words = |&at: &usize| {
        matches!(bytes[at], b' ' | b'\n')
            && bytes[at - 1].is_ascii_alphanumeric()
            && bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric)
    };
    (most / 2..any).rev().find(between_words).unwrap_or(any)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bpe::tests::small;

    #[test]
    fn pieces_are_the_text_and_their_ids_the_same() {
        let tokenizer = small();
        let text = "The virus, and a cold;\nthe  flu 3 days later. ".repeat(40);
        let cut: Vec<&str> = pieces(&text, 64).collect();
        assert!(cut.len() > 10 && cut.concat() == text && cut.iter().all(|piece| piece.len() <= 64));
        let ids: Vec<u32> = cut.iter().flat_map(|piece| tokenizer.encode(piece).unwrap()).collect();
        assert_eq!(ids, tokenizer.encode(&text).unwrap());
        assert_eq!(pieces("", 4).collect::<Vec<_>>(), [""]);
        assert_eq!(pieces("ééééé", 5).collect::<Vec<_>>(), ["éé", "éé", "é"]);
    }

    #[test]
    fn texts_of_any_length_keep_their_order() {
        let tokenizer = small();
        let long = "a cold and the flu ".repeat(PORTION / 10);
        let texts = ["Z", long.as_str(), "", "YX"];
        let encoded = encode_all(&texts, &tokenizer).unwrap();
        let lengths = encoded.iter().map(Vec::len);
        assert!(lengths.zip(texts).all(|(ids, text)| (ids == 0) == text.is_empty()));
        assert_eq!(
            (&encoded[0], &encoded[3]),
            (&tokenizer.encode("Z").unwrap(), &tokenizer.encode("YX").unwrap())
        );
        assert_eq!(encoded[1], tokenizer.encode(&long).unwrap());
    }
}
