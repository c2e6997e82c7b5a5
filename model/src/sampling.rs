//! Choosing the next token from logits: repetition penalty, temperature, top-k and top-p, in the order in which
//! transformers applies them, so that settings mean the same here as there.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::ModelError;

/// How the next token is chosen; by default always the likeliest one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingConfig {
    /// Logits are divided by it; 0 takes the likeliest token always, and then `top_k`, `top_p` and `seed` do
    /// not matter. 0 by default.
    pub temperature: f64,
    /// Only this many of the likeliest tokens are kept, and those that tie with the last of them; all by
    /// default.
    pub top_k: Option<usize>,
    /// The smallest set of likeliest tokens whose probabilities add up to at least this is kept; all by default.
    pub top_p: Option<f64>,
    /// Positive logits of tokens already in the text are divided by it, negative ones multiplied; 1, the
    /// default, does nothing.
    pub repetition_penalty: f64,
    /// Which tokens count as already in the text; those of the prompt too by default.
    pub penalty_scope: PenaltyScope,
    /// The same seed, prompt and settings give the same text; 0 by default.
    pub seed: u64,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: None,
            top_p: None,
            repetition_penalty: 1.0,
            penalty_scope: PenaltyScope::default(),
            seed: 0,
        }
    }
}

/// Which tokens the repetition penalty makes less likely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PenaltyScope {
    /// Those of the prompt and the new ones, as transformers counts.
    #[default]
    Text,
    /// The new ones alone: an answer may use the words of its question, as answers do.
    Answer,
}

impl PenaltyScope {
    /// Of the tokens of a text so far, `prompt` of which are the prompt's, those that count.
    pub(crate) fn of(self, tokens: &[u32], prompt: usize) -> &[u32] {
        match self {
            Self::Text => tokens,
            Self::Answer => tokens.get(prompt..).unwrap_or_default(),
        }
    }
}

impl SamplingConfig {
    /// Whether all settings make sense.
    ///
    /// # Errors
    ///
    /// [`ModelError::Generation`], which names every field that does not.
    pub fn validate(&self) -> Result<(), ModelError> {
        let mut problems = Vec::new();
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            problems.push(format!(
                "temperature is {}, expected 0 (the likeliest token always) or a positive number",
                self.temperature
            ));
        }
        if self.top_k == Some(0) {
            problems.push("top_k is 0, expected at least 1; leave it out to keep every token".to_string());
        }
        if let Some(top_p) = self.top_p.filter(|top_p| !(*top_p > 0.0 && *top_p <= 1.0)) {
            problems.push(format!(
                "top_p is {top_p}, expected above 0 and at most 1; leave it out to keep every token"
            ));
        }
        if !(self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0) {
            problems.push(format!(
                "repetition_penalty is {}, expected a positive number; 1 does nothing",
                self.repetition_penalty
            ));
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(ModelError::Generation(format!("these sampling settings do not work: {}", problems.join("; "))))
    }
}

/// Chooses the tokens of one sequence.
#[derive(Clone, Debug)]
pub struct Sampler {
    config: SamplingConfig,
    random: ChaCha8Rng,
}

impl Sampler {
    /// A sampler for a single sequence.
    ///
    /// # Errors
    ///
    /// As [`SamplingConfig::validate`].
    pub fn new(config: &SamplingConfig) -> Result<Self, ModelError> {
        Self::for_row(config, 0)
    }

    /// A sampler for one row of a batch. Each row draws from a stream of its own, so that its text does not
    /// depend on how many tokens the other rows take.
    ///
    /// # Errors
    ///
    /// As [`SamplingConfig::validate`].
    pub fn for_row(config: &SamplingConfig, row: usize) -> Result<Self, ModelError> {
        config.validate()?;
        let mut random = ChaCha8Rng::seed_from_u64(config.seed);
        random.set_stream(row as u64);
        Ok(Self { config: config.clone(), random })
    }

    /// The next token of a sequence whose tokens so far, prompt included or not as the penalty's scope has it, are `seen`.
    ///
    /// `logits` has one value per token of the vocabulary; the repetition penalty is applied in place.
    pub fn next(&mut self, logits: &mut [f32], seen: &[u32]) -> u32 {
        self.penalise(logits, seen);
        self.draw(logits)
    }

