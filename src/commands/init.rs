//! `init`: a model with random weights, of a given shape and with a given or a new tokenizer.

use anyhow::{Context, Result};
use gptneo_datasets::{Tokenizer, read_texts, train_byte_level_bpe};
use gptneo_model::adapter::count_parameters;
use gptneo_model::checkpoint::{Dtype, save_model};
use gptneo_model::{GptNeo, GptNeoConfig, NeoBackend};

use crate::backend::{Job, dispatch};
use crate::cli::InitArgs;
use crate::failure::Misuse;
use crate::loading::refuse_used;
use crate::output;

/// Runs the command.
pub(crate) fn run(args: &InitArgs) -> Result<()> {
    refuse_used(&args.output)?;
    let config = GptNeoConfig::from_file(&args.config)?;
    let place = args.backend.place();
    place.check_room(&config, 0, 0)?;
    let tokenizer = tokenizer(args)?;
    if config.vocab_size < tokenizer.vocab_size() {
        return Err(Misuse::error(format!(
            "the configuration's vocab_size is {}, but the tokenizer has {} tokens: set vocab_size to that or more",
            config.vocab_size,
            tokenizer.vocab_size()
        )));
    }
    // A larger vocabulary is kept: GPT-Neo's own rows may be padded to a round number.
    let vocabulary = config.vocab_size;
    let config = config.with_vocabulary(vocabulary, tokenizer.end_of_text());
    dispatch(place, Init { args, config, tokenizer })
}

fn tokenizer(args: &InitArgs) -> Result<Tokenizer> {
    match (&args.tokenizer, &args.train_tokenizer, args.vocab_size) {
        (Some(folder), _, _) => Ok(Tokenizer::from_folder(folder)?),
        (None, Some(file), Some(size)) => {
            let folder = tempfile::tempdir().context("cannot make a temporary folder for the tokenizer")?;
            // The tokenizer holds its files' bytes: the folder is not needed afterwards.
            Ok(train_byte_level_bpe(read_texts(file)?.into_iter(), size, folder.path())?)
        }
        _ => Err(Misuse::error(
            "a tokenizer is missing: give --tokenizer DIR, or --train-tokenizer FILE with --vocab-size N",
        )),
    }
}

struct Init<'a> {
    args: &'a InitArgs,
    config: GptNeoConfig,
    tokenizer: Tokenizer,
}

impl Job for Init<'_> {
    type Output = ();

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<()> {
        B::seed(&device, self.args.seed);
        let model = GptNeo::<B>::init(&self.config, &device);
        let (_, parameters) = count_parameters(&model);
        let folder = &self.args.output;
        save_model(&model, folder, Dtype::F32, &self.tokenizer.files())?;
        output::line(format_args!(
            "{}: {parameters} parameters, {} layers, vocabulary {} ({} in the tokenizer), seed {}",
            folder.display(),
            self.config.num_layers(),
            self.config.vocab_size,
            self.tokenizer.vocab_size(),
            self.args.seed
        ))
    }
}
