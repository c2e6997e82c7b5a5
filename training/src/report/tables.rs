//! The two CSV tables of a run: how well each model predicts, and what each model answers.
//!
//! The headers are a contract with the people and notebooks that read them, so they are spelled here once and apart
//! from the field names.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{ReportError, write_whole};

/// The columns of the performance table, in order. The first three are those of the original notebook.
const PERFORMANCE_COLUMNS: [&str; 6] =
    ["Model", "Loss", "Perplexity", "Protocol", "Tokens", "Standard Error"];
/// The columns of the generation table, in order.
const GENERATION_COLUMNS: [&str; 3] = ["Question", "Base Model", "LoRA Model"];

/// One measurement: a model under one protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PerformanceRow {
    /// The model as people should read it, such as "Base Model".
    pub model: String,
    /// Which tokens are scored: `notebook`, `text` or `response`.
    pub protocol: String,
    /// Mean negative log-likelihood, in nats per token.
    pub loss: f64,
    /// `exp(loss)`.
    pub perplexity: f64,
    /// How many tokens were scored.
    pub tokens: u64,
    /// The standard error of `loss`, in nats per token, where it was estimated.
    pub standard_error: Option<f64>,
}

/// One question and the answers of both models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRow {
    /// The question that was asked.
    pub question: String,
    /// The base model's answer.
    pub base: String,
    /// The fine-tuned model's answer.
    pub tuned: String,
}

/// A performance row under the names of the table's columns.
#[derive(Deserialize)]
struct PerformanceRecord {
    #[serde(rename = "Model")]
    model: String,
    #[serde(rename = "Loss")]
    loss: f64,
    #[serde(rename = "Perplexity")]
    perplexity: f64,
    #[serde(rename = "Protocol")]
    protocol: String,
    #[serde(rename = "Tokens")]
    tokens: u64,
    #[serde(rename = "Standard Error")]
    standard_error: Option<f64>,
}

/// Writes the performance table. Floats keep every digit needed to read back the same number; an absent standard
/// error is an empty cell.
///
/// # Errors
/// [`ReportError::Write`] where the file cannot be written.
pub fn write_performance(path: impl AsRef<Path>, rows: &[PerformanceRow]) -> Result<(), ReportError> {
    let records = rows.iter().map(|row| {
        let PerformanceRow { model, protocol, loss, perplexity, tokens, standard_error } = row;
        [
            model.clone(),
            loss.to_string(),
            perplexity.to_string(),
            protocol.clone(),
            tokens.to_string(),
            standard_error.map(|error| error.to_string()).unwrap_or_default(),
        ]
    });
    write_table(path.as_ref(), &PERFORMANCE_COLUMNS, records)
}

/// Reads a table that [`write_performance`] wrote. Columns are found by name, so their order may differ and further
/// columns are passed over.
///
/// # Errors
/// [`ReportError::Read`] for a file that cannot be opened, a missing column, or a cell that is not a number.
pub fn read_performance(path: impl AsRef<Path>) -> Result<Vec<PerformanceRow>, ReportError> {
    let path = path.as_ref();
    let failed = |source| ReportError::Read {
        path: path.to_path_buf(),
        expected: PERFORMANCE_COLUMNS.join(", "),
        source,
    };
    let mut reader = csv::Reader::from_path(path).map_err(failed)?;
    let missing: Vec<_> = {
        let headers = reader.headers().map_err(failed)?;
        PERFORMANCE_COLUMNS.into_iter().filter(|column| !headers.iter().any(|held| held == *column)).collect()
    };
    if !missing.is_empty() {
        let message = format!("the header lacks {}", missing.join(", "));
        return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidData, message).into()));
    }
    reader
        .deserialize()
        .map(|record| {
            let PerformanceRecord { model, loss, perplexity, protocol, tokens, standard_error } =
                record.map_err(failed)?;
            Ok(PerformanceRow { model, protocol, loss, perplexity, tokens, standard_error })
        })
        .collect()
}

/// Writes the generation table. Answers may hold commas, quotes and newlines; they are quoted as RFC 4180 says.
///
/// # Errors
/// [`ReportError::Write`] where the file cannot be written.
pub fn write_generation(path: impl AsRef<Path>, rows: &[GenerationRow]) -> Result<(), ReportError> {
    let records = rows
        .iter()
        .map(|GenerationRow { question, base, tuned }| [question, base, tuned].map(String::as_str));
    write_table(path.as_ref(), &GENERATION_COLUMNS, records)
}

/// Writes a header and records as one whole file.
pub(super) fn write_table<const COLUMNS: usize, Cell: AsRef<[u8]>>(
    path: &Path,
    header: &[&str; COLUMNS],
    records: impl Iterator<Item = [Cell; COLUMNS]>,
) -> Result<(), ReportError> {
    write_whole(path, |file| {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(header)?;
        for record in records {
            writer.write_record(&record)?;
        }
        writer.flush()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::error::Error;
    use std::fs;

    use super::*;

    fn row(model: &str, loss: f64, standard_error: Option<f64>) -> PerformanceRow {
        let perplexity = loss.exp();
        PerformanceRow {
            model: model.into(),
            protocol: "text".into(),
            loss,
            perplexity,
            tokens: 1_234_567,
            standard_error,
        }
    }

    #[test]
    fn performance_reads_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("performance.csv");
        let rows = [
            row("Base, \"raw\"\nsecond line", 0.1 + 0.2, Some(1.0 / 3.0)),
            row("LoRA ĝ", 4.749_4e-11, None),
            row(" padded ", 1e300, Some(0.0)),
        ];
        write_performance(&path, &rows).unwrap();
        assert_eq!(read_performance(&path).unwrap(), rows);
    }

    #[test]
    fn the_performance_header_keeps_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("performance.csv");
        write_performance(&path, &[row("Base Model", 0.5, None)]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let expected = "Model,Loss,Perplexity,Protocol,Tokens,Standard Error\n\
                        Base Model,0.5,1.6487212707001282,text,1234567,\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_empty_table_is_a_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("performance.csv");
        write_performance(&path, &[]).unwrap();
        assert_eq!(read_performance(&path).unwrap(), []);
    }

    #[test]
    fn generation_quotes_awkward_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("generation.csv");
        let awkward = GenerationRow {
            question: "What is \"angina\", then?".into(),
            base: "line one\nline two\r\n\n,".into(),
            tuned: String::new(),
        };
        write_generation(&path, std::slice::from_ref(&awkward)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("Question,Base Model,LoRA Model\n\"What is \"\"angina\"\", then?\","),
            "{text}"
        );
        let mut reader = csv::Reader::from_path(&path).unwrap();
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(record, vec![awkward.question, awkward.base, awkward.tuned]);
    }

    #[test]
    fn a_bad_table_says_what_and_where() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.csv");
        let whole = |error: ReportError| format!("{error}: {}", error.source().unwrap());

        let error = whole(read_performance(&path).unwrap_err());
        assert!(error.contains("bad.csv"), "{error}");

        fs::write(&path, "Model,Loss,Protocol,Tokens\nBase,1,text,2\n").unwrap();
        let error = whole(read_performance(&path).unwrap_err());
        assert!(error.contains("lacks Perplexity, Standard Error"), "{error}");

        let header = PERFORMANCE_COLUMNS.join(",");
        fs::write(&path, format!("{header}\nBase,1,2,text,3,\nLoRA,1,two,text,3,\n")).unwrap();
        let error = whole(read_performance(&path).unwrap_err());
        assert!(error.contains("line: 3"), "{error}");
    }
}
