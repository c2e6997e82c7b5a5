//! Each form has records that it reads, and says what is wrong with others: field, record and what was expected.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::{DataOptions, OnBadRecord, ReadData, Turn, read_data};

fn read_with(name: &str, text: &str, options: &DataOptions) -> Result<ReadData, DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    read_data(&[path], options)
}

fn lines(rows: &[serde_json::Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

fn read(rows: &[serde_json::Value]) -> ReadData {
    read_with("a.jsonl", &lines(rows), &DataOptions::default()).unwrap()
}

fn fault(rows: &[serde_json::Value]) -> String {
    read_with("a.jsonl", &lines(rows), &DataOptions::default()).unwrap_err().to_string()
}

fn one(row: serde_json::Value) -> (DataFormat, Record) {
    let data = read(&[row]);
    (data.reading.format, data.records[0].clone())
}

#[test]
fn questions_and_answers_are_found_by_the_names_of_their_fields() {
    let expected = Record::new("Why?", "So.");
    for (row, format) in [
        (json!({"prompt": "Why?", "completion": " So.", "id": 1}), DataFormat::PromptCompletion),
        (json!({"question": "Why?", "answer": "So.", "context": [1]}), DataFormat::QuestionAnswer),
        (json!({"Question": "Why?", "Answer": "So."}), DataFormat::QuestionAnswer),
        (json!({"qtype": "causes", "Question": "Why?", "Answer": "So."}), DataFormat::Medquad),
        (
            json!({"question_id": "1-1", "question_focus": "x", "question_type": "y", "question": "Why?", "answer": "So.",
                   "umls_cui": null}),
            DataFormat::Medquad,
        ),
        (
            json!({"pubid": 7, "question": "Why?", "context": {"contexts": ["a"], "labels": ["B"]}, "long_answer": "So.",
                   "final_decision": "yes"}),
            DataFormat::Pubmedqa,
        ),
        (json!({"instruction": "Why?", "output": "So."}), DataFormat::Alpaca),
        (json!({"instruction": "Why?", "input": "", "output": "So."}), DataFormat::Alpaca),
        (
            json!({"prompt": [{"role": "user", "content": "Why?"}],
                   "completion": [{"role": "assistant", "content": "So."}]}),
            DataFormat::PromptCompletion,
        ),
    ] {
        assert_eq!(one(row), (format, expected.clone()), "{format}");
    }
}

#[test]
fn a_blank_input_is_no_fault_where_the_instructions_are_the_questions() {
    let row =
        |instruction: &str, input: &str| json!({"instruction": instruction, "input": input, "output": "o"});
    let alpaca =
        read(&[row("Name a cause.", ""), row("Say it plainly.", "It is afebrile."), row("Explain.", " ")]);
    assert_eq!(alpaca.reading.format, DataFormat::Alpaca);
    let asked: Vec<_> = alpaca.records.iter().map(|r| (r.instruction.as_str(), r.input.as_str())).collect();
    let usual = DEFAULT_INSTRUCTION;
    assert_eq!(
        asked,
        [(usual, "Name a cause."), ("Say it plainly.", "It is afebrile."), (usual, "Explain.")]
    );

    let rows = [row("i", "q"), row("i", "q2"), row("i", ""), row("i", "q3")];
    let message = fault(&rows);
    assert!(message.contains("a.jsonl (instruction): 1 of 4 records cannot be used:"), "{message}");
    assert!(message.ends_with("record 3 (line 3): `input` is empty"), "{message}");
    let skip = DataOptions { bad_records: OnBadRecord::Skip, ..DataOptions::default() };
    let skipped = read_with("a.jsonl", &lines(&rows), &skip).unwrap();
    assert_eq!((skipped.records.len(), skipped.reading.skipped), (3, 1));
    assert_eq!(skipped.records[2].input, "q3");
    assert!(skipped.reading.reasons[0].contains("record 3: `input` is empty"), "{:?}", skipped.reading);
    let forced = DataOptions { format: Some(DataFormat::Alpaca), ..DataOptions::default() };
    assert_eq!(read_with("a.jsonl", &lines(&rows), &forced).unwrap().records[2].input, "i");
}

/// One record of another form does not make all the others faulty.
#[test]
fn the_form_is_that_of_most_records() {
    let asked = |number: usize| json!({"question": format!("q{number}"), "answer": "a"});
    let mut rows: Vec<serde_json::Value> = (0..5).map(asked).collect();
    rows.insert(3, json!({"prompt": "p", "completion": "c"}));
    let skipping = DataOptions { bad_records: OnBadRecord::Skip, ..DataOptions::default() };
    let found = read_with("a.jsonl", &lines(&rows), &skipping).unwrap();
    assert_eq!((found.records.len(), found.reading.skipped), (5, 1));
    // Half of one and half of the other cannot both be read.
    assert!(read_with("a.jsonl", &lines(&rows[2..4]), &DataOptions::default()).is_err());
}

#[test]
fn conversations_keep_every_turn() {
    let messages = json!({"messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "A cold?"},
        {"role": "assistant", "content": [{"type": "text", "text": "Tea."}]},
        {"role": "user", "content": "And"},
        {"role": "user", "content": "flu?"},
        {"role": "assistant", "content": "Rest."},
        {"role": "user", "content": "Thanks."},
    ]});
    let expected = Record {
        instruction: "Be kind.".into(),
        further: vec![Turn { input: "And\nflu?".into(), output: "Rest.".into() }],
        ..Record::new("A cold?", "Tea.")
    };
    assert_eq!(one(messages.clone()), (DataFormat::Messages, expected));
    let sharegpt =
        json!({"conversations": [{"from": "human", "value": "A cold?"}, {"from": "gpt", "value": "Tea."}]});
    assert_eq!(one(sharegpt), (DataFormat::Conversations, Record::new("A cold?", "Tea.")));
    for blank in ["", " \n"] {
        let mut said = messages.clone();
        let list = said["messages"].as_array_mut().unwrap();
        list.insert(1, json!({"role": "system", "content": blank}));
        assert_eq!(one(said.clone()).1.instruction, "Be kind.");
        said["messages"].as_array_mut().unwrap().remove(0);
        assert_eq!(one(said).1.instruction, DEFAULT_INSTRUCTION, "a blank one counts as none");
    }
    // The system's message in a field of its own, as some have it.
    let beside = |list: serde_json::Value| one(json!({"system": " S ", "conversations": list})).1.instruction;
    let turns = json!([{"from": "human", "value": "A cold?"}, {"from": "gpt", "value": "Tea."}]);
    assert_eq!(beside(turns.clone()), "S");
    let mut both = turns;
    both.as_array_mut().unwrap().insert(0, json!({"from": "system", "value": "T"}));
    assert_eq!(beside(both), "S\nT");
    // A list that went through a table.
    let cell = messages["messages"].to_string().replace('"', "\"\"");
    let table = read_with("a.csv", &format!("id,messages\n1,\"{cell}\"\n"), &DataOptions::default()).unwrap();
    assert_eq!(table.records[0].further.len(), 1);

    let said =
        |role: &str, content: serde_json::Value| json!({"messages": [{"role": role, "content": content}]});
    for (row, words) in [
        (said("user", json!("Why?")), "no answer in it"),
        (said("assistant", json!("So.")), "an answer comes first"),
        (said("tool", json!("x")), "message 1: `role` is `tool`, expected system, user"),
        (said("user", json!(7)), "message 1: `content` is a number, expected a string"),
        (said("user", json!(" ")), "message 1: `content` is empty"),
        (json!({"messages": [["user", "Why?"]]}), "message 1: an array, expected an object"),
        (json!({"messages": "Why?"}), "`messages` is a string, expected an array of messages"),
        (json!({"messages": [{"content": "Why?"}]}), "message 1: `role` is missing"),
    ] {
        let message = fault(&[row]);
        assert!(message.contains("(messages): 1 of 1 records") && message.contains(words), "{message}");
    }
}

#[test]
fn an_exam_becomes_question_with_choices_and_the_right_one() {
    let row = |cop: serde_json::Value| {
        json!({"id": "e", "question": "Which organ makes bile?", "opa": "Liver", "opb": "Spleen", "opc": "Heart",
               "opd": "Lung", "cop": cop, "choice_type": "single", "exp": null, "subject_name": "Physiology"})
    };
    let (format, record) = one(row(json!(0)));
    assert_eq!((format, record.output.as_str()), (DataFormat::Medmcqa, "A. Liver"));
    assert_eq!(record.input, "Which organ makes bile?\nA. Liver\nB. Spleen\nC. Heart\nD. Lung");
    let faults = fault(&[row(json!(-1)), row(json!(5)), row(json!(null)), row(json!(1.5))]);
    assert!(
        faults.contains("(medmcqa): 4 of 4") && faults.contains("`cop` is -1: this split has no answers"),
        "{faults}"
    );
    assert!(faults.contains("record 3 (line 3): `cop` is missing"), "{faults}");

    // As its authors' own files count: not even where bad records are left out is one taken for its neighbour.
    let skip = DataOptions { bad_records: OnBadRecord::Skip, ..DataOptions::default() };
    let authors = lines(&[row(json!(1)), row(json!(4)), row(json!(2))]);
    let message = read_with("train.json", &authors, &skip).unwrap_err().to_string();
    assert!(
        message.contains("(medmcqa), record 2: `cop` is 4") && message.contains("subtract 1"),
        "{message}"
    );
}

#[test]
fn text_alone_is_documents_and_a_form_can_be_forced() {
    let rows = [json!({"text": "One.\n\nTwo.", "question": "q"}), json!({"text": "Three."})];
    let data = read(&rows);
    assert_eq!((data.documents.len(), data.records.len()), (2, 0));
    assert!(data.reading.to_string().starts_with("text: documents"), "{}", data.reading);
    let forced = DataOptions { format: Some(DataFormat::QuestionAnswer), ..DataOptions::default() };
    let missing = read_with("a.jsonl", &lines(&rows), &forced).unwrap_err().to_string();
    assert!(missing.contains("no column `answer`; the file has `text`, `question`"), "{missing}");
    let message = read_with("a.txt", "One.\n", &forced).unwrap_err().to_string();
    assert!(
        message.contains("format is question-answer; expected none, or text") && message.contains("a.txt"),
        "{message}"
    );
    let text = DataOptions { format: Some(DataFormat::Text), ..DataOptions::default() };
    assert_eq!(read_with("a.txt", "One.\n", &text).unwrap().documents, ["One."]);
    let named = DataOptions {
        question_column: "text".into(),
        answer_column: "question".into(),
        ..Default::default()
    };
    let named = DataOptions { prompt_template: "{input}{output}".parse().unwrap(), ..named };
    assert_eq!(read_with("a.jsonl", &lines(&rows[..1]), &named).unwrap().records[0].output, "q");
    for format in DataFormat::ALL {
        assert_eq!(serde_json::to_value(format).unwrap(), format.name());
        assert_eq!(format.name().parse::<DataFormat>().unwrap(), format);
        assert!(format.description().len() < 90);
    }
}
