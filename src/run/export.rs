//! A model for other engines: as the GPT-2 that it is, a Hugging Face folder or one GGUF file, with the proof that what
//! was written computes what the model does.
//!
//! What is exact, and why, is told where the arithmetic is: [`gptneo_model::export`].

mod about;
mod beyond;
mod metadata;
mod page;
mod prompt;
mod proof;
mod sample_text;

use std::fmt;
use std::path::{Path, PathBuf};

use gptneo_datasets::{PromptTemplate, Turns};
use gptneo_files::{Claim, FileClaim, FileError, write_folder};
use gptneo_model::checkpoint::GENERATION_FILE;
use gptneo_model::export::{
    ExportFormat, GgufType, Stored, as_gpt2, check_activation, exact_positions, read_folder, read_gguf,
    write_folder as write_gpt2, write_gguf,
};
use gptneo_model::{GptNeo, NeoBackend, WeightFormat, adapter};
use gptneo_training::measure::ExportProof;
use serde::Serialize;

pub use self::about::About;
pub use self::beyond::Beyond;
pub use self::sample_text::SampleText;
use super::folder::{EXPORT_PROOF, refuse_used};
use super::model_folder::ModelFolder;
use crate::backend::{BackendKind, Job, Place, dispatch};
use crate::{Error, Remedy, Result};

/// The GGUF file in a folder that holds one.
const GGUF_FILE: &str = "model.gguf";
/// What Ollama makes a model from.
pub const MODELFILE: &str = "Modelfile";
/// The page of a folder.
const PAGE_FILE: &str = "README.md";
/// Where transformers and what is built on it find the chat template.
const CHAT_TEMPLATE_FILE: &str = "chat_template.jinja";

/// Where an export goes.
#[derive(Clone, Copy, Debug)]
pub enum Output<'a> {
    /// A Hugging Face folder's path, or a GGUF file's, with Ollama's Modelfile beside it where that is asked for.
    Alone {
        /// The path; nothing may be there yet, but for an empty folder.
        path: &'a Path,
        /// Whether a [`MODELFILE`] is written.
        modelfile: bool,
    },
    /// A folder, in place of one that may be there, with all that belongs to the format, the page and the proof.
    Folder(&'a Path),
}

/// An export: what of, as what, and where to.
#[derive(Clone, Copy)]
pub struct Export<'a> {
    /// The model, or the base of the adapter.
    pub model: &'a ModelFolder,
    /// The folder of an adapter over it.
    pub adapter: Option<&'a Path>,
    /// The form.
    pub format: ExportFormat,
    /// The numbers of a GGUF file; a folder is always float32.
    pub gguf_type: GgufType,
    /// The positions; as many as are exact where none are given.
    pub max_positions: Option<usize>,
    /// The template that the model is asked with.
    pub template: &'a PromptTemplate,
    /// How many questions a chat may have.
    pub turns: Turns,
    /// What perplexities are measured on.
    pub text: &'a SampleText,
    /// What the files say of themselves.
    pub about: &'a About,
    /// The place.
    pub output: Output<'a>,
    /// What computes, for the report.
    pub backend: BackendKind,
}

/// What was written, and what was found of it.
#[derive(Clone, Debug, Serialize)]
pub struct ExportReport {
    /// The form.
    pub format: ExportFormat,
    /// The numbers of a GGUF file.
    pub gguf_type: Option<GgufType>,
    /// The positions that were written.
    pub positions: usize,
    /// The positions up to which nothing differs.
    pub exact_positions: usize,
    /// The proof.
    #[serde(flatten)]
    pub proof: ExportProof,
    /// What differs behind the exact positions, where there are any.
    pub beyond: Option<Beyond>,
    /// How the matrices of a GGUF file are stored.
    pub stored: Option<Stored>,
    /// What it was made from.
    pub made_from: String,
    /// What computed the proof.
    pub backend: &'static str,
}

impl fmt::Display for ExportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.proof)?;
        if let Some(Stored { in_f16_instead: matrices @ 1.., .. }) = self.stored {
            write!(f, "\n{matrices} matrices are f16: their rows are no multiple of 32, as q8_0 needs them")?;
        }
        if let Some(beyond) = &self.beyond {
            write!(f, "\n{beyond}")?;
        }
        Ok(())
    }
}

/// Writes the export. It is read back from its place on the disk before it gets its name.
///
/// # Errors
/// The place is taken, the model has not so many positions, its tokenizer does not fit the format, a file cannot be
/// written, or what was written computes otherwise ([`Error::Export`]): nothing is left then.
pub fn export(place: Place, what: Export<'_>) -> Result<ExportReport> {
    what.check()?;
    place.check_room(what.model.config(), 0, 0)?;
    let room = Room::of(&what)?;
    dispatch(place, Making { export: what, room })
}

