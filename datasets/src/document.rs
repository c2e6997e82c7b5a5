//! Plain text: documents apart by blank lines, in a `.txt` or `.txt.gz` file.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::DataError;

const ZIPPED: &str = ".txt.gz";

/// Whether the file's name says plain text: `.txt` or `.txt.gz`, in any case.
pub fn is_plain_text(path: &Path) -> bool {
    let name = lower_case_name(path);
    name.ends_with(".txt") || name.ends_with(ZIPPED)
}

fn lower_case_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Reads a UTF-8 text file and cuts it into documents where at least one blank line stands.
///
/// Lines of a document stay apart by one newline; line ends of Windows become plain ones.
///
/// # Errors
/// The file is missing, has another extension, is not UTF-8, is damaged, or holds no document.
pub fn read_documents(path: &Path) -> Result<Vec<String>, DataError> {
    if !is_plain_text(path) {
        return Err(DataError::UnknownFormat { path: path.to_path_buf(), supported: ".txt and .txt.gz" });
    }
    let zipped = lower_case_name(path).ends_with(ZIPPED);
    let mut file = File::open(path).map_err(DataError::io("read", path))?;
    let mut bytes = Vec::new();
    let read =
        if zipped { MultiGzDecoder::new(file).read_to_end(&mut bytes) } else { file.read_to_end(&mut bytes) };
    let malformed =
        |expected, reason: String| DataError::Malformed { path: path.to_path_buf(), expected, reason };
    read.map_err(|source| match source.kind() {
        // How the decoder reports damage, as opposed to a disk that cannot be read.
        ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof if zipped => {
            malformed("a whole gzip file", source.to_string())
        }
        _ => DataError::Io { action: "read", path: path.to_path_buf(), source },
    })?;
    let text =
        String::from_utf8(bytes).map_err(|error| malformed("UTF-8 text", error.utf8_error().to_string()))?;
    let documents = cut(text.strip_prefix('\u{feff}').unwrap_or(&text));
    match documents.is_empty() {
        true => Err(DataError::Empty { path: path.to_path_buf(), what: "documents" }),
        false => Ok(documents),
    }
}

fn cut(text: &str) -> Vec<String> {
    let mut documents = Vec::new();
    let mut document = String::new();
    for line in text.lines() {
        if line.trim().is_empty() {
            if !document.is_empty() {
                documents.push(std::mem::take(&mut document));
            }
            continue;
        }
        if !document.is_empty() {
            document.push('\n');
        }
        document.push_str(line);
    }
    if !document.is_empty() {
        documents.push(document);
    }
    documents
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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

        assert_eq!(read_documents(&plain).unwrap(), ["One\ntwo", "three "]);
        assert_eq!(read_documents(&zipped).unwrap(), read_documents(&plain).unwrap());
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
        assert!(fault("bytes.txt", b"a\xff").contains("UTF-8"));
        assert!(fault("a.md", b"a").contains(".txt.gz"));
        assert!(fault("a.txt.gz", b"not gzip at all").contains("gzip"));
        let missing = read_documents(&folder.path().join("none.txt")).unwrap_err().to_string();
        assert!(missing.contains("none.txt"), "{missing}");
    }
}
