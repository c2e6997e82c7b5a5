//! What a run does with the settings that it was not given, and what it tells of itself.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::TensorData;
use burn_flex::Flex;
use gptneo_model::adapter::{adapter_tensors, attach};
use gptneo_model::{LoraConfig, Target};

use super::*;
use crate::Event;
use crate::metrics::MetricsRow;
use crate::reference_tests::{dropout_setup, turn};

fn run() -> TrainingRun<Flex> {
    let setup = dropout_setup();
    TrainingRun::new(setup.model, setup.training)
        .tuning(setup.tuning)
        .validation(setup.validation)
        .config(setup.config)
}

fn adapter(trained: &Trained<Flex>) -> Vec<TensorData> {
    adapter_tensors(&trained.model).into_iter().map(|(_, param)| param.val().into_data()).collect()
}

#[test]
fn a_folder_is_made_and_a_run_without_one_comes_to_the_same_weights() {
    let _turn = turn();
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("runs/first");
    let named = run().folder(&folder).train().unwrap();
    assert!(folder.join("metrics.jsonl").exists() && folder.join("checkpoints").exists());
    let unnamed = run().train().unwrap();
    assert_eq!((unnamed.model_step, &unnamed.state), (named.model_step, &named.state));
    assert_eq!(adapter(&unnamed), adapter(&named));
}

#[test]
fn by_default_the_recipe_is_followed() {
    let setup = dropout_setup();
    let run = TrainingRun::<Flex>::new(setup.model, setup.training);
    assert_eq!(
        (run.tuning, run.config, run.precision, run.start),
        (Tuning::default(), TrainingConfig::default(), Precision::F32, Start::New)
    );
    assert!(run.validation.is_empty() && run.folder.is_none() && run.samples.is_none());
}

#[test]
fn a_run_without_a_folder_cannot_be_resumed() {
    let message = run().resume().train().map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("name the folder"), "{message}");
}

#[test]
fn texts_to_validate_with_that_have_no_supervised_token_are_refused_before_the_first_step() {
    let mut validation = dropout_setup().validation;
    validation.iter_mut().for_each(|example| example.supervised_from = example.ids.len());
    let folder = tempfile::tempdir().unwrap();
    let run = run().validation(validation).folder(folder.path());
    let message = run.train().map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("no token that the validation loss counts"), "{message}");
    assert!(!folder.path().join("metrics.jsonl").exists());
}

#[test]
fn an_observer_hears_of_everything_in_order() {
    let _turn = turn();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = heard.clone();
    let trained = run()
        .observer(move |event: Event<'_>| {
            let note = match event {
                Event::Row(MetricsRow::Train(row)) => format!("step {}", row.step),
                Event::Row(MetricsRow::Validation(row)) => format!("validated {}", row.step),
                Event::Validating { done, total } if done == total => "measured".into(),
                Event::Validating { .. } => return,
                Event::Checkpoint { step } => format!("checkpoint {step}"),
                Event::Sample(_) => "sample".into(),
            };
            notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
        })
        .train()
        .unwrap();
    assert_eq!(trained.ending, Ending::Finished);
    let heard = heard.lock().unwrap().join(", ");
    // A checkpoint every 3 steps, a validation every 4 and at the end, and a checkpoint where that was the best.
    let expected =
        "step 1, step 2, step 3, checkpoint 3, step 4, measured, validated 4, checkpoint 4, step 5, step 6";
    assert!(heard.starts_with(expected), "{heard}");
    assert!(heard.ends_with("step 10, measured, validated 10, checkpoint 10"), "{heard}");
}

#[test]
fn an_adapter_that_is_carried_is_trained_with_its_own_settings_alone() {
    let Tuning::Lora(lora) = dropout_setup().tuning else { panic!("an adapter") };
    let carrying = |lora: &LoraConfig| attach(dropout_setup().model, lora, &Default::default()).unwrap();
    let prepared = |tuning: &LoraConfig| {
        let prepared = Tuning::Lora(tuning.clone()).prepare(carrying(&lora));
        prepared.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(prepared(&lora), Ok(()));
    for other in [
        LoraConfig { r: lora.r + 1, ..lora.clone() },
        LoraConfig { alpha: 2.0 * lora.alpha, ..lora.clone() },
        LoraConfig { use_dora: true, ..lora.clone() },
        LoraConfig { target_modules: vec![Target::CFc.into()], ..lora.clone() },
    ] {
        let message = prepared(&other).unwrap_err();
        assert!(message.contains("another adapter than the settings say"), "{message}");
    }
}

#[test]
fn half_precision_over_int8_is_refused() {
    let setup = dropout_setup();
    let base = setup.model.valid().with_base_weights(WeightFormat::Int8);
    let run = TrainingRun::new(GptNeo::from_inner(base), setup.training).precision(Precision::Bf16);
    let message = run.train().map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("kept in int8"), "{message}");
}

/// A device may read beyond a table that has no such row.
#[test]
fn texts_that_do_not_fit_the_model_are_refused_before_the_first_step() {
    let model = dropout_setup().model;
    let (positions, vocabulary) = (model.config().max_position_embeddings, model.config().vocab_size);
    let [mut long, mut unknown] = [(); 2].map(|()| dropout_setup().training);
    long[1].ids = vec![1; positions + 1];
    unknown[1].ids[0] = vocabulary as u32;
    for (examples, words) in [(long, "positions"), (unknown, "vocabulary")] {
        let refused = |run: TrainingRun<Flex>| run.train().map(|_| ()).unwrap_err().to_string();
        let learned = TrainingRun { examples: examples.clone().into(), ..run() };
        for said in [refused(learned), refused(run().validation(examples))] {
            assert!(said.contains("the text of record") && said.contains(words), "{said}");
        }
    }
}
