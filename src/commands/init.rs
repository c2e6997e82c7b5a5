//! `init`: a model with random weights, of a given shape and with a given or a new tokenizer.

use anyhow::{Context, Result};
use gptneo_datasets::{DataError, Tokenizer, read_texts, train_byte_level_bpe};
use gptneo_lora::Error;
use gptneo_lora::run::Claim;
use gptneo_lora::run::init::{check, init};
use gptneo_model::GptNeoConfig;

use crate::cli::InitArgs;
use crate::terminal::failure::Misuse;
use crate::terminal::output;

/// Runs the command.
pub(crate) fn run(args: &InitArgs) -> Result<()> {
    // Before a tokenizer is trained for it.
    let output = Claim::new(&args.output).map_err(Error::from)?;
    let config = GptNeoConfig::from_file(&args.config)?;
    check(args.backend.place(), &config, 0)?;
    if let Some(size) = args.vocab_size.filter(|size| *size > config.vocab_size) {
        return Err(Misuse::error(format!(
            "--vocab-size is {size}, but the vocab_size in {} is {}: give that or less",
            args.config.display(),
            config.vocab_size
        )));
    }
    let tokenizer = tokenizer(args)?;
    let parameters = init(args.backend.place(), &config, &tokenizer, args.seed, output)?;
    output::line(format_args!(
        "{}: {parameters} parameters, {} layers, vocabulary {} ({} in the tokenizer), seed {}",
        args.output.display(),
        config.num_layers(),
        config.vocab_size,
        tokenizer.vocab_size(),
        args.seed
    ))
}

fn tokenizer(args: &InitArgs) -> Result<Tokenizer> {
    match (&args.tokenizer, &args.train_tokenizer, args.vocab_size) {
        (Some(folder), _, _) => Ok(Tokenizer::from_folder(folder)?),
        (None, Some(file), Some(size)) => {
            let folder = tempfile::tempdir().context("cannot make a temporary folder for the tokenizer")?;
            // The tokenizer holds its files' bytes: the folder is not needed afterwards.
            train_byte_level_bpe(read_texts(file)?.into_iter(), size, folder.path()).map_err(|error| {
                match error {
                    DataError::Setting { found, expected, .. } => {
                        Misuse::error(format!("--vocab-size is {found}, expected {expected}"))
                    }
                    error => error.into(),
                }
            })
        }
        _ => Err(Misuse::error(
            "a tokenizer is missing: give --tokenizer DIR, or --train-tokenizer FILE with --vocab-size N",
        )),
    }
}
