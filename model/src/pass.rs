//! A pass of the network over tokens of many sequences at once, each behind those that the cache holds of its own: a row
//! for each token, and what each row needs to know.

use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

use crate::adapter::Adapter;
use crate::cache::KvCache;
use crate::lora::Update;
use crate::ops::{CachedText, CachedTexts};
use crate::{GptNeo, NeoBackend, Target};

/// The next tokens of one sequence.
pub(crate) struct NextTokens<'a> {
    /// How many they are.
    pub(crate) count: usize,
    /// The places in the cache of all its tokens up to the last of them.
    pub(crate) places: &'a [usize],
    /// Its adapter, by its number.
    pub(crate) adapter: Option<usize>,
}

/// The tokens of all rows, `[rows]`.
pub(crate) enum Ids<B: Backend> {
    /// As the host knows them.
    Known(Vec<i32>),
    /// As the device chose them; -1 where it could not.
    Chosen(Tensor<B, 1, Int>),
}

/// All rows of a pass.
pub(crate) struct Pass<'a, B: Backend> {
    ids: Ids<B>,
    positions: Vec<i32>,
    /// Where each row's keys and values go.
    pub(crate) places: Vec<usize>,
    /// What each row sees.
    pub(crate) texts: CachedTexts<B>,
    /// Which rows have which adapter.
    adapters: Vec<(Range<usize>, &'a Adapter<B>)>,
}

impl<'a, B: Backend> Pass<'a, B> {
    /// One sequence's tokens after another's. Those of one adapter that follow one another are computed together.
    pub(crate) fn new(sequences: &[NextTokens<'_>], ids: Ids<B>, adapters: &'a [Adapter<B>]) -> Self {
        let mut pass = Self {
            ids,
            positions: Vec::new(),
            places: Vec::new(),
            texts: CachedTexts::new(Vec::new()),
            adapters: Vec::new(),
        };
        let mut texts = Vec::with_capacity(sequences.len());
        for run in sequences.chunk_by(|one, next| one.adapter == next.adapter) {
            let first = pass.positions.len();
            for NextTokens { count, places, .. } in run {
                let position = places.len() - count;
                pass.positions.extend((position..places.len()).map(|position| position as i32));
                pass.places.extend(&places[position..]);
                texts.push(CachedText { queries: *count, places: places.to_vec() });
            }
            if let Some(adapter) = run[0].adapter {
                pass.adapters.push((first..pass.positions.len(), &adapters[adapter]));
            }
        }
        pass.texts = CachedTexts::new(texts);
        pass
    }

    /// The updates of a layer, and the rows that each is for.
    pub(crate) fn updates(&self, layer: usize, target: Target) -> impl Iterator<Item = Update<'a, B>> {
        let with = self.adapters.iter();
        with.filter_map(move |(rows, adapter)| Some((rows.clone(), adapter.update(layer, target)?)))
    }
}

impl<B: NeoBackend> GptNeo<B> {
    /// Final hidden states of a pass, `[rows, hidden]`; the rows' keys and values are in the cache then.
    pub(crate) fn hidden_rows(&self, pass: &Pass<'_, B>, cache: &mut KvCache<B>) -> Tensor<B, 2> {
        let device = self.transformer.ln_f.weight.val().device();
        let rows = pass.positions.len();
        let of = |values: &Vec<i32>| {
            Tensor::<B, 2, Int>::from_data(TensorData::new(values.clone(), [1, rows]), &device)
        };
        let ids = match &pass.ids {
            Ids::Known(ids) => of(ids),
            // Nobody hears what follows a token that could not be chosen, which is -1: any will do.
            Ids::Chosen(ids) => ids.clone().abs().reshape([1, rows]),
        };
        let mut x = self.embed(ids, of(&pass.positions));
        let layers = self.transformer.h.iter().zip(&mut cache.layers);
        for (layer, (block, cache)) in layers.enumerate() {
            x = block.forward_rows(x, layer, pass, cache);
        }
        let [_, _, hidden] = x.dims();
        // [1, rows, hidden] -> [rows, hidden]
        self.transformer.ln_f.forward(x).reshape([rows, hidden])
    }
}
