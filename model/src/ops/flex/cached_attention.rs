//! Attention over a cache that many texts share, on Flex: the kernels know queries and the places that each of them sees.

use std::borrow::Cow;

use gptneo_kernels::{self as kernels, Attention, CachedAttention, Tokens};

use super::super::{AttentionRule, CachedText, WIDE_ROWS};

/// Attention of the queries of texts, one after another, over keys and values `[places, hidden]`; `[rows, hidden]`.
///
/// Texts of few queries are taken row by row, those of whole blocks block by block: by that alone it follows in which
/// order a row is summed.
pub(super) fn over_cache(
    query: &[f32],
    [keys, values]: [&[f32]; 2],
    hidden: usize,
    rule: AttentionRule,
    texts: &[CachedText],
) -> Vec<f32> {
    let AttentionRule { heads, window } = rule;
    let mut out = Vec::with_capacity(query.len());
    let is_wide = |text: &CachedText| text.queries >= WIDE_ROWS;
    for run in texts.chunk_by(|one, next| !is_wide(one) && !is_wide(next)) {
        let rows = run.iter().map(|text| text.queries).sum::<usize>();
        let query = &query[out.len()..][..rows * hidden];
        if let [text] = run
            && is_wide(text)
        {
            out.extend(over_text(query, [keys, values], hidden, rule, text));
        } else {
            let seen: Vec<&[usize]> = run.iter().flat_map(|text| text.seen_by_each(window)).collect();
            let inputs = CachedAttention { query, keys, values, seen: &seen, hidden, heads };
            out.extend(kernels::cached_attention(&inputs));
        }
    }
    out
}

/// Attention of one text in blocks of queries, over keys and values that are copied together unless they are.
fn over_text(
    query: &[f32],
    cache: [&[f32]; 2],
    hidden: usize,
    AttentionRule { heads, window }: AttentionRule,
    text: &CachedText,
) -> Vec<f32> {
    let places = text.seen(window);
    let keys = places.len();
    let together = places.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    let [key, value] = cache.map(|cache| match places.first() {
        Some(first) if together => Cow::Borrowed(&cache[first * hidden..][..keys * hidden]),
        _ => places.iter().flat_map(|place| &cache[place * hidden..][..hidden]).copied().collect(),
    });
    kernels::attention(&Attention {
        query: Tokens::dense(query, text.queries, hidden),
        key: Tokens::dense(&key, keys, hidden),
        value: Tokens::dense(&value, keys, hidden),
        batch: 1,
        queries: text.queries,
        keys,
        hidden,
        heads,
        window,
        padding: None,
    })
}
