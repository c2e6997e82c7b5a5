//! The numbers behind a loss curve: order, smoothing, the range worth showing, and how few points say it all.

/// `(step, loss)`, sorted by step.
pub(super) type Series = Vec<(f64, f64)>;

/// The points sorted by step; equal steps keep their order.
pub(super) fn sorted(points: &[(f64, f64)]) -> Series {
    let mut points = points.to_vec();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// How many points the running mean of `count` points spans: about a fiftieth, odd, at least one.
pub(super) fn window(count: usize) -> usize {
    (count / 50).max(1) | 1
}

/// The mean over `window` points (odd) around each; at the ends, over those of them that exist.
pub(super) fn running_mean(points: &[(f64, f64)], window: usize) -> Series {
    let half = window / 2;
    let mean = |at: usize| {
        let span = &points[at.saturating_sub(half)..(at + half + 1).min(points.len())];
        span.iter().map(|point| point.1).sum::<f64>() / span.len() as f64
    };
    points.iter().enumerate().map(|(at, point)| (point.0, mean(at))).collect()
}

/// The losses an axis should span: all of `always`, and `bulk` without its outliers. A value is an outlier where it
/// lies more than half the span of the 1st to 99th percentile beyond that span; in a run of under a hundred points,
/// where each one shows, more than twice the span. `None` without values.
pub(super) fn shown_range(
    bulk: impl Iterator<Item = f64>,
    always: impl Iterator<Item = f64>,
) -> Option<(f64, f64)> {
    let mut bulk: Vec<f64> = bulk.collect();
    bulk.sort_by(f64::total_cmp);
    let mut kept: Vec<f64> = always.collect();
    if let Some(last) = bulk.len().checked_sub(1) {
        let at = |share: f64| bulk[(last as f64 * share).round() as usize];
        // With few points a percentile is the extreme itself; the second one in from it tells an outlier.
        let inner = usize::from(last >= 10);
        let low = at(0.01).max(bulk[inner]);
        let high = at(0.99).min(bulk[last - inner]);
        let fence = (high - low) * if bulk.len() < 100 { 2.0 } else { 0.5 };
        kept.extend(bulk.iter().filter(|value| (low - fence..=high + fence).contains(*value)));
    }
    kept.into_iter().fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((value.min(low), value.max(high)))
    })
}

/// The same line with at most about `2 * buckets` points: of each bucket the lowest and the highest stay, in order, so
/// that noise keeps its height.
pub(super) fn thinned(points: &[(f64, f64)], buckets: usize) -> Series {
    if points.len() <= 2 * buckets {
        return points.to_vec();
    }
    let mut kept = Series::new();
    for bucket in points.chunks(points.len().div_ceil(buckets)) {
        let by_loss = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (Some(low), Some(high)) = (bucket.iter().min_by(by_loss), bucket.iter().max_by(by_loss)) else {
            continue;
        };
        let (first, second) = if low.0 <= high.0 { (low, high) } else { (high, low) };
        kept.push(*first);
        if first != second {
            kept.push(*second);
        }
    }
    kept
}

/// The parts of a line that lie within `low..=high`, cut where it crosses those heights.
pub(super) fn clipped(points: &[(f64, f64)], low: f64, high: f64) -> Vec<Series> {
    let inside = |loss: f64| (low..=high).contains(&loss);
    let mut parts: Vec<Series> = Vec::new();
    let mut open = false;
    for (at, &point) in points.iter().enumerate() {
        if let Some(&previous) = at.checked_sub(1).and_then(|before| points.get(before)) {
            let cross = |height: f64| {
                let share = (height - previous.1) / (point.1 - previous.1);
                (share > 0.0 && share < 1.0)
                    .then_some((share, (previous.0 + share * (point.0 - previous.0), height)))
            };
            let mut crossings: Vec<_> = [cross(low), cross(high)].into_iter().flatten().collect();
            crossings.sort_by(|a, b| a.0.total_cmp(&b.0));
            for (_, crossing) in crossings {
                if open {
                    parts.last_mut().into_iter().for_each(|part| part.push(crossing));
                } else {
                    parts.push(vec![crossing]);
                }
                open = !open;
            }
        }
        if inside(point.1) {
            if !open {
                parts.push(Series::new());
            }
            parts.last_mut().into_iter().for_each(|part| part.push(point));
        }
        open = inside(point.1);
    }
    parts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_window_is_a_fiftieth_and_odd() {
        assert_eq!([1, 99, 150, 600, 11_000].map(window), [1, 1, 3, 13, 221]);
    }

    #[test]
    fn the_running_mean_is_centred_and_shorter_at_the_ends() {
        let points: Series = vec![(0.0, 0.0), (1.0, 9.0), (2.0, 3.0), (3.0, 5.0)];
        assert_eq!(running_mean(&points, 3), [(0.0, 4.5), (1.0, 4.0), (2.0, 17.0 / 3.0), (3.0, 4.0)]);
        assert_eq!(running_mean(&points, 1), points);
        assert_eq!(running_mean(&[], 1), []);
    }

    #[test]
    fn one_outlier_does_not_set_the_range_but_validation_does() {
        let bulk = || (0..100).map(|at| if at == 0 { 50.0 } else { 3.0 + 0.01 * f64::from(at) });
        assert_eq!(shown_range(bulk(), std::iter::empty()).unwrap(), (3.01, 3.99));
        assert_eq!(shown_range(bulk(), [2.0, 60.0].into_iter()).unwrap(), (2.0, 60.0));
        let few = || (0..12).map(|at| if at == 0 { 50.0 } else { 3.0 + 0.1 * f64::from(at) });
        assert!(shown_range(few(), std::iter::empty()).unwrap().1 < 5.0, "a short run has outliers as well");
        assert_eq!(shown_range([4.0].into_iter(), std::iter::empty()), Some((4.0, 4.0)));
        assert_eq!(shown_range(std::iter::empty(), std::iter::empty()), None);
    }

    #[test]
    fn thinning_keeps_the_extremes() {
        let mut points: Series = (0..11_000).map(|step| (f64::from(step), f64::from(step % 7))).collect();
        points[5_003].1 = 99.0;
        points[5_004].1 = -99.0;
        let thin = thinned(&points, 500);
        assert!(thin.len() <= 1000, "{}", thin.len());
        assert!(thin.contains(&(5_003.0, 99.0)) && thin.contains(&(5_004.0, -99.0)));
        assert!(thin.is_sorted_by(|a, b| a.0 <= b.0));
    }

    #[test]
    fn clipping_cuts_at_the_edges() {
        let line = [(0.0, 4.0), (2.0, 2.0), (4.0, 0.0), (6.0, 4.0)];
        assert_eq!(
            clipped(&line, 1.0, 3.0),
            [vec![(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)], vec![(4.5, 1.0), (5.5, 3.0)]]
        );
        assert_eq!(clipped(&line, -1.0, 9.0), [line.to_vec()]);
        assert_eq!(clipped(&line[..1], 1.0, 3.0), Vec::<Series>::new());
    }
}
