//! What reading data takes at its height, beside the text that is kept: at most eight bytes for one of text, in every
//! format, packed or not. One test in a program of its own, for it counts all that is allocated.

#![allow(clippy::unwrap_used, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use gptneo_datasets::{DataOptions, Dataset, Tokenizer};

/// The system's allocator, which counts.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn more(bytes: usize) {
    MOST.fetch_max(HELD.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there for a moment.
        more(size);
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Records, with as many bytes of text as they have.
fn records() -> (Vec<(String, String)>, usize) {
    let words =
        ["heart", "pumps", "blood", "through", "the", "body", "and", "lungs", "bring", "air", "to", "it"];
    let say = |seed: usize, count: usize| {
        let words: Vec<&str> =
            (0..count).map(|at| words[(seed * 7 + at * at * 3 + at) % words.len()]).collect();
        words.join(" ")
    };
    let records: Vec<_> =
        (0..4000).map(|at| (format!("{at}: {}?", say(at, 12)), format!("{}.", say(at + 1, 80)))).collect();
    let bytes = records.iter().map(|(question, answer)| question.len() + answer.len()).sum();
    (records, bytes)
}

fn files(folder: &Path, records: &[(String, String)]) -> Vec<PathBuf> {
    let object = |(question, answer): &(String, String)| {
        serde_json::json!({ "instruction": "Answer", "input": question, "output": answer }).to_string()
    };
    let objects: Vec<String> = records.iter().map(object).collect();
    let table = |separator: &str| {
        let row = |(question, answer): &(String, String)| ["Answer", question, answer].join(separator);
        let head = ["instruction", "input", "output"].join(separator);
        std::iter::once(head).chain(records.iter().map(row)).collect::<Vec<_>>().join("\n")
    };
    let paragraphs: Vec<String> =
        records.iter().map(|(question, answer)| format!("{question} {answer}")).collect();
    let plain = [
        ("a.json", format!("[{}]", objects.join(","))),
        ("a.jsonl", objects.join("\n")),
        ("a.csv", table(",")),
        ("a.tsv", table("\t")),
        ("a.txt", paragraphs.join("\n\n")),
    ];
    let mut files = Vec::new();
    for (name, text) in plain {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let packed = [
            (String::new(), text.clone().into_bytes()),
            (".gz".into(), gzip.finish().unwrap()),
            (".zst".into(), zstd::encode_all(text.as_bytes(), 1).unwrap()),
        ];
        for (ending, bytes) in packed {
            let path = folder.join(format!("{name}{ending}"));
            std::fs::write(&path, bytes).unwrap();
            files.push(path);
        }
    }
    files
}

#[test]
fn at_most_eight_times_the_text_is_held() {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/window");
    let tokenizer = Tokenizer::from_folder(Path::new(fixture)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (records, text) = records();
    let files = files(folder.path(), &records);
    drop(records);
    for path in files {
        // What the tokenizer remembers of words is there after the first.
        Dataset::from_file(&path, &DataOptions::default(), &tokenizer).unwrap();
        let before = HELD.load(Relaxed);
        MOST.store(before, Relaxed);
        let dataset = Dataset::from_file(&path, &DataOptions::default(), &tokenizer).unwrap();
        let most = MOST.load(Relaxed) - before;
        assert!(dataset.training().len() > 1000 || path.to_string_lossy().contains(".txt"));
        let times = most as f64 / text as f64;
        assert!(times < 8.0, "{}: {times:.2} times the text ({most} bytes)", path.display());
    }
}
