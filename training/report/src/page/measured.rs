//! What was measured before and after: the protocols, with the honest reading first.

use super::Findings;
use super::html::{absent, chart, figure, table, whole};
use crate::chart::Chart;
use crate::error::ReportError;
use crate::markup::escape;
use crate::number::grouped;
use crate::perplexities::{PROTOCOLS, PerplexityRow};

/// How far the tuned model's loss on the answers is from the base's.
#[derive(Clone, Debug, PartialEq)]
pub struct Gain {
    /// The tuned loss less the base's, in nats per token; below zero the tuned model is better.
    pub difference: f64,
    /// The standard error of `difference`, where there is one.
    pub standard_error: Option<f64>,
    /// What that says, as the end of a sentence, such as "more than two standard errors".
    pub verdict: String,
}

/// The section of the protocols.
pub(super) fn protocols(findings: &Findings, examples: usize) -> Result<String, ReportError> {
    let rows = &findings.perplexities;
    let mut section = String::from("<section>\n<h2>Before and after</h2>\n");
    section += &reading(findings, examples);
    // From the most telling protocol to the one that flatters.
    let lines: Vec<String> =
        PROTOCOLS.into_iter().rev().flat_map(|protocol| protocol_rows(rows, protocol)).collect();
    let heads = [
        "protocol",
        "model",
        "perplexity",
        "change",
        "loss (nats per token)",
        "standard error",
        "tokens",
        "bits per byte",
    ];
    section += &table("performance", &heads, &lines);
    section += &chart(&Chart::perplexities(rows)?);
    Ok(section + "</section>\n")
}

/// What the table says, in words.
fn reading(findings: &Findings, examples: usize) -> String {
    let rows = &findings.perplexities;
    let of = |protocol: &str| {
        let mut found = rows.iter().filter(move |row| row.protocol == protocol);
        Some((found.next()?, found.next()?))
    };
    let mut text = String::from("<p class=\"reading\">");
    if let Some((base, tuned)) = of("response") {
        text += &format!(
            "On the answers of {} held-out examples the perplexity went from {:.2} to {:.2} ({:+.1}\u{a0}%)",
            grouped(examples),
            base.perplexity,
            tuned.perplexity,
            tuned.change_from(base)
        );
    }
    if let Some((base, tuned)) = of("text") {
        text += &format!(
            "; over every real token from {:.2} to {:.2} ({:+.1}\u{a0}%)",
            base.perplexity,
            tuned.perplexity,
            tuned.change_from(base)
        );
    }
    text += ". ";
    if let Some(gain) = &findings.gain {
        let error = gain.standard_error.map(|error| format!(" ± {error:.4}")).unwrap_or_default();
        text += &format!(
            "Example by example, the loss on the answers changed by {:+.4}{error} nats per token, {}. ",
            gain.difference, gain.verdict
        );
    }
    text + "Do not read <code>notebook</code> as progress: it also scores the padding, and flatters whoever trains on \
            padding, which is learned within minutes whatever the answers are worth; here nobody does. It is here to \
            be compared with the notebook that this recipe follows.</p>\n"
}

fn protocol_rows(rows: &[PerplexityRow], (protocol, scored): (&str, &str)) -> Vec<String> {
    let found: Vec<&PerplexityRow> = rows.iter().filter(|row| row.protocol == protocol).collect();
    let line = |(at, row): (usize, &&PerplexityRow)| {
        let head = match at {
            0 => format!(
                "<th scope=\"rowgroup\" rowspan=\"{}\">{protocol}<br><small>{scored}</small></th>",
                found.len()
            ),
            _ => String::new(),
        };
        let change = if at == 0 { absent() } else { format!("{:+.1} %", row.change_from(found[0])) };
        format!(
            "<tr class=\"{protocol}\" data-model=\"{model}\" data-protocol=\"{protocol}\">{head}<td>{model}</td>\
             <td>{}</td><td>{change}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            figure(row.perplexity, 2),
            figure(row.loss, 4),
            row.standard_error.map_or_else(absent, |error| figure(error, 4)),
            whole(row.tokens),
            row.bits_per_byte.map_or_else(absent, |bits| figure(bits, 3)),
            model = escape(&row.model)
        )
    };
    found.iter().enumerate().map(line).collect()
}
