//! What an export's files say of themselves: name, licence, base, data and what it was made from. Of paths only the last
//! part is told: what lies above it is this machine's.

use std::path::Path;

use gptneo_report::Provenance;

use crate::run::folder::RunFolder;
use crate::run::source::Source;

/// What an export's files say of themselves.
#[derive(Clone, Debug)]
pub struct About {
    /// The model's name.
    pub name: String,
    /// The licence that it is published under, as the Hub names it.
    pub license: Option<String>,
    /// The base that it was tuned from.
    pub base: Option<Provenance>,
    /// The data that it was tuned on.
    pub data: Option<Provenance>,
    /// The model, and the adapter in it.
    pub made_from: String,
}

impl About {
    /// Of a model and an adapter by the names that they were asked for. Where one of them stands in a run's folder, the
    /// run knows the base and the data.
    pub fn of(model: &Path, adapter: Option<&Path>) -> Self {
        let part = adapter.unwrap_or(model);
        let run = part.parent().and_then(|folder| RunFolder::existing(folder).ok());
        let tuned = |path: &Path| match &run {
            Some(run) => format!("{} of the run {}", last(path), last(run.path())),
            None => last(path),
        };
        let made_from = match adapter {
            Some(adapter) => format!("{} with the adapter {}", last(model), tuned(adapter)),
            None => tuned(model),
        };
        let name = run.as_ref().map_or_else(|| last(part), |run| last(run.path()));
        let known = run.as_ref().and_then(|run| Some((run.settings().ok()?, run.manifest().ok()?)));
        let (mut base, mut data) = (adapter.map(|_| provenance(None, model)), None);
        if let Some((settings, manifest)) = known {
            let path = settings.model.path.unwrap_or_default();
            base = Some(provenance(manifest.sources.model.as_ref(), &path));
            let path = settings.data.path.unwrap_or_default();
            data = Some(provenance(manifest.sources.data.as_ref(), &path));
        }
        Self { name, license: None, base, data, made_from }
    }

    /// Under another name, where one is given.
    #[must_use]
    pub fn named(self, name: Option<String>) -> Self {
        Self { name: name.unwrap_or(self.name), ..self }
    }

    /// Under a licence, where one is given.
    #[must_use]
    pub fn licensed(self, license: Option<String>) -> Self {
        Self { license, ..self }
    }
}

fn provenance(source: Option<&Source>, path: &Path) -> Provenance {
    let repository = source.map(|source| source.repository.clone());
    Provenance { name: repository.clone().unwrap_or_else(|| last(path)), repository }
}

/// The last part of a path.
fn last(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
