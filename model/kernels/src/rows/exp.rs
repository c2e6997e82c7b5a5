//! The exponential in f32, as straight-line code that the compiler can vectorise: the standard library's is a call
//! for each element.
//!
//! `exp(x) = 2^n * exp(r)` with `n` the whole number nearest to `x / ln 2`, so that `|r| <= ln(2) / 2`, and a
//! polynomial for `exp(r)`. The largest error is below 2 units in the last place.

/// Below its logarithm a result would not be a normal number; it becomes zero.
const LOWEST: f32 = -87.336_54;
/// Above it the result is infinite.
const HIGHEST: f32 = 88.722_83;
/// 1.5 * 2^23: adding it to a small number leaves the nearest whole number in the low bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts; a whole number of 8 bits times the first one is exact.
const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];
/// q in `exp(r) = 1 + r + r^2 q(r)`, fitted for the least relative error (3.1e-9) on `|r| <= 1.001 ln(2) / 2` by
/// least squares with Lawson's weights.
const Q: [f32; 5] = [0.499_999_94, 0.166_665_2, 0.041_668_394, 0.008_368_781, 0.001_381_446_2];

/// `e^x`; zero where that is below the smallest normal number, infinite above the largest, NaN for NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2[0] - n * LN_2[1];
    let q = (((Q[4] * r + Q[3]) * r + Q[2]) * r + Q[1]) * r + Q[0];
    let mantissa = q * (r * r) + r + 1.0;
    // The low bits of `shifted` are n: moved up, they add to the exponent.
    let scaled = f32::from_bits(mantissa.to_bits().wrapping_add(shifted.to_bits() << 23));
    let scaled = if x < LOWEST { 0.0 } else { scaled };
    let scaled = if x > HIGHEST { f32::INFINITY } else { scaled };
    if x.is_nan() { x } else { scaled }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 997th float between the limits, against the exponential in f64: 2.2 million points.
    #[test]
    fn equals_f64_to_two_units_in_the_last_place() {
        let mut worst = 0.0f64;
        for limit in [LOWEST, HIGHEST] {
            for bits in (0..=limit.abs().to_bits()).step_by(997).chain([limit.abs().to_bits()]) {
                let x = f32::from_bits(bits).copysign(limit);
                let expected = f64::from(x).exp();
                // The spacing of floats around the expected value.
                let unit = 2f64.powi(expected.log2().floor() as i32 - 23);
                worst = worst.max((f64::from(exp(x)) - expected).abs() / unit);
            }
        }
        assert!(worst < 2.0, "{worst} units in the last place");
    }

    #[test]
    fn ends_where_floats_end() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        for x in [LOWEST.next_down(), -88.0, -104.0, -1e30, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exp(x), 0.0, "{x}");
        }
        for x in [HIGHEST.next_up(), 89.0, 128.0, 1e30, f32::MAX, f32::INFINITY] {
            assert_eq!(exp(x), f32::INFINITY, "{x}");
        }
        // NaN of either sign, and with bits that would move into the exponent.
        for bits in [0x7fc0_0000, 0xffc0_0000, 0x7fc0_01ff, 0x7f80_0001] {
            assert!(exp(f32::from_bits(bits)).is_nan(), "{bits:x}");
        }
    }

    #[test]
    fn sigmoid_is_a_share() {
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!((sigmoid(f32::NEG_INFINITY), sigmoid(f32::INFINITY)), (0.0, 1.0));
        assert_eq!((sigmoid(-200.0), sigmoid(200.0)), (0.0, 1.0));
        assert!(sigmoid(f32::NAN).is_nan());
        for tenth in -100..100 {
            let x = tenth as f32 / 10.0;
            let expected = 1.0 / (1.0 + f64::from(-x).exp());
            assert!((f64::from(sigmoid(x)) / expected - 1.0).abs() < 3e-7, "{x}");
        }
    }
}
