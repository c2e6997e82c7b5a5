//! Texts to ids a few at a time: a tokenizer keeps some hundred bytes for each token that it works on, so that long
//! texts go through it in pieces.

use crate::error::DataError;
use crate::tokenizer::Tokenizer;

/// The longest piece, in bytes, where a tokenizer lets texts be cut.
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
    let borders = tokenizer.borders();
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
        for piece in pieces(text.as_ref(), PIECE, borders) {
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

/// `text` in pieces of about `most` bytes, cut where the tokenizer sees no difference; in one where it is no longer.
///
/// Such a place is before a single blank of `borders` between two words: a byte-level tokenizer lets no token go across.
/// Where none is near, the piece is as long as it must be.
fn pieces<'a>(mut text: &'a str, most: usize, borders: &[char]) -> impl Iterator<Item = &'a str> {
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let piece;
        (piece, text) =
            text.split_at(if text.len() > most { border(text, most, borders) } else { text.len() });
        done = text.is_empty();
        Some(piece)
    })
}

/// Where to cut a text that is longer than `most` bytes: the last border within them, else the first one behind.
fn border(text: &str, most: usize, borders: &[char]) -> usize {
    let between_words = |&(at, blank): &(usize, &str)| {
        let is_text = |end: Option<char>| end.is_some_and(|end| !end.is_whitespace() && !end.is_control());
        is_text(text[..at].chars().next_back()) && is_text(text[at + blank.len()..].chars().next())
    };
    let near = text.floor_char_boundary(most);
    let within = text[..near].rmatch_indices(borders).find(between_words);
    let behind =
        || text[near..].match_indices(borders).map(|(at, blank)| (near + at, blank)).find(between_words);
    within.or_else(behind).map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bpe::tests::small;

    #[test]
    fn pieces_are_the_text_and_their_ids_the_same() {
        let tokenizer = small();
        let borders = tokenizer.borders();
        for text in [
            "The virus, and a cold;\nthe  flu 3 days later. ",
            "it\'s «la» grippe :\n\n— né à 3 \u{200b}km\t ",
            "é",
        ] {
            let text = text.repeat(40);
            let cut: Vec<&str> = pieces(&text, 64, borders).collect();
            assert!(cut.concat() == text && (text.starts_with('é') || cut.len() > 10), "{cut:?}");
            let ids: Vec<u32> = cut.iter().flat_map(|piece| tokenizer.encode(piece).unwrap()).collect();
            assert_eq!(ids, tokenizer.encode(&text).unwrap());
        }
        let cut = |text, most| pieces(text, most, &[' ', '\n']).collect::<Vec<_>>();
        assert_eq!(cut("", 4), [""]);
        // As near to the length as a border is, then the first behind it; none within a run of blanks.
        assert_eq!(cut("a b c dddddd e", 6), ["a b c", " dddddd", " e"]);
        assert_eq!(cut("ééééé a  b\tc", 5), ["ééééé", " a  b\tc"]);
    }

    #[test]
    fn what_may_look_across_a_border_is_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        small().save(folder.path()).unwrap();
        let path = folder.path().join("tokenizer.json");
        let plain: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let borders = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut value = plain.clone();
            change(&mut value);
            std::fs::write(&path, value.to_string()).unwrap();
            let config = r#"{"eos_token": "<|endoftext|>", "tokenizer_class": "PreTrainedTokenizerFast"}"#;
            std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
            Tokenizer::from_folder(folder.path()).unwrap()
        };
        assert_eq!(borders(&|_| {}).borders(), [' ', '\n']);
        let none: [&dyn Fn(&mut serde_json::Value); 4] = [
            &|value| value["normalizer"] = serde_json::json!({ "type": "NFC" }),
            &|value| value["pre_tokenizer"] = serde_json::json!({ "type": "Whitespace" }),
            &|value| value["added_tokens"][0]["rstrip"] = true.into(),
            &|value| {
                value["added_tokens"].as_array_mut().unwrap().push(serde_json::json!({
                    "id": 300, "content": "the flu", "special": false, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false,
                }))
            },
        ];
        for change in none {
            assert!(borders(change).borders().is_empty());
        }
        // With a space before each text, lines are not cut apart.
        let tokenizer = borders(&|value| value["pre_tokenizer"]["add_prefix_space"] = true.into());
        let long = "a\ncold\nand\nthe\nflu ".repeat(PIECE / 8);
        let encoded = encode_all(&[&long], &tokenizer).unwrap();
        assert!(tokenizer.borders() == [' '] && encoded[0] == tokenizer.encode(&long).unwrap());
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
