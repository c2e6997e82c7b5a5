//! The readers of a run's files, given anything at all: they read it or say in one plain line what is wrong. The fuzz
//! targets and the quick test call the same functions.

use std::fs;
use std::path::Path;

use gptneo_lora::Error;
use gptneo_lora::run::RunFolder;
use gptneo_lora::settings::Settings;
use gptneo_training::checkpoint::Checkpoints;

/// A settings file. What is read is written and read again as the same.
pub(crate) fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Settings::from_toml(text) {
        Err(error) => check(&whole(&error), data),
        Ok(settings) => {
            let Ok(written) = settings.to_toml() else { return };
            match Settings::from_toml(&written) {
                Ok(read) => assert_eq!(read.to_toml().ok(), Some(written)),
                Err(error) => panic!("what was written is not read: {error}"),
            }
        }
    }
}

/// A file of a run's folder: the first byte says which, all others are its contents.
pub(crate) fn run_folder(data: &[u8]) {
    let Some((which, contents)) = data.split_first() else { return };
    let Ok(folder) = tempfile::tempdir() else { return };
    let run = RunFolder::at(folder.path());
    let put = |path: &Path| fs::write(path, contents).ok();
    let error = match which {
        b'm' => put(&run.manifest_file()).and_then(|()| run.manifest().err()),
        b'l' => put(&run.metrics_file()).and_then(|()| run.metrics().err()),
        b's' => put(&run.samples_file()).and_then(|()| run.samples().err()),
        b'h' => put(&run.held_out_table()).and_then(|()| run.held_out().err()),
        b'c' => {
            let checkpoints = Checkpoints::new(run.checkpoints());
            let path = checkpoints.path(2);
            let made = fs::create_dir_all(&path).ok().and_then(|()| put(&path.join("state.json")));
            made.and_then(|()| checkpoints.newest().map_err(Error::from).err())
        }
        _ => put(&run.settings_file()).and_then(|()| run.settings().err()),
    };
    if let Some(error) = error {
        // The folder's name is chance, and may spell anything.
        let said = whole(&error).replace(&folder.path().display().to_string(), "");
        check(&said, contents);
    }
}

/// An error with its causes.
fn whole(error: &Error) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

/// One line, short, without characters that steer a terminal and without names of Rust's types, unless the file has them.
fn check(said: &str, contents: &[u8]) {
    assert!(!said.contains(|character: char| character.is_control()), "{said:?}");
    assert!(said.chars().count() < 1500, "{} characters: {said:.300}", said.chars().count());
    let own = String::from_utf8_lossy(contents);
    for word in ["usize", "u64", "u32", "i64", "f64", "struct ", "Shape {", "Some("] {
        assert!(!said.contains(word) || own.contains(word.trim()), "{word}: {said}");
    }
}
