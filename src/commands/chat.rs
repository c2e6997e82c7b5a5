//! `chat`: questions at a terminal, or from a pipe, line by line; the answers as they come.

use std::io::{BufRead, IsTerminal};
use std::sync::Arc;

use anyhow::{Result, bail};
use gptneo_datasets::Tokenizer;
use gptneo_lora::run::engine::{Served, start_engine};
use gptneo_model::SamplingConfig;
use gptneo_model::engine::{Engine, EngineLimits, Event, Reason, Request};
use gptneo_model::generate::GenerationConfig;
use gptneo_serve::{Message, Models};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::served::Opened;
use crate::cli::ChatArgs;
use crate::terminal::{interrupt, notes, output};

const HELP: &str = "/adapter NAME  who answers from now on; alone, it lists who can
/seed N        the seed of the next answers
/temperature X the randomness of the next answers; 0 always takes the likeliest token
/history       the questions so far
/help          this
/quit          the end, as Ctrl-D
Ctrl-C stops an answer, the arrow up brings a question back. Not for clinical use: these models make things up.";

/// Runs the command.
pub(crate) fn run(args: &ChatArgs) -> Result<()> {
    let (place, weights) = (args.backend.place(), args.weights.weights);
    place.check()?;
    place.check_weights(weights)?;
    let GenerationConfig { max_new_tokens, sampling, .. } = super::generation(&args.generation);
    sampling.validate()?;
    let Opened { folder, adapters, models } = Opened::of(&args.served)?;
    // One question at a time.
    let cache_tokens = folder.config().max_position_embeddings;
    let limits =
        EngineLimits { max_batch: 1, max_queue: 1, cache_tokens, ..EngineLimits::of(folder.config()) };
    let engine = start_engine(place, Served { model: &folder, adapters: &adapters, weights, limits })?;
    // With an adapter at hand, it is the one to talk to.
    let model = models.iter().last().map(|model| model.name.clone()).unwrap_or_default();
    let chat = Chat { engine: &engine, tokenizer: folder.tokenizer(), models: &models };
    let mut settings = Settings { model, max_new_tokens, sampling };
    notes::say(format_args!("{} answers; /help tells what else there is", settings.model));
    let mut input = Input::open()?;
    let mut history = Vec::new();
    while let Some(line) = input.line()? {
        let line = line.trim();
        match line.strip_prefix('/') {
            None if line.is_empty() => {}
            None => {
                input.remember(line);
                history.push(line.to_string());
                // A question that cannot be asked is no reason to end.
                if let Err(error) = chat.answer(&settings, line) {
                    notes::warn(format_args!("error: {error}"));
                }
            }
            Some("quit" | "exit") => break,
            Some("history") => {
                for (number, question) in history.iter().enumerate() {
                    notes::say(format_args!("{:>3}  {question}", number + 1));
                }
            }
            Some(command) => match settings.change(command, &models) {
                Ok(told) => notes::say(told),
                Err(error) => notes::warn(format_args!("error: {error}")),
            },
        }
    }
    Ok(())
}

/// What the next answer is made with.
struct Settings {
    /// Who answers.
    model: String,
    max_new_tokens: usize,
    sampling: SamplingConfig,
}

impl Settings {
    /// Does what a line that begins with a slash says, and tells what holds now.
    fn change(&mut self, command: &str, models: &Models) -> Result<String> {
        let (name, value) = command.split_once(' ').unwrap_or((command, ""));
        let value = value.trim();
        match (name, value) {
            ("help", _) => Ok(HELP.into()),
            ("adapter", "") => Ok(format!("{} answers, of: {models}", self.model)),
            ("adapter", name) => match models.by_name(name) {
                Some(found) => {
                    self.model = found.name.clone();
                    Ok(format!("{name} answers"))
                }
                None => bail!("there is no {name:?} here, only: {models}"),
            },
            ("seed", value) => match value.parse() {
                Ok(seed) => {
                    self.sampling.seed = seed;
                    Ok(match self.sampling.temperature == 0.0 {
                        true => format!("the seed is {seed}; it matters once /temperature is above 0"),
                        false => format!("the seed is {seed}"),
                    })
                }
                Err(_) => bail!("the seed is {value:?}, expected a whole number from 0 on"),
            },
            ("temperature", value) => {
                let Ok(temperature) = value.parse() else {
                    bail!("the temperature is {value:?}, expected a number from 0 on")
                };
                let sampling = SamplingConfig { temperature, ..self.sampling.clone() };
                sampling.validate()?;
                self.sampling = sampling;
                Ok(format!("the temperature is {temperature}"))
            }
            _ => bail!("there is no /{name}; /help lists what there is"),
        }
    }
}

