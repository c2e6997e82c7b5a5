//! What goes wrong with the Hub, in one message that says what to do.

use anyhow::{Error, anyhow};
use hf_hub::HFError;

use super::client::{Repository, endpoint, token};

const LOGIN: &str = "set HF_TOKEN or log in with `hf auth login`";

/// What the Hub answered instead of what was asked for.
struct Answer {
    status: u16,
    /// The Hub's name for the reason.
    code: String,
    /// The Hub's words.
    words: String,
}

impl Answer {
    fn of(error: &HFError) -> Option<Self> {
        let context = match error {
            HFError::Http { context }
            | HFError::AuthRequired { context }
            | HFError::Forbidden { context }
            | HFError::Conflict { context }
            | HFError::RateLimited { context, .. } => context,
            HFError::RepoNotFound { context, .. }
            | HFError::RevisionNotFound { context, .. }
            | HFError::EntryNotFound { context, .. } => context.as_ref()?,
            _ => return None,
        };
        let words = context.server_message.as_deref().map(tidy).filter(|words| !words.is_empty());
        Some(Self {
            status: context.status.as_u16(),
            code: context.error_code.clone().unwrap_or_default(),
            words: words.map(|words| format!(" The Hub says: {words}")).unwrap_or_default(),
        })
    }
}

/// A foreign text on one line, cut, and without the token should it be in it.
fn tidy(text: &str) -> String {
    let text = token().map_or_else(|| text.to_string(), |token| text.replace(&token, "***"));
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(300).collect()
}

/// Whether the same request may succeed in a while.
pub(super) fn is_passing(error: &HFError) -> bool {
    match (error, Answer::of(error)) {
        (HFError::Request { .. }, _) => true,
        (_, Some(answer)) => answer.status == 429 || answer.status >= 500,
        _ => false,
    }
}

/// Whether the connection broke within an answer.
pub(super) fn is_broken(error: &HFError) -> bool {
    match error {
        HFError::Request { source, .. } => !source.is_timeout() && (source.is_body() || source.is_decode()),
        _ => false,
    }
}

/// The reason in a few words.
pub(super) fn reason(error: &HFError) -> String {
    let Some(Answer { status, words, .. }) = Answer::of(error) else {
        return match error {
            HFError::Request { source, .. } if source.is_timeout() => {
                format!("{} does not answer", endpoint())
            }
            HFError::Request { source, .. } if source.is_connect() => {
                format!("{} cannot be reached", endpoint())
            }
            HFError::Request { .. } => format!("the connection to {} broke", endpoint()),
            other => tidy(&other.to_string()),
        };
    };
    match status {
        429 => format!("{} limits how often it is asked (status 429).{words}", endpoint()),
        _ => format!("{} answered with status {status}.{words}", endpoint()),
    }
}

/// The message for what failed while a repository was read.
pub(super) fn explain(error: HFError, repository: &Repository) -> Error {
    let (name, page, noun) = (repository.name.repository(), repository.page(), repository.kind.noun());
    if let HFError::EntryNotFound { path, .. } = &error {
        return anyhow!("{name} has no file {path} at {}: see {page}", repository.name.revision());
    }
    if let HFError::RateLimited { retry_after: Some(wait), .. } = &error {
        return anyhow!("{}; run the command again in {} s", reason(&error), wait.as_secs());
    }
    if let Some(Answer { status, code, words }) = Answer::of(&error) {
        match (status, code.as_str()) {
            (401 | 403, "GatedRepo") => {
                let then = match token() {
                    None => format!("then {LOGIN}"),
                    Some(_) => "with the account of your token".to_string(),
                };
                return anyhow!("{name} is gated: accept its conditions at {page}, {then}.{words}");
            }
            (404, "RevisionNotFound") => {
                let revision = repository.name.revision();
                return anyhow!("{name} has no revision {revision}: see the branches and tags at {page}");
            }
            (401 | 404, "RepoNotFound" | "")
                if code == "RepoNotFound" || status == 404 || token().is_none() =>
            {
                let private = match token() {
                    None => format!("if it is private, {LOGIN}"),
                    Some(_) => "if it is private, use a token of an account that may read it".to_string(),
                };
                return anyhow!(
                    "there is no {noun} {name} at {}, and no such path here: check the name at {page}; {private}",
                    endpoint()
                );
            }
            (401 | 403, _) => return refused(&page, &words),
            _ => {}
        }
    }
    let advice = match &error {
        _ if is_passing(&error) => format!(
            "run the command again in a while: what has arrived stays in {}. If it never works, check the network \
             and HF_ENDPOINT",
            repository.cache.folder().display()
        ),
        HFError::CacheLockTimeout { .. } => {
            "another program downloads the same file: run the command again when it is done".to_string()
        }
        HFError::Io(_) => cache_advice(repository),
        _ => format!("check {page}"),
    };
    anyhow!(
        "there is no path {name} here, and the {noun} {name} cannot be downloaded: {}; {advice}",
        reason(&error)
    )
}

/// The message for a token that does not do.
pub(super) fn refused(page: &str, words: &str) -> Error {
    match token() {
        None => anyhow!("{page} is not open to everyone: {LOGIN}.{words}"),
        Some(_) => anyhow!(
            "the Hub does not accept the token for {page}: it is wrong, has expired, or lacks the right; make one at \
             {}/settings/tokens and {LOGIN}.{words}",
            endpoint()
        ),
    }
}

/// The message for what failed while a repository was written.
pub(super) fn explain_upload(error: &HFError, page: &str) -> Error {
    match Answer::of(error) {
        Some(Answer { status: 401 | 403, words, .. }) => refused(page, &words),
        Some(Answer { status: 404, words, .. }) => {
            anyhow!("{page} cannot be written: there is no such account, or it is not yours.{words}")
        }
        _ => anyhow!("nothing was published at {page}: {}; run the command again", reason(error)),
    }
}

/// The message where nothing is cached and nothing may be asked.
pub(super) fn not_cached(repository: &Repository) -> Error {
    anyhow!(
        "there is no such path, {}@{} is not, or not wholly, in the cache {}, and HF_HUB_OFFLINE forbids to download \
         it: run the command once without HF_HUB_OFFLINE, or give the path of local files",
        repository.name.repository(),
        repository.name.revision(),
        repository.cache.folder().display()
    )
}

/// What to do where the cache cannot be written.
pub(super) fn cache_advice(repository: &Repository) -> String {
    let folder = repository.cache.folder();
    format!("check that {} can be written and has room, or set HF_HOME to another folder", folder.display())
}
