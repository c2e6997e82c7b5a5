//! What attention computes with, and which keys a query sees.

use std::ops::Range;

use crate::products::Matrix;

/// Queries of a block: enough for the matrix products, few enough to skip most of the future.
pub(super) const BLOCK: usize = 32;

/// A tensor `[batch, tokens, hidden]` whose last dimension is contiguous.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    /// Begins with the first number of the first text's first token.
    pub data: &'a [f32],
    /// Numbers from a text to the next.
    pub batch_stride: usize,
    /// Numbers from a token to the next.
    pub token_stride: usize,
}

impl<'a> Tokens<'a> {
    /// Of a tensor without gaps, of so many tokens a text.
    pub fn dense(data: &'a [f32], tokens: usize, hidden: usize) -> Self {
        Self { data, batch_stride: tokens * hidden, token_stride: hidden }
    }

    /// The part of one head for a range of tokens, `[tokens, size]`.
    pub(super) fn head(&self, batch: usize, tokens: Range<usize>, head: usize, size: usize) -> Matrix<'a> {
        let start = batch * self.batch_stride + tokens.start * self.token_stride + head * size;
        Matrix::new(&self.data[start..], tokens.len(), size, self.token_stride)
    }

    /// All heads of one token, and what stands behind them.
    #[inline(always)]
    pub(super) fn of_token(&self, batch: usize, token: usize) -> &'a [f32] {
        &self.data[batch * self.batch_stride + token * self.token_stride..]
    }
}

/// What attention computes with. The queries are the last of the keys' positions; the earlier ones are cached.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// `[batch, queries, hidden]`.
    pub query: Tokens<'a>,
    /// `[batch, keys, hidden]`.
    pub key: Tokens<'a>,
    /// `[batch, keys, hidden]`.
    pub value: Tokens<'a>,
    /// Texts.
    pub batch: usize,
    /// Queries of a text, at least 1.
    pub queries: usize,
    /// Keys of a text, as many as queries or more.
    pub keys: usize,
    /// Numbers of a token; the heads stand side by side.
    pub hidden: usize,
    /// Heads, which share the numbers of a token evenly.
    pub heads: usize,
    /// Positions that a query sees, its own included; with `None` all up to its own.
    pub window: Option<usize>,
    /// `[batch, keys]`, not 0 where a key is padding.
    pub padding: Option<&'a [u8]>,
}

impl Attention<'_> {
    /// # Panics
    ///
    /// Where there is no query, fewer keys than queries, or heads that cannot share the hidden size evenly: some of the
    /// output would stay unwritten.
    pub(super) fn assert_sizes(&self) {
        let Self { queries, keys, hidden, heads, .. } = *self;
        assert!(queries > 0 && keys >= queries, "{queries} queries over {keys} keys");
        assert!(
            heads > 0 && hidden.is_multiple_of(heads),
            "{heads} heads cannot share {hidden} numbers evenly"
        );
    }

    /// Numbers of a head.
    pub(super) fn head_size(&self) -> usize {
        self.hidden / self.heads
    }

    /// The first key that the query at a position sees; the last one is its own.
    fn first_key(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }

    /// The keys that a query sees, padding aside.
    pub(super) fn seen(&self, query: usize) -> Range<usize> {
        let position = self.keys - self.queries + query;
        self.first_key(position)..position + 1
    }

    /// The keys that any query of a block sees.
    pub(super) fn seen_by(&self, block: &Range<usize>) -> Range<usize> {
        self.seen(block.start).start..self.seen(block.end - 1).end
    }

    pub(super) fn padding(&self, batch: usize, keys: Range<usize>) -> Option<&[u8]> {
        self.padding.map(|padding| &padding[batch * self.keys..][keys])
    }

    /// The blocks of queries, and the keys that each of them sees.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        (0..self.queries).step_by(BLOCK).map(|start| {
            let block = start..(start + BLOCK).min(self.queries);
            (block.clone(), self.seen_by(&block))
        })
    }
}
