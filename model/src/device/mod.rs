//! What a device says, and what it does not say by itself: [`failure`] of a GPU that no call returns, and
//! `largest_tensors`, the sizes that a device must hold in one piece.

pub mod failure;
mod largest_tensors;
