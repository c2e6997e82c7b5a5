//! Attention over a cache that many texts share: each text's keys and values lie at places of its own, and its queries are
//! the last of its positions. The arithmetic is that of [`super::causal_attention`].
//!
//! The default brings what the texts see into one block, padded on the left where texts are of unequal length, so that
//! texts of as many queries are one operation. The indices for that are made once for all layers.

use std::cell::OnceCell;
use std::ops::Range;

#[cfg(feature = "cubes")]
use burn::tensor::DType;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Bool, Int, Tensor, TensorData, TensorPrimitive, s};

use super::NeoBackend;
use super::attention::{self, AttentionRule};

/// Queries of one text, and where its keys and values lie.
#[derive(Clone, Debug)]
pub struct CachedText {
    /// Queries: the last of the positions, at least one.
    pub queries: usize,
    /// The place in the cache of each position, in their order, as many as queries or more.
    pub places: Vec<usize>,
}

impl CachedText {
    /// The places that any of its queries sees.
    pub(super) fn seen(&self, window: Option<usize>) -> &[usize] {
        let count = self.places.len();
        let most = window.map_or(count, |window| self.queries + window - 1);
        &self.places[count.saturating_sub(most)..]
    }

    /// The places that each of its queries sees.
    #[cfg(any(feature = "flex", feature = "cubes"))]
    pub(super) fn seen_by_each(&self, window: Option<usize>) -> impl Iterator<Item = &[usize]> {
        let count = self.places.len();
        (count - self.queries + 1..=count).map(move |end| {
            let start = window.map_or(0, |window| end.saturating_sub(window));
            &self.places[start..end]
        })
    }
}

/// The texts of a pass, whose queries stand one after another.
#[derive(Debug)]
pub struct CachedTexts<B: Backend> {
    texts: Vec<CachedText>,
    /// What the default needs for layers without and with a window.
    gathered: [OnceCell<Vec<Gathered<B>>>; 2],
    /// What kernels on CubeCL read.
    #[cfg(feature = "cubes")]
    tables: [OnceCell<Tensor<B, 1, Int>>; 2],
}

impl<B: Backend> CachedTexts<B> {
    /// Texts in the order of their queries.
    pub fn new(texts: Vec<CachedText>) -> Self {
        Self {
            texts,
            gathered: [const { OnceCell::new() }; 2],
            #[cfg(feature = "cubes")]
            tables: [const { OnceCell::new() }; 2],
        }
    }

    /// The texts.
    pub fn texts(&self) -> &[CachedText] {
        &self.texts
    }

    /// For each query where its places begin in the table and how many it sees; then the places. Made once for all layers
    /// without a window, and once for those with one.
    #[cfg(feature = "cubes")]
    pub(super) fn table(&self, window: Option<usize>, device: &B::Device) -> Tensor<B, 1, Int> {
        let made = self.tables[usize::from(window.is_some())].get_or_init(|| {
            let queries: usize = self.texts.iter().map(|text| text.queries).sum();
            let (mut table, mut places): (Vec<usize>, Vec<usize>) = Default::default();
            for text in &self.texts {
                let first_end = 2 * queries + places.len() + text.places.len() + 1 - text.queries;
                for (end, seen) in (first_end..).zip(text.seen_by_each(window)) {
                    table.extend([end - seen.len(), seen.len()]);
                }
                places.extend(&text.places);
            }
            table.extend(places);
            let table: Vec<i32> = table.into_iter().map(|number| number as i32).collect();
            let length = table.len();
            Tensor::from_data(TensorData::new(table, [length]), (device, DType::I32))
        });
        made.clone()
    }
}

/// Texts of as many queries each.
#[derive(Debug)]
struct Gathered<B: Backend> {
    texts: usize,
    queries: usize,
    /// Keys of each text, padding included.
    columns: usize,
    from: Places<B>,
    /// True where a column is padding, `[texts, columns]`.
    padding: Option<Tensor<B, 2, Bool>>,
}

#[derive(Debug)]
enum Places<B: Backend> {
    /// One text whose places follow one another.
    Together(Range<usize>),
    /// `[texts * columns]`.
    Scattered(Tensor<B, 1, Int>),
}

