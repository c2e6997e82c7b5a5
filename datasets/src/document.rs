//! Plain text: documents apart by end-of-text markers or, where there are none, by blank lines. The file is read twice,
//! line by line: only its end tells whether there are markers, and a text that is held whole beside its documents would
//! take twice the room.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::error::DataError;
use crate::size::DataSize;
use crate::source::{Budget, FileFormat, RECORD_COST, Source};
use crate::tokenizer::DEFAULT_END_OF_TEXT;

/// Whether the file's name says plain text: `.txt`, `.txt.gz` or `.txt.zst`, in any case.
pub fn is_plain_text(path: &Path) -> bool {
    FileFormat::of(path) == Some(FileFormat::Text)
}

/// What ends a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DocumentEnd {
    /// An end-of-text marker; blank lines stand between paragraphs.
    Marker,
    /// A blank line.
    BlankLine,
    /// The end of its record.
    Record,
}

impl fmt::Display for DocumentEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Marker => "end-of-text markers",
            Self::BlankLine => "blank lines, for there are no end-of-text markers",
            Self::Record => "records",
        })
    }
}

/// Reads a UTF-8 text file and cuts it into documents where `<|endoftext|>` stands, or else at blank lines.
///
/// Line ends of Windows become plain ones. Where markers end the documents, a document keeps its blank lines but for
/// those at its ends; where blank lines do, its lines stay apart by one newline.
///
/// # Errors
/// The file is missing, has another extension, is not UTF-8, is damaged, is larger than [`DataSize::DEFAULT`], or
/// holds no document.
pub fn read_documents(path: &Path) -> Result<Vec<String>, DataError> {
    Ok(read(path, DEFAULT_END_OF_TEXT, &Budget::new(DataSize::DEFAULT))?.0)
}

/// As [`read_documents`], with another marker beside the usual one, and with what ended the documents.
pub(crate) fn read(
    path: &Path,
    marker: &str,
    budget: &Budget,
) -> Result<(Vec<String>, DocumentEnd), DataError> {
    if !is_plain_text(path) {
        let supported = ".txt, .txt.gz and .txt.zst";
        return Err(DataError::UnknownFormat { path: path.to_path_buf(), supported });
    }
    let found = first_within(Source::open(path, budget)?, [marker, DEFAULT_END_OF_TEXT])?;
    // What is read was counted.
    let again = Source::open(path, &Budget::new(DataSize::of_bytes(u64::MAX)))?;
    let mut documents = Documents { path, budget, done: Vec::new(), open: String::new() };
    let end = match found {
        Some(marker) => {
            documents.cut_at_markers(again, marker)?;
            DocumentEnd::Marker
        }
        None => {
            documents.cut_at_blank_lines(again)?;
            DocumentEnd::BlankLine
        }
    };
    match documents.done.is_empty() {
        true => Err(DataError::Empty { path: path.to_path_buf(), what: "documents" }),
        false => Ok((documents.done, end)),
    }
}

/// The first of the markers that stands in a line of the text, if any does.
fn first_within(mut source: Source, markers: [&str; 2]) -> Result<Option<&str>, DataError> {
    let (mut line, mut stands) = (Vec::new(), [false; 2]);
    while let Some(text) = source.next_text(&mut line)? {
        for (stands, marker) in stands.iter_mut().zip(markers) {
            *stands = *stands || (!marker.is_empty() && text.contains(marker));
        }
    }
    Ok(markers.into_iter().zip(stands).find(|(_, stands)| *stands).map(|(marker, _)| marker))
}

/// Documents in the making.
struct Documents<'a> {
    path: &'a Path,
    budget: &'a Budget,
    done: Vec<String>,
    /// The one that goes on.
    open: String,
}

