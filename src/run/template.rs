//! The prompt template that a model was tuned with, as it stands beside its weights.

use std::io::ErrorKind;
use std::path::Path;

use gptneo_datasets::{CHAT_TEMPLATE_FILE, PROMPT_TEMPLATE_FILE, PromptTemplate, Turns};
use gptneo_files::{FileError, read_small_text};

use crate::{Error, Remedy, Result};

/// The template that stands beside the weights in this folder, a model's or an adapter's; none where there is none.
///
/// # Errors
/// `prompt_template.txt` cannot be read, or is no template.
pub(crate) fn own_template(folder: &Path) -> Result<Option<PromptTemplate>> {
    let path = folder.join(PROMPT_TEMPLATE_FILE);
    let text = match read_small_text(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::on("read", path)(error).into()),
    };
    // Editors close a file with a new line.
    match text.trim_end_matches(['\r', '\n']).parse() {
        Ok(template) => Ok(Some(template)),
        Err(error) => Err(Error::input(
            format!("{}: {error}", path.display()),
            Remedy::Either(vec![Remedy::Give("data.prompt_template"), Remedy::say("correct the file")]),
        )),
    }
}

/// How many questions the texts had that the weights in this folder were tuned with, as the chat template beside them
/// says, where it is this template's.
pub(crate) fn own_turns(folder: &Path, template: &PromptTemplate) -> Turns {
    let several = template.chat_template(Turns::Several);
    match read_small_text(&folder.join(CHAT_TEMPLATE_FILE)) {
        Ok(text) if text == several => Turns::Several,
        _ => Turns::One,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_a_template_of_its_own_or_none_or_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let own = || own_template(folder.path()).map_err(|error| error.to_string());
        assert_eq!(own(), Ok(None));
        let path = folder.path().join(PROMPT_TEMPLATE_FILE);
        std::fs::write(&path, "Q: {input}\nA: {output}\r\n").unwrap();
        assert_eq!(own().unwrap().unwrap().as_str(), "Q: {input}\nA: {output}");
        std::fs::write(&path, "Q: {question}").unwrap();
        let said = own().unwrap_err();
        assert!(said.contains(PROMPT_TEMPLATE_FILE) && said.contains("`{question}`"), "{said}");
    }
}
