//! Who answers: the base and its adapters, by name.

use std::fmt;

use super::chat_template::ChatTemplate;
use super::error::ApiError;

/// A model that answers.
#[derive(Clone, Debug)]
pub struct ServedModel {
    /// What a request calls it.
    pub name: String,
    /// The engine's name of its adapter; none for the base.
    pub adapter: Option<String>,
    /// How a chat becomes a prompt.
    pub template: ChatTemplate,
    /// The tokens that end its answers.
    pub end_tokens: Vec<u32>,
}

/// The base, and its adapters after it.
#[derive(Debug)]
pub struct Models(Vec<ServedModel>);

impl Models {
    /// `base` and the adapters over it.
    pub fn new(base: ServedModel, adapters: Vec<ServedModel>) -> Self {
        Self(std::iter::once(base).chain(adapters).collect())
    }

    /// All of them, the base first.
    pub fn iter(&self) -> std::slice::Iter<'_, ServedModel> {
        self.0.iter()
    }

    /// The one of this name; the base where none is named, or where it is alone.
    pub(super) fn find(&self, name: Option<&str>) -> Result<&ServedModel, ApiError> {
        match (name, &self.0[..]) {
            (None, [base, ..]) | (Some(_), [base]) => Ok(base),
            (name, _) => {
                let name = name.unwrap_or_default();
                let found = self.by_name(name);
                found.ok_or_else(|| ApiError::no_model(name, &self.to_string()))
            }
        }
    }

    /// The one that has exactly this name.
    pub fn by_name(&self, name: &str) -> Option<&ServedModel> {
        self.0.iter().find(|model| model.name == name)
    }
}

impl fmt::Display for Models {
    /// Their names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(|model| model.name.as_str()).collect();
        f.write_str(&names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn model(name: &str, adapter: Option<&str>) -> ServedModel {
        let template = ChatTemplate::new("", "").unwrap();
        ServedModel {
            name: name.into(),
            adapter: adapter.map(String::from),
            template,
            end_tokens: Vec::new(),
        }
    }

    #[test]
    fn a_name_finds_its_model_and_any_name_finds_a_base_that_is_alone() {
        let alone = Models::new(model("base", None), vec![]);
        assert_eq!(alone.find(Some("gpt-4")).unwrap().name, "base");
        let both = Models::new(model("base", None), vec![model("tuned", Some("tuned"))]);
        assert_eq!(both.find(None).unwrap().name, "base");
        assert_eq!(both.find(Some("tuned")).unwrap().adapter.as_deref(), Some("tuned"));
        let error = both.find(Some("other")).unwrap_err();
        assert_eq!(error.told(), (404, "there is no model \"other\" here, only: base, tuned", Some("model")));
    }
}
