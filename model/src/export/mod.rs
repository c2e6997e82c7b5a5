//! A GPT-Neo written as a GPT-2, which llama.cpp, Ollama, vLLM, mlx-lm and transformers run.
//!
//! Two points of the attention set a GPT-Neo apart from a GPT-2. It does not divide scores by the square root of the head
//! size: the queries' weights are multiplied by it, so that GPT-2's division undoes it. And its local layers see only the
//! last `window_size` positions: a text that is no longer than the window never tells the difference. So up to the
//! smallest window ([`exact_positions`]) the GPT-2 computes what the GPT-Neo does; with more positions its local layers
//! see more than they were trained to.
//!
//! | GPT-Neo | GPT-2 in Hugging Face's folder | GPT-2 in GGUF |
//! |---|---|---|
//! | `wte`, `wpe` (the first positions) | `wte`, `wpe` | `token_embd`, `position_embd` |
//! | `h.N.ln_1`, `h.N.ln_2`, `ln_f` | the same | `blk.N.attn_norm`, `blk.N.ffn_norm`, `output_norm` |
//! | `h.N.attn.attention.{q,k,v}_proj` | `h.N.attn.c_attn`, q scaled, biases of zero | `blk.N.attn_qkv` |
//! | `h.N.attn.attention.out_proj` | `h.N.attn.c_proj` | `blk.N.attn_output` |
//! | `h.N.mlp.c_fc`, `h.N.mlp.c_proj` | the same | `blk.N.ffn_up`, `blk.N.ffn_down` |
//! | `lm_head`, where it is not `wte` | `lm_head` | `output` |
//!
//! Linear layers are `[out, in]` here and in GGUF; the folder has them transposed, as GPT-2's `Conv1D` does.
//!
//! Both forms are read back by what the file itself says: [`read_folder`] and [`read_gguf`] make the network that computes
//! what a GPT-2 of the file's weights computes, for a proof. [`as_gpt2`] makes it without a file.

mod fold;
mod folder;
mod format;
mod gguf;
mod parameter;
mod rebuild;
mod shape;

use burn::tensor::backend::Backend;

pub use self::folder::{read_folder, write_folder};
pub use self::format::ExportFormat;
pub use self::gguf::{GgufType, Stored, read_gguf, write_gguf};
pub use self::shape::check_activation;

use self::shape::Gpt2Shape;
use crate::{AttentionKind, GptNeo, GptNeoConfig, ModelError};

/// The most positions with which a GPT-2 computes what a model of this shape does: its own, or its window where a layer is
/// local.
pub fn exact_positions(config: &GptNeoConfig) -> usize {
    let local = config.attention_layers.contains(&AttentionKind::Local);
    let positions = config.max_position_embeddings;
    if local { config.window_size.min(positions) } else { positions }
}

/// The GPT-2 of a model with its first `positions`, as a network of this crate: it computes what a GPT-2 does that was
/// written from the model and read back.
///
/// # Errors
/// As [`write_folder`], but for the files.
pub fn as_gpt2<B: Backend>(
    model: &GptNeo<B>,
    positions: usize,
    device: &B::Device,
) -> Result<GptNeo<B>, ModelError> {
    let shape = Gpt2Shape::of(model, positions)?;
    rebuild::rebuild(&shape, |parameter| Ok(fold::values(model, &shape, parameter)), device)
}

#[cfg(all(test, feature = "flex"))]
#[allow(clippy::unwrap_used)]
mod tests;
