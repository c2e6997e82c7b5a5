//! Numbers as people read them: thousands set apart.

use std::fmt::Display;

/// A whole number, its thousands set apart by commas.
pub(crate) fn grouped(value: impl Display) -> String {
    group(&value.to_string())
}

/// A number with `decimals`, its thousands set apart by commas; from ten million on in powers of ten.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    if value.abs() >= 1e7 {
        return format!("{value:.1e}").replace(".0e", "e");
    }
    let plain = format!("{value:.decimals$}");
    let (sign, plain) = plain.strip_prefix('-').map_or(("", plain.as_str()), |rest| ("−", rest));
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    format!("{sign}{}{rest}", group(whole))
}

/// Digits with a comma between each three from the end.
fn group(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(number(1_234_567.891, 2), "1,234,567.89");
        assert_eq!(number(-999.0, 0), "−999");
        assert_eq!(number(2.5e8, 2), "2.5e8");
    }
}
