//! A chat as the prompt that the model was tuned with: a Jinja template, rendered as transformers renders it.
//!
//! A template is a program that came with a model's folder: how long it may be, how many steps it takes, how much it writes
//! and how long all of that lasts are limited, and it is read and rendered on a stack that no nesting of such a length
//! exhausts.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use gptneo_datasets::CHAT_TEMPLATE_FILE;
use gptneo_files::{excerpt, read_small_text};
use minijinja::value::{Kwargs, Rest};
use minijinja::{Environment, Error, ErrorKind, State, Value, context};
use serde::Serialize;

use crate::ServeError;

/// The template's name where it is rendered.
const NAME: &str = "chat";
/// The longest template in bytes, several times as long as those of models with tools.
const LONGEST: usize = 32 << 10;
/// How many of its steps a template may take, some hundred times what a long chat takes.
const STEPS: u64 = 1_000_000;
/// The most bytes that it may write, more than any model has room for.
const WRITTEN: usize = 1 << 20;
/// How long it may take: one step may go through a list that was multiplied to any length.
const SLOWEST: Duration = Duration::from_secs(2);
/// The most digits of the width of a field that is filled up.
const WIDTH_DIGITS: usize = 4;
/// Bytes of stack for a template that is nothing but nesting.
const STACK: usize = 256 << 20;

/// A message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: &'static str,
    /// What it says.
    pub content: String,
    /// Who speaks, where that is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Message {
    /// A question.
    pub fn question(content: impl Into<String>) -> Self {
        Self { role: "user", content: content.into(), name: None }
    }
}

/// A checked template.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    /// Whether it has taken too long once; it is not tried again.
    is_slow: Arc<AtomicBool>,
    source: String,
    end_of_text: String,
}

impl ChatTemplate {
    /// Checks a template; `end_of_text` is what it may close answers with.
    ///
    /// # Errors
    /// It is too long, is not Jinja, or takes too long.
    pub fn new(source: &str, end_of_text: &str) -> Result<Self, ServeError> {
        if source.len() > LONGEST {
            let found = source.len();
            let fault = format!("it has {found} bytes, expected at most {LONGEST}");
            return Err(ServeError::NoTemplate(fault));
        }
        let mut environment = Environment::new();
        // As transformers sets Jinja up.
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(|state, value, method, arguments| {
            if method == "format" {
                check_fields(value)?;
            }
            minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)
        });
        environment.add_filter("format", |state: &State, format: &Value, arguments: Rest<Value>| {
            check_fields(format)?;
            minijinja::filters::format(state, format, arguments)
        });
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_filter("tojson", |value: &Value, indent: Option<Value>, named: Kwargs| {
            let of_name: Option<Value> = named.peek("indent")?;
            check_width(indent.as_ref().or(of_name.as_ref()))?;
            minijinja::filters::tojson(value, indent, named)
        });
        environment.set_fuel(Some(STEPS));
        let owned = source.to_string();
        let environment = on_a_deep_stack(move || {
            environment.add_template_owned(NAME, owned).map_err(|error| fault(&error))?;
            Ok::<_, String>(Arc::new(environment))
        });
        let environment =
            environment.map_err(|error| error.to_string()).flatten().map_err(ServeError::NoTemplate)?;
        let made = Self {
            environment,
            is_slow: Arc::default(),
            source: source.to_string(),
            end_of_text: end_of_text.to_string(),
        };
        // Found before there is anything to lose: what takes too long goes on until the program ends. That it has no
        // answer to this question says nothing.
        let _ = made.render(&[Message::question("Why?")]);
        if made.is_slow.load(Ordering::Relaxed) {
            return Err(ServeError::NoTemplate(Unfinished::TooSlow.to_string()));
        }
        Ok(made)
    }

    /// The template of a file.
    ///
    /// # Errors
    /// The file cannot be read, or as [`ChatTemplate::new`].
    pub fn read(path: &Path, end_of_text: &str) -> Result<Self, ServeError> {
        let source = read_small_text(path).map_err(|source| ServeError::Unreadable {
            what: "chat template",
            path: path.into(),
            source,
        })?;
        Self::new(&source, end_of_text).map_err(|fault| {
            ServeError::NoTemplate(format!("{} is no chat template: {fault}", path.display()))
        })
    }

    /// The template that a model's or an adapter's folder has: in a file of its own, or in its tokenizer's settings.
    ///
    /// # Errors
    /// There is one, and it cannot be read or is none.
    pub fn of_folder(folder: &Path, end_of_text: &str) -> Result<Option<Self>, ServeError> {
        let file = folder.join(CHAT_TEMPLATE_FILE);
        if file.is_file() {
            return Self::read(&file, end_of_text).map(Some);
        }
        let settings = folder.join("tokenizer_config.json");
        let Ok(text) = read_small_text(&settings) else { return Ok(None) };
        // Settings that are damaged are the tokenizer's to complain of.
        let found: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let Some(source) = found["chat_template"].as_str() else { return Ok(None) };
        let template = Self::new(source, end_of_text);
        let refused = |fault| {
            ServeError::NoTemplate(format!("the chat template in {} is none: {fault}", settings.display()))
        };
        template.map(Some).map_err(refused)
    }

    /// The prompt that asks for the next message; or why the template has none.
    ///
    /// # Errors
    /// What the template says of these messages, or what keeps it from its end.
    pub fn render(&self, messages: &[Message]) -> Result<String, RenderError> {
        let what = context! {
            messages, add_generation_prompt => true, eos_token => self.end_of_text, bos_token => self.end_of_text,
        };
        let environment = Arc::clone(&self.environment);
        let render = move || -> Result<String, String> {
            let mut prompt = Prompt(Vec::new());
            let rendered = environment.get_template(NAME).and_then(|template| {
                template.render_captured_to(what, &mut prompt)?;
                Ok(())
            });
            match rendered {
                Err(error) if error.kind() == ErrorKind::OutOfFuel => {
                    Err(format!("the chat template takes more than {STEPS} steps"))
                }
                Err(error) if error.kind() == ErrorKind::WriteFailure => {
                    Err(format!("the chat template writes more than {WRITTEN} bytes"))
                }
                Err(error) => Err(error.detail().map_or_else(|| fault(&error), excerpt)),
                Ok(()) => String::from_utf8(prompt.0).map_err(|error| error.to_string()),
            }
        };
        if self.is_slow.load(Ordering::Relaxed) {
            return Err(RenderError::Failed(Unfinished::TooSlow.to_string()));
        }
        let rendered = on_a_deep_stack(render).map_err(|error| {
            self.is_slow.fetch_or(matches!(error, Unfinished::TooSlow), Ordering::Relaxed);
            RenderError::Failed(error.to_string())
        })?;
        rendered.map_err(RenderError::Refused)
    }

    /// The template itself.
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// Why there is no prompt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// What the template says of these messages, or what of them keeps it from its end.
    #[error("{0}")]
    Refused(String),
    /// The template takes too long, or cannot be rendered here at all.
    #[error("{0}")]
    Failed(String),
}

