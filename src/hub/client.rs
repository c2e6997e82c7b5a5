//! The Hub's client, set up from the environment variables that Python's `huggingface_hub` reads, and one repository.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use hf_hub::repository::RepoTreeEntry;
use hf_hub::{HFClientBuilder, HFClientSync, HFError, HFRepositorySync, HFResult, RepoTypeAny};

use super::cache::Cache;
use super::name::HubName;
use crate::terminal::failure::Misuse;
use gptneo_lora::run::Kind;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
const AGENT: &str = concat!("gptneo-lora/", env!("CARGO_PKG_VERSION"));
/// How long a connection may stay silent where `HF_HUB_DOWNLOAD_TIMEOUT` does not say.
const SILENCE: Duration = Duration::from_secs(30);
/// How often a request is tried again, and the wait before the first time; it doubles each time.
const RETRIES: usize = 4;
const FIRST_WAIT: Duration = Duration::from_millis(150);

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_string()).filter(|value| !value.is_empty())
}

/// Whether a variable says yes, as `huggingface_hub` understands it.
fn is_on(name: &str) -> bool {
    variable(name).is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()))
}

/// The Hub's address, without a slash at its end.
pub(crate) fn endpoint() -> String {
    let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_string());
    endpoint.trim_end_matches('/').to_string()
}

/// Where the user's files of the Hub are: `HF_HOME`, else in the user's cache folder.
fn home() -> PathBuf {
    let cache = || {
        let own = || std::env::home_dir().unwrap_or_default().join(".cache");
        folder("XDG_CACHE_HOME").unwrap_or_else(own).join("huggingface")
    };
    folder("HF_HOME").unwrap_or_else(cache)
}

/// A folder that a variable names; a leading `~` is the user's home.
fn folder(variable_name: &str) -> Option<PathBuf> {
    let value = variable(variable_name)?;
    match (value.strip_prefix("~/"), std::env::home_dir()) {
        (Some(inside), Some(home)) => Some(home.join(inside)),
        _ => Some(PathBuf::from(value)),
    }
}

/// The folder with the cached repositories.
fn cache_folder() -> PathBuf {
    let named = folder("HF_HUB_CACHE").or_else(|| folder("HUGGINGFACE_HUB_CACHE"));
    named.unwrap_or_else(|| home().join("hub"))
}

/// The user's token: `HF_TOKEN`, else the file that `hf auth login` writes.
pub(crate) fn token() -> Option<String> {
    if is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
        return None;
    }
    variable("HF_TOKEN").or_else(|| {
        let file = folder("HF_TOKEN_PATH").unwrap_or_else(|| home().join("token"));
        let token = std::fs::read_to_string(file).ok()?.trim().to_string();
        (!token.is_empty()).then_some(token)
    })
}

/// A client for the Hub.
///
/// # Errors
/// A variable's value cannot be used.
pub(super) fn client() -> Result<HFClientSync> {
    let silence = match variable("HF_HUB_DOWNLOAD_TIMEOUT") {
        None => SILENCE,
        Some(text) => {
            let seconds = text.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
            seconds.filter(|time| !time.is_zero()).ok_or_else(|| {
                Misuse::error(format!("HF_HUB_DOWNLOAD_TIMEOUT is {text:?}, expected a number of seconds"))
            })?
        }
    };
    let connection = reqwest::Client::builder()
        .user_agent(AGENT)
        .connect_timeout(silence)
        .read_timeout(silence)
        .build()
        .context(
            "cannot set up connections: check the proxy settings and that the system has CA certificates",
        )?;
    let builder = HFClientBuilder::new()
        .endpoint(endpoint())
        .cache_dir(cache_folder())
        .user_agent(AGENT)
        .client(connection)
        .retry_max_attempts(RETRIES)
        .retry_base_delay(FIRST_WAIT);
    let builder = match token() {
        Some(token) => builder.token(token),
        None => builder,
    };
    let endpoint = endpoint();
    if !["https://", "http://"].iter().any(|scheme| endpoint.starts_with(scheme)) {
        return Err(Misuse::error(format!(
            "HF_ENDPOINT is {endpoint:?}, expected an address such as {DEFAULT_ENDPOINT}"
        )));
    }
    builder.build_sync().context("HF_ENDPOINT or a proxy setting cannot be used")
}

/// A repository on the Hub and its part of the cache.
pub(super) struct Repository {
    pub(super) kind: Kind,
    pub(super) name: HubName,
    pub(super) cache: Cache,
    /// Whether the user wants no network.
    pub(super) offline: bool,
    /// None where the user wants no network: nothing is asked then.
    client: Option<HFClientSync>,
}

impl Repository {
    /// The repository of a name; nothing is asked yet.
    ///
    /// # Errors
    /// As [`client`].
    pub(super) fn open(kind: Kind, name: HubName) -> Result<Self> {
        let cache = Cache::new(cache_folder(), kind, &name);
        let offline = is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE");
        let client = if offline { None } else { Some(client()?) };
        Ok(Self { kind, name, cache, offline, client })
    }

    fn client(&self) -> HFResult<&HFClientSync> {
        self.client
            .as_ref()
            .ok_or_else(|| HFError::Other("HF_HUB_OFFLINE forbids to ask the Hub".to_string()))
    }

    /// The commit that a revision means now.
    ///
    /// # Errors
    /// What the Hub answers.
    pub(super) fn commit(&self, revision: &str) -> HFResult<String> {
        let (owner, name) = (&self.name.owner, &self.name.name);
        let commit = match self.kind {
            Kind::Model => self.client()?.model(owner, name).info().revision(revision).send()?.sha,
            Kind::Data => self.client()?.dataset(owner, name).info().revision(revision).send()?.sha,
        };
        commit
            .filter(|commit| super::name::is_commit(commit))
            .ok_or_else(|| HFError::malformed_response("no commit for the revision"))
    }

    /// The files of a commit and their sizes in bytes.
    ///
    /// # Errors
    /// What the Hub answers.
    pub(super) fn list(&self, commit: &str) -> HFResult<BTreeMap<String, u64>> {
        let entries = self.files()?.list_tree().revision(commit).recursive(true).send()?;
        let files = entries.into_iter().filter_map(|entry| match entry {
            RepoTreeEntry::File { path, size, .. } => Some((path, size)),
            RepoTreeEntry::Directory { .. } => None,
        });
        Ok(files.filter(|(path, _)| super::name::is_file(path)).collect())
    }

    /// The repository's files, whatever its kind.
    ///
    /// # Errors
    /// The user wants no network.
    pub(super) fn files(&self) -> HFResult<HFRepositorySync<RepoTypeAny>> {
        let kind = match self.kind {
            Kind::Model => RepoTypeAny::Model,
            Kind::Data => RepoTypeAny::Dataset,
        };
        Ok(self.client()?.repository(kind, &self.name.owner, &self.name.name))
    }

    /// The page of the repository, for messages.
    pub(super) fn page(&self) -> String {
        let prefix = if self.kind == Kind::Data { "datasets/" } else { "" };
        format!("{}/{prefix}{}", endpoint(), self.name.repository())
    }
}
