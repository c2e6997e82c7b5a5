//! A snapshot of a repository on disk: what is cached is used, the rest is fetched and checked.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gptneo_datasets::{DataFiles, paths_under};
use hf_hub::HFError;
use sha2::{Digest, Sha256};

use super::bars::Transfer;
use super::client::Repository;
use super::name::HubName;
use super::{errors, files};
use crate::terminal::notes;
use gptneo_lora::run::Kind;

/// How often a file is asked for when the connection breaks.
const ATTEMPTS: usize = 3;

/// The files of a commit that are needed, on disk.
pub(super) struct Snapshot {
    pub(super) commit: String,
    pub(super) folder: PathBuf,
    /// The data files, from the folder; none for a model.
    pub(super) files: Option<DataFiles>,
}

/// The snapshot of the revision that the repository's name asks for.
///
/// # Errors
/// The Hub does not give it and the cache does not have it.
pub(super) fn snapshot(repository: &Repository) -> Result<Snapshot> {
    let revision = repository.name.revision();
    if super::name::is_commit(revision) {
        return snapshot_of(repository, revision);
    }
    let cached = || cached(repository, &repository.cache.reference(revision)?);
    if repository.offline {
        return told(repository, cached().ok_or_else(|| errors::not_cached(repository))?);
    }
    let commit = match (repository.commit(revision), cached()) {
        (Ok(commit), _) => commit,
        (Err(error), Some(cached)) if errors::is_passing(&error) => {
            return fallen_back(repository, cached, &error);
        }
        (Err(error), _) => return Err(errors::explain(error, repository)),
    };
    let snapshot = complete(repository, &commit)?;
    repository.cache.set_reference(revision, &commit).with_context(|| errors::cache_advice(repository))?;
    Ok(snapshot)
}

/// The snapshot of a commit; the Hub is not asked where the cache is known to have it.
///
/// # Errors
/// As [`snapshot`].
pub(super) fn snapshot_of(repository: &Repository, commit: &str) -> Result<Snapshot> {
    match repository.offline {
        true => {
            let cached = cached(repository, commit).ok_or_else(|| errors::not_cached(repository))?;
            told(repository, cached)
        }
        false => complete(repository, commit),
    }
}

/// What the cache has, where the Hub does not answer for now.
fn fallen_back(repository: &Repository, cached: Snapshot, error: &HFError) -> Result<Snapshot> {
    notes::say(format_args!(
        "{}: {}; commit {} from the cache is used",
        repository.name.repository(),
        errors::reason(error),
        cached.commit
    ));
    told(repository, cached)
}

/// The snapshot, if all that is needed of it is on disk. Of data whose files are not named, the cache may hold some alone:
/// then those pass for all.
fn cached(repository: &Repository, commit: &str) -> Option<Snapshot> {
    let folder = repository.cache.snapshot(commit);
    let files = match repository.kind {
        Kind::Model => files::is_whole_model(&folder).then_some(None)?,
        Kind::Data => {
            Some(chosen(repository, &paths_under(&folder).ok()?).ok()??).filter(DataFiles::is_whole)
        }
    };
    (repository.kind == Kind::Model || files.is_some()).then(|| Snapshot {
        commit: commit.to_string(),
        folder,
        files,
    })
}

/// The data files that the repository's name means among `all`; none where it names one that is not there.
fn chosen(repository: &Repository, all: &BTreeSet<String>) -> Result<Option<DataFiles>> {
    let HubName { file, files, .. } = &repository.name;
    let how = format!("{}:FILE", repository.name.repository());
    if !files.is_empty() {
        let whole = files.iter().all(|file| all.contains(file));
        return whole.then(|| files::data_files(&files.iter().cloned().collect(), None, &how)).transpose();
    }
    match file {
        Some(file) if all.contains(file) => Ok(Some(DataFiles::one(file))),
        Some(folder) => {
            let inside = format!("{}/", folder.trim_end_matches('/'));
            let any = all.iter().any(|path| path.starts_with(&inside));
            any.then(|| files::data_files(all, Some(folder), &how)).transpose()
        }
        None => files::data_files(all, None, &how).map(Some),
    }
}