impl Documents<'_> {
    fn cut_at_markers(&mut self, mut source: Source, marker: &str) -> Result<(), DataError> {
        let mut line = Vec::new();
        while let Some(text) = source.next_text(&mut line)? {
            for (at, piece) in text.split(marker).enumerate() {
                if at > 0 {
                    self.end(without_empty_lines)?;
                }
                match piece.strip_suffix("\r\n") {
                    Some(piece) => self.open.extend([piece, "\n"]),
                    None => self.open.push_str(piece),
                }
            }
        }
        self.end(without_empty_lines)
    }

    fn cut_at_blank_lines(&mut self, mut source: Source) -> Result<(), DataError> {
        let mut line = Vec::new();
        while let Some(text) = source.next_text(&mut line)? {
            let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
            if text.trim().is_empty() {
                self.end(|document| document)?;
                continue;
            }
            if !self.open.is_empty() {
                self.open.push('\n');
            }
            self.open.push_str(text);
        }
        self.end(|document| document)
    }

    /// Keeps what `bare` takes of the document that goes on, if there is anything in it.
    fn end(&mut self, bare: fn(&str) -> &str) -> Result<(), DataError> {
        if !self.open.trim().is_empty() {
            self.budget.spend(RECORD_COST, self.path)?;
            self.done.push(bare(&self.open).to_string());
        }
        self.open.clear();
        Ok(())
    }
}

/// The document without line ends before and after it.
fn without_empty_lines(document: &str) -> &str {
    document.trim_matches(['\n', '\r'])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::File;
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const TEXT: &str = "\n\nOne\r\ntwo\n \t\n\nthree \n\n\n";

    #[test]
    fn plain_and_zipped_text_give_the_same_documents() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("a.txt");
        std::fs::write(&plain, TEXT).unwrap();
        let zipped = folder.path().join("a.txt.gz");
        let mut encoder = GzEncoder::new(File::create(&zipped).unwrap(), Compression::fast());
        encoder.write_all(TEXT.as_bytes()).unwrap();
        encoder.finish().unwrap();
        let packed = folder.path().join("a.txt.zst");
        std::fs::write(&packed, zstd::encode_all(TEXT.as_bytes(), 1).unwrap()).unwrap();

        assert_eq!(read_documents(&plain).unwrap(), ["One\ntwo", "three "]);
        assert_eq!(read_documents(&zipped).unwrap(), read_documents(&plain).unwrap());
        assert_eq!(read_documents(&packed).unwrap(), read_documents(&plain).unwrap());
    }

    #[test]
    fn markers_end_documents_and_blank_lines_do_so_where_there_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let documents = |text: &str, marker: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path, marker, &Budget::new(DataSize::DEFAULT)).unwrap()
        };
        let stories = "A fox.\r\n\r\nIt ran.\n<|endoftext|>\n  An owl.\n\n\n<|endoftext|>\n<|endoftext|>\n";
        let expected = vec!["A fox.\n\nIt ran.".to_string(), "  An owl.".to_string()];
        assert_eq!(documents(stories, "</s>"), (expected.clone(), DocumentEnd::Marker));
        assert_eq!(
            documents(&stories.replace("<|endoftext|>", "</s>"), "</s>"),
            (expected, DocumentEnd::Marker)
        );
        let (paragraphs, end) = documents(&stories.replace("<|endoftext|>", ""), "</s>");
        assert_eq!((paragraphs.len(), end), (3, DocumentEnd::BlankLine));
    }

    #[test]
    fn files_that_hold_no_documents_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let fault = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            read_documents(&path).unwrap_err().to_string()
        };
        assert!(fault("blank.txt", b" \n\n").contains("no documents"));
        assert!(fault("marker.txt", b"<|endoftext|>\n").contains("no documents"));
        assert!(fault("bytes.txt", b"a\xff").contains("UTF-8"));
        assert!(fault("a.md", b"a").contains(".txt.gz"));
        assert!(fault("a.txt.gz", b"not gzip at all").contains("gzip"));
        let missing = read_documents(&folder.path().join("none.txt")).unwrap_err().to_string();
        assert!(missing.contains("none.txt"), "{missing}");
    }
}
