//! Where a model or a data file came from. The library reads local files; whoever turns a name into them says whence
//! they are, and the manifest keeps it.

use std::path::{Path, PathBuf};

use gptneo_datasets::{DataError, DataFiles};

use serde::{Deserialize, Serialize};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A model's folder.
    Model,
    /// A data set.
    Data,
}

impl Kind {
    /// What a person calls it.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Data => "data set",
        }
    }
}

/// Where a model or a data file came from, exactly enough to get it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// `owner/name`.
    pub repository: String,
    /// The branch, tag or commit that was asked for.
    pub revision: String,
    /// The commit that was used.
    pub commit: String,
    /// The data file in the repository; a model is many files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The data files in the repository, where they are several: shards and splits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

/// Where a run's model and data came from; nothing for local files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// The base model's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Source>,
    /// The data's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Source>,
    /// Of the data to validate with, where they were named apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_data: Option<Source>,
    /// Of the data to test with, where they were named apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_data: Option<Source>,
}

impl Sources {
    /// Whether everything is local.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a name became.
#[derive(Clone, Debug)]
pub struct Found {
    /// The model's folder, or the data file or folder.
    pub path: PathBuf,
    /// The data files by what they are for, where that was settled already; else the path tells.
    pub files: Option<DataFiles>,
    /// Where it was fetched from, if it was.
    pub source: Option<Source>,
}

impl Found {
    /// A path that is meant as it stands.
    pub fn local(path: &Path) -> Self {
        Self { path: path.to_path_buf(), files: None, source: None }
    }

    /// The data files by what they are for.
    ///
    /// # Errors
    /// The path is a folder in which it is not clear which files are meant.
    pub fn data_files(&self) -> Result<DataFiles, DataError> {
        self.files.clone().map_or_else(|| DataFiles::of(&self.path), Ok)
    }
}
