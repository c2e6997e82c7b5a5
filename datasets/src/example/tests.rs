//! An example is its text's ids, what is learned of it, and what a cut took.
// A list of one range is meant as such.
#![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]
use std::str::FromStr;

use super::*;
use crate::bpe::tests::small;
use crate::record::Turn;

fn record(input: &str, output: &str) -> Record {
    Record { input: input.into(), output: output.into(), ..Record::default() }
}

/// One byte a token: letters the training texts never pair.
fn encode(
    records: &[Record],
    max: usize,
    supervise: Supervise,
    overlong: Overlong,
) -> Result<Encoded, DataError> {
    let template = PromptTemplate::from_str("{input}>{output}").unwrap();
    encode_examples(records, &template, &small(), max, supervise, overlong)
}

#[test]
fn targets_are_the_text_or_the_answer_with_its_end() {
    let records = [record("ZY", "XW")];
    let text = &encode(&records, 9, Supervise::Text, Overlong::Cut).unwrap().examples[0];
    assert_eq!(text.ids, [small().encode("ZY>XW").unwrap(), vec![299]].concat());
    assert_eq!((text.response_from, text.targets(), text.response_targets()), (3, 1..6, 3..6));
    let response = &encode(&records, 9, Supervise::Response, Overlong::Cut).unwrap().examples[0];
    assert_eq!((response.response_from, response.targets()), (3, 3..6));
    assert_eq!(response.ids, text.ids);
}

#[test]
fn every_answer_of_a_conversation_is_learned_and_closed() {
    let turn = |input: &str, output: &str| Turn { input: input.into(), output: output.into() };
    let records = [Record { further: vec![turn("VU", "T"), turn("S", "R")], ..record("ZY", "XW") }];
    let at = |max, supervise| encode(&records, max, supervise, Overlong::Cut).unwrap().examples.remove(0);
    let response = at(99, Supervise::Response);
    let expected: Vec<u32> = ["ZY>XW", "\nVU>T", "\nS>R"]
        .iter()
        .flat_map(|text| [small().encode(text).unwrap(), vec![299]].concat())
        .collect();
    assert_eq!(response.ids, expected);
    // Z Y > X W | \n V U > T | \n S > R |
    assert_eq!(response.supervised(), [3..6, 10..12, 15..17]);
    assert_eq!((response.later_prompts.clone(), response.supervised_tokens()), (vec![6..10, 12..15], 7));
    assert_eq!(at(99, Supervise::Text).supervised(), [1..17]);
    assert_eq!(at(11, Supervise::Response).supervised(), [3..6, 10..11]);
    assert_eq!(at(8, Supervise::Response).supervised(), [3..6]);
    assert_eq!(at(8, Supervise::Response).later_prompts, [6..8]);
    assert_eq!(without(2..9, &[0..3, 8..12]), [3..8]);
}

#[test]
fn a_cut_takes_the_end_and_is_counted() {
    // With end-of-text: 6 tokens, fits; 7, loses only its end-of-text; 9, whose prompt alone takes all 6.
    let records = [record("ZY", "XW"), record("ZY", "XWV"), record("ZYXWV", "XW")];
    let encoded = encode(&records, 6, Supervise::Response, Overlong::Cut).unwrap();
    assert_eq!(encoded.lengths, [6, 7, 9]);
    let targets: Vec<_> = encoded.examples.iter().map(Example::targets).collect();
    assert_eq!(targets, [3..6, 3..6, 6..6]);
    assert_eq!(encoded.examples[0].ids[5], 299);
    assert_eq!(encoded.examples[1].ids, small().encode("ZY>XWV").unwrap());
    let expected = Truncation {
        max_length: 6,
        records: 3,
        over_long: 2,
        dropped: 0,
        answers_cut_partly: 1,
        answers_lost: 1,
        tokens: 22,
        tokens_kept: 18,
        supervised_tokens: 6,
    };
    assert_eq!(encoded.truncation, expected);
}

#[test]
fn a_dropped_record_keeps_the_others_indices() {
    let records = [record("ZYXWVU", "X"), record("Z", "Y")];
    let encoded = encode(&records, 6, Supervise::Text, Overlong::Drop).unwrap();
    assert_eq!(encoded.examples.len(), 1);
    assert_eq!(encoded.examples[0].record, 1);
    assert_eq!((encoded.truncation.over_long, encoded.truncation.dropped), (1, 1));
    assert_eq!((encoded.truncation.tokens, encoded.truncation.tokens_kept), (9 + 4, 4));
}

#[test]
fn a_token_across_the_border_belongs_to_the_answer() {
    let tokenizer = small();
    let template = PromptTemplate::from_str("{input}:{output}").unwrap();
    let joined = PromptTemplate::from_str("{input} vi{output}").unwrap();
    let encode = |template, record| {
        encode_examples(&[record], template, &tokenizer, 50, Supervise::Response, Overlong::Cut).unwrap()
    };
    let apart = encode(&template, record("Z", "Y"));
    assert_eq!(apart.examples[0].response_from, 2);
    // " virus" is one token, so "Z" is all that the text and its prompt "Z vi" have in common.
    let across = encode(&joined, record("Z", "rus"));
    assert_eq!(across.examples[0].ids.len(), 3);
    assert_eq!(across.examples[0].targets(), 1..3);
}

#[test]
fn nothing_to_learn_from_is_an_error_with_its_reason() {
    let records = [record("ZYXWVU", "X")];
    let fault =
        |max, supervise, overlong| encode(&records, max, supervise, overlong).unwrap_err().to_string();
    assert!(fault(1, Supervise::Text, Overlong::Cut).contains("at least 2"));
    assert!(fault(4, Supervise::Text, Overlong::Drop).contains("the shortest has 9"));
    assert!(fault(7, Supervise::Response, Overlong::Cut).contains("no answer has a token"));
    assert!(encode(&[], 4, Supervise::Text, Overlong::Cut).is_err());
}

#[test]
fn settings_are_lower_case_words() {
    assert_eq!(serde_json::to_string(&Supervise::Response).unwrap(), "\"response\"");
    assert_eq!(serde_json::from_str::<Overlong>("\"drop\"").unwrap(), Overlong::Drop);
}

#[test]
fn names_are_those_of_the_settings_and_an_unknown_one_is_refused_with_the_list() {
    for one in Supervise::ALL {
        assert_eq!(serde_json::to_value(one).unwrap(), one.to_string());
        assert_eq!(one.name().parse::<Supervise>().unwrap(), one);
    }
    for one in Overlong::ALL {
        assert_eq!(serde_json::to_value(one).unwrap(), one.to_string());
        assert_eq!(one.name().parse::<Overlong>().unwrap(), one);
    }
    let message = "keep".parse::<Overlong>().unwrap_err().to_string();
    assert_eq!(message, "overlong is \"keep\"; expected cut or drop");
}