/// Refuses positions, an activation and a tokenizer that an export of `model` cannot have, before anything is computed for
/// it.
///
/// # Errors
/// As [`export`].
pub fn check_exportable(
    model: &ModelFolder,
    format: ExportFormat,
    max_positions: Option<usize>,
) -> Result<()> {
    check_activation(model.config())?;
    let most = model.config().max_position_embeddings;
    match max_positions {
        Some(positions) if positions < 2 || positions > most => {
            return Err(Error::settings(
                format!("the export would have {positions} positions, but the model has {most}"),
                Remedy::Set("run.max_positions", format!("2 to {most}")),
            ));
        }
        _ => {}
    }
    if format == ExportFormat::Gguf {
        model.tokenizer().byte_level_bpe()?;
    }
    Ok(())
}

/// Refuses an output that is taken, or that is in no folder.
///
/// # Errors
/// The folder is not empty, the file exists, or there is no folder for it.
pub fn refuse_taken(format: ExportFormat, path: &Path, modelfile: bool) -> Result<()> {
    if format == ExportFormat::Gpt2 {
        return refuse_used(path);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(Error::settings(
            format!("there is no folder {}", folder.display()),
            Remedy::say("make it first, or give a file in another"),
        ));
    }
    let mut paths: Vec<PathBuf> = vec![path.into()];
    paths.extend(modelfile.then(|| path.with_file_name(MODELFILE)));
    for path in paths {
        if path.symlink_metadata().is_ok() {
            return Err(Error::settings(
                format!("{} exists already", path.display()),
                Remedy::say("give a new file, so that nothing is overwritten"),
            ));
        }
    }
    Ok(())
}

/// Where an export goes, taken before the work: of two at once, the second is refused then.
enum Room<'a> {
    /// A folder of a run, which the run has taken.
    Part(&'a Path),
    /// A new folder.
    Folder(Claim),
    /// A new file, and its Modelfile.
    File(FileClaim, Option<FileClaim>),
}

impl<'a> Room<'a> {
    fn of(export: &Export<'a>) -> Result<Self> {
        Ok(match (export.format, export.output) {
            (_, Output::Folder(path)) => Self::Part(path),
            (ExportFormat::Gpt2, Output::Alone { path, .. }) => Self::Folder(Claim::new(path)?),
            (ExportFormat::Gguf, Output::Alone { path, modelfile }) => {
                let modelfile =
                    modelfile.then(|| FileClaim::new(path.with_file_name(MODELFILE))).transpose()?;
                Self::File(FileClaim::new(path)?, modelfile)
            }
        })
    }
}

/// An export with its place.
struct Making<'a> {
    export: Export<'a>,
    room: Room<'a>,
}

impl Job for Making<'_> {
    type Output = ExportReport;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<ExportReport> {
        let Self { export, room } = self;
        let model = export.model.load_adapted::<B>(export.adapter, WeightFormat::F32, &device)?;
        let plain = adapter::merge(model.clone());
        let beyond = match export.positions() > export.exact() {
            true => {
                let gpt2 = as_gpt2(&plain, export.positions(), &device)?;
                Some(beyond::measure(&model, &gpt2, &export)?)
            }
            false => None,
        };
        let writing = Writing { export: &export, model: &model, plain: &plain, beyond, device: &device };
        match room {
            Room::Part(path) => {
                let mut found = None;
                write_folder(path, |fresh| -> Result<()> {
                    found = Some(writing.folder(fresh)?);
                    Ok(())
                })?;
                found.ok_or_else(|| Error::input("nothing was exported", Remedy::None))
            }
            Room::Folder(claim) => {
                let report = writing.folder(&claim.folder())?;
                claim.settle()?;
                Ok(report)
            }
            Room::File(file, modelfile) => {
                let report = writing.gguf(&file.file())?;
                if let (Some(beside), Output::Alone { path, .. }) = (&modelfile, export.output) {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    write(&beside.file(), &writing.modelfile(&name)?)?;
                }
                file.settle()?;
                modelfile.map(FileClaim::settle).transpose()?;
                Ok(report)
            }
        }
    }
}

