//! Which tokens of which sequences the passes of a step read.

use super::Batch;
use crate::NeoBackend;
use crate::engine::event::Listener;
use crate::ops::WIDE_ROWS;

/// Rows of a pass: the member and how many of its next tokens.
pub(super) type Share = (usize, usize);

impl<B: NeoBackend, L: Listener> Batch<B, L> {
    /// Whole blocks of prompts, as many as a step may read, those that came first before others.
    pub(super) fn blocks(&self) -> Vec<Share> {
        let mut left = self.limits.prompt_chunk.max(WIDE_ROWS);
        let mut shares = Vec::new();
        for (index, member) in self.running.iter().enumerate() {
            let rows = member.sequence.in_blocks().min(left) / WIDE_ROWS * WIDE_ROWS;
            if rows > 0 && member.last.is_none() {
                left -= rows;
                shares.push((index, rows));
            }
        }
        self.in_order(&mut shares);
        shares
    }

    /// A token of each sequence that goes on, and the rests of prompts in the rows that are left of a pass.
    pub(super) fn narrow_passes(&self) -> Vec<Vec<Share>> {
        let most = B::narrow_rows();
        let with_rows = self.running.iter().enumerate();
        let with_rows =
            with_rows.filter(|(_, member)| member.last.is_none() && member.sequence.beside_others() > 0);
        let (reading, going_on): (Vec<_>, Vec<_>) =
            with_rows.partition(|(_, member)| member.sequence.is_reading());
        let mut shares: Vec<Share> = going_on.iter().map(|(index, _)| (*index, 1)).collect();
        let mut left = most - shares.len() % most;
        for (index, member) in reading {
            let rows = member.sequence.beside_others().min(left);
            if rows > 0 {
                left -= rows;
                shares.push((index, rows));
            }
        }
        self.in_order(&mut shares);
        let mut passes: Vec<Vec<Share>> = Vec::new();
        let mut room = 0;
        for (index, mut rows) in shares {
            // A rest that meets the end of a pass goes on in the next.
            while rows > 0 {
                if room == 0 {
                    passes.push(Vec::new());
                    room = most;
                }
                let part = rows.min(room);
                if let Some(pass) = passes.last_mut() {
                    pass.push((index, part));
                }
                rows -= part;
                room -= part;
            }
        }
        passes
    }

    /// Those of one adapter together, and of these those of as many rows.
    fn in_order(&self, shares: &mut [Share]) {
        shares.sort_by_key(|(index, rows)| (self.running[*index].sequence.adapter, *rows));
    }
}
