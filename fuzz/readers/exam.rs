//! A file of multiple-choice questions, in each format: questions whose answers are among their choices, or one message.

use gptneo_datasets::{DataOptions, DataSize, read_choices};

pub(crate) fn read(data: &[u8]) {
    let options = DataOptions { max_data_size: DataSize::of_bytes(1 << 24), ..DataOptions::default() };
    let Ok(folder) = tempfile::tempdir() else { return };
    for name in ["a.json", "a.jsonl", "a.csv", "a.tsv", "a.parquet"] {
        let path = folder.path().join(name);
        if std::fs::write(&path, data).is_err() {
            return;
        }
        match read_choices(&[path], &options) {
            Ok(read) => assert!(read.questions.iter().all(|one| one.answer < one.choices.len())),
            Err(error) => {
                let message = error.to_string();
                assert!(message.len() < 1 << 14, "{} bytes of message", message.len());
                assert!(!message.contains(|c: char| c.is_control() && c != '\n'), "{message:?}");
            }
        }
    }
}
