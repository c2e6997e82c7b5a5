//! The result of a product in parts that tasks can write side by side.

/// The same columns of some rows.
pub(crate) struct Block<'a, E> {
    pub(crate) first_row: usize,
    pub(crate) first_column: usize,
    pub(crate) rows: Vec<&'a mut [E]>,
}

/// A matrix without gaps in blocks of at most so many rows and columns, which are not 0.
pub(crate) fn blocks<E>(out: &mut [E], columns: usize, [tall, wide]: [usize; 2]) -> Vec<Block<'_, E>> {
    let mut blocks: Vec<Block<'_, E>> = Vec::new();
    for (index, rows) in out.chunks_mut(tall * columns).enumerate() {
        let new = (0..columns).step_by(wide).map(|first_column| Block {
            first_row: index * tall,
            first_column,
            rows: Vec::with_capacity(tall),
        });
        let start = blocks.len();
        blocks.extend(new);
        for row in rows.chunks_exact_mut(columns) {
            blocks[start..]
                .iter_mut()
                .zip(row.chunks_mut(wide))
                .for_each(|(block, part)| block.rows.push(part));
        }
    }
    blocks
}
