//! Which places of the cache are free. A sequence gets places that follow one another where it can, so that memory is
//! read as it lies; where none of the gaps is large enough it gets several.

use std::ops::Range;

/// The free places.
#[derive(Clone, Debug)]
pub(super) struct FreePlaces {
    /// In order, none empty, no two that touch.
    gaps: Vec<Range<usize>>,
}

impl FreePlaces {
    /// All of so many.
    pub(super) fn all(count: usize) -> Self {
        Self { gaps: std::iter::once(0..count).filter(|gap| !gap.is_empty()).collect() }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.gaps.iter().map(Range::len).sum()
    }

    /// Takes so many, the smallest gap that holds all or else one gap after the other; nothing where there are fewer.
    pub(super) fn take(&mut self, count: usize) -> Option<Vec<usize>> {
        if count > self.count() {
            return None;
        }
        let large = self.gaps.iter().enumerate().filter(|(_, gap)| gap.len() >= count);
        let first = large.min_by_key(|(_, gap)| gap.len()).map_or(0, |(index, _)| index);
        let mut taken = Vec::with_capacity(count);
        for gap in &mut self.gaps[first..] {
            let part = gap.len().min(count - taken.len());
            taken.extend(gap.start..gap.start + part);
            gap.start += part;
        }
        self.gaps.retain(|gap| !gap.is_empty());
        Some(taken)
    }

    /// Takes back what was given.
    pub(super) fn give_back(&mut self, places: &[usize]) {
        for run in places.chunk_by(|one, next| one + 1 == *next) {
            self.gaps.push(run[0]..run[0] + run.len());
        }
        self.gaps.sort_by_key(|gap| gap.start);
        self.gaps.dedup_by(|next, before| {
            let touch = next.start == before.end;
            if touch {
                before.end = next.end;
            }
            touch
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_smallest_gap_that_holds_all_is_taken() {
        let mut free = FreePlaces::all(20);
        let [a, b, c] = [6, 3, 4].map(|count| free.take(count).unwrap());
        assert_eq!((&a[..], &b[..]), (&[0, 1, 2, 3, 4, 5][..], &[6, 7, 8][..]));
        free.give_back(&a);
        assert_eq!(free.take(5).unwrap(), [0, 1, 2, 3, 4]);
        free.give_back(&c);
        // 5, and 9 to 19.
        assert_eq!((free.count(), free.take(13)), (12, None));
        assert_eq!(free.take(12).unwrap(), [5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
        assert!(free.take(0).unwrap().is_empty());
        assert!(FreePlaces::all(0).take(0).unwrap().is_empty());
    }

    #[test]
    fn no_place_is_given_twice_and_none_is_lost() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let (mut free, mut given) = (FreePlaces::all(50), Vec::<Vec<usize>>::new());
        for _ in 0..500 {
            if random.random_bool(0.5) {
                given.extend(free.take(random.random_range(0..20)));
            } else if !given.is_empty() {
                free.give_back(&given.swap_remove(random.random_range(0..given.len())));
            }
            let all: Vec<usize> = given.iter().flatten().copied().collect();
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
            assert_eq!(all.len() + free.count(), 50);
        }
        given.iter().for_each(|places| free.give_back(places));
        assert_eq!(free.take(50).unwrap(), (0..50).collect::<Vec<_>>());
    }
}