/// Fetches what is missing of a commit, a model's weights last, so that a folder with weights is whole.
fn complete(repository: &Repository, commit: &str) -> Result<Snapshot> {
    // Which of many data files is meant shows only in the list of all.
    let HubName { file, files, .. } = &repository.name;
    let named = repository.kind == Kind::Model
        || !files.is_empty()
        || file.as_ref().is_some_and(|file| files::has_data_format(file));
    let cached = cached(repository, commit);
    let sizes = match (cached, named) {
        (Some(whole), true) => return told(repository, whole),
        (cached, _) => match (repository.list(commit), cached) {
            (Ok(sizes), _) => sizes,
            (Err(error), Some(cached)) if errors::is_passing(&error) => {
                return fallen_back(repository, cached, &error);
            }
            (Err(error), _) => return Err(errors::explain(error, repository)),
        },
    };
    let all: BTreeSet<String> = sizes.keys().cloned().collect();
    let folder = repository.cache.snapshot(commit);
    let fetch = |file: &str| fetch(repository, commit, file, sizes.get(file).copied().unwrap_or_default());
    let unusable = || format!("{} cannot be used as a {}", repository.page(), repository.kind.noun());
    let files = match repository.kind {
        Kind::Model => {
            let (small, weights) = files::of_model(&all).with_context(unusable)?;
            small.iter().try_for_each(|file| fetch(file))?;
            fetch(&weights)?;
            if weights.ends_with(".index.json") {
                let shards = files::shards(&folder.join(&weights), &all).with_context(unusable)?;
                shards.iter().try_for_each(|shard| fetch(shard))?;
            }
            None
        }
        Kind::Data => {
            let Some(files) = chosen(repository, &all).with_context(unusable)? else {
                let error = HFError::EntryNotFound {
                    path: repository.name.file.clone().unwrap_or_default(),
                    repo_id: repository.name.repository(),
                    context: None,
                };
                return Err(errors::explain(error, repository));
            };
            // Those to learn from last, so that a folder with them is whole.
            for file in files.test.iter().chain(&files.validation).chain(&files.training) {
                fetch(&file.to_string_lossy())?;
            }
            Some(files)
        }
    };
    told(repository, Snapshot { commit: commit.to_string(), folder, files })
}

/// Says which commit and file are used.
fn told(repository: &Repository, snapshot: Snapshot) -> Result<Snapshot> {
    let file = match snapshot.files.iter().flat_map(DataFiles::all).collect::<Vec<_>>()[..] {
        [] => String::new(),
        [file] => format!(", file {}", file.display()),
        ref files => format!(", {} files", files.len()),
    };
    notes::say(format_args!(
        "{}: {} at commit {}{file}",
        repository.kind.noun(),
        repository.name.repository(),
        snapshot.commit
    ));
    Ok(snapshot)
}

/// Fetches a file of a commit into the cache, unless it is there.
fn fetch(repository: &Repository, commit: &str, file: &str, size: u64) -> Result<()> {
    if repository.cache.snapshot(commit).join(file).is_file() {
        return Ok(());
    }
    let transfer = Transfer::new(format!("{} {file}", repository.name.repository()), size);
    let files = repository.files().map_err(|error| errors::explain(error, repository))?;
    let mut attempt = 1;
    let path = loop {
        let request = files.download_file().filename(file).revision(commit);
        match request.progress(transfer.handler()).send() {
            Ok(path) => break path,
            Err(error) if attempt < ATTEMPTS && errors::is_broken(&error) => attempt += 1,
            Err(error) => {
                drop(transfer);
                return Err(errors::explain(error, repository))
                    .with_context(|| format!("{file} was not downloaded"));
            }
        }
    };
    let blobs = repository.cache.blobs();
    if let Err(wrong) = check(&path, size, &blobs) {
        drop(transfer);
        remove(&path, &blobs);
        bail!(
            "{} of {} did not arrive as the Hub announced it: {wrong:#}; it was removed, run the command again",
            file,
            repository.page()
        );
    }
    transfer.done("downloaded");
    Ok(())
}

