//! Queries of many texts over keys and values that lie anywhere in a cache that all share. Each row of queries names the
//! places that it sees; a row's sums are the same whatever rows are beside it.

use super::one_query::{Seen, attend, heads_of_rows};
use crate::memory::zeros;
use crate::tasks::{self, Kernel};

/// What attention over a cache computes with.
#[derive(Clone, Copy, Debug)]
pub struct CachedAttention<'a> {
    /// `[rows, hidden]`.
    pub query: &'a [f32],
    /// `[places, hidden]`.
    pub keys: &'a [f32],
    /// `[places, hidden]`.
    pub values: &'a [f32],
    /// The places that each row sees, in the order of its text.
    pub seen: &'a [&'a [usize]],
    /// Numbers of a token; the heads stand side by side.
    pub hidden: usize,
    /// Heads, which share the numbers of a token evenly.
    pub heads: usize,
}

/// The output, `[rows, hidden]`. A row that sees nothing gives zeros.
///
/// # Panics
///
/// Where a slice is not of its shape, a place is not in the cache, or heads do not share the numbers of a token evenly.
pub fn cached_attention(inputs: &CachedAttention<'_>) -> Vec<f32> {
    let CachedAttention { query, keys, values, seen, hidden, heads } = *inputs;
    assert!(
        heads > 0 && hidden > 0 && hidden.is_multiple_of(heads),
        "{heads} heads cannot share {hidden} numbers evenly"
    );
    assert_eq!(query.len(), seen.len() * hidden, "numbers of the queries");
    assert_eq!(keys.len(), values.len(), "numbers of keys and values");
    let mut out = zeros(query.len());
    tasks::run(&Rows { inputs }, heads_of_rows(&mut out, hidden, heads));
    out
}

struct Rows<'a> {
    inputs: &'a CachedAttention<'a>,
}

impl Kernel<(usize, usize, &mut [f32])> for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(&self, (row, first, out): (usize, usize, &mut [f32])) {
        let CachedAttention { query, keys, values, seen, hidden, heads } = *self.inputs;
        let size = hidden / heads;
        let start = first * size;
        let query = &query[row * hidden + start..][..out.len()];
        if seen[row].is_empty() {
            return;
        }
        let no_padding = None;
        attend(query, &Places { keys, values, places: seen[row], hidden, start }, no_padding, size, out);
    }
}

/// Keys and values at places of the cache.
struct Places<'a> {
    keys: &'a [f32],
    values: &'a [f32],
    places: &'a [usize],
    hidden: usize,
    /// Of the first head in a token.
    start: usize,
}

impl Seen for Places<'_> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.places.len()
    }

    #[inline(always)]
    fn key(&self, place: usize) -> &[f32] {
        &self.keys[self.places[place] * self.hidden..][..self.hidden][self.start..]
    }

    #[inline(always)]
    fn value(&self, place: usize) -> &[f32] {
        &self.values[self.places[place] * self.hidden..][..self.hidden][self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::numbers;
    use crate::{Attention, Tokens, attention};

    const HIDDEN: usize = 12;
    const HEADS: usize = 3;

    /// A text whose tokens lie in a cache back to front, among others: each row is what attention over the text in one
    /// piece gives, to the last bit, alone and beside other rows.
    #[test]
    fn a_row_is_what_its_text_gives_wherever_it_lies_and_whatever_is_beside_it() {
        for length in [1, 5, 40] {
            let [query, key, value] = [1, 2, 3].map(|seed| numbers(seed, length * HIDDEN));
            let places: Vec<usize> = (0..length).map(|token| 2 * (length - token)).collect();
            let scattered = |values: &[f32]| {
                let mut cache = numbers(9, (2 * length + 1) * HIDDEN);
                for (token, place) in values.chunks(HIDDEN).zip(&places) {
                    cache[place * HIDDEN..][..HIDDEN].copy_from_slice(token);
                }
                cache
            };
            let (keys, values) = (scattered(&key), scattered(&value));
            let seen: Vec<&[usize]> = (0..length).map(|token| &places[..=token]).collect();
            let over = |query: &[f32], seen: &[&[usize]]| {
                let (hidden, heads) = (HIDDEN, HEADS);
                cached_attention(&CachedAttention {
                    query,
                    keys: &keys,
                    values: &values,
                    seen,
                    hidden,
                    heads,
                })
            };
            let together = over(&query, &seen);
            for token in 0..length {
                let part = token * HIDDEN..(token + 1) * HIDDEN;
                let of_one = |values| Tokens::dense(values, token + 1, HIDDEN);
                let expected = attention(&Attention {
                    query: Tokens::dense(&query[part.clone()], 1, HIDDEN),
                    key: of_one(&key),
                    value: of_one(&value),
                    batch: 1,
                    queries: 1,
                    keys: token + 1,
                    hidden: HIDDEN,
                    heads: HEADS,
                    window: None,
                    padding: None,
                });
                assert_eq!(together[part.clone()], expected, "token {token} of {length}");
                assert_eq!(over(&query[part], &seen[token..=token]), expected, "alone, token {token}");
            }
        }
    }

    #[test]
    fn a_row_that_sees_nothing_gives_zeros() {
        let (query, cache) = (numbers(1, HIDDEN), numbers(2, HIDDEN));
        let (keys, values, hidden, heads) = (&cache[..], &cache[..], HIDDEN, HEADS);
        let inputs = CachedAttention { query: &query, keys, values, seen: &[&[]], hidden, heads };
        assert_eq!(cached_attention(&inputs), [0.0; HIDDEN]);
    }
}
