//! How much may be read: a size in bytes, written as people write it.

use std::fmt;
use std::str::FromStr;

use gptneo_files::{Unitless, parse_size, size_in_units};
use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// A size such as `256MB`; units are powers of 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DataSize(u64);

impl DataSize {
    /// The most that is read where nothing else is said: 256 MB, some 60 million tokens.
    pub const DEFAULT: Self = Self(256_000_000);

    /// So many bytes.
    pub fn of_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The size in bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl Default for DataSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for DataSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match size_in_units(self.0) {
            Some(text) => f.write_str(&text),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for DataSize {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        parse_size(text, Unitless::Bytes).map(Self).ok_or_else(|| {
            DataError::setting(
                "max_data_size",
                format_args!("\"{}\"", crate::excerpt::shown(text)),
                "a number of bytes, or one with KB, MB, GB or TB, such as 2GB",
            )
        })
    }
}

impl TryFrom<String> for DataSize {
    type Error = DataError;

    fn try_from(text: String) -> Result<Self, DataError> {
        text.parse()
    }
}

impl From<DataSize> for String {
    fn from(size: DataSize) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, bytes) in [("256MB", 256_000_000), ("2 gb", 2_000_000_000), ("1.5KB", 1_500), ("77", 77)] {
            let size: DataSize = text.parse().unwrap();
            assert_eq!(size.bytes(), bytes, "{text}");
            assert_eq!(size.to_string().parse::<DataSize>().unwrap(), size);
        }
        for text in ["", "MB", "-1GB", "nan", "1e30", "0"] {
            assert!(text.parse::<DataSize>().unwrap_err().to_string().contains("2GB"), "{text}");
        }
    }
}
