//! What went in: the data in numbers, the settings and the manifest.

use anyhow::Result;
use gptneo_datasets::{DataReport, grouped};

use super::html::{escape, table};
use crate::run::Manifest;
use crate::settings::Settings;

/// The section of the data.
pub(super) fn data(report: &DataReport) -> String {
    let (t, l) = (&report.truncation, &report.lengths);
    let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    let mut facts = vec![
        (
            "split",
            format!(
                "{} examples to learn from, {} held out, of {} in the file",
                grouped(report.train),
                grouped(report.validation),
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
    let facts: String =
        facts.iter().map(|(name, text)| format!("<dt>{name}</dt><dd>{text}</dd>\n")).collect();
    let most = report.histogram.iter().map(|bin| bin.count).max().unwrap_or(0).max(1);
    let bars: Vec<String> = report
        .histogram
        .iter()
        .map(|bin| {
            format!(
                "<tr><td>{} – {}</td><td>{}</td><td class=\"bars\"><span style=\"width:{:.1}%\"></span></td></tr>\n",
                bin.from,
                bin.to,
                grouped(bin.count),
                100.0 * bin.count as f64 / most as f64
            )
        })
        .collect();
    format!(
        "<section>\n<h2>Data</h2>\n<dl class=\"facts\">\n{facts}</dl>\n{}</section>\n",
        table("lengths", &["length (tokens)", "records", ""], &bars)
    )
}

/// The section of the settings and the manifest, as they stand in their files.
pub(super) fn settings(settings: &Settings, manifest: &Manifest) -> Result<String> {
    Ok(format!(
        "<section>\n<h2>Settings</h2>\n<pre>{}</pre>\n</section>\n<section>\n<h2>Manifest</h2>\n<pre>{}</pre>\n\
         </section>\n",
        escape(&settings.to_toml()?),
        escape(&serde_json::to_string_pretty(manifest)?)
    ))
}
