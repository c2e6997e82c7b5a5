//! A curve as one line of blocks: ▇▆▅▄▃▃▂▂.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The means of `points`, by their steps from 1 to `total`, in at most `columns` columns of as many steps each; as many
/// columns as the steps have come to, so that the line grows. A column without a point is as the one before it.
pub(super) fn means(points: &[(usize, f64)], total: usize, columns: usize) -> Vec<f64> {
    let columns = columns.min(total);
    let mut sums = vec![(0.0, 0usize); columns];
    for (step, value) in points {
        let column = (step.saturating_sub(1) * columns).checked_div(total).unwrap_or_default();
        if let Some((sum, count)) = sums.get_mut(column) {
            (*sum, *count) = (*sum + value, *count + 1);
        }
    }
    let reached = sums.iter().rposition(|(_, count)| *count > 0).map_or(0, |last| last + 1);
    let mut means: Vec<f64> = Vec::with_capacity(reached);
    for (sum, count) in &sums[..reached] {
        match (count, means.last()) {
            (0, Some(before)) => means.push(*before),
            (0, None) => {}
            _ => means.push(sum / *count as f64),
        }
    }
    means
}

/// The values as blocks, the lowest and the highest of them as the lowest and the highest block.
pub(super) fn blocks(values: &[f64]) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let block = |value: &f64| {
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        BLOCKS[((share * 8.0) as usize).min(7)]
    };
    values.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_grows_with_the_steps_and_spans_all_blocks() {
        let points: Vec<(usize, f64)> = (1..=40).map(|step| (step, 80.0 - step as f64)).collect();
        let of = |count: usize| means(&points[..count], 80, 16);
        assert_eq!([1, 5, 6, 40].map(|count| of(count).len()), [1, 1, 2, 8]);
        assert_eq!(blocks(&of(40)), "█▇▆▅▄▃▂▁");
        // Fewer steps than columns, skipped ones, and none at all.
        assert_eq!(means(&[(1, 3.0), (3, 1.0)], 3, 16), [3.0, 3.0, 1.0]);
        assert_eq!(blocks(&[2.0, 2.0]), "▅▅");
        assert!(
            means(&[], 80, 16).is_empty() && means(&[(1, 1.0)], 0, 16).is_empty() && blocks(&[]).is_empty()
        );
    }
}
