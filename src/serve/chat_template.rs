//! A chat as the prompt that the model was tuned with: a Jinja template, rendered as transformers renders it.

use std::path::Path;

use anyhow::{Context, Result};
use gptneo_datasets::CHAT_TEMPLATE_FILE;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde::Serialize;

/// The template's name where it is rendered.
const NAME: &str = "chat";

/// A message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Message {
    /// `system`, `user` or `assistant`.
    pub(crate) role: &'static str,
    /// What it says.
    pub(crate) content: String,
}

impl Message {
    /// A question.
    pub(crate) fn question(content: impl Into<String>) -> Self {
        Self { role: "user", content: content.into() }
    }
}

/// A checked template.
#[derive(Clone, Debug)]
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    end_of_text: String,
}

impl ChatTemplate {
    /// Checks a template; `end_of_text` is what it may close answers with.
    pub(crate) fn new(source: &str, end_of_text: &str) -> Result<Self, Error> {
        let mut environment = Environment::new();
        // As transformers sets Jinja up.
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned(NAME, source.to_string())?;
        Ok(Self { environment, source: source.to_string(), end_of_text: end_of_text.to_string() })
    }

    /// The template of a file.
    pub(crate) fn read(path: &Path, end_of_text: &str) -> Result<Self> {
        let source = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the chat template {}", path.display()))?;
        Self::new(&source, end_of_text).with_context(|| format!("{} is no chat template", path.display()))
    }

    /// The template that a model's or an adapter's folder has: in a file of its own, or in its tokenizer's settings.
    pub(crate) fn of_folder(folder: &Path, end_of_text: &str) -> Result<Option<Self>> {
        let file = folder.join(CHAT_TEMPLATE_FILE);
        if file.is_file() {
            return Self::read(&file, end_of_text).map(Some);
        }
        let settings = folder.join("tokenizer_config.json");
        let Ok(text) = std::fs::read_to_string(&settings) else { return Ok(None) };
        // Settings that are damaged are the tokenizer's to complain of.
        let found: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let Some(source) = found["chat_template"].as_str() else { return Ok(None) };
        let template = Self::new(source, end_of_text);
        template.map(Some).with_context(|| format!("the chat template in {} is none", settings.display()))
    }

    /// The prompt that asks for the next message; or why the template has none.
    pub(crate) fn render(&self, messages: &[Message]) -> Result<String, String> {
        let what = context! {
            messages, add_generation_prompt => true, eos_token => self.end_of_text, bos_token => self.end_of_text,
        };
        let render = || self.environment.get_template(NAME)?.render(what);
        render().map_err(|error| error.detail().map_or_else(|| error.to_string(), str::to_string))
    }

    /// The template itself.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gptneo_datasets::{PromptTemplate, Record};

    use super::*;

    const END: &str = "<|endoftext|>";

    fn template(text: &str) -> (PromptTemplate, ChatTemplate) {
        let template: PromptTemplate = text.parse().unwrap();
        let chat = ChatTemplate::new(&template.chat_template(), END).unwrap();
        (template, chat)
    }

    fn message(role: &'static str, content: &str) -> Message {
        Message { role, content: content.into() }
    }

    #[test]
    fn a_question_is_rendered_as_the_model_was_tuned() {
        for text in [
            PromptTemplate::default().as_str(),
            "{instruction}\\n{input} {output}",
            "It's \\{x\\n{input}\\n\\nA: {output}",
            "{% {input} %} {{ . }} {# {output}",
            "Instruction: {instruction}\nQ: {input}\n\t {output}",
        ] {
            let (template, chat) = template(text);
            for question in ["Why?", "it's {{ 1 }}\n%}\\n", "naïve 感冒 \t\n"] {
                let prompt = template.question_prompt(question, "Answer this question truthfully");
                assert_eq!(chat.render(&[Message::question(question)]).unwrap(), prompt, "{text:?}");
                let record = Record { output: "Because.".into(), ..Record::new(question, "") };
                let record = Record { instruction: "Be brief".into(), ..record };
                if template.uses_instruction() {
                    let messages = [message("system", "Be brief"), message("user", question)];
                    assert_eq!(chat.render(&messages).unwrap(), template.prompt(&record), "{text:?}");
                    let answered = [&messages[..], &[message("assistant", "Because.")]].concat();
                    assert_eq!(chat.render(&answered).unwrap(), template.text(&record) + END, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn what_the_model_was_not_tuned_for_is_refused() {
        let (_, chat) = template(PromptTemplate::default().as_str());
        let (user, assistant) = (message("user", "a"), message("assistant", "b"));
        let turns = [user.clone(), assistant.clone(), user.clone()];
        assert!(chat.render(&turns).unwrap_err().contains("one question at a time"));
        assert!(chat.render(&[user.clone(), user.clone()]).unwrap_err().contains("one question"));
        assert!(chat.render(&[]).unwrap_err().contains("expected a question"));
        assert!(chat.render(&[assistant]).unwrap_err().contains("expected a question"));
        let (_, chat) = template("Q: {input}\nA: {output}");
        let refused = chat.render(&[message("system", "a"), user]).unwrap_err();
        assert!(refused.contains("without instructions"), "{refused}");
    }

    #[test]
    fn a_folder_has_its_template_in_a_file_or_in_its_settings() {
        let folder = tempfile::tempdir().unwrap();
        let find = || ChatTemplate::of_folder(folder.path(), END);
        assert!(find().unwrap().is_none());
        let settings = r#"{"chat_template": "{% for m in messages %}{{ m.role.upper() }}{% endfor %}"}"#;
        std::fs::write(folder.path().join("tokenizer_config.json"), settings).unwrap();
        let asked = [message("user", "a"), message("assistant", "b"), message("user", "c")];
        assert_eq!(find().unwrap().unwrap().render(&asked).unwrap(), "USERASSISTANTUSER");
        std::fs::write(folder.path().join(CHAT_TEMPLATE_FILE), "{{ messages[0].content }}").unwrap();
        assert_eq!(find().unwrap().unwrap().render(&asked).unwrap(), "a");
        std::fs::write(folder.path().join(CHAT_TEMPLATE_FILE), "{{ messages[").unwrap();
        assert!(format!("{:#}", find().unwrap_err()).contains("is no chat template"));
    }
}
