//! The data in a few words and a histogram.

use gptneo_datasets::{DataReport, grouped};
use gptneo_report::{DataFacts, LengthBin};

/// What the data hold.
pub(crate) fn data(report: &DataReport) -> DataFacts {
    let (t, l) = (&report.truncation, &report.lengths);
    let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    let tested = match report.test {
        0 => String::new(),
        test => format!(", {} to test with at the end", grouped(test)),
    };
    let mut facts = vec![
        (
            "split",
            format!(
                "{} examples to learn from, {} held out{}, of {} in the file",
                grouped(report.train),
                grouped(report.validation),
                tested,
                grouped(report.records)
            ),
        ),
        (
            "tokens",
            format!(
                "{}, of which {} are supervised ({:.1} %)",
                grouped(report.tokens),
                grouped(report.supervised_tokens),
                percent(report.supervised_tokens, report.tokens)
            ),
        ),
        (
            "lengths",
            format!(
                "min {}, mean {:.1}, median {}, p90 {}, p99 {}, max {} tokens, before any cut",
                l.min, l.mean, l.median, l.p90, l.p99, l.max
            ),
        ),
        (
            "too long",
            format!(
                "{} over {} tokens ({:.1} %): {} answers cut, {} lost whole, {} left out",
                grouped(t.over_long),
                grouped(t.max_length),
                percent(t.over_long, t.records),
                grouped(t.answers_cut_partly),
                grouped(t.answers_lost),
                grouped(t.dropped)
            ),
        ),
        (
            "padding",
            format!("{:.1} % of an epoch in batches of {}", 100.0 * report.padding_share, report.batch_size),
        ),
    ];
    if let Some(duplicates) = &report.duplicates {
        facts.push((
            "duplicates",
            format!(
                "{} exact copies, {} records repeat a question",
                grouped(duplicates.exact),
                grouped(duplicates.repeated_questions)
            ),
        ));
    }
    if let Some(reading) = &report.reading {
        facts.insert(0, ("format", reading.to_string()));
        if reading.skipped > 0 {
            facts.push(("left out", reading.reasons.join("; ")));
        }
    }
    if let Some(leaks) = &report.leaks {
        facts.push(("leaks", leaks.to_string()));
    }
    let bins = report.histogram.iter();
    DataFacts {
        facts: facts.into_iter().map(|(name, text)| (name.to_string(), text)).collect(),
        lengths: bins.map(|bin| LengthBin { from: bin.from, to: bin.to, count: bin.count }).collect(),
    }
}