/// Why work on a thread of its own has no end.
#[derive(Debug, thiserror::Error)]
enum Unfinished {
    /// It took longer than it may.
    #[error("the chat template takes more than {} s", SLOWEST.as_secs())]
    TooSlow,
    /// It panicked.
    #[error("the chat template's reader breaks down")]
    Broken,
    /// The system has no thread for it.
    #[error("no thread can be made for the chat template: {0}")]
    NoThread(io::Error),
}

/// Refuses a format whose fields, `%(name)05d` or `{:05}`, would be filled up to any width.
fn check_fields(format: &Value) -> Result<(), Error> {
    let format = format.as_str().unwrap_or_default();
    let printf = format.split('%').skip(1).map(|field| {
        let field =
            field.strip_prefix('(').and_then(|name| name.split_once(')')).map_or(field, |(_, rest)| rest);
        field.split(|letter: char| letter.is_alphabetic()).next().unwrap_or_default()
    });
    let braces = format.split('{').skip(1).map(|field| field.split('}').next().unwrap_or_default());
    let digits = |field: &str| field.split(|letter: char| !letter.is_ascii_digit()).map(str::len).max();
    let widest = printf.chain(braces).filter_map(digits).max().unwrap_or(0);
    if widest > WIDTH_DIGITS {
        let detail = format!("a field of a format has {widest} digits, expected at most {WIDTH_DIGITS}");
        return Err(Error::new(ErrorKind::InvalidOperation, detail));
    }
    Ok(())
}

/// Refuses an indentation of any width.
fn check_width(width: Option<&Value>) -> Result<(), Error> {
    match width.and_then(Value::as_usize) {
        Some(width) if width >= 10_usize.pow(WIDTH_DIGITS as u32) => {
            let detail =
                format!("an indentation of {width}, expected a number of at most {WIDTH_DIGITS} digits");
            Err(Error::new(ErrorKind::InvalidOperation, detail))
        }
        _ => Ok(()),
    }
}

/// What is written of a prompt.
struct Prompt(Vec<u8>);

impl io::Write for Prompt {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > WRITTEN {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is wrong, and where, with no more of the template's own text than a line.
fn fault(error: &Error) -> String {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {}", excerpt(detail))).unwrap_or_default();
    format!("{line}{}{detail}", error.kind())
}

/// What `work` returns, done on a thread whose stack is deep. A thread that takes too long is left alone.
fn on_a_deep_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Unfinished> {
    let (sender, receiver) = sync_channel(1);
    let work = move || {
        // Where nobody waits any more, nobody wants it.
        let _ = sender.send(work());
    };
    std::thread::Builder::new()
        .name(NAME.into())
        .stack_size(STACK)
        .spawn(work)
        .map_err(Unfinished::NoThread)?;
    receiver.recv_timeout(SLOWEST).map_err(|error| match error {
        RecvTimeoutError::Timeout => Unfinished::TooSlow,
        RecvTimeoutError::Disconnected => Unfinished::Broken,
    })
}

#[cfg(test)]
mod tests;
