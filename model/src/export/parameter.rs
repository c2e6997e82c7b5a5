//! The parameters of a GPT-2: which there are, of which shape, and what each file calls them.

use super::shape::Gpt2Shape;

/// A layer that has parameters; inside a block with the block's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    TokenEmbedding,
    PositionEmbedding,
    AttentionNorm(usize),
    QueryKeyValue(usize),
    AttentionOutput(usize),
    FeedForwardNorm(usize),
    FeedForwardUp(usize),
    FeedForwardDown(usize),
    FinalNorm,
    Head,
}

/// Which of a layer's two parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Weight,
    Bias,
}

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) layer: Layer,
    pub(super) part: Part,
}

impl Parameter {
    /// All of a GPT-2 of this shape, front to back.
    pub(super) fn all(shape: &Gpt2Shape) -> Vec<Self> {
        let weight = |layer| Self { layer, part: Part::Weight };
        let both = |layer| [weight(layer), Self { layer, part: Part::Bias }];
        let mut all = vec![weight(Layer::TokenEmbedding), weight(Layer::PositionEmbedding)];
        for block in 0..shape.layers {
            let layers = [
                Layer::AttentionNorm(block),
                Layer::QueryKeyValue(block),
                Layer::AttentionOutput(block),
                Layer::FeedForwardNorm(block),
                Layer::FeedForwardUp(block),
                Layer::FeedForwardDown(block),
            ];
            all.extend(layers.into_iter().flat_map(both));
        }
        all.extend(both(Layer::FinalNorm));
        if !shape.tied {
            all.push(weight(Layer::Head));
        }
        all
    }

    /// Its sizes; those of a linear layer are `[out, in]`.
    pub(super) fn shape(self, shape: &Gpt2Shape) -> Vec<usize> {
        let &Gpt2Shape { hidden, inner, vocabulary, positions, .. } = shape;
        let [out, input] = match self.layer {
            Layer::TokenEmbedding | Layer::Head => [vocabulary, hidden],
            Layer::PositionEmbedding => [positions, hidden],
            Layer::QueryKeyValue(_) => [3 * hidden, hidden],
            Layer::AttentionOutput(_) => [hidden, hidden],
            Layer::FeedForwardUp(_) => [inner, hidden],
            Layer::FeedForwardDown(_) => [hidden, inner],
            Layer::AttentionNorm(_) | Layer::FeedForwardNorm(_) | Layer::FinalNorm => return vec![hidden],
        };
        match self.part {
            Part::Weight => vec![out, input],
            Part::Bias => vec![out],
        }
    }

    /// Whether it is the matrix of a linear layer inside a block, which Hugging Face's GPT-2 holds as `[in, out]`.
    pub(super) fn is_conv1d(self) -> bool {
        let linear = matches!(
            self.layer,
            Layer::QueryKeyValue(_)
                | Layer::AttentionOutput(_)
                | Layer::FeedForwardUp(_)
                | Layer::FeedForwardDown(_)
        );
        linear && self.part == Part::Weight
    }

    /// Whether smaller number types are for it: matrices of products, not the few numbers of norms, biases and positions,
    /// which llama.cpp keeps in f32 as well.
    pub(super) fn is_quantised(self) -> bool {
        self.is_conv1d() || matches!(self.layer, Layer::TokenEmbedding | Layer::Head)
    }

    /// Its name in a Hugging Face folder.
    ///
    /// The published GPT-2 has no `transformer.` before its names, mlx-lm takes no other and all readers take that. Where
    /// a head of its own stands beside, only the full names tell the network's parts from each other.
    pub(super) fn hugging_face(self, tied: bool) -> String {
        let name = match self.layer {
            Layer::TokenEmbedding => "wte".to_string(),
            Layer::PositionEmbedding => "wpe".to_string(),
            Layer::AttentionNorm(block) => format!("h.{block}.ln_1"),
            Layer::QueryKeyValue(block) => format!("h.{block}.attn.c_attn"),
            Layer::AttentionOutput(block) => format!("h.{block}.attn.c_proj"),
            Layer::FeedForwardNorm(block) => format!("h.{block}.ln_2"),
            Layer::FeedForwardUp(block) => format!("h.{block}.mlp.c_fc"),
            Layer::FeedForwardDown(block) => format!("h.{block}.mlp.c_proj"),
            Layer::FinalNorm => "ln_f".to_string(),
            Layer::Head => "lm_head".to_string(),
        };
        let inside = if tied || self.layer == Layer::Head { "" } else { "transformer." };
        format!("{inside}{name}.{}", self.part.name())
    }

    /// Its name in a GGUF file.
    pub(super) fn gguf(self) -> String {
        let name = match self.layer {
            Layer::TokenEmbedding => "token_embd".to_string(),
            Layer::PositionEmbedding => "position_embd".to_string(),
            Layer::AttentionNorm(block) => format!("blk.{block}.attn_norm"),
            Layer::QueryKeyValue(block) => format!("blk.{block}.attn_qkv"),
            Layer::AttentionOutput(block) => format!("blk.{block}.attn_output"),
            Layer::FeedForwardNorm(block) => format!("blk.{block}.ffn_norm"),
            Layer::FeedForwardUp(block) => format!("blk.{block}.ffn_up"),
            Layer::FeedForwardDown(block) => format!("blk.{block}.ffn_down"),
            Layer::FinalNorm => "output_norm".to_string(),
            Layer::Head => "output".to_string(),
        };
        format!("{name}.{}", self.part.name())
    }
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Bias => "bias",
        }
    }
}
