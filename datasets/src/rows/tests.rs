//! What reading promises: the same records from every format, and every fault told at once.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use ::parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use ::parquet::data_type::{ByteArray, ByteArrayType};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use tempfile::TempDir;

use super::*;

const ROWS: [[&str; 3]; 2] = [["Be true", "Why, \"so\"?", " Because\nso. "], ["Be true", "Où ?", "Là."]];

fn expected() -> Vec<Record> {
    ROWS.map(|[instruction, input, output]| Record {
        instruction: instruction.into(),
        input: input.into(),
        output: output.into(),
        further: Vec::new(),
    })
    .to_vec()
}

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn read(path: &Path) -> Result<Vec<Record>, DataError> {
    read_records(path, &Columns::default(), &PromptTemplate::default())
}

fn fault(name: &str, text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let message = read(&write(&folder, name, text)).unwrap_err().to_string();
    // The folder's name is drawn at random: it may have any word in it.
    message.replace(&*folder.path().to_string_lossy(), "")
}

fn write_parquet(path: &Path, names: &[&str], rows: &[Vec<Option<&str>>], compression: Compression) {
    write_groups(path, names, &[rows], compression);
}

fn write_groups(path: &Path, names: &[&str], groups: &[&[Vec<Option<&str>>]], compression: Compression) {
    let fields: String = names.iter().map(|name| format!("optional binary {name} (UTF8);")).collect();
    let schema = Arc::new(parse_message_type(&format!("message schema {{ {fields} }}")).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    for rows in groups {
        let mut group = writer.next_row_group().unwrap();
        for column in 0..names.len() {
            let levels: Vec<i16> = rows.iter().map(|row| i16::from(row[column].is_some())).collect();
            let values: Vec<ByteArray> =
                rows.iter().filter_map(|row| row[column]).map(ByteArray::from).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn every_format_gives_the_same_records_verbatim() {
    let folder = tempfile::tempdir().unwrap();
    let objects: Vec<String> =
        expected().iter().map(|record| serde_json::to_string(record).unwrap()).collect();
    let array = format!("\u{feff}[{}]", objects.join(",\n"));
    assert_eq!(read(&write(&folder, "a.json", &array)).unwrap(), expected());
    let lines = format!("{}\r\n\n{}\n", objects[0], objects[1]);
    assert_eq!(read(&write(&folder, "a.jsonl", &lines)).unwrap(), expected());
    assert_eq!(read(&write(&folder, "a.NDJSON", &lines)).unwrap(), expected());
    let csv = "\u{feff}output,extra,input,instruction\n\" Because\nso. \",1,\"Why, \"\"so\"\"?\",Be true\n\
               Là.,2,Où ?,Be true\n";
    assert_eq!(read(&write(&folder, "a.csv", csv)).unwrap(), expected());

    let tsv =
        "output\tinput\tinstruction\n\" Because\nso. \"\t\"Why, \"\"so\"\"?\"\tBe true\nLà.\tOù ?\tBe true\n";
    assert_eq!(read(&write(&folder, "a.tsv", tsv)).unwrap(), expected());
    // An object a line under the name of an array, and everything packed.
    assert_eq!(read(&write(&folder, "lines.json", &lines)).unwrap(), expected());
    for (name, text) in [("a.json", array.as_str()), ("a.jsonl", &lines), ("a.csv", csv), ("a.tsv", tsv)] {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        std::fs::write(folder.path().join(format!("{name}.gz")), gzip.finish().unwrap()).unwrap();
        let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
        std::fs::write(folder.path().join(format!("{name}.ZST")), packed).unwrap();
        for ending in ["gz", "ZST"] {
            assert_eq!(
                read(&folder.path().join(format!("{name}.{ending}"))).unwrap(),
                expected(),
                "{name}.{ending}"
            );
        }
    }

    let rows: Vec<Vec<Option<&str>>> =
        ROWS.iter().map(|[a, b, c]| vec![Some(*b), Some("x"), Some(*a), Some(*c)]).collect();
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let gzip = Compression::GZIP(GzipLevel::default());
    let brotli = Compression::BROTLI(BrotliLevel::default());
    let (lz4, raw) = (Compression::LZ4, Compression::LZ4_RAW);
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, zstd, gzip, brotli, lz4, raw] {
        let path = folder.path().join("a.parquet");
        write_parquet(&path, &["input", "extra", "instruction", "output"], &rows, compression);
        assert_eq!(read(&path).unwrap(), expected(), "{compression:?}");
    }
}

#[test]
fn columns_are_renamed_and_an_unused_one_need_not_exist() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, "a.csv", "q,a\nWhy?,So.\n");
    let columns = Columns { input: "q".into(), output: "a".into(), ..Columns::default() };
    let template = PromptTemplate::from_str("{input} {output}").unwrap();
    let records = read_records(&path, &columns, &template).unwrap();
    assert_eq!(records, [Record { input: "Why?".into(), output: "So.".into(), ..Record::default() }]);

    let needed = read_records(&path, &columns, &PromptTemplate::default()).unwrap_err().to_string();
    assert!(needed.contains("no column `instruction`; the file has `q`, `a`"), "{needed}");
}

#[test]
fn a_column_that_stands_twice_is_refused_where_it_counts() {
    let said = fault("a.csv", "instruction,input,output,output\ni,q,a,b\n");
    assert!(said.contains("the column `output` stands in its header twice"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, "a.csv", "x,instruction,input,output,x\n1,i,q,a,2\n");
    assert_eq!(read(&path).unwrap().len(), 1);
}

#[test]
fn missing_columns_are_told_with_those_found_and_the_flags() {
    let message = fault("a.json", r#"[{"question": "a", "answer": "b", "instruction": "c"}]"#);
    assert!(message.contains("no column `input`, `output`; the file has `question`, `answer`"), "{message}");
    assert!(message.contains("Name the columns"), "{message}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write_parquet(&path, &["q"], &[vec![Some("a")]], Compression::UNCOMPRESSED);
    assert!(
        matches!(read(&path).unwrap_err(), DataError::MissingColumns { missing, .. } if missing.len() == 3)
    );
}

#[test]
fn all_bad_records_are_told_at_once_with_their_lines() {
    let text = concat!(
        "{\"instruction\": \"i\", \"input\": \"q\", \"output\": \"a\"}\n\n",
        "{\"instruction\": \"i\", \"input\": \" \\n\", \"output\": 7}\n",
        "{\"instruction\": null, \"input\": \"q\", \"output\": \"a\"}\n",
        "{\"instruction\": \"i\", \"input\": \n[1]\n",
    );
    let message = fault("a.jsonl", text);
    let lines: Vec<&str> = message.lines().collect();
    assert!(lines[0].ends_with("4 of 5 records cannot be used:"), "{message}");
    assert_eq!(lines[1], "  record 2 (line 3): `input` is empty; `output` is a number, expected a string");
    assert_eq!(lines[2], "  record 3 (line 4): `instruction` is missing");
    assert!(lines[3].starts_with("  record 4 (line 5): no JSON, column"), "{message}");
    assert_eq!(lines[4], "  record 5 (line 6): an array, expected an object");
    assert_eq!(lines.len(), 5);

    // Whatever ends its lines.
    for end in ["\n", "\r\n", "\r"] {
        let table = "instruction,input,output~i,\"q\nq\",a~i,q~i,q,~".replace('~', end);
        let csv = fault("a.csv", &table);
        assert!(csv.contains("\n  record 2 (line 4): 2 fields, expected 3"), "{end:?}: {csv}");
        assert!(csv.contains("\n  record 3 (line 5): `output` is empty"), "{end:?}: {csv}");
    }

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let rows = [vec![Some("i"), Some("q"), Some("a")], vec![Some("i"), Some("q"), None]];
    write_parquet(&path, &["instruction", "input", "output"], &rows, Compression::SNAPPY);
    let parquet = read(&path).unwrap_err().to_string();
    assert!(
        parquet.ends_with("1 of 2 records cannot be used:\n  record 2: `output` is missing"),
        "{parquet}"
    );
}

#[test]
fn a_long_list_of_bad_records_is_cut_and_counted() {
    let record = r#"{"instruction": "i", "input": "", "output": "a"}"#;
    let message = fault("a.json", &format!("[{}]", vec![record; 23].join(",")));
    assert_eq!(message.lines().count(), 1 + 20 + 1);
    assert!(message.ends_with("\n  and 3 more"), "{message}");
}

#[test]
fn damaged_empty_and_unknown_files_are_refused() {
    let json = fault("a.json", "[{\"input\": \"q\"},\n  oops]");
    assert!(json.contains("line 2, column 3"), "{json}");
    assert!(fault("a.json", "{\"input\": \"q\"}").contains("array of objects"));
    let long = format!("{{\"input\": \"{}\",\n\"output\": \"a\"}}", "q".repeat(99));
    assert!(fault("a.json", &long).contains("one object over several lines"));
    for (name, text) in [("a.json", "[]"), ("b.json", ""), ("a.jsonl", "\n"), ("a.csv", "input,output\n")] {
        assert!(fault(name, text).contains("no records"), "{name}");
    }
    assert!(fault("a.parquet", "PAR1").contains("Parquet"));
    let unknown = fault("a.xlsx", "");
    assert!(unknown.contains(".jsonl") && unknown.contains(".parquet"), "{unknown}");
    for name in ["none.json", "none.csv", "none.parquet"] {
        let missing = read(Path::new(name)).unwrap_err();
        assert!(matches!(missing, DataError::Io { .. }), "{missing}");
        assert!(missing.to_string().contains(name));
    }
}

#[test]
fn blanks_before_the_records_hide_none() {
    let folder = tempfile::tempdir().unwrap();
    let records = "[{\"instruction\": \"i\",\n\"input\": \"q\", \"output\": \"a\"}]";
    for (name, blanks) in [("a.json", " ".repeat(100)), ("a.jsonl", "\n".repeat(70_000 / 2))] {
        let path = write(&folder, name, &format!("{blanks}{records}"));
        assert_eq!(read(&path).unwrap().len(), 1, "{name}");
    }
}

#[test]
fn a_table_cut_within_quotes_is_refused() {
    let table = "instruction,input,output\ni,q,\"an answer, and\nits end\"\ni,q,\"cut\nhere";
    let message = fault("a.csv", table);
    assert!(message.contains("the quote that opens on line 4 is never closed"), "{message}");
    // A quote within a bare field is text, one within quotes is two, and a quote may close right at the end.
    for rows in ["i,q,5\" long", "i,q,\"a \"\"b\"\"\"", "i,\"q\"x\"y,a"] {
        let folder = tempfile::tempdir().unwrap();
        let path = write(&folder, "a.csv", &format!("instruction,input,output\n{rows}"));
        assert_eq!(read(&path).unwrap().len(), 1, "{rows}");
    }
}

#[test]
fn a_message_shows_little_of_the_file_and_nothing_that_a_terminal_acts_on() {
    let hostile = format!("\u{1b}[2J{}", "x".repeat(5000));
    let object = serde_json::json!({ hostile.clone(): 1, "input": 2 });
    for (name, text) in [
        ("a.jsonl", format!("{object}\n{object}\n")),
        ("a.json", format!("[{object}]")),
        ("a.json", object.to_string()),
        ("a.csv", format!("{hostile}\n1\n")),
        ("a.json", hostile.clone()),
    ] {
        let message = fault(name, &text);
        assert!(!message.contains('\u{1b}') && message.len() < 600, "{name}: {message}");
        assert!(!message.contains("usize") && !message.contains("map"), "{name}: {message}");
    }
}

#[test]
fn records_of_many_fields_and_deep_ones_are_read_or_refused_and_take_no_room() {
    let fields: String = (0..60_000).map(|number| format!("\"f{number}\": [], ")).collect();
    let record = format!("{{{fields}\"instruction\": \"i\", \"input\": \"q\", \"output\": \"a\"}}");
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(read(&write(&folder, "a.jsonl", &record)).unwrap().len(), 1);
    let deep = format!("{{\"input\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(fault("a.jsonl", &deep).contains("recursion limit"));
    let wide = format!("[{{\"input\": [{}1]}}]", "0,".repeat(200_000));
    assert!(fault("a.json", &wide).contains("more than 100,000 values"));
}

#[test]
fn a_group_without_rows_hides_none_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let (names, rows) = (["instruction", "input", "output"], vec![vec![Some("i"), Some("q"), Some("a")]; 3]);
    write_groups(&path, &names, &[&rows, &[], &rows], Compression::SNAPPY);
    assert_eq!(read(&path).unwrap().len(), 6);
    write_groups(&path, &names, &[&[]], Compression::SNAPPY);
    assert!(read(&path).unwrap_err().to_string().contains("no records"));
}

#[test]
fn a_parquet_file_is_held_to_what_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let long = "y".repeat(1 << 20);
    let rows: Vec<Vec<Option<&str>>> = vec![vec![Some("i"), Some("q"), Some(long.as_str())]; 40];
    for compression in [Compression::SNAPPY, Compression::GZIP(GzipLevel::default())] {
        write_parquet(&path, &["instruction", "input", "output"], &rows, compression);
        // One text, stored once for all rows: it is what comes out that counts.
        let budget = Budget::new(DataSize::of_bytes(10_000_000));
        let form = Form::Columns { columns: Columns::default(), instruction: true };
        let read = collect::read_file(&path, Some(form), true, OnBadRecord::Refuse, &budget);
        assert!(matches!(read, Err(DataError::TooLarge { .. })), "{compression:?}");
    }
    let rows = vec![vec![Some("i"), Some("q"), Some("a")]; 300];
    write_parquet(&path, &["instruction", "input", "output"], &rows, Compression::UNCOMPRESSED);
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(read(&path).unwrap().len(), 300);
    // A damaged byte anywhere is an error or leaves as many records; never a panic.
    for place in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x55;
        std::fs::write(&path, bytes).unwrap();
        match read(&path) {
            Ok(records) => assert_eq!(records.len(), 300, "{place}"),
            Err(error) => assert!(error.to_string().len() < 2000, "{place}: {error}"),
        }
    }
}