impl<B: Backend> Gathered<B> {
    fn new(texts: &[CachedText], window: Option<usize>, device: &B::Device) -> Self {
        let seen: Vec<&[usize]> = texts.iter().map(|text| text.seen(window)).collect();
        let columns = seen.iter().map(|seen| seen.len()).max().unwrap_or(0);
        let queries = texts.first().map_or(0, |text| text.queries);
        if let [seen] = seen[..]
            && let Some(first) = seen.first()
            && seen.iter().enumerate().all(|(index, place)| *place == first + index)
        {
            let from = Places::Together(*first..first + columns);
            return Self { texts: 1, queries, columns, from, padding: None };
        }
        let mut places: Vec<i32> = Vec::with_capacity(texts.len() * columns);
        let mut padded = Vec::with_capacity(texts.len() * columns);
        for seen in &seen {
            // Nobody sees padding, but its weight of zero does not undo what is no number: a place of the text's own.
            let (pad, own) = (columns - seen.len(), seen.first().copied().unwrap_or_default());
            places.extend(std::iter::repeat_n(&own, pad).chain(*seen).map(|place| *place as i32));
            padded.extend((0..columns).map(|column| column < pad));
        }
        let padding = padded
            .contains(&true)
            .then(|| Tensor::from_data(TensorData::new(padded, [texts.len(), columns]), device));
        let count = places.len();
        let places = Tensor::from_data(TensorData::new(places, [count]), device);
        Self { texts: texts.len(), queries, columns, from: Places::Scattered(places), padding }
    }

    /// `[places, hidden]` to `[texts, columns, hidden]`.
    fn of(&self, cache: &Tensor<B, 2>) -> Tensor<B, 3> {
        let [_, hidden] = cache.dims();
        let rows = match &self.from {
            Places::Together(places) => cache.clone().slice(s![places.clone(), ..]),
            Places::Scattered(places) => cache.clone().select(0, places.clone()),
        };
        rows.reshape([self.texts, self.columns, hidden])
    }
}

/// Attention of `query` `[rows, hidden]` over `keys` and `values` `[places, hidden]`: the rows are the queries of the
/// texts, one text after another. A query sees its own position and those before it, of these the last `window` where
/// there is a window.
pub fn cached_attention<B: NeoBackend>(
    query: Tensor<B, 2>,
    keys: Tensor<B, 2>,
    values: Tensor<B, 2>,
    rule: AttentionRule,
    texts: &CachedTexts<B>,
) -> Tensor<B, 2> {
    let [query, keys, values] = [query, keys, values].map(|tensor| tensor.into_primitive().tensor());
    Tensor::from_primitive(TensorPrimitive::Float(B::cached_attention(query, keys, values, rule, texts)))
}

/// As [`cached_attention`], once the `new` keys and values `[rows, hidden]` of each query are at these places in `cache`;
/// and the cache.
pub fn appended_attention<B: NeoBackend>(
    query: Tensor<B, 2>,
    new: [Tensor<B, 2>; 2],
    cache: [Tensor<B, 2>; 2],
    places: &[usize],
    rule: AttentionRule,
    texts: &CachedTexts<B>,
) -> (Tensor<B, 2>, [Tensor<B, 2>; 2]) {
    let unwrap = |tensor: Tensor<B, 2>| tensor.into_primitive().tensor();
    let wrap = |tensor| Tensor::from_primitive(TensorPrimitive::Float(tensor));
    let (new, cache) = (new.map(unwrap), cache.map(unwrap));
    let (mixed, cache) = B::appended_attention(unwrap(query), new, cache, places, rule, texts);
    (wrap(mixed), cache.map(wrap))
}

