//! Loss and perplexity of several models on the same rows, a protocol each: the table of a run.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::ReportError;
use crate::table::{cell, read_table, write_table};

/// What a reader of the three protocols must know.
pub const PROTOCOLS_NOTE: &str = "text scores every real token, response the answers alone. notebook also scores the \
                                  padding: it flatters whoever trains on padding, which is learned within minutes \
                                  whatever the answers are worth; here nobody does.";

/// The protocols, each with what it scores, in the order of the tables.
pub(crate) const PROTOCOLS: [(&str, &str); 3] =
    [("notebook", "padding as well"), ("text", "every real token"), ("response", "the answer only")];

/// The columns of the table, in order. The first three are those of the original notebook.
const COLUMNS: [&str; 7] =
    ["Model", "Loss", "Perplexity", "Protocol", "Tokens", "Standard Error", "Bits per Byte"];
/// Those that every table of a run has: the last is newer than the others.
const NEEDED: usize = 6;

/// One measurement: a model under one protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PerplexityRow {
    /// The model as people should read it, such as "Base Model".
    #[serde(rename = "Model")]
    pub model: String,
    /// Which tokens are scored: `notebook`, `text` or `response`.
    #[serde(rename = "Protocol")]
    pub protocol: String,
    /// Mean negative log-likelihood, in nats per token.
    #[serde(rename = "Loss")]
    pub loss: f64,
    /// `exp(loss)`.
    #[serde(rename = "Perplexity")]
    pub perplexity: f64,
    /// How many tokens were scored.
    #[serde(rename = "Tokens")]
    pub tokens: u64,
    /// The standard error of `loss`, in nats per token, where it was estimated.
    #[serde(rename = "Standard Error")]
    pub standard_error: Option<f64>,
    /// What all tokens cost together for each byte of text, in bits, where the bytes were counted; none under
    /// `notebook`, which scores padding.
    #[serde(rename = "Bits per Byte", default)]
    pub bits_per_byte: Option<f64>,
}

impl PerplexityRow {
    /// How much higher the perplexity is than that of `first`, in percent.
    pub(crate) fn change_from(&self, first: &Self) -> f64 {
        100.0 * (self.perplexity / first.perplexity - 1.0)
    }
}

/// Writes the table. Floats keep every digit needed to read back the same number; an absent standard error is an
/// empty cell.
///
/// # Errors
/// [`ReportError::Write`] where the file cannot be written.
pub fn write_perplexities(path: impl AsRef<Path>, rows: &[PerplexityRow]) -> Result<(), ReportError> {
    let records = rows.iter().map(|row| {
        let PerplexityRow { model, protocol, loss, perplexity, tokens, standard_error, bits_per_byte } = row;
        [
            model.clone(),
            loss.to_string(),
            perplexity.to_string(),
            protocol.clone(),
            tokens.to_string(),
            cell(*standard_error),
            cell(*bits_per_byte),
        ]
    });
    write_table(path.as_ref(), &COLUMNS, records)
}

/// Reads a table that [`write_perplexities`] wrote. Columns are found by name, so their order may differ and further
/// columns are passed over.
///
/// # Errors
/// [`ReportError::Read`] for a file that cannot be opened, a missing column, or a cell that is not a number.
pub fn read_perplexities(path: impl AsRef<Path>) -> Result<Vec<PerplexityRow>, ReportError> {
    read_table(path.as_ref(), &COLUMNS[..NEEDED])
}

/// A line for each model: its name and its perplexities under `notebook`, `text` and `response`, from the second model
/// on with the change from the first.
pub fn perplexity_cells(rows: &[PerplexityRow]) -> Vec<[String; 4]> {
    let mut models: Vec<&str> = rows.iter().map(|row| row.model.as_str()).collect();
    models.dedup();
    let find =
        |model: &str, protocol: &str| rows.iter().find(|row| row.model == model && row.protocol == protocol);
    let cell = |model: &str, protocol: &str| match (find(model, protocol), find(models[0], protocol)) {
        (None, _) => "–".to_string(),
        (Some(row), Some(first)) if first.model != model => {
            format!("{:.3} ({:+.1} %)", row.perplexity, row.change_from(first))
        }
        (Some(row), _) => format!("{:.3}", row.perplexity),
    };
    models
        .iter()
        .map(|model| {
            let [notebook, text, response] = PROTOCOLS.map(|(protocol, _)| cell(model, protocol));
            [model.to_string(), notebook, text, response]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    fn row(model: &str, protocol: &str, loss: f64, standard_error: Option<f64>) -> PerplexityRow {
        let (model, protocol) = (model.into(), protocol.into());
        PerplexityRow {
            model,
            protocol,
            loss,
            perplexity: loss.exp(),
            tokens: 1_234_567,
            standard_error,
            bits_per_byte: standard_error.map(|error| 3.0 * error),
        }
    }

    #[test]
    fn perplexities_read_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("performance.csv");
        let rows = [
            row("Base, \"raw\"\nsecond line", "text", 0.1 + 0.2, Some(1.0 / 3.0)),
            row("LoRA ĝ", "text", 4.749_4e-11, None),
            row(" padded ", "text", 1e300, Some(0.0)),
        ];
        write_perplexities(&path, &rows).unwrap();
        assert_eq!(read_perplexities(&path).unwrap(), rows);
    }

    #[test]
    fn the_header_keeps_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("performance.csv");
        write_perplexities(&path, &[row("Base Model", "text", 0.5, None)]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let expected = "Model,Loss,Perplexity,Protocol,Tokens,Standard Error,Bits per Byte\n\
                        Base Model,0.5,1.6487212707001282,text,1234567,,\n";
        assert_eq!(text, expected);
        // A table that was written before bytes were counted.
        std::fs::write(&path, expected.replace(",Bits per Byte", "").replace(",,", ",")).unwrap();
        assert_eq!(read_perplexities(&path).unwrap(), [row("Base Model", "text", 0.5, None)]);
    }

    #[test]
    fn an_empty_table_is_a_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("performance.csv");
        write_perplexities(&path, &[]).unwrap();
        assert_eq!(read_perplexities(&path).unwrap(), []);
    }

    #[test]
    fn the_cells_show_each_change_from_the_first_model() {
        let model = |name: &str, factor: f64| {
            let perplexities = [("notebook", 100.0), ("text", 20.0), ("response", 10.0)];
            perplexities.map(|(protocol, perplexity)| PerplexityRow {
                perplexity: perplexity * factor,
                ..row(name, protocol, 0.0, None)
            })
        };
        let all = [model("Base Model", 1.0), model("LoRA Model", 0.5)].concat();
        assert_eq!(perplexity_cells(&all)[0], ["Base Model", "100.000", "20.000", "10.000"]);
        assert_eq!(perplexity_cells(&all)[1][3], "5.000 (-50.0 %)");
        assert_eq!(perplexity_cells(&all[..4])[1], ["LoRA Model", "50.000 (-50.0 %)", "–", "–"]);
        assert!(perplexity_cells(&[]).is_empty());
    }
}
