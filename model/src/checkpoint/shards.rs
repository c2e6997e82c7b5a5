//! Weights in several files: how large a file may be, which tensors go together, and the index that names them.
//!
//! Sizes, names and the rule are transformers': tensors fill a file in their order until the next would not fit, and
//! a tensor larger than the limit has a file of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use gptneo_files::{Unitless, parse_size, size_in_units};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The weights of a model in one file.
pub const WHOLE_FILE: &str = "model.safetensors";
/// Names the file of each tensor where there are several.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// A smaller limit leaves almost every tensor in a file of its own.
const SMALLEST: u64 = 1_000;

/// The size that a weight file may have, at least 1 KB; written as `500MB` or `2GB`, in decimal units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShardSize(u64);

impl ShardSize {
    /// The size in bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

/// A text that is no [`ShardSize`].
#[derive(Debug, thiserror::Error)]
#[error(
    "\"{0}\" is no size for a weight file: expected a number with KB, MB, GB or TB, such as 500MB, and at least 1KB"
)]
pub struct BadShardSize(String);

impl FromStr for ShardSize {
    type Err = BadShardSize;

    fn from_str(text: &str) -> Result<Self, BadShardSize> {
        let bytes = parse_size(text, Unitless::Refused).filter(|bytes| *bytes >= SMALLEST);
        bytes.map(Self).ok_or_else(|| BadShardSize(text.to_string()))
    }
}

impl TryFrom<String> for ShardSize {
    type Error = BadShardSize;

    fn try_from(text: String) -> Result<Self, BadShardSize> {
        text.parse()
    }
}

impl From<ShardSize> for String {
    fn from(size: ShardSize) -> Self {
        size.to_string()
    }
}

impl fmt::Display for ShardSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match size_in_units(self.0) {
            Some(text) => f.write_str(&text),
            None => write!(f, "{}KB", self.0 as f64 / 1e3),
        }
    }
}

/// How many tensors go into each file, for tensors of these sizes in bytes.
pub(super) fn split(sizes: &[u64], limit: Option<ShardSize>) -> Vec<Vec<usize>> {
    let limit = limit.map_or(u64::MAX, ShardSize::bytes);
    let (mut shards, mut current, mut filled) = (Vec::new(), Vec::new(), 0u64);
    for (index, &size) in sizes.iter().enumerate() {
        if size > limit {
            shards.push(vec![index]);
            continue;
        }
        if filled + size > limit {
            shards.push(std::mem::take(&mut current));
            filled = 0;
        }
        current.push(index);
        filled += size;
    }
    if !current.is_empty() {
        shards.push(current);
    }
    shards
}

/// The name of file `number`, counted from 1, of `count`.
pub(super) fn name(number: usize, count: usize) -> String {
    match count {
        1 => WHOLE_FILE.to_string(),
        _ => format!("model-{number:05}-of-{count:05}.safetensors"),
    }
}

/// What [`INDEX_FILE`] says.
pub(super) fn index(total_size: u64, files: BTreeMap<String, String>) -> Value {
    json!({ "metadata": { "total_size": total_size }, "weight_map": files })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_read_in_decimal_units_and_written_back() {
        for (text, bytes, written) in [
            ("500MB", 500_000_000, "500MB"),
            (" 2 gb", 2_000_000_000, "2GB"),
            ("1.5GB", 1_500_000_000, "1500MB"),
            ("1KB", 1_000, "1KB"),
            ("1.2345KB", 1_234, "1.234KB"),
            ("1TB", 1_000_000_000_000, "1TB"),
        ] {
            let size: ShardSize = text.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, written), "{text}");
            assert_eq!(size.to_string().parse::<ShardSize>().unwrap(), size, "{text}");
        }
        for text in ["", "5", "GB", "5GiB", "0GB", "0.999KB", "-1GB", "infGB", "nanGB", "five MB"] {
            let error = text.parse::<ShardSize>().unwrap_err().to_string();
            assert!(error.contains("500MB") && error.contains("1KB"), "{text}: {error}");
        }
    }

    #[test]
    fn tensors_fill_files_in_their_order_and_a_large_one_has_its_own() {
        let limit = Some("1KB".parse().unwrap());
        let sizes = [600, 400, 1, 5_000, 998, 2];
        // The large tensor does not close the file that is being filled, as in transformers.
        assert_eq!(split(&sizes, limit), [vec![0, 1], vec![3], vec![2, 4], vec![5]]);
        assert_eq!(split(&sizes, None), [vec![0, 1, 2, 3, 4, 5]]);
        assert_eq!(split(&[5_000], limit), [vec![0]]);
        assert_eq!((name(1, 1), name(2, 13)), (WHOLE_FILE.into(), "model-00002-of-00013.safetensors".into()));
    }
}
