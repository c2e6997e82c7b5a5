//! Sums and maxima of slices in the order that vector registers like: a floating-point sum may not be reordered by
//! the compiler, so it is written as several running sums. They also err less than a single one.

/// Running values: two registers of AVX-512, four of AVX2.
const LANES: usize = 32;

/// The sum of `of(value)`.
#[inline(always)]
pub(crate) fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        for (lane, value) in lanes.iter_mut().zip(block) {
            *lane += of(*value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += of(*value);
    }
    fold(lanes, |a, b| a + b)
}

/// The sum of products.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane += a * b;
    }
    fold(lanes, |a, b| a + b)
}

/// The largest value; minus infinity if there is none. A NaN is passed over.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        for (lane, value) in lanes.iter_mut().zip(block) {
            *lane = larger(*lane, *value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, *value);
    }
    fold(lanes, larger)
}

/// Halves against halves.
#[inline(always)]
fn fold(mut lanes: [f32; LANES], with: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = with(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_blocks_and_the_rest_count() {
        for length in [0, 1, 31, 32, 33, 100] {
            let values: Vec<f32> = (1..=length).map(|value| value as f32).collect();
            let expected: u16 = (1..=length).sum();
            assert_eq!(sum(&values, |value| value), f32::from(expected), "{length}");
            assert_eq!(sum(&values, |value| 2.0 * value), f32::from(2 * expected), "{length}");
            let squares: u32 = (1..=u32::from(length)).map(|value| value * value).sum();
            assert_eq!(dot(&values, &values), squares as f32, "{length}");
            let negative: Vec<f32> = values.iter().map(|value| -value).collect();
            assert_eq!(largest(&values), if length == 0 { f32::NEG_INFINITY } else { f32::from(length) });
            assert_eq!(largest(&negative), if length == 0 { f32::NEG_INFINITY } else { -1.0 });
        }
    }
}
