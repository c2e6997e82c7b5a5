//! Sizes as people write them: `500MB`, `2 gb`, `1.5KB`. Units are powers of 1,000.

/// The units, the largest first.
const UNITS: [(&str, u64); 4] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000)];

/// The bytes that a size stands for: a number with a unit behind it, in any case; where `unitless` allows it, a number of
/// bytes alone too. Parts of a byte are dropped. None where it is no such text, or no number of bytes that can be.
///
/// ```
/// use gptneo_files::{Unitless, parse_size};
///
/// assert_eq!(parse_size(" 1.5 gb", Unitless::Refused), Some(1_500_000_000));
/// assert_eq!((parse_size("77", Unitless::Bytes), parse_size("77", Unitless::Refused)), (Some(77), None));
/// assert_eq!(parse_size("-1GB", Unitless::Bytes), None);
/// ```
pub fn parse_size(text: &str, unitless: Unitless) -> Option<u64> {
    let upper = text.trim().to_ascii_uppercase();
    let found = UNITS.iter().find_map(|(unit, bytes)| Some((upper.strip_suffix(unit)?, *bytes)));
    let (number, unit) = match (found, unitless) {
        (Some(found), _) => found,
        (None, Unitless::Bytes) => (upper.as_str(), 1),
        (None, Unitless::Refused) => return None,
    };
    let bytes = number.trim().parse::<f64>().ok()? * unit as f64;
    (1.0..1e18).contains(&bytes).then_some(bytes as u64)
}

/// What a number without a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unitless {
    /// No size.
    Refused,
    /// So many bytes.
    Bytes,
}

/// A size in the largest unit of which it is a whole number; none where there is no such unit.
///
/// ```
/// assert_eq!(gptneo_files::size_in_units(1_500_000_000).as_deref(), Some("1500MB"));
/// assert_eq!(gptneo_files::size_in_units(77), None);
/// ```
pub fn size_in_units(bytes: u64) -> Option<String> {
    let whole = UNITS.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    whole.map(|(unit, size)| format!("{}{unit}", bytes / size))
}
