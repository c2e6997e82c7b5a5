//! Exports that must not be left behind, and those that are.

use std::path::PathBuf;

use gptneo_gguf::{Reader, Value};

use super::*;

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/window")
}

/// A copy of the example model, one number of its first matrix of queries replaced.
fn altered(folder: &Path, value: f32) -> ModelFolder {
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::copy(fixture().join(name), folder.join(name)).unwrap();
    }
    let path = folder.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let offsets = &header["transformer.h.0.attn.attention.q_proj.weight"]["data_offsets"];
    let place = 8 + length + offsets[0].as_u64().unwrap() as usize;
    bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    ModelFolder::open(folder).unwrap()
}

fn write(
    model: &ModelFolder,
    format: ExportFormat,
    gguf_type: GgufType,
    path: &Path,
) -> Result<ExportReport> {
    let template = PromptTemplate::default();
    let text = SampleText::embedded(model.tokenizer(), &template).unwrap();
    let place = Place { kind: BackendKind::cpu(), device: 0 };
    let what = Export {
        model,
        adapter: None,
        format,
        gguf_type,
        max_positions: None,
        template: &template,
        turns: Turns::One,
        text: &text,
        about: &About::of(model.path(), None).named(Some("window".into())).licensed(Some("mit".into())),
        output: Output::Alone { path, modelfile: false },
        backend: place.kind,
    };
    export(place, what)
}

/// Half precision ends at 65,504: the file has an infinite weight, and what is no number equals nothing.
#[test]
fn an_export_whose_proof_fails_is_not_left_behind() {
    let [model, out] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let huge = altered(model.path(), 1e5);
    let path = out.path().join("model.gguf");
    write(&huge, ExportFormat::Gguf, GgufType::F32, &path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = write(&huge, ExportFormat::Gguf, GgufType::F16, &path).unwrap_err();
    assert!(matches!(error, Error::Export(_)), "{error}");
    assert!(error.to_string().contains("nothing was written"), "{error}");

    let none = altered(model.path(), f32::NAN);
    for (format, name) in [(ExportFormat::Gguf, "model.gguf"), (ExportFormat::Gpt2, "gpt2")] {
        let error = write(&none, format, GgufType::F32, &out.path().join(name)).unwrap_err();
        assert!(matches!(error, Error::Export(_)), "{error}");
    }
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
}

#[test]
fn a_gguf_file_has_the_vocabulary_the_template_and_where_it_comes_from() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("model.gguf");
    let model = ModelFolder::open(fixture()).unwrap();
    let report = write(&model, ExportFormat::Gguf, GgufType::F32, &path).unwrap();
    assert_eq!((report.positions, report.exact_positions), (8, 8));
    assert_eq!((report.proof.logits.prompts, report.proof.logits.positions), (4, 32));
    let reader = Reader::new(std::fs::File::open(&path).unwrap()).unwrap();
    for (name, value) in [
        ("general.architecture", Value::from("gpt2")),
        ("general.name", "window".into()),
        ("general.license", "mit".into()),
        ("gptneo_lora.made_from", "window".into()),
        ("tokenizer.ggml.model", "gpt2".into()),
        ("tokenizer.ggml.pre", "gpt-2".into()),
        ("tokenizer.ggml.eos_token_id", 399_u32.into()),
        ("tokenizer.ggml.add_bos_token", false.into()),
        ("tokenizer.chat_template", prompt::jinja(&PromptTemplate::default(), Turns::One).into()),
    ] {
        assert_eq!(reader.value(name), Some(&value), "{name}");
    }
    let Some(Value::Strings(tokens)) = reader.value("tokenizer.ggml.tokens") else { panic!("no tokens") };
    let Some(Value::I32s(types)) = reader.value("tokenizer.ggml.token_type") else { panic!("no types") };
    assert_eq!((tokens.len(), types.len(), tokens[399].as_str()), (400, 400, "<|endoftext|>"));
    assert!(types[..399].iter().all(|kind| *kind == 1) && types[399] == 3);
    let Some(Value::Strings(merges)) = reader.value("tokenizer.ggml.merges") else { panic!("no merges") };
    assert!(!merges.is_empty() && merges.iter().all(|merge| merge.split(' ').count() == 2));
}

/// Quantised: within the perplexity that is allowed, and not the same.
#[test]
fn rounded_weights_are_told_by_their_perplexity() {
    let out = tempfile::tempdir().unwrap();
    let model = ModelFolder::open(fixture()).unwrap();
    for kind in [GgufType::F16, GgufType::Q8_0] {
        let path = out.path().join(kind.name());
        let ExportProof { logits, perplexity, .. } =
            write(&model, ExportFormat::Gguf, kind, &path).unwrap().proof;
        assert!(logits.tolerance.is_none() && logits.largest_difference > 0.0);
        assert!(perplexity.before != perplexity.after && perplexity.tokens > 3000, "{perplexity:?}");
    }
}