    /// As [`Sampler::next`], from logits that are penalised already.
    pub(crate) fn draw(&mut self, logits: &[f32]) -> u32 {
        if self.config.temperature == 0.0 {
            return likeliest(logits);
        }
        let candidates = self.candidates(logits);
        let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
        let target = self.random.random::<f64>() * total;
        let mut below = 0.0;
        let drawn = candidates.iter().find(|candidate| {
            below += candidate.weight;
            below > target
        });
        // Rounding may leave the target at the total itself: then it is the last candidate's.
        drawn.or(candidates.last()).map_or_else(|| likeliest(logits), |candidate| candidate.id)
    }

    /// The probability with which [`Sampler::next`] would choose each token, one per logit; 0 where a token is
    /// not kept. Nothing is drawn.
    pub fn probabilities(&self, logits: &mut [f32], seen: &[u32]) -> Vec<f64> {
        self.penalise(logits, seen);
        let mut probabilities = vec![0.0; logits.len()];
        if self.config.temperature == 0.0 {
            if let Some(chosen) = probabilities.get_mut(likeliest(logits) as usize) {
                *chosen = 1.0;
            }
            return probabilities;
        }
        let candidates = self.candidates(logits);
        let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
        for candidate in candidates {
            probabilities[candidate.id as usize] = candidate.weight / total;
        }
        probabilities
    }

    /// Makes tokens of the text less likely, each once however often it occurs.
    pub(crate) fn penalise(&self, logits: &mut [f32], seen: &[u32]) {
        let penalty = self.config.repetition_penalty as f32;
        if penalty == 1.0 {
            return;
        }
        let mut ids = seen.to_vec();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
            }
        }
    }

    /// The tokens that temperature, top-k and top-p leave, with weights relative to the likeliest.
    fn candidates(&self, logits: &[f32]) -> Vec<Candidate> {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let threshold = self.config.top_k.map_or(f32::NEG_INFINITY, |k| kth_largest(logits, k));
        let mut candidates: Vec<Candidate> = logits
            .iter()
            .enumerate()
            .filter(|(_, logit)| **logit >= threshold)
            .map(|(id, logit)| Candidate {
                id: id as u32,
                // Subtracting first keeps the quotient at most 0, however small the temperature.
                weight: ((f64::from(*logit) - f64::from(highest)) / self.config.temperature).exp(),
            })
            .filter(|candidate| candidate.weight > 0.0)
            .collect();
        if let Some(top_p) = self.config.top_p.filter(|top_p| *top_p < 1.0) {
            candidates.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id)));
            let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
            let mut above = 0.0;
            let kept = candidates.iter().take_while(|candidate| {
                let keep = above < top_p * total;
                above += candidate.weight;
                keep
            });
            let kept = kept.count();
            candidates.truncate(kept);
        }
        candidates
    }
}

/// A token that may be drawn.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u32,
    weight: f64,
}

/// The token of the largest logit, the lowest id of several.
fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

