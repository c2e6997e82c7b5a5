//! A share of yes and no, and how far it may be off.

/// A share from 0 to 1.
pub(super) struct Share {
    pub(super) share: f64,
    /// That of a mean of zeros and ones, `sqrt(p (1 - p) / (n - 1))`; none for fewer than two.
    pub(super) standard_error: Option<f64>,
}

/// The share of `outcomes` that are true; nothing without any.
pub(super) fn share(outcomes: &[bool]) -> Option<Share> {
    if outcomes.is_empty() {
        return None;
    }
    let count = outcomes.len() as f64;
    let share = outcomes.iter().filter(|outcome| **outcome).count() as f64 / count;
    let standard_error = (outcomes.len() > 1).then(|| (share * (1.0 - share) / (count - 1.0)).sqrt());
    Some(Share { share, standard_error })
}
