//! Each layout from a file of our own, and each mistake with its record and its remedy.

#![allow(clippy::unwrap_used)]
use std::path::PathBuf;

use super::*;
use crate::size::DataSize;

fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn read(name: &str, text: &str) -> Vec<ChoiceQuestion> {
    let (_folder, path) = file(name, text);
    read_choices(&[path], &DataOptions::default()).unwrap().questions
}

fn fault(name: &str, text: &str) -> String {
    let (_folder, path) = file(name, text);
    read_choices(&[path], &DataOptions::default()).unwrap_err().to_string()
}

fn expected(choices: &[&str], answer: usize) -> ChoiceQuestion {
    let choices = choices.iter().map(ToString::to_string).collect();
    ChoiceQuestion { question: "Which organ pumps blood?".into(), choices, answer }
}

#[test]
fn every_layout_gives_the_same_question() {
    let plain = r#"{"question":"Which organ pumps blood?","choices":["lung","heart"],"answer":1}"#;
    let two = expected(&["lung", "heart"], 1);
    assert_eq!(read("a.jsonl", &format!("{plain}\n\n{plain}\n")), [two.clone(), two.clone()]);
    assert_eq!(read("a.json", &format!("[{plain}]")), std::slice::from_ref(&two));
    let csv = "question,choices,answer\nWhich organ pumps blood?,\"[\"\"lung\"\",\"\"heart\"\"]\",1\n";
    assert_eq!(read("a.csv", csv), std::slice::from_ref(&two));
    let endings = r#"{"id":"x","sent1":"Which organ","sent2":"pumps blood?","ending0":"lung","ending1":"heart","label":1}"#;
    assert_eq!(read("a.jsonl", endings), std::slice::from_ref(&two));

    let four = expected(&["lung", "heart", "skin", "liver"], 1);
    let medmcqa =
        "id,question,opa,opb,opc,opd,cop,exp\n1,Which organ pumps blood?,lung,heart,skin,liver,1,so\n";
    assert_eq!(read("a.csv", medmcqa), std::slice::from_ref(&four));
    let medqa = r#"{"question":"Which organ pumps blood?","answer":"heart","options":{"A":"lung","B":"heart","C":"skin","D":"liver"},"meta_info":"step1","answer_idx":"B"}"#;
    assert_eq!(read("a.jsonl", medqa), std::slice::from_ref(&four));
    let listed = r#"{"question":"Which organ pumps blood?","options":[{"key":"A","value":"lung"},{"key":"B","value":"heart"}],"answer_idx":"B"}"#;
    assert_eq!(read("a.jsonl", listed), [two]);
}

#[test]
fn each_mistake_is_told_with_its_record_and_its_remedy() {
    let plain = |fields: &str| {
        format!("{{\"question\":\"a\",\"choices\":[\"x\",\"y\"],\"answer\":0}}\n{{{fields}}}\n")
    };
    for (fields, words) in [
        (
            "\"question\":\"a\",\"choices\":[\"x\",\"y\"],\"answer\":2",
            "`answer` is 2, expected the right choice's number, counted from 0 to 1",
        ),
        ("\"question\":\"a\",\"choices\":[\"x\",\"y\"],\"answer\":\"B\"", "`answer` is \"B\", expected"),
        ("\"question\":\"a\",\"choices\":[\"x\",\"y\"],\"answer\":0.5", "`answer` is 0.5"),
        ("\"question\":\"a\",\"choices\":[\"x\",\"y\"]", "`answer` is missing"),
        ("\"question\":\"a\",\"choices\":[\"x\"],\"answer\":0", "1 choices, expected at least two"),
        ("\"question\":\"a\",\"choices\":[\"x\",\" \"],\"answer\":0", "choice 1 is empty"),
        ("\"question\":\"a\",\"choices\":[\"x\",\"y\",\"x\"],\"answer\":0", "choices 0 and 2 are the same"),
        (
            "\"question\":\"a\",\"choices\":\"x y\",\"answer\":0",
            "`choices` is a string, expected a list of texts",
        ),
        ("\"question\":\"a\",\"choices\":[\"x\",3],\"answer\":0", "choice 1 is a number"),
        ("\"question\":\" \",\"choices\":[\"x\",\"y\"],\"answer\":0", "`question` is empty"),
    ] {
        let said = fault("a.jsonl", &plain(fields));
        assert!(said.contains("1 of 2 records") && said.contains("record 2 (line 2): "), "{said}");
        assert!(said.contains(words), "{words}: {said}");
    }
    let secret = "question,opa,opb,opc,opd,cop\na,w,x,y,z,-1\n";
    assert!(fault("a.csv", secret).contains("take the validation split"), "{}", fault("a.csv", secret));
    let letter = r#"{"question":"a","options":{"A":"x","B":"y"},"answer_idx":"E"}"#;
    assert!(fault("a.jsonl", letter).contains("a letter from A to B"));
    let gap = r#"{"question":"a","options":{"A":"x","C":"y"},"answer_idx":"A"}"#;
    assert!(fault("a.jsonl", gap).contains("has \"C\" where \"B\" is expected"));
    let cards = r#"{"instruction":"a","input":"b","output":"c"}"#;
    let said = fault("a.jsonl", cards);
    assert!(said.contains("`instruction`, `input`, `output`") && said.contains("MedMCQA"), "{said}");
    assert!(fault("a.jsonl", "nonsense\n").contains("record 1 (line 1): no JSON"));
    assert!(fault("a.jsonl", "3\n").contains("record 1 (line 1): a number, expected an object"));
    assert!(fault("a.json", "").contains("no questions"));
    assert!(fault("a.txt", "x").contains(".parquet"));
}

