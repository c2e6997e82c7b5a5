//! A linear layer that may carry a LoRA adapter, and the adapter's settings.
//!
//! With an adapter, `y = x W^T + b + scale * (dropout(x) A^T) B^T` (Hu et al. 2021, equation 3, as PEFT
//! computes it); `scale` is alpha / r, or alpha / sqrt(r) with rank stabilisation (Kalajdzievski 2023). Rank and
//! alpha may differ from layer to layer. What DoRA adds to it stands in `dora.rs`.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

use crate::ops::{self, Draws};
use crate::{ModelError, ModuleName, NeoBackend, Precision, Target};

/// LoRA's settings, by PEFT's names. The defaults are this project's recipe, not PEFT's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of the update; 16 by default.
    pub r: usize,
    /// Scale of the update, before the division by the rank; 32 by default.
    pub alpha: f64,
    /// Share of the adapter's inputs that are zeroed in training; 0.1 by default.
    pub dropout: f64,
    /// The layers that carry an adapter; `q_proj` and `v_proj` by default.
    pub target_modules: Vec<ModuleName>,
    /// Divide alpha by the rank's square root; by the rank by default.
    pub use_rslora: bool,
    /// Learn the length of each row of the updated weight beside it (DoRA); not by default.
    #[serde(skip_serializing_if = "is_false")]
    pub use_dora: bool,
    /// Layers of another rank. Where several names fit a layer, the longest holds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rank_pattern: BTreeMap<ModuleName, usize>,
    /// Layers of another alpha, as in `rank_pattern`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub alpha_pattern: BTreeMap<ModuleName, f64>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            r: 16,
            alpha: 32.0,
            dropout: 0.1,
            target_modules: vec![Target::QProj.into(), Target::VProj.into()],
            use_rslora: false,
            use_dora: false,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
        }
    }
}

impl LoraConfig {
    /// Whether the layer at `path` carries an adapter.
    pub fn targets(&self, path: &str) -> bool {
        self.target_modules.iter().any(|name| name.matches(path))
    }

    /// The rank of the layer at `path`.
    pub fn rank(&self, path: &str) -> usize {
        longest_match(&self.rank_pattern, path).unwrap_or(self.r)
    }

