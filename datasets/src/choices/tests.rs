//! Each layout from a file of our own, and each mistake with its record and its remedy.

#![allow(clippy::unwrap_used)]
use std::path::PathBuf;

use super::*;

fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn read(name: &str, text: &str) -> Vec<ChoiceQuestion> {
    let (_folder, path) = file(name, text);
    read_choices(&path, DataSize::DEFAULT).unwrap()
}

fn fault(name: &str, text: &str) -> String {
    let (_folder, path) = file(name, text);
    read_choices(&path, DataSize::DEFAULT).unwrap_err().to_string()
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
            "`choices` is a text, expected a list of texts",
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
    assert!(fault("a.jsonl", "3\n").contains("a number, expected an object"));
    assert!(fault("a.json", "").contains("no questions"));
    assert!(fault("a.txt", "x").contains(".parquet"));
}

#[test]
fn an_exam_is_read_as_other_data_are() {
    let one = |answer: &str| {
        format!(r#"{{"question":"Which organ pumps blood?","choices":["lung","heart"],"answer":{answer}}}"#)
    };
    let two = [expected(&["lung", "heart"], 1), expected(&["lung", "heart"], 0)];
    // An object a line under .json, tabs for commas, and packed.
    let lines = format!("{}\n{}\n", one("1"), one("\"0\""));
    assert_eq!(read("a.json", &lines), two);
    let tabs = "question\tchoices\tanswer\nWhich organ pumps blood?\t\"[\"\"lung\"\",\"\"heart\"\"]\"\t1\n";
    assert_eq!(read("a.tsv", tabs), two[..1]);
    let (_folder, packed) = file("a.jsonl.gz", "");
    let mut gzip = flate2::write::GzEncoder::new(std::fs::File::create(&packed).unwrap(), Default::default());
    std::io::Write::write_all(&mut gzip, lines.as_bytes()).unwrap();
    gzip.finish().unwrap();
    assert_eq!(read_choices(&packed, DataSize::DEFAULT).unwrap(), two);
    // Under the limit that is given, with a line of text that a terminal can show.
    let said = read_choices(&packed, DataSize::of_bytes(100)).unwrap_err();
    assert!(matches!(said, DataError::TooLarge { .. }), "{said}");
    let hostile = format!("\"{}\"", "\\u001b[2J".repeat(500));
    let said = fault("a.jsonl", &one(&hostile));
    assert!(said.len() < 400 && !said.contains('\u{1b}'), "{said:?}");
    assert!(fault("a.jsonl", &"[".repeat(100_000)).len() < 400);
    assert!(fault("a.csv", "question,choices,answer\n\"a,").contains("quot"));
    let ends: Vec<String> = (0..30).map(|at| format!("\"ending{at}\":\"{at}\"")).collect();
    let said = fault("a.jsonl", &format!("{{\"sent1\":\"a\",{},\"label\":0}}", ends.join(",")));
    assert!(said.contains("27 choices, expected at most 26"), "{said}");
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
