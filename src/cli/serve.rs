//! The arguments of `serve` and `chat`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::flags::{BackendFlag, GenerationFlags, WeightsFlag};
use super::numbers::at_least_one;

/// Who answers.
#[derive(Debug, Args)]
pub(crate) struct ServedFlags {
    /// A finished run's folder: its base answers and its adapter, under the run's name
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<PathBuf>,
    /// The base model's folder, or its name on the Hub: OWNER/NAME or OWNER/NAME@REVISION. Its last part is its name
    #[arg(long, value_name = "MODEL", required_unless_present = "run", conflicts_with = "run")]
    pub(crate) model: Option<PathBuf>,
    /// A LoRA adapter's folder, and the name under which it answers; may be given several times
    #[arg(long, value_name = "NAME=DIR")]
    pub(crate) adapter: Vec<NamedFolder>,
    /// A chat template in Jinja, in place of those that the folders have; for several turns it is needed
    #[arg(long, value_name = "FILE")]
    pub(crate) chat_template: Option<PathBuf>,
}

/// What `serve` takes.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) served: ServedFlags,
    /// The address to listen on; 0.0.0.0 is all of this machine's
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// The port to listen on; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub(crate) port: u16,
    /// Sequences that are continued together
    #[arg(long, value_name = "N", default_value = "16", value_parser = at_least_one)]
    pub(crate) max_batch: usize,
    /// Sequences that may wait; more are refused with status 429
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) max_queue: usize,
    /// Tokens that the cache of all sequences holds; by default enough for --max-batch or as many as a gigabyte holds
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) cache_tokens: Option<usize>,
    /// A file with a key that requests must bear: Authorization: Bearer KEY
    #[arg(long, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// A site whose pages may ask this server, such as https://example.org, or * for all; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors: Vec<String>,
    #[command(flatten)]
    pub(crate) weights: WeightsFlag,
    #[command(flatten)]
    pub(crate) backend: BackendFlag,
}

/// What `chat` takes.
#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    pub(crate) served: ServedFlags,
    #[command(flatten)]
    pub(crate) generation: GenerationFlags,
    #[command(flatten)]
    pub(crate) weights: WeightsFlag,
    #[command(flatten)]
    pub(crate) backend: BackendFlag,
}

/// A folder under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedFolder {
    /// What requests call it.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) folder: PathBuf,
}

impl FromStr for NamedFolder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, folder)) if !name.trim().is_empty() && !folder.is_empty() => {
                Ok(Self { name: name.trim().to_string(), folder: folder.into() })
            }
            _ => Err("expected NAME=DIR, the name under which the adapter answers and its folder".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_and_a_folder_are_apart_at_the_first_sign() {
        let found: NamedFolder = "a=runs/x=1/adapter".parse().unwrap();
        assert_eq!(found, NamedFolder { name: "a".into(), folder: "runs/x=1/adapter".into() });
        for wrong in ["runs/x", "=runs", "a=", " =b"] {
            assert!(wrong.parse::<NamedFolder>().is_err(), "{wrong}");
        }
    }
}