impl Export<'_> {
    /// The positions up to which nothing differs.
    fn exact(&self) -> usize {
        exact_positions(self.model.config())
    }

    /// The positions that are written.
    fn positions(&self) -> usize {
        self.max_positions.unwrap_or(self.exact())
    }

    /// The numbers of the matrices.
    fn kind(&self) -> GgufType {
        match self.format {
            ExportFormat::Gpt2 => GgufType::F32,
            ExportFormat::Gguf => self.gguf_type,
        }
    }

    /// The tokens that end an answer, the model's own first; never none.
    fn end_tokens(&self) -> Vec<u32> {
        match self.adapter {
            Some(_) => self.model.end_tokens_of_tuned(),
            None => self.model.end_tokens(),
        }
    }

    fn check(&self) -> Result<()> {
        if let Output::Alone { path, modelfile } = self.output {
            refuse_taken(self.format, path, modelfile)?;
        }
        check_exportable(self.model, self.format, self.max_positions)
    }
}

/// An export whose model is loaded.
struct Writing<'a, B: NeoBackend> {
    export: &'a Export<'a>,
    /// The model, with its adapter beside it.
    model: &'a GptNeo<B>,
    /// The same with the adapter merged.
    plain: &'a GptNeo<B>,
    beyond: Option<Beyond>,
    device: &'a B::Device,
}

impl<B: NeoBackend> Writing<'_, B> {
    /// Fills a folder that is not in its place yet with all that belongs to the format.
    fn folder(&self, fresh: &Path) -> Result<ExportReport> {
        let report = match self.export.format {
            ExportFormat::Gpt2 => self.gpt2(fresh)?,
            ExportFormat::Gguf => {
                write(&fresh.join(MODELFILE), &self.modelfile(GGUF_FILE)?)?;
                self.gguf(&fresh.join(GGUF_FILE))?
            }
        };
        write(&fresh.join(PAGE_FILE), &page::render(self.export, &report))?;
        let proof = serde_json::to_string_pretty(&report).unwrap_or_default();
        write(&fresh.join(EXPORT_PROOF), &format!("{proof}\n"))?;
        Ok(report)
    }

    /// Writes the files of a GPT-2's folder into `folder`, and proves them.
    fn gpt2(&self, folder: &Path) -> Result<ExportReport> {
        let mut files = self.export.model.tokenizer().files();
        files.retain(|(name, _)| name != CHAT_TEMPLATE_FILE);
        // Of the model's other files those that say how it is used; a GPT-Neo's own page would be wrong here.
        let own = match self.export.adapter {
            Some(_) => self.export.model.kept_files_of_tuned()?,
            None => self.export.model.kept_files()?,
        };
        files.extend(own.into_iter().filter(|(name, _)| name == GENERATION_FILE));
        files.push((
            CHAT_TEMPLATE_FILE.into(),
            prompt::jinja(self.export.template, self.export.turns).into_bytes(),
        ));
        write_gpt2(self.plain, self.export.positions(), folder)?;
        for (name, bytes) in files {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(FileError::on("write", path))?;
        }
        self.proven(&read_folder(folder, self.device)?, None)
    }

    /// Writes the GGUF file at `path`, and proves it.
    fn gguf(&self, path: &Path) -> Result<ExportReport> {
        let Export { gguf_type, .. } = *self.export;
        let metadata = metadata::of(self.export, self.beyond.as_ref())?;
        let stored = write_gguf(self.plain, self.export.positions(), gguf_type, metadata, path)?;
        self.proven(&read_gguf(path, self.device)?, Some(stored))
    }

    /// The report, where what was read back computes as the model does.
    fn proven(&self, read: &GptNeo<B>, stored: Option<Stored>) -> Result<ExportReport> {
        let proof = proof::prove(self.model, read, self.export)?;
        if !proof.holds {
            return Err(Error::Export(Box::new(proof)));
        }
        let &Export { format, gguf_type, about, backend, .. } = self.export;
        Ok(ExportReport {
            format,
            gguf_type: (format == ExportFormat::Gguf).then_some(gguf_type),
            positions: self.export.positions(),
            exact_positions: self.export.exact(),
            proof,
            beyond: self.beyond.clone(),
            stored,
            made_from: about.made_from.clone(),
            backend: backend.resolved().name(),
        })
    }

    fn modelfile(&self, gguf: &str) -> Result<String> {
        let tokenizer = self.export.model.tokenizer();
        let ends = self.export.end_tokens();
        let ends: Vec<String> =
            ends.iter().map(|id| tokenizer.decode_all(&[*id])).collect::<Result<_, _>>()?;
        Ok(prompt::modelfile(self.export.template, gguf, self.export.positions(), &ends))
    }
}

/// Writes a file of a folder that is not in its place yet.
fn write(path: &Path, text: &str) -> Result<()> {
    Ok(std::fs::write(path, text).map_err(FileError::on("write", path))?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
