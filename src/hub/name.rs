//! Names on the Hub: `owner/name`, with `@revision` and, for data, `:file` after them.

use gptneo_lora::run::Kind;

/// The branch that is meant where none is named.
const DEFAULT_REVISION: &str = "main";

/// A name on the Hub, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HubName {
    /// The user or organisation.
    pub(crate) owner: String,
    /// The repository's name without its owner.
    pub(crate) name: String,
    /// The revision, where one is named.
    pub(super) asked_revision: Option<String>,
    /// The file, or the folder of files, where one is named.
    pub(super) file: Option<String>,
    /// The files that an earlier start of the same run took, where they were several.
    pub(super) files: Vec<String>,
}

impl HubName {
    /// Takes `text` apart; none where it cannot be a name on the Hub.
    ///
    /// For data a last part such as `cards.json` makes it a path, which is what a misspelt one most likely is.
    pub(super) fn parse(text: &str, kind: Kind) -> Option<Self> {
        let (text, file) = match (kind, text.split_once(':')) {
            (_, None) => (text, None),
            (Kind::Data, Some((text, file))) if is_file(file) => (text, Some(file.to_string())),
            _ => return None,
        };
        let (text, asked_revision) = match text.split_once('@') {
            None => (text, None),
            Some((text, revision)) if is_revision(revision) => (text, Some(revision.to_string())),
            Some(_) => return None,
        };
        let (owner, name) = text.split_once('/')?;
        let named_file = file.is_some() || asked_revision.is_some();
        if !is_part(owner) || !is_part(name) {
            return None;
        }
        if kind == Kind::Data && !named_file && super::files::has_data_format(name) {
            return None;
        }
        Some(Self {
            owner: owner.to_string(),
            name: name.to_string(),
            asked_revision,
            file,
            files: Vec::new(),
        })
    }

    /// `owner/name`.
    pub(crate) fn repository(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The revision that is meant.
    pub(crate) fn revision(&self) -> &str {
        self.asked_revision.as_deref().unwrap_or(DEFAULT_REVISION)
    }
}

/// Whether `text` is the hash of a commit, which never means another commit.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The Hub's rule for the two parts of a name.
fn is_part(text: &str) -> bool {
    let edge = |end: Option<char>| end.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    text.len() <= 96
        && edge(text.chars().next())
        && edge(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && !text.contains("--")
        && !text.contains("..")
}

/// A revision becomes a path in the cache, so it must not lead out of it.
fn is_revision(text: &str) -> bool {
    !text.is_empty()
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains(".."))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./+".contains(c))
}

/// A file's place in a repository: relative, and nowhere up.
pub(super) fn is_file(text: &str) -> bool {
    !text.is_empty()
        && !text.contains('\\')
        && text.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let name = HubName::parse("EleutherAI/gpt-neo-125m", Kind::Model).unwrap();
        assert_eq!((name.repository().as_str(), name.revision()), ("EleutherAI/gpt-neo-125m", "main"));
        let name = HubName::parse("a/b@refs/pr/1:data/cards.json", Kind::Data).unwrap();
        assert_eq!((name.revision(), name.file.as_deref()), ("refs/pr/1", Some("data/cards.json")));
        assert_eq!(HubName::parse("a/b.json:x.json", Kind::Data).unwrap().repository(), "a/b.json");
    }

    #[test]
    fn paths_are_no_names() {
        for text in [
            "folder",
            "./a/b",
            "a/b/c",
            "/a/b",
            "../b",
            "a/",
            "a/b@",
            "a/b@../x",
            "a b/c",
            "a/b:c",
            "embedded:x",
            "a--b/c",
            "a/b.",
        ] {
            assert_eq!(HubName::parse(text, Kind::Model), None, "{text}");
        }
        for text in ["data/cards.json", "a/b:", "a/b:../x.json", "C:/cards.csv", "a/cards.txt.gz"] {
            assert_eq!(HubName::parse(text, Kind::Data), None, "{text}");
        }
    }
}