#[test]
fn tables_and_packed_files_are_read_as_records_are() {
    let row = r#"{"question":"Which organ pumps blood?","choices":["lung","heart"],"answer":1}"#;
    let lines = format!("{row}\n{row}\n");
    let tsv = "question\tchoices\tanswer\nWhich organ pumps blood?\t\"[\"\"lung\"\",\"\"heart\"\"]\"\t1\n";
    assert_eq!(read("a.tsv", tsv), [expected(&["lung", "heart"], 1)]);

    let folder = tempfile::tempdir().unwrap();
    let [gzip, zstd] = ["a.jsonl.gz", "b.jsonl.zst"].map(|name| folder.path().join(name));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, lines.as_bytes()).unwrap();
    std::fs::write(&gzip, encoder.finish().unwrap()).unwrap();
    std::fs::write(&zstd, zstd::encode_all(lines.as_bytes(), 1).unwrap()).unwrap();
    let files = [gzip.clone(), zstd];
    let found = read_choices(&files, &DataOptions::default()).unwrap();
    assert_eq!((found.questions.len(), found.skipped), (4, 0));
    // The files count together.
    let small = DataOptions { max_data_size: DataSize::of_bytes(500), ..DataOptions::default() };
    assert!(read_choices(&files[..1], &small).is_ok());
    let said = read_choices(&files, &small).unwrap_err().to_string();
    assert!(said.contains("b.jsonl.zst: more than 500"), "{said}");
    std::fs::write(&gzip, "plain").unwrap();
    let said = read_choices(&files, &DataOptions::default()).unwrap_err().to_string();
    assert!(said.contains("a whole gzip file"), "{said}");
}

#[test]
fn what_a_file_holds_is_told_so_that_a_terminal_can_show_it() {
    let one = |answer: &str| format!(r#"{{"question":"Q","choices":["lung","heart"],"answer":{answer}}}"#);
    let said = fault("a.jsonl", &one(&format!("\"{}\"", "\\u001b[2J".repeat(500))));
    assert!(said.len() < 400 && !said.contains('\u{1b}'), "{said:?}");
    assert!(fault("a.jsonl", &"[".repeat(100_000)).len() < 400);
    assert!(fault("a.csv", "question,choices,answer\n\"a,").contains("quot"));
    let ends: Vec<String> = (0..30).map(|at| format!("\"ending{at}\":\"{at}\"")).collect();
    let said = fault("a.jsonl", &format!("{{\"sent1\":\"a\",{},\"label\":0}}", ends.join(",")));
    assert!(said.contains("27 choices, expected at most 26"), "{said}");
}

#[test]
fn what_cannot_be_used_is_left_out_and_counted_where_that_is_asked_for() {
    let text = "question,opa,opb,opc,opd,cop\na,w,x,y,z,0\nb,w,w,y,z,1\nc,w,x,y,z,-1\n";
    let (_folder, path) = file("a.csv", text);
    let skip = DataOptions { bad_records: OnBadRecord::Skip, ..DataOptions::default() };
    let found = read_choices(std::slice::from_ref(&path), &skip).unwrap();
    assert_eq!((found.questions.len(), found.skipped), (1, 2));
    assert!(
        found.reasons[0].contains("2 of 3 records were left out; record 2: choices 0 and 1"),
        "{found:?}"
    );
    // Nothing is left: that is told, not skipped.
    let (_folder, path) = file("a.csv", "question,opa,opb,opc,opd,cop\nc,w,x,y,z,-1\n");
    assert!(read_choices(&[path], &skip).is_err());
    // As its authors' own files count.
    let (_folder, path) = file("dev.csv", "question,opa,opb,opc,opd,cop\na,w,x,y,z,1\nb,w,x,y,z,4\n");
    let said = read_choices(&[path], &skip).unwrap_err().to_string();
    assert!(said.contains("(MedMCQA), record 2: `cop` is 4"), "{said}");
}

#[test]
fn a_choice_stands_where_the_answer_would_without_an_end() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/window");
    let tokenizer = Tokenizer::from_folder(Path::new(folder)).unwrap();
    let template = PromptTemplate::default();
    let questions = [expected(&["The lung.", "The heart pumps."], 1)];
    let found = encode_choices(&questions, &template, &tokenizer, 128).unwrap().remove(0);
    let text = tokenizer.decode_all(&found.with_question[1].ids).unwrap();
    assert!(text.ends_with("Question: Which organ pumps blood?\nResponse: The heart pumps."), "{text}");
    let answer = |example: &Example| tokenizer.decode_all(&example.ids[example.response_from..]).unwrap();
    assert_eq!(
        found.with_question.iter().map(answer).collect::<Vec<_>>(),
        [" The lung.", " The heart pumps."]
    );
    assert_eq!(answer(&found.without_question[0]), " The lung.");
    assert_eq!((found.characters, found.answer), (vec![9, 16], 1));

    // Too long, a text loses its beginning; the last token needs no position of its own.
    let short = encode_choices(&questions, &template, &tokenizer, 20).unwrap().remove(0);
    assert_eq!(short.with_question[1].ids.len(), 21);
    assert_eq!(answer(&short.with_question[1]), " The heart pumps.");
    let said = encode_choices(&questions, &template, &tokenizer, 4).unwrap_err().to_string();
    assert!(said.contains("question 1") && said.contains("4 positions"), "{said}");
}
