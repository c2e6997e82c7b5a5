//! From a row of logits to log-probabilities, `log p(i) = z_i - logsumexp(z)`: exponentials in f32, their sum in f64.

use super::event::TokenScore;

/// A row of logits and what is taken from each.
pub(super) struct LogSoftmax<'a> {
    logits: &'a [f32],
    largest: f32,
    log_of_sum: f64,
}

impl<'a> LogSoftmax<'a> {
    pub(super) fn of(logits: &'a [f32]) -> Self {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|logit| f64::from((logit - largest).exp())).sum();
        Self { logits, largest, log_of_sum: sum.ln() }
    }

    /// Of one token: the same logit gives the same number.
    fn of_logit(&self, logit: f32) -> f32 {
        (f64::from(logit - self.largest) - self.log_of_sum) as f32
    }

    /// A token's score, with so many of the likeliest.
    pub(super) fn score(&self, id: u32, top: usize) -> TokenScore {
        TokenScore { log_probability: self.of_logit(self.logits[id as usize]), top: self.likeliest(top) }
    }

    /// The likeliest tokens, of equals the lower ids.
    fn likeliest(&self, count: usize) -> Vec<(u32, f32)> {
        let before = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let mut all: Vec<(u32, f32)> = (0..).zip(self.logits.iter().copied()).collect();
        if count == 0 {
            return Vec::new();
        }
        if count < all.len() {
            all.select_nth_unstable_by(count, before);
            all.truncate(count);
        }
        all.sort_unstable_by(before);
        all.into_iter().map(|(id, logit)| (id, self.of_logit(logit))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_sums_in_f64_and_the_likeliest_is_the_very_number() {
        let logits: Vec<f32> = (0..1000).map(|id| ((id * 37 % 101) as f32 - 50.0) / 3.0).collect();
        let softmax = LogSoftmax::of(&logits);
        let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        for id in [0, 7, 30, 999] {
            let expected = f64::from(logits[id as usize]) - sum.ln();
            // Exponentials in f32.
            assert!((f64::from(softmax.score(id, 0).log_probability) - expected).abs() < 3e-6);
        }
        let highest = logits.iter().copied().fold(f32::MIN, f32::max);
        let ids: Vec<u32> = (0..1000).filter(|id| logits[*id as usize] == highest).collect();
        assert!(ids.len() > 4);
        for id in &ids {
            let score = softmax.score(*id, 4);
            assert_eq!(score.top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids[..4]);
            assert!(score.top.iter().all(|(_, value)| *value == score.log_probability));
        }
        assert!(softmax.score(0, 0).top.is_empty());
        let all = softmax.score(0, 5000).top;
        assert_eq!(all.len(), 1000);
        assert!(all.windows(2).all(|pair| pair[0].1 > pair[1].1 || pair[0].0 < pair[1].0));
    }
}
