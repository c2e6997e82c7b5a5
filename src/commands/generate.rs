//! `generate`: prompts continued and questions answered, at a terminal or as JSON.

use anyhow::Result;
use gptneo_datasets::{DEFAULT_INSTRUCTION, StreamDecoder, Tokenizer};
use gptneo_lora::run::ModelFolder;
use gptneo_lora::run::generate::{Generate, generate};
use gptneo_model::generate::{FinishReason, Generation};
use serde::Serialize;

use crate::cli::GenerateArgs;
use crate::hub;
use crate::terminal::output;

/// What `--json` prints of a prompt.
#[derive(Serialize)]
struct Continued {
    prompt_ids: Vec<u32>,
    new_ids: Vec<u32>,
    text: String,
    finish_reason: FinishReason,
    /// The new tokens of this prompt over the time that all prompts took together.
    tokens_per_second: f64,
}

/// What `--json` prints of several prompts.
#[derive(Serialize)]
struct Several {
    generations: Vec<Continued>,
    /// The new tokens of all prompts over the time.
    tokens_per_second: f64,
}

/// Runs the command.
pub(crate) fn run(args: &GenerateArgs) -> Result<()> {
    let (place, weights) = (args.backend.place(), args.weights.weights);
    // Before anything is downloaded.
    place.check()?;
    place.check_weights(weights)?;
    let model = super::open_model(hub::model(&args.model)?)?;
    let texts = prompts(args, &model)?;
    let tokenizer = model.tokenizer();
    let prompts = texts.iter().map(|text| tokenizer.encode(text)).collect::<Result<Vec<_>, _>>()?;
    let mut config = super::generation(&args.generation);
    let adapter = args.adapter.as_deref();
    config.end_tokens = match (args.ignore_eos, adapter) {
        (true, _) => Vec::new(),
        (false, None) => model.end_tokens(),
        (false, Some(_)) => model.end_tokens_of_tuned(),
    };
    let what = Generate { model: &model, adapter, weights, prompts: &prompts, config: &config };
    let streams = !args.json && prompts.len() == 1;
    let mut shown = streams.then(|| Shown { decoder: tokenizer.stream(), failed: None });
    let (generations, seconds) = generate(place, what, &mut |_, id| {
        if let Some(shown) = &mut shown {
            shown.token(id);
        }
    })?;
    if args.json {
        return print_json(tokenizer, prompts, generations, seconds);
    }
    if let Some(shown) = shown {
        return shown.finish();
    }
    for (number, (text, generation)) in texts.iter().zip(&generations).enumerate() {
        let gap = if number == 0 { "" } else { "\n" };
        output::line(format_args!("{gap}==> {}\n{}", text.trim_end(), tokenizer.decode(&generation.ids)?))?;
    }
    Ok(())
}

/// The prompts as given, then the questions in the template.
fn prompts(args: &GenerateArgs, model: &ModelFolder) -> Result<Vec<String>> {
    let mut prompts = args.prompt.clone();
    if !args.question.is_empty() {
        let template = super::prompt_template(args.prompt_template.as_ref(), model, args.adapter.as_deref())?;
        let asked = |question: &String| template.question_prompt(question, DEFAULT_INSTRUCTION);
        prompts.extend(args.question.iter().map(asked));
    }
    Ok(prompts)
}

fn print_json(
    tokenizer: &Tokenizer,
    prompts: Vec<Vec<u32>>,
    generations: Vec<Generation>,
    seconds: f64,
) -> Result<()> {
    let rate = |tokens: usize| tokens as f64 / seconds.max(1e-9);
    let all: usize = generations.iter().map(|generation| generation.ids.len()).sum();
    let mut generations = prompts
        .into_iter()
        .zip(generations)
        .map(|(prompt_ids, Generation { ids, finish })| {
            let (text, tokens_per_second) = (tokenizer.decode(&ids)?, rate(ids.len()));
            Ok(Continued { prompt_ids, new_ids: ids, text, finish_reason: finish, tokens_per_second })
        })
        .collect::<Result<Vec<_>>>()?;
    match (generations.len(), generations.pop()) {
        (1, Some(only)) => output::json(&only),
        (_, last) => {
            generations.extend(last);
            output::json(&Several { generations, tokens_per_second: rate(all) })
        }
    }
}

/// A text on the terminal while it grows. The decode loop cannot be stopped, so the first failure is kept.
struct Shown<'a> {
    decoder: StreamDecoder<'a>,
    failed: Option<anyhow::Error>,
}

impl Shown<'_> {
    fn token(&mut self, id: u32) {
        if self.failed.is_none() {
            let piece = self.decoder.push(id).map_err(anyhow::Error::from);
            self.failed = piece.and_then(|piece| output::piece(&piece)).err();
        }
    }

    fn finish(self) -> Result<()> {
        match self.failed {
            Some(error) => Err(error),
            None => output::line(self.decoder.finish()?),
        }
    }
}