    /// The factor of the update of the layer at `path`, from the layer's own alpha and rank.
    pub fn scale(&self, path: &str) -> f64 {
        let rank = self.rank(path) as f64;
        let alpha = longest_match(&self.alpha_pattern, path).unwrap_or(self.alpha);
        alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// The highest rank: more than any matrix has.
    pub const HIGHEST_RANK: usize = 1 << 24;

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// A rank of zero or beyond all sizes, a dropout outside [0, 1), an alpha that is not finite, no target.
    pub fn validate(&self) -> Result<(), ModelError> {
        let mut problems = Vec::new();
        if self.r == 0 {
            problems.push("the rank r is 0, expected at least 1".to_string());
        }
        let ranks = self.rank_pattern.values().chain([&self.r]);
        problems.extend(ranks.filter(|rank| **rank > Self::HIGHEST_RANK).map(|rank| {
            format!("the rank {rank} is beyond all sizes, expected at most {}", Self::HIGHEST_RANK)
        }));
        if !self.alpha.is_finite() {
            problems.push(format!("alpha is {}, expected a number", self.alpha));
        }
        let ranks = self.rank_pattern.iter().filter(|(_, rank)| **rank == 0);
        problems.extend(ranks.map(|(name, _)| format!("rank_pattern: {name} is 0, expected at least 1")));
        let alphas = self.alpha_pattern.iter().filter(|(_, alpha)| !alpha.is_finite());
        problems.extend(
            alphas.map(|(name, alpha)| format!("alpha_pattern: {name} is {alpha}, expected a number")),
        );
        if !(0.0..1.0).contains(&self.dropout) {
            problems.push(format!("the dropout is {}, expected 0 or more and less than 1", self.dropout));
        }
        if self.target_modules.is_empty() {
            problems.push("no target module is named".to_string());
        }
        if problems.is_empty() { Ok(()) } else { Err(ModelError::Lora(problems.join("; "))) }
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn longest_match<T: Copy>(pattern: &BTreeMap<ModuleName, T>, path: &str) -> Option<T> {
    let fitting = pattern.iter().filter(|(name, _)| name.matches(path));
    fitting.max_by_key(|(name, _)| name.as_str().len()).map(|(_, value)| *value)
}

/// The low-rank update of one linear layer.
#[derive(Module, Debug)]
pub struct Lora<B: Backend> {
    /// A, `[r, in]`.
    pub a: Param<Tensor<B, 2>>,
    /// B, `[out, r]`.
    pub b: Param<Tensor<B, 2>>,
    /// The length of each row of the updated weight, `[out]`, where it is learned; see `dora.rs`.
    pub magnitude: Option<Param<Tensor<B, 1>>>,
    #[module(skip)]
    dropout: f64,
    #[module(skip)]
    pub(crate) scale: f64,
}

impl<B: Backend> Lora<B> {
    /// A fresh adapter of `weight`, `[out, in]`, at `path`: A Kaiming-uniform with a = sqrt(5), that is uniform
    /// within 1 / sqrt(in), and B zero, so that the layer computes what it did.
    pub fn init([output, input]: [usize; 2], path: &str, config: &LoraConfig, device: &B::Device) -> Self {
        let (rank, bound) = (config.rank(path), 1.0 / (input as f64).sqrt());
        Self {
            a: Initializer::Uniform { min: -bound, max: bound }.init([rank, input], device),
            b: Initializer::Zeros.init([output, rank], device),
            magnitude: None,
            dropout: config.dropout,
            scale: config.scale(path),
        }
    }

    /// Changes the share of inputs that are zeroed in training.
    pub fn set_dropout(&mut self, dropout: f64) {
        self.dropout = dropout;
    }

    /// The update of the weight matrix, `scale * B A`, `[out, in]`, before DoRA's lengths.
    pub fn delta(&self) -> Tensor<B, 2> {
        self.b.val().matmul(self.a.val()) * self.scale
    }

    /// What the operation takes.
    pub(crate) fn update(&self) -> ops::LoraUpdate<B> {
        ops::LoraUpdate { a: self.a.val(), b: self.b.val(), scale: self.scale, dropout: self.dropout }
    }
}

/// The update of a layer for some rows.
pub(crate) type Update<'a, B> = (Range<usize>, &'a Lora<B>);

/// A linear layer, `y = x W^T + b`, with or without an adapter.
#[derive(Module, Debug)]
pub struct LoraLinear<B: Backend> {
    /// W, `[out, in]`, the checkpoint's own layout.
    pub weight: Param<Tensor<B, 2>>,
    /// b, `[out]`.
    pub bias: Option<Param<Tensor<B, 1>>>,
    /// The adapter, if one is attached.
    pub lora: Option<Lora<B>>,
    /// The numbers of its products; see `products.rs`.
    #[module(skip)]
    pub(crate) precision: Precision,
}

impl<B: Backend> LoraLinear<B> {
    /// Normal weights `[output, input]` of standard deviation `std`, no bias, no adapter.
    pub fn init([output, input]: [usize; 2], std: f64, device: &B::Device) -> Self {
        Self::of(Initializer::Normal { mean: 0.0, std }.init([output, input], device))
    }

    /// With a bias of zeros.
    #[must_use]
    pub fn with_bias(mut self, device: &B::Device) -> Self {
        let [output, _] = self.weight.lazy_shape().dims();
        self.bias = Some(Initializer::Zeros.init([output], device));
        self
    }

    /// A weight `[out, in]` alone.
    pub(crate) fn of(weight: Param<Tensor<B, 2>>) -> Self {
        Self { weight, bias: None, lora: None, precision: Precision::F32 }
    }

    /// Attaches a fresh adapter, in place of one that may be there; `path` is the layer's own.
    pub fn attach(&mut self, path: &str, config: &LoraConfig, device: &B::Device) {
        let lora = Lora::init(self.weight.lazy_shape().dims(), path, config, device);
        self.lora = Some(match config.use_dora {
            true => lora.with_magnitude_of(self.weight.val()),
            false => lora,
        });
    }

    /// Adds the adapter's update to the weight and removes the adapter.
    pub fn merge(&mut self) {
        if let Some(lora) = self.lora.take() {
            let weight = self.weight.clone();
            self.weight = weight.map(|weight| lora.merged_into(weight));
        }
    }
}

impl<B: NeoBackend> LoraLinear<B> {
    /// `[rows, in]` to `[rows, out]`.
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.forward_drawing(x, &mut Draws::New)
    }

    /// As [`LoraLinear::forward`], with the dropout that `draws` gives.
    pub(crate) fn forward_drawing(&self, x: Tensor<B, 2>, draws: &mut Draws<B>) -> Tensor<B, 2> {
        if let Some(lora) = &self.lora
            && let Some(magnitude) = &lora.magnitude
        {
            // Lengths and what they multiply are of one type, whatever the products are made in.
            let (given, magnitude) = (x.dtype(), magnitude.val());
            let x = x.cast(magnitude.dtype());
            return self.forward_with_magnitude(x, lora, magnitude, draws).cast(given);
        }
        let bias = self.bias.as_ref().map(Param::val);
        let layer = ops::LinearWeights { bias, ..self.weights_without_bias() };
        ops::linear_drawing(x, layer, self.precision, draws)
    }

    /// What the operation takes, but for the bias.
    pub(crate) fn weights_without_bias(&self) -> ops::LinearWeights<B> {
        let update = self.lora.as_ref().map(Lora::update);
        ops::LinearWeights { weight: self.weight.val(), bias: None, update }
    }

    /// As [`LoraLinear::forward`], with further updates, each of the rows that it is for: one product with the weight for
    /// all rows, whatever their adapters.
    pub(crate) fn forward_adapted<'a>(
        &self,
        x: Tensor<B, 2>,
        updates: impl Iterator<Item = Update<'a, B>>,
    ) -> Tensor<B, 2>
    where
        B: 'a,
    {
        Self::adapted(self.forward(x.clone()), &x, updates)
    }

    /// What the layer gave of x, with these updates.
    pub(crate) fn adapted<'a>(
        y: Tensor<B, 2>,
        x: &Tensor<B, 2>,
        updates: impl Iterator<Item = Update<'a, B>>,
    ) -> Tensor<B, 2>
    where
        B: 'a,
    {
        updates.fold(y, |y, (rows, lora)| ops::add_low_rank(y, x.clone(), rows, lora.update()))
    }
}