/// Checks a fetched file by its size and by the hash that its content is stored under.
fn check(path: &Path, size: u64, blobs: &Path) -> Result<()> {
    let found = path.metadata().context("it cannot be read")?.len();
    if found != size {
        bail!("it has {found} bytes, {size} were expected");
    }
    let contents = contents(path, blobs);
    let etag = contents.first().and_then(|file| file.file_name()).and_then(|name| name.to_str());
    let etag = etag.unwrap_or_default();
    let hash = match etag.len() {
        64 => hash::<Sha256>(path, "")?,
        // Git's hash of a file that is not in its large file storage.
        40 => hash::<sha1::Sha1>(path, &format!("blob {size}\0"))?,
        _ => return Ok(()),
    };
    if hash != etag.to_lowercase() {
        bail!("its hash is {hash}, {etag} was expected");
    }
    Ok(())
}

/// The hash of `prefix` and a file, in hexadecimal.
fn hash<D: Digest>(path: &Path, prefix: &str) -> Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = D::new();
    hasher.update(prefix);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Removes a file of a snapshot and its content. What cannot be removed cannot be used either.
fn remove(path: &Path, blobs: &Path) {
    for file in contents(path, blobs).iter().map(PathBuf::as_path).chain([path]) {
        let _ = std::fs::remove_file(file);
    }
}

/// Where the content of a snapshot's file is stored: what it links to; on Windows, where snapshots hold copies, what is the
/// same among `blobs`.
fn contents(path: &Path, blobs: &Path) -> Vec<PathBuf> {
    match std::fs::read_link(path) {
        Ok(target) => vec![path.parent().unwrap_or(path).join(target)],
        Err(_) => alike(path, blobs).unwrap_or_default(),
    }
}

/// The files in a folder that hold what the file at `path` does.
fn alike(path: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let (size, wanted) = (path.metadata()?.len(), hash::<Sha256>(path, "")?);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.path();
        if file.metadata()?.len() == size && hash::<Sha256>(&file, "")? == wanted {
            found.push(file);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A file `snapshot` that links to content stored under `etag`, or is a copy of it.
    fn stored(folder: &Path, etag: &str, content: &str, is_copy: bool) -> PathBuf {
        let (path, blob) = (folder.join("snapshot"), folder.join("blobs").join(etag));
        std::fs::write(&blob, content).unwrap();
        if is_copy {
            std::fs::copy(blob, &path).unwrap();
        } else {
            #[cfg(unix)]
            std::os::unix::fs::symlink(Path::new("blobs").join(etag), &path).unwrap();
        }
        path
    }

    #[test]
    fn a_file_is_checked_by_size_and_by_either_hash() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("blobs");
        std::fs::create_dir(&blobs).unwrap();
        std::fs::write(blobs.join("other"), "xyz").unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        // `printf abc | git hash-object --stdin`
        let git = "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f";
        let forms = if cfg!(unix) { &[true, false][..] } else { &[true] };
        for (etag, &is_copy) in
            [sha256, git].into_iter().flat_map(|etag| forms.iter().map(move |form| (etag, form)))
        {
            let file = |content: &str| stored(folder.path(), etag, content, is_copy);
            let path = file("abc");
            check(&path, 3, &blobs).unwrap();
            assert!(check(&path, 4, &blobs).unwrap_err().to_string().contains("3 bytes"));
            remove(&path, &blobs);
            let path = file("abd");
            assert!(check(&path, 3, &blobs).unwrap_err().to_string().contains(etag));
            remove(&path, &blobs);
            assert!(!path.exists() && !blobs.join(etag).exists() && blobs.join("other").exists());
        }
    }
}
