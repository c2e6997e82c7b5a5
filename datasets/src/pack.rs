//! Documents to blocks of one length, for training on plain text: nothing is padded and nothing is lost.

use crate::error::DataError;
use crate::example::Example;
use crate::pieces::encode_all;
use crate::tokenizer::Tokenizer;

/// Documents that are encoded at a time.
const AT_ONCE: usize = 1024;

/// Joins all documents, each closed by end-of-text, and cuts them into blocks of at most `block_length` ids.
///
/// A block begins with the last id of the one before, so every token but the very first is a target exactly once.
/// Only the last block may be shorter. `record` is the block's index.
///
/// # Errors
/// `block_length` is below 2, the tokenizer fails, or the documents make fewer than 2 ids.
pub fn pack_documents(
    docs: &[impl AsRef<str>],
    tokenizer: &Tokenizer,
    block_length: usize,
) -> Result<Vec<Example>, DataError> {
    if block_length < 2 {
        return Err(DataError::setting("the block length", block_length, "at least 2 tokens"));
    }
    let mut stream = Vec::new();
    for docs in docs.chunks(AT_ONCE) {
        for ids in encode_all(docs, tokenizer)? {
            stream.extend(ids);
            stream.push(tokenizer.end_of_text());
        }
    }
    if stream.len() < 2 {
        let reason = format!("{} documents make {} tokens; expected at least 2", docs.len(), stream.len());
        return Err(DataError::NothingLeft { reason });
    }
    let step = block_length - 1;
    // The last id begins no block: there is nothing after it to predict.
    let blocks = (0..stream.len() - 1).step_by(step).enumerate().map(|(record, from)| {
        let ids = stream[from..stream.len().min(from + block_length)].to_vec();
        Example { ids, response_from: 1, supervised_from: 1, later_prompts: Vec::new(), record }
    });
    Ok(blocks.collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bpe::tests::small;

    #[test]
    fn every_token_but_the_first_is_predicted_once_in_order() {
        let tokenizer = small();
        let docs = ["the cold", "Z", "a virus and the flu"];
        let mut stream = Vec::new();
        for doc in docs {
            stream.extend(tokenizer.encode(doc).unwrap());
            stream.push(tokenizer.end_of_text());
        }
        for block_length in 2..stream.len() + 3 {
            let blocks = pack_documents(&docs, &tokenizer, block_length).unwrap();
            let predicted: Vec<u32> =
                blocks.iter().flat_map(|block| block.ids[block.targets()].to_vec()).collect();
            assert_eq!(predicted, stream[1..], "block length {block_length}");
            let (last, full) = blocks.split_last().unwrap();
            assert!(full.iter().all(|block| block.ids.len() == block_length));
            assert!((2..=block_length).contains(&last.ids.len()));
            assert!(blocks.windows(2).all(|pair| pair[0].ids.last() == pair[1].ids.first()));
            assert!(blocks.iter().enumerate().all(|(index, block)| block.record == index));
        }
    }

    #[test]
    fn what_makes_no_block_is_refused() {
        let tokenizer = small();
        assert!(pack_documents(&["a"], &tokenizer, 1).is_err());
        assert!(pack_documents(&[""], &tokenizer, 8).is_err());
        assert!(pack_documents(&[""; 0], &tokenizer, 8).is_err());
        assert_eq!(pack_documents(&["Z"], &tokenizer, 8).unwrap().len(), 1);
    }
}