/// The default of [`NeoBackend::appended_attention`].
pub(super) fn plain_appended<B: NeoBackend>(
    query: FloatTensor<B>,
    [new_key, new_value]: [FloatTensor<B>; 2],
    [keys, values]: [FloatTensor<B>; 2],
    places: &[usize],
    rule: AttentionRule,
    texts: &CachedTexts<B>,
) -> (FloatTensor<B>, [FloatTensor<B>; 2]) {
    let keys = B::write_rows(keys, places, new_key);
    let values = B::write_rows(values, places, new_value);
    (B::cached_attention(query, keys.clone(), values.clone(), rule, texts), [keys, values])
}

/// The default of [`NeoBackend::write_rows`]: places that follow one another are written together.
pub(super) fn plain_write_rows<B: Backend>(
    mut cache: FloatTensor<B>,
    places: &[usize],
    new: FloatTensor<B>,
) -> FloatTensor<B> {
    let mut row = 0;
    for run in places.chunk_by(|one, next| one + 1 == *next) {
        let rows = B::float_slice(new.clone(), &s![row..row + run.len(), ..]);
        cache = B::float_slice_assign(cache, &s![run[0]..run[0] + run.len(), ..], rows);
        row += run.len();
    }
    cache
}

/// The default of [`NeoBackend::cached_attention`].
pub(super) fn plain<B: NeoBackend>(
    query: FloatTensor<B>,
    keys: FloatTensor<B>,
    values: FloatTensor<B>,
    rule: AttentionRule,
    texts: &CachedTexts<B>,
) -> FloatTensor<B> {
    let [query, keys, values] =
        [query, keys, values].map(|tensor| Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(tensor)));
    let [_, hidden] = query.dims();
    let gathered = texts.gathered[usize::from(rule.window.is_some())].get_or_init(|| {
        let runs = texts.texts.chunk_by(|one, next| one.queries == next.queries);
        runs.map(|texts| Gathered::new(texts, rule.window, &query.device())).collect()
    });
    let mut row = 0;
    let mut mixed = Vec::with_capacity(gathered.len());
    for run in gathered {
        let rows = run.texts * run.queries;
        // [rows, hidden] -> [texts, queries, hidden]
        let of_run = query.clone().slice(s![row..row + rows, ..]).reshape([run.texts, run.queries, hidden]);
        let (key, value) = (run.of(&keys), run.of(&values));
        let out = attention::causal_attention(of_run, key, value, rule, run.padding.clone());
        // [texts, queries, hidden] -> [rows, hidden]
        mixed.push(out.reshape([rows, hidden]));
        row += rows;
    }
    let mixed = match <[Tensor<B, 2>; 1]>::try_from(mixed) {
        Ok([only]) => only,
        Err(several) => Tensor::cat(several, 0),
    };
    mixed.into_primitive().tensor()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{random, values};
    use super::*;
    use burn_flex::Flex;
    use burn_ndarray::NdArray;

    const HIDDEN: usize = 12;
    const PLACES: usize = 400;

    /// Texts of one query, of some and of whole blocks, with keys before them and without, in places together, apart
    /// and backwards; a window shorter than some. The first place is nobody's.
    fn texts() -> Vec<CachedText> {
        let shapes = [(1, 1), (1, 30), (1, 9), (7, 7), (5, 21), (64, 64), (128, 131)];
        let mut next = 1;
        let texts = shapes.into_iter().enumerate().map(|(index, (queries, count))| {
            let mut places: Vec<usize> = (next..next + count).collect();
            next += count;
            if index % 2 == 1 {
                places.reverse();
            }
            CachedText { queries, places }
        });
        texts.collect()
    }

    /// A cache whose first place holds no numbers.
    fn cache<B: NeoBackend>(seed: u64) -> Tensor<B, 2> {
        let nothing = Tensor::full([1, HIDDEN], f32::NAN, &Default::default());
        random::<B, 2>([PLACES, HIDDEN], seed).slice_assign([0..1, 0..HIDDEN], nothing)
    }

    fn outcome<B: NeoBackend>(texts: Vec<CachedText>, window: Option<usize>) -> Vec<f64> {
        let rows = texts.iter().map(|text| text.queries).sum();
        let query = random::<B, 2>([rows, HIDDEN], 1);
        let [keys, cached] = [2, 3].map(cache::<B>);
        let rule = AttentionRule { heads: 3, window };
        values(&cached_attention(query, keys, cached, rule, &CachedTexts::new(texts)).to_data())
    }

    /// Each text by itself, gathered by hand, through plain attention.
    fn expected(texts: &[CachedText], window: Option<usize>) -> Vec<f64> {
        let rows: usize = texts.iter().map(|text| text.queries).sum();
        let query = random::<NdArray, 2>([rows, HIDDEN], 1);
        let [keys, cached] = [2, 3].map(cache::<NdArray>);
        let mut row = 0;
        let mut all = Vec::new();
        for text in texts {
            let of = |cache: &Tensor<NdArray, 2>| {
                let parts =
                    text.places.iter().map(|place| cache.clone().slice([*place..place + 1, 0..HIDDEN]));
                Tensor::cat(parts.collect(), 0).reshape([1, text.places.len(), HIDDEN])
            };
            let of_text = query.clone().slice([row..row + text.queries, 0..HIDDEN]);
            let of_text = of_text.reshape([1, text.queries, HIDDEN]);
            let rule = AttentionRule { heads: 3, window };
            let out = attention::causal_attention(of_text, of(&keys), of(&cached), rule, None);
            all.extend(values(&out.to_data()));
            row += text.queries;
        }
        all
    }

    #[test]
    fn equals_attention_to_each_text_by_itself() {
        for window in [None, Some(4), Some(40)] {
            let expected = expected(&texts(), window);
            // Sums of some hundred f32 products.
            for found in [outcome::<Flex>(texts(), window), outcome::<NdArray>(texts(), window)] {
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((found - expected).abs() < 1e-5, "{found} {expected}");
                }
            }
        }
    }

    /// On Flex a text gives the same bits alone and among others, and so does a part of its queries, of whole blocks.
    #[test]
    fn a_text_gives_the_same_bits_in_any_company() {
        for window in [None, Some(4), Some(40)] {
            let (mut row, all) = (0, outcome::<Flex>(texts(), window));
            for text in texts() {
                let rows = text.queries;
                let query = random::<Flex, 2>([texts().iter().map(|text| text.queries).sum(), HIDDEN], 1);
                let [keys, cached] = [2, 3].map(cache::<Flex>);
                let rule = AttentionRule { heads: 3, window };
                let over = |text: CachedText, rows: Range<usize>| {
                    let query = query.clone().slice(s![rows, ..]);
                    let texts = CachedTexts::new(vec![text]);
                    values(&cached_attention(query, keys.clone(), cached.clone(), rule, &texts).to_data())
                };
                let expected = &all[row * HIDDEN..(row + rows) * HIDDEN];
                assert_eq!(over(text.clone(), row..row + rows), expected, "{rows} queries");
                let part = if rows == 128 { 64 } else { 1 };
                if rows != 64 {
                    let places = text.places[..text.places.len() - rows + part].to_vec();
                    let found = over(CachedText { queries: part, places }, row..row + part);
                    assert_eq!(found, expected[..part * HIDDEN], "{part} of {rows} queries");
                }
                row += rows;
            }
        }
    }
    fn written<B: NeoBackend>() -> Vec<f64> {
        let (cache, new) = (random::<B, 2>([10, 3], 1), random::<B, 2>([5, 3], 2));
        let [cache, new] = [cache, new].map(|tensor| tensor.into_primitive().tensor());
        let written = B::write_rows(cache, &[3, 4, 9, 0, 1], new);
        values(&Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(written)).to_data())
    }

    #[test]
    fn rows_go_to_their_places_and_no_further() {
        let [mut expected, new] = [([10, 3], 1), ([5, 3], 2)].map(|(shape, seed)| {
            let rows = values(&random::<NdArray, 2>(shape, seed).to_data());
            rows.chunks(3).map(<[f64]>::to_vec).collect::<Vec<_>>()
        });
        for (place, row) in [3, 4, 9, 0, 1].into_iter().zip(new) {
            expected[place] = row;
        }
        let expected = expected.concat();
        assert_eq!(written::<Flex>(), expected);
        assert_eq!(written::<NdArray>(), expected);
    }
}
