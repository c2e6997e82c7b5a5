//! Numbers as flags take them: refused in plain words.

/// Parses a whole number; how large it may be is the setting's to say.
pub(super) fn whole(text: &str) -> Result<usize, String> {
    // The settings file's numbers end there.
    const MOST: u64 = i64::MAX as u64;
    match text.parse::<u64>() {
        Ok(number) if number <= MOST => Ok(number as usize),
        _ => Err(format!("expected a whole number from 0 to {MOST}")),
    }
}

/// Parses a count that cannot be 0.
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    const MOST: usize = 1_000_000_000;
    match whole(text) {
        Ok(0) => Err("expected at least 1".to_string()),
        Ok(number) if number <= MOST => Ok(number),
        _ => Err(format!("expected a whole number from 1 to {MOST}")),
    }
}

/// Parses the seed of a run, which the settings file holds.
pub(super) fn seed(text: &str) -> Result<u64, String> {
    Ok(whole(text)? as u64)
}

/// Parses the seed of anything else.
pub(super) fn any_seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected a whole number from 0 to {}", u64::MAX))
}

/// Parses a number with or without a fraction.
pub(super) fn number(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "expected a finite number".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_said_in_plain_words() {
        for text in ["-1", "1.5", "abc", "", "18446744073709551616", "9223372036854775808", "0x10", "1e3"] {
            for said in [whole(text).map(drop), at_least_one(text).map(drop), seed(text).map(drop)] {
                assert!(said.is_err_and(|said| said.starts_with("expected a whole number")), "{text}");
            }
        }
        for text in ["nan", "inf", "-inf", "", "one", "1e999"] {
            assert_eq!(number(text), Err("expected a finite number".into()), "{text}");
        }
        assert_eq!((whole("0"), at_least_one("7"), number("-1e-3")), (Ok(0), Ok(7), Ok(-1e-3)));
        assert!(at_least_one("0").is_err() && at_least_one("1000000001").is_err());
    }
}
