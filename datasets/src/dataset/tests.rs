//! Records in memory, records in a file and plain text come to the same examples, apart on their sides.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use super::*;
use crate::bpe::tests::small;
use crate::{DEFAULT_INSTRUCTION, OnBadRecord, Overlong, PromptTemplate, read_texts};

fn records() -> Vec<Record> {
    (0..20).map(|i| Record::new(format!("Z{i}?"), "Y".repeat(1 + i))).collect()
}

fn options() -> DataOptions {
    DataOptions { prompt_template: "{input}>{output}".parse().unwrap(), ..DataOptions::default() }
}

#[test]
fn records_of_a_file_and_of_the_program_are_the_same_data_set() {
    let tokenizer = small();
    let given = Dataset::from_records(records(), &options(), &tokenizer).unwrap();
    assert_eq!(given.records[0].instruction, DEFAULT_INSTRUCTION);
    assert_eq!((given.count, given.training().len(), given.validation().len()), (20, 18, 2));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.json");
    std::fs::write(&file, serde_json::to_string(&records()).unwrap()).unwrap();
    let read = Dataset::from_file(&file, &options(), &tokenizer).unwrap();
    assert_eq!((&read.split, read.training()), (&given.split, given.training()));
    assert!(read.examples().eq(given.examples()));

    let (encoded, _) = encode_files(std::slice::from_ref(&file), &options(), &tokenizer, Some(3)).unwrap();
    assert_eq!(encoded.examples.iter().map(|example| example.record).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(read_texts(&file).unwrap()[1], PromptTemplate::default().text(&records()[1]));
}

#[test]
fn the_sides_are_the_splits_and_share_their_examples() {
    let options = DataOptions { max_seq_length: Some(12), overlong: Overlong::Drop, ..options() };
    let data = Dataset::from_records(records(), &options, &small()).unwrap();
    let on = |side: &[usize], examples: &[Example]| examples.iter().all(|e| side.contains(&e.record));
    assert!(on(&data.split.train, &data.training()) && on(&data.split.validation, data.held_out()));
    assert_eq!(data.examples().count() + data.truncation.dropped, 20);
    assert_eq!(data.lengths.len(), 20);
    assert!(Arc::ptr_eq(&data.training(), &data.training()));
}

#[test]
fn the_limit_bounds_what_is_measured_and_not_what_is_put_aside() {
    let all = DataOptions { validation_fraction: 0.5, ..options() };
    let whole = Dataset::from_records(records(), &all, &small()).unwrap();
    let some = DataOptions { validation_limit: Some(3), ..all };
    let data = Dataset::from_records(records(), &some, &small()).unwrap();
    assert_eq!((data.held_out().len(), &data.split), (10, &whole.split));
    assert_eq!(*data.validation(), whole.validation()[..3]);
}

#[test]
fn the_seed_decides_the_split() {
    let of = |seed| {
        let options = DataOptions { seed, ..options() };
        Dataset::from_records(records(), &options, &small()).unwrap().split
    };
    assert_eq!(of(42), of(DataOptions::default().seed));
    assert_ne!(of(42), of(43));
}

#[test]
fn no_block_of_plain_text_has_text_of_both_sides() {
    let tokenizer = small();
    let documents: Vec<String> = (0..10).map(|i| format!("document {i} of ten")).collect();
    let options = DataOptions { max_seq_length: Some(9), validation_fraction: 0.3, ..options() };
    let data = Dataset::from_documents(&documents, &options, &tokenizer).unwrap();
    assert_eq!((data.count, data.records.len(), data.duplicates.is_none()), (10, 0, true));
    let numbers = |examples: &[Example]| -> HashSet<char> {
        let text: String = examples.iter().map(|e| tokenizer.decode(&e.ids).unwrap()).collect();
        text.chars().filter(char::is_ascii_digit).collect()
    };
    let (train, held_out) = (numbers(&data.training()), numbers(&data.validation()));
    assert_eq!((train.len(), held_out.len()), (7, 3));
    assert!(train.is_disjoint(&held_out));
    let blocks: Vec<usize> = data.examples().map(|example| example.record).collect();
    assert_eq!(blocks, (0..blocks.len()).collect::<Vec<_>>());
}

#[test]
fn records_that_cannot_be_used_are_all_named() {
    let mut bad = records();
    bad[3].output = " \n".into();
    bad[7] = Record::new("", "");
    let fault = |records| Dataset::from_records(records, &options(), &small()).unwrap_err().to_string();
    let message = fault(bad);
    assert!(message.contains("2 of 20") && message.contains("record 4: its answer is empty"), "{message}");
    assert!(message.contains("record 8: its question is empty; its answer is empty"), "{message}");
    assert!(fault(Vec::new()).contains("no records"));
}

fn files(folder: &Path, parts: [&[Record]; 3]) -> DataFiles {
    let path = |number: usize| folder.join(format!("{number}.json"));
    let write = |(number, part): (usize, &&[Record])| {
        std::fs::write(path(number), serde_json::to_string(part).unwrap()).unwrap();
        vec![path(number)]
    };
    let [training, validation, test] = parts.each_ref().map(|part| part.is_empty());
    let mut written: Vec<Vec<PathBuf>> = parts.iter().enumerate().map(write).collect();
    for (part, empty) in written.iter_mut().zip([training, validation, test]) {
        part.retain(|_| !empty);
    }
    let [training, validation, test] = written.try_into().unwrap();
    DataFiles { training, validation, test, passed_over: Vec::new() }
}

#[test]
fn files_of_ones_own_are_the_sides_and_what_stands_on_two_is_told() {
    let (folder, tokenizer, all) = (tempfile::tempdir().unwrap(), small(), records());
    let of =
        |parts, options: &DataOptions| Dataset::from_files(&files(folder.path(), parts), options, &tokenizer);
    let data = of([&all[..12], &all[12..15], &all[15..]], &options()).unwrap();
    assert_eq!((data.training().len(), data.validation().len(), data.test().len()), (12, 3, 5));
    assert_eq!((&*data.measured(), data.measured_records()), (&*data.test(), &[15, 16, 17, 18, 19][..]));
    assert_eq!(data.records, all);
    assert!(data.leaks.as_ref().unwrap().is_empty() && data.reading.as_ref().unwrap().files == 3);

    // Without a file to validate with, a part of the training data is put aside; the test data are not touched.
    let data = of([&all[..10], &[], &all[10..]], &options()).unwrap();
    assert_eq!((data.training().len(), data.validation().len(), data.test().len()), (9, 1, 10));
    assert_eq!(data.report(4, 1).test, 10);

    let leaking = [&all[..12], &[Record::new(" z3", "else")], &all[11..14]];
    let leaks = of(leaking, &options()).unwrap().leaks.unwrap();
    assert_eq!((leaks.validation, leaks.test, leaks.test_in_validation), (1, 1, 0));
    let denied = DataOptions { deny_leaks: true, ..options() };
    let message = of(leaking, &denied).unwrap_err().to_string();
    assert!(message.starts_with("1 of the validation data are in the training data too"), "{message}");
}

#[test]
fn several_files_are_one_and_share_what_may_be_read() {
    let (folder, tokenizer, all) = (tempfile::tempdir().unwrap(), small(), records());
    let mut shards = files(folder.path(), [&all[..12], &all[12..], &[]]);
    shards.training.append(&mut shards.validation);
    let data = Dataset::from_files(&shards, &options(), &tokenizer).unwrap();
    assert_eq!((&data.records, data.reading.as_ref().unwrap().files), (&all, 2));
    assert_eq!(data.split, Dataset::from_records(all, &options(), &tokenizer).unwrap().split);

    let bytes = shards.training.iter().map(|path| path.metadata().unwrap().len() + 12 * 128).sum::<u64>();
    let limited = |bytes| DataOptions { max_data_size: crate::DataSize::of_bytes(bytes), ..options() };
    assert!(Dataset::from_files(&shards, &limited(bytes), &tokenizer).is_ok());
    let message = Dataset::from_files(&shards, &limited(bytes - 1024), &tokenizer).unwrap_err().to_string();
    assert!(message.contains("1.json: more than") && message.contains("the most that is read"), "{message}");

    let text = folder.path().join("a.txt");
    std::fs::write(&text, "A text.").unwrap();
    shards.test = vec![text];
    let message = Dataset::from_files(&shards, &options(), &tokenizer).unwrap_err().to_string();
    assert!(message.contains("a.txt: text, but the files before it hold instruction"), "{message}");
}

#[test]
fn bad_records_are_refused_or_left_out() {
    let (folder, tokenizer, mut all) = (tempfile::tempdir().unwrap(), small(), records());
    all[4].output = " ".into();
    let files = files(folder.path(), [&all, &[], &[]]);
    let message = Dataset::from_files(&files, &options(), &tokenizer).unwrap_err().to_string();
    assert!(message.contains("record 5: `output` is empty"), "{message}");
    let skip = DataOptions { bad_records: OnBadRecord::Skip, ..options() };
    let data = Dataset::from_files(&files, &skip, &tokenizer).unwrap();
    assert_eq!((data.count, data.report(4, 1).reading.unwrap().skipped), (19, 1));
    assert!(data.report(4, 1).render().contains("left out    1 records that cannot be used"));
}
