//! Files and folders that appear whole or not at all.
//!
//! A reader, or a run that was cut off, never meets half a table or half a model: what is written goes beside its
//! place, is synced to the disk and takes the place by a rename. [`write_file`] does so for one file, [`write_files`]
//! for several that belong together in a folder which holds others too, and [`write_folder`] for a folder with all that
//! is in it. [`FileError`] says which step failed on which path.
//!
//! Others at the same place are kept out by locks that end with their process: a [`Claim`] takes a folder that is to
//! appear, a [`FileClaim`] a file, before the work that fills it; a [`Lock`] takes a folder that is there. What a process
//! left that died is removed by the next one at the same place. [`read_small`] reads settings and the like, however large
//! the file is that stands in for them; [`in_plain_words`] is how a file's parser is quoted, [`parse_size`] reads a size in
//! bytes as people write it.
//!
//! ```
//! use std::io::Write;
//!
//! # let place = tempfile::tempdir()?;
//! # let place = place.path();
//! gptneo_files::write_folder(&place.join("adapter"), |folder| {
//!     gptneo_files::write_file(&folder.join("notes.txt"), |file| file.write_all(b"rank 16"))
//! })?;
//! assert_eq!(std::fs::read_to_string(place.join("adapter/notes.txt"))?, "rank 16");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod claim;
mod error;
mod excerpt;
mod file;
mod file_claim;
mod folder;
mod hash;
mod lock;
mod size;
mod small;
mod wording;
mod workshop;

pub use claim::{Claim, ClaimError, is_free, recover};
pub use error::FileError;
pub use excerpt::{excerpt, is_git_lfs_pointer};
pub use file::{write_file, write_files};
pub use file_claim::FileClaim;
pub use folder::write_folder;
pub use hash::sha256;
pub use lock::Lock;
pub use size::{Unitless, parse_size, size_in_units};
pub use small::{read_small, read_small_text, read_table};
pub use wording::in_plain_words;
pub use workshop::remove_dead;

use std::fs::File;
use std::path::Path;

/// The folder that `path` is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the renames in a folder durable, where a folder can be synced.
fn sync_folder(folder: &Path) -> Result<(), FileError> {
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(FileError::on("sync", folder))?;
    }
    Ok(())
}
