//! What went in: the data in numbers, the settings and the manifest.

use super::html::table;
use crate::markup::escape;
use crate::number::grouped;

/// What the data hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataFacts {
    /// Facts in a few words: what each is about, and what it says.
    pub facts: Vec<(String, String)>,
    /// How many records have which length.
    pub lengths: Vec<LengthBin>,
}

/// One bar of a histogram: lengths from `from` to `to` tokens, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthBin {
    /// The shortest length in it.
    pub from: usize,
    /// The longest length in it.
    pub to: usize,
    /// How many records it has.
    pub count: usize,
}

/// The section of the data.
pub(super) fn data(data: &DataFacts) -> String {
    let facts: String = data
        .facts
        .iter()
        .map(|(name, text)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(text)))
        .collect();
    let most = data.lengths.iter().map(|bin| bin.count).max().unwrap_or(0).max(1);
    let bars: Vec<String> = data
        .lengths
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

/// A section with a text as it stands in its file.
pub(super) fn verbatim(heading: &str, text: &str) -> String {
    format!("<section>\n<h2>{heading}</h2>\n<pre>{}</pre>\n</section>\n", escape(text))
}
