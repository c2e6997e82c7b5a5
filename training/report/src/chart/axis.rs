//! One direction of a plot: where a value lies on it, and which values get a tick.

use crate::number::number;

/// One direction of a plot.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// The value at the start.
    pub(super) low: f64,
    /// The value at the end.
    pub(super) high: f64,
    logarithmic: bool,
    /// The values that get a grid line and a label.
    pub(super) ticks: Vec<f64>,
}

impl Axis {
    /// Evenly spaced values, about `count` ticks at 1, 2 or 5 times a power of ten, no closer than `closest`.
    pub(super) fn linear(low: f64, high: f64, count: usize, closest: f64) -> Self {
        let rough = (high - low) / count.max(1) as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough);
        let step = step.unwrap_or(rough).max(closest);
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        Self { low, high, logarithmic: false, ticks: (first..=last).map(|at| at as f64 * step).collect() }
    }

    /// Logarithmically spaced values: ticks at 1, 2 and 5 times the powers of ten, or at the powers alone where those
    /// are enough. Both ends must be positive.
    pub(super) fn logarithmic(low: f64, high: f64) -> Self {
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let factors: &[f64] = if high / low > 1e4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let stride = (decades.clone().count() / 8).max(1);
        let ticks = decades
            .step_by(stride)
            .flat_map(|decade| factors.iter().map(move |factor| factor * 10_f64.powi(decade)))
            .filter(|tick| (low * (1.0 - 1e-9)..=high).contains(tick));
        Self { low, high, logarithmic: true, ticks: ticks.collect() }
    }

    /// Where a value lies: 0 at the start, 1 at the end.
    pub(super) fn share(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Whether a value lies between the ends.
    pub(super) fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// The ticks' labels, with as many decimals as tell them apart; an axis of very small values has powers of ten.
    pub(super) fn labels(&self) -> Vec<String> {
        let gap = self.ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
        let gap = if gap.is_finite() { gap } else { self.ticks.first().copied().unwrap_or(1.0).abs() };
        let decimals = if gap > 0.0 { decimals(gap) } else { 0 };
        let largest = self.low.abs().max(self.high.abs());
        self.ticks
            .iter()
            .map(|tick| match self.logarithmic {
                // A log axis spans sizes, so each label has the decimals of its own.
                true => number(*tick, self::decimals(tick.abs().max(1e-12))),
                false if largest < 1e-3 => power_of_ten(*tick, decimals),
                false => number(*tick, decimals),
            })
            .collect()
    }
}

/// How many decimals a value needs for its first digit.
fn decimals(value: f64) -> usize {
    (-value.log10() - 1e-9).ceil().clamp(0.0, 12.0) as usize
}

/// A value to so many decimals, written as `1.5e-4`.
fn power_of_ten(value: f64, decimals: usize) -> String {
    match format!("{value:.decimals$}").parse::<f64>() {
        Ok(rounded) if rounded != 0.0 => format!("{rounded:e}"),
        _ => "0".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(
            Axis::linear(0.0, 11_000.0, 6, 1.0).labels(),
            ["0", "2,000", "4,000", "6,000", "8,000", "10,000"]
        );
        assert_eq!(Axis::linear(2.87, 4.12, 6, 0.0).labels(), ["3.0", "3.5", "4.0"]);
        assert_eq!(Axis::linear(0.0, 2.0, 8, 1.0).labels(), ["0", "1", "2"]);
        assert_eq!(Axis::linear(-0.1, 0.1, 2, 0.0).labels(), ["−0.1", "0.0", "0.1"]);
    }

    #[test]
    fn an_axis_of_very_small_values_has_powers_of_ten() {
        assert_eq!(Axis::linear(0.0, 2e-4, 4, 0.0).labels(), ["0", "5e-5", "1e-4", "1.5e-4", "2e-4"]);
    }

    #[test]
    fn log_ticks_say_one_two_five() {
        let axis = Axis::logarithmic(1.0, 150.0);
        assert_eq!(axis.labels(), ["1", "2", "5", "10", "20", "50", "100"]);
        assert!((axis.share(12.247_448_713_915_89) - 0.5).abs() < 1e-12, "the middle is the geometric mean");
        assert_eq!(
            Axis::logarithmic(1.0, 1e6).labels(),
            ["1", "10", "100", "1,000", "10,000", "100,000", "1,000,000"]
        );
        assert!(Axis::logarithmic(1.0, 1e30).ticks.len() <= 12);
    }
}
