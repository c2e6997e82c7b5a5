//! Q8_0: blocks of 32 values that share a scale, 34 bytes each.
//!
//! A block is its scale as float16 and 32 signed bytes; a value is byte times scale. The scale is the largest value of
//! the block by size over 127, and values are rounded to the nearest byte, halves away from zero, by the scale before
//! it is rounded to float16: bit for bit what ggml's `quantize_row_q8_0_ref` makes.

use half::f16;

/// Values in a block.
pub(crate) const BLOCK: usize = 32;
/// Bytes of a block.
pub(crate) const BYTES: usize = 2 + BLOCK;

/// Appends the blocks of `values`, a multiple of [`BLOCK`].
pub(crate) fn encode(values: &[f32], out: &mut Vec<u8>) {
    for block in values.chunks_exact(BLOCK) {
        let largest = block.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let scale = largest / 127.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        out.extend(f16::from_f32(scale).to_le_bytes());
        out.extend(block.iter().map(|value| (value * inverse).round() as i8 as u8));
    }
}

/// Appends the values of `bytes`, whole blocks.
pub(crate) fn decode(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.chunks_exact(BYTES) {
        let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
        out.extend(block[2..].iter().map(|&byte| f32::from(byte as i8) * scale));
    }
}