/// The `k`-th largest value, counted from 1; minus infinity where there are not more than `k`.
fn kth_largest(values: &[f32], k: usize) -> f32 {
    if k >= values.len() {
        return f32::NEG_INFINITY;
    }
    let mut values = values.to_vec();
    let (_, kth, _) = values.select_nth_unstable_by(k.saturating_sub(1), |a, b| b.total_cmp(a));
    *kth
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn config(settings: Value) -> SamplingConfig {
        serde_json::from_value(settings).unwrap()
    }

    fn probabilities(settings: Value, logits: &[f32], seen: &[u32]) -> Vec<f64> {
        Sampler::new(&config(settings)).unwrap().probabilities(&mut logits.to_vec(), seen)
    }

    /// `tests/reference/make_fixtures.py` wrote what transformers' filters leave of these logits, with eight
    /// digits of float32 arithmetic.
    #[test]
    fn filters_leave_what_transformers_leaves() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/sampling.json");
        let fixture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let logits: Vec<f32> = serde_json::from_value(fixture["logits"].clone()).unwrap();
        let seen: Vec<u32> = serde_json::from_value(fixture["previous_ids"].clone()).unwrap();
        let cases = fixture["cases"].as_array().unwrap();
        assert!(cases.len() >= 8);
        for case in cases {
            let mut settings = json!({ "temperature": 1.0 });
            for (field, value) in case["settings"].as_object().unwrap() {
                settings[field] = value.clone();
            }
            let found = probabilities(settings, &logits, &seen);
            let expected: Vec<f64> = serde_json::from_value(case["probabilities"].clone()).unwrap();
            assert_eq!(found.len(), expected.len());
            for (id, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert!((found - expected).abs() < 1e-6, "{} {id}: {found} {expected}", case["name"]);
                assert_eq!(*found == 0.0, *expected == 0.0, "{} {id}", case["name"]);
            }
        }
    }

    #[test]
    fn greedy_takes_the_lowest_of_equal_ids_after_the_penalty() {
        let mut sampler = Sampler::new(&SamplingConfig::default()).unwrap();
        assert_eq!(sampler.next(&mut [1.0, 3.0, 2.0, 3.0], &[1]), 1);
        let penalised = SamplingConfig { repetition_penalty: 2.0, ..Default::default() };
        let mut sampler = Sampler::new(&penalised).unwrap();
        // 3 halves to 1.5 once, although the token occurs twice; -1 would double.
        assert_eq!(sampler.next(&mut [1.0, 3.0, 1.6, 1.4], &[1, 1, 9]), 2);
        assert_eq!(sampler.next(&mut [1.0, 3.0, 1.4, 1.4], &[1, 1]), 1);
        assert_eq!(sampler.next(&mut [-1.0, -1.5], &[0]), 1);
        assert_eq!(sampler.probabilities(&mut [1.0, 3.0, 1.6], &[1]), [0.0, 0.0, 1.0]);
    }

    #[test]
    fn top_k_keeps_ties_and_may_exceed_the_vocabulary() {
        let settings = |k: usize| json!({ "temperature": 1.0, "top_k": k });
        let kept = |k| probabilities(settings(k), &[1.0, 2.0, 1.0, 0.0], &[]);
        assert_eq!(kept(1), [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(kept(2), kept(3));
        assert!(kept(2)[2] > 0.1 && kept(2)[3] == 0.0);
        assert!(kept(9)[3] > 0.0);
    }

    #[test]
    fn a_tiny_temperature_is_nearly_greedy() {
        let found = probabilities(json!({ "temperature": 1e-308 }), &[1.0, -50.0, 1.0], &[]);
        assert_eq!(found, [0.5, 0.0, 0.5]);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let settings = json!({ "temperature": 0.7, "top_k": 3, "seed": 5 });
        let logits = [0.1, 1.0, -3.0, 0.6];
        let expected = probabilities(settings.clone(), &logits, &[]);
        let mut sampler = Sampler::new(&config(settings)).unwrap();
        let mut counts = [0.0; 4];
        for _ in 0..20_000 {
            counts[sampler.next(&mut logits.clone(), &[]) as usize] += 1.0 / 20_000.0;
        }
        // One standard deviation is at most 0.0036.
        for (count, expected) in counts.iter().zip(&expected) {
            assert!((count - expected).abs() < 0.015, "{counts:?} {expected:?}");
        }
        assert_eq!(counts[2], 0.0);
    }

    #[test]
    fn the_seed_and_the_row_decide_the_draws() {
        let draw = |seed: u64, row: usize| -> Vec<u32> {
            let config = SamplingConfig { temperature: 1.0, seed, ..Default::default() };
            let mut sampler = Sampler::for_row(&config, row).unwrap();
            (0..20).map(|_| sampler.next(&mut [0.0; 50], &[])).collect()
        };
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(2, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
    }

    #[test]
    fn every_bad_field_is_named() {
        let bad = SamplingConfig {
            temperature: -1.0,
            top_k: Some(0),
            top_p: Some(1.5),
            repetition_penalty: f64::NAN,
            ..Default::default()
        };
        let message = Sampler::new(&bad).unwrap_err().to_string();
        for field in ["temperature is -1", "top_k is 0", "top_p is 1.5", "repetition_penalty is NaN"] {
            assert!(message.contains(field), "{field}: {message}");
        }
        assert!(SamplingConfig { top_p: Some(0.0), ..Default::default() }.validate().is_err());
        assert!(SamplingConfig { top_p: Some(1.0), ..Default::default() }.validate().is_ok());
        assert!(SamplingConfig { temperature: f64::INFINITY, ..Default::default() }.validate().is_err());
        assert!(SamplingConfig { repetition_penalty: 0.0, ..Default::default() }.validate().is_err());
        assert!(serde_json::from_value::<SamplingConfig>(json!({ "topk": 3 })).is_err());
    }
}
