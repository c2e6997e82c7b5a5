//! What the report promises: numbers that add up, and a text that shows them.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::bpe::tests::small;
use crate::{Overlong, PromptTemplate, Record, Supervise, encode_examples, find_duplicates};

fn records() -> Vec<Record> {
    let record = |i: usize| Record {
        instruction: String::new(),
        input: format!("Z{}", i % 8),
        output: "Y".repeat(1 + i * 3),
        further: Vec::new(),
    };
    (0..10).map(record).collect()
}

fn encoded(max_length: usize, overlong: Overlong) -> Encoded {
    let template: PromptTemplate = "{input}>{output}".parse().unwrap();
    encode_examples(&records(), &template, &small(), max_length, Supervise::Response, overlong).unwrap()
}

fn split() -> Split {
    Split { train: (0..8).collect(), validation: vec![8, 9], test: Vec::new() }
}

#[test]
fn the_numbers_are_those_of_the_examples() {
    let encoded = encoded(20, Overlong::Cut);
    let report = DataReport::new(&encoded, &split(), Some(find_duplicates(&records())), 4, 1);
    assert_eq!((report.records, report.train, report.validation), (10, 8, 2));
    // A text has 5 + 3 i ids with its end-of-text: 5, 8, ... 32.
    let Lengths { min, mean, median, p90, p99, max } = report.lengths;
    assert_eq!((min, mean, median, p90, p99, max), (5, 18.5, 17, 29, 32, 32));
    assert_eq!(report.tokens, 5 + 8 + 11 + 14 + 17 + 5 * 20);
    assert_eq!(report.supervised_tokens, report.tokens - 10 * 3);
    // The text of 20 tokens just fits.
    assert_eq!(report.truncation.over_long, 4);
    // Two batches of the training side in order of length: 5 8 11 14 and 17 20 20 20.
    assert!((report.padding_share - (1.0 - 115.0 / (56.0 + 80.0))).abs() < 1e-12);
    assert_eq!(report.histogram.iter().map(|bin| bin.count).sum::<usize>(), 10);
    assert_eq!(serde_json::to_value(&report).unwrap()["duplicates"]["repeated_questions"], 2);

    let dropped = DataReport::new(&self::encoded(20, Overlong::Drop), &split(), None, 4, 1);
    assert_eq!((dropped.records, dropped.train, dropped.validation), (10, 6, 0));
}

#[test]
fn the_text_shows_every_number_and_fits_a_terminal() {
    let report =
        DataReport::new(&encoded(20, Overlong::Cut), &split(), Some(find_duplicates(&records())), 4, 1);
    let text = report.render();
    for part in [
        "records     10 (8 train, 2 validation)",
        "tokens      155 (125 supervised, 80.6 %)",
        "min 5, mean 18.5, median 17, p90 29, p99 32, max 32 tokens",
        "4 over 20 tokens (40.0 %): 4 answers cut, 0 lost whole; 155 of 185 tokens kept",
        "0 exact copies, 2 records repeat a question",
        "2x Z0",
        "15.4 % of a training epoch in batches of 4",
        " 1 -  5  1  ███",
    ] {
        assert!(text.contains(part), "{part:?} not in:\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
}

#[test]
fn bins_are_round_and_hold_every_length() {
    for longest in [1, 2, 16, 17, 255, 256, 257, 3202, 100_000] {
        let lengths: Vec<usize> = (1..=longest).collect();
        let bins = histogram(&lengths);
        assert!((1..=BINS).contains(&bins.len()), "{longest}: {} bins", bins.len());
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<usize>(), longest);
        assert!(bins.last().unwrap().to >= longest && bins.last().unwrap().from <= longest);
        assert!(bins.windows(2).all(|pair| pair[0].to + 1 == pair[1].from));
    }
    assert!(histogram(&[]).is_empty());

    let with_a_giant = histogram(&[vec![20; 99], vec![9000]].concat());
    assert_eq!(with_a_giant.len(), 11);
    assert_eq!(
        with_a_giant[9..],
        [Bin { from: 19, to: 20, count: 99 }, Bin { from: 21, to: 9000, count: 1 }]
    );
}

#[test]
fn supervised_tokens_are_marked() {
    let tokenizer = small();
    let example = |text: &str, supervised_from| {
        let mut ids = tokenizer.encode(text).unwrap();
        ids.push(tokenizer.end_of_text());
        Example { ids, response_from: 1, supervised_from, later_prompts: Vec::new(), record: 0 }
    };
    let marked = |example: &Example| mark_supervised(example, &tokenizer).unwrap();
    assert_eq!(marked(&example("ZYX", 1)), "Z⟦YX<|endoftext|>⟧");
    assert_eq!(marked(&example("ZYX", 3)), "ZYX⟦<|endoftext|>⟧");
    assert_eq!(marked(&example("ZYX", 4)), "ZYX<|endoftext|>");
    // Supervision that begins inside a character marks all of it.
    let inside = example("Z🦠", 3);
    assert!(inside.ids.len() > 4, "the test needs a character of several tokens");
    assert_eq!(marked(&inside), "Z⟦🦠<|endoftext|>⟧");
    let coloured = mark_supervised_with(&example("ZYX", 2), &tokenizer, "\u{1b}[32m", "\u{1b}[0m").unwrap();
    assert_eq!(coloured, "ZY\u{1b}[32mX<|endoftext|>\u{1b}[0m");
}