/// Who answers, and with what.
struct Chat<'a> {
    engine: &'a Engine,
    tokenizer: &'a Tokenizer,
    models: &'a Models,
}

impl Chat<'_> {
    /// Prints the answer as it comes. An interrupt ends it, and nothing else.
    fn answer(&self, settings: &Settings, question: &str) -> Result<()> {
        let Some(model) = self.models.by_name(&settings.model) else { return Ok(()) };
        let prompt = model.template.render(&[Message::question(question)])?;
        let prompt = self.tokenizer.encode(&prompt)?;
        let room = self.engine.model().max_position_embeddings.saturating_sub(prompt.len());
        let ticket = self.engine.submit(Request {
            adapter: model.adapter.clone(),
            sampling: settings.sampling.clone().into(),
            end_tokens: model.end_tokens.clone(),
            ..Request::new(prompt, settings.max_new_tokens.min(room.max(1)))
        })?;
        let ticket = Arc::new(ticket);
        let stops = ticket.clone();
        let _listening = interrupt::listen(move || stops.cancel())?;
        let mut decoder = self.tokenizer.stream();
        let mut begun = false;
        let mut show = |piece: &str| {
            // The white space before an answer is the template's.
            let piece = if begun { piece } else { piece.trim_start() };
            begun |= !piece.is_empty();
            output::piece(piece)
        };
        while let Some(event) = ticket.recv() {
            match event {
                Event::Token { id, .. } => show(&decoder.push(id)?)?,
                Event::Finished(Reason::Cancelled) => {
                    output::line("")?;
                    notes::say("stopped");
                    return Ok(());
                }
                Event::Failed(reason) => bail!(reason),
                Event::Finished(Reason::EndToken | Reason::Length) | Event::Prompt(_) => {}
            }
        }
        show(&decoder.finish()?)?;
        output::line("")
    }
}

/// Where questions come from.
enum Input {
    /// A person, who can edit a line and bring an earlier one back. What was asked is kept in memory alone.
    Terminal(Box<DefaultEditor>),
    /// A file or a pipe.
    Lines(std::io::Lines<std::io::StdinLock<'static>>),
}

impl Input {
    fn open() -> Result<Self> {
        match std::io::stdin().is_terminal() {
            true => Ok(Self::Terminal(Box::new(DefaultEditor::new()?))),
            false => Ok(Self::Lines(std::io::stdin().lock().lines())),
        }
    }

    /// The next line; none at the end.
    fn line(&mut self) -> Result<Option<String>> {
        match self {
            Self::Lines(lines) => Ok(lines.next().transpose()?),
            Self::Terminal(editor) => loop {
                match editor.readline("> ") {
                    Ok(line) => return Ok(Some(line)),
                    Err(ReadlineError::Interrupted) => notes::say("Ctrl-D or /quit ends"),
                    Err(ReadlineError::Eof) => return Ok(None),
                    Err(error) => return Err(error.into()),
                }
            },
        }
    }

    /// Keeps a question for the arrow up.
    fn remember(&mut self, question: &str) {
        if let Self::Terminal(editor) = self {
            // A history that is not kept is no reason to end.
            let _ = editor.add_history_entry(question);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gptneo_serve::{ChatTemplate, ServedModel};

    use super::*;

    #[test]
    fn a_line_with_a_slash_changes_what_comes_next() {
        let template = ChatTemplate::new("", "").unwrap();
        let model = |name: &str, adapter: Option<&str>| ServedModel {
            name: name.into(),
            adapter: adapter.map(String::from),
            template: template.clone(),
            end_tokens: Vec::new(),
        };
        let models = Models::new(model("base", None), vec![model("tuned", Some("tuned"))]);
        let sampling = SamplingConfig::default();
        let mut settings = Settings { model: "tuned".into(), max_new_tokens: 5, sampling };
        assert_eq!(settings.change("adapter base", &models).unwrap(), "base answers");
        assert_eq!(settings.model, "base");
        assert_eq!(settings.change("adapter", &models).unwrap(), "base answers, of: base, tuned");
        assert!(settings.change("seed 7", &models).unwrap().contains("once /temperature"));
        settings.change("temperature 0.5", &models).unwrap();
        assert_eq!((settings.sampling.seed, settings.sampling.temperature), (7, 0.5));
        for (wrong, word) in [
            ("adapter x", "only: base, tuned"),
            ("seed -1", "-1"),
            ("temperature -1", "temperature is -1"),
            ("x", "/help"),
        ] {
            let error = settings.change(wrong, &models).unwrap_err().to_string();
            assert!(error.contains(word), "{wrong}: {error}");
        }
        assert_eq!(settings.sampling.temperature, 0.5);
    }
}
