//! Bytes as a data file under a name, read in every way that a setting allows.

use gptneo_datasets::{DataOptions, DataSize, OnBadRecord, read_data};

/// Reads `bytes` as a file that is called `name`.
///
/// # Panics
/// A message has text in it that a terminal would act on, or more than a person would read.
pub(crate) fn read(name: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    for bad_records in OnBadRecord::ALL {
        let max_data_size = DataSize::of_bytes(1 << 24);
        let options = DataOptions { bad_records, max_data_size, ..DataOptions::default() };
        if let Err(error) = read_data(std::slice::from_ref(&path), &options) {
            let message = error.to_string();
            assert!(message.len() < 1 << 14, "{} bytes of message", message.len());
            assert!(!message.contains(|c: char| c.is_control() && c != '\n'), "{message:?}");
        }
    }
}
