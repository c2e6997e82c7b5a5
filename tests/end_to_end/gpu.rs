//! A GPU backend against flex, on whatever device there is: wgpu, in CI on a software Vulkan, or the one that
//! `GPTNEO_LORA_TEST_BACKEND` names. And what is said where a backend has nothing to compute on.

mod kernels;
mod ways;

use std::process::Output;

use super::*;

/// The backend under test.
pub(super) fn gpu() -> String {
    std::env::var("GPTNEO_LORA_TEST_BACKEND").unwrap_or_else(|_| "wgpu".into())
}

/// How far a loss may be from that of flex. Both are f32, in another order: the losses of this model differ by some
/// 1e-6 over a few steps. CUDA may round the factors of a product to TF32, with 11 bits of significand.
pub(super) fn tolerance() -> f64 {
    if gpu() == "cuda" { 5e-3 } else { 1e-4 }
}

/// What `devices --json` says of a backend.
fn backend(name: &str) -> Value {
    let report: Value = serde_json::from_str(&good(&["devices", "--json"])).unwrap();
    let backends = report["backends"].as_array().unwrap();
    backends.iter().find(|backend| backend["backend"] == name).unwrap().clone()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// Whether a command failed with one line and exit code 1; the line.
fn one_line(output: &Output) -> String {
    let said = text(&output.stderr);
    // Mesa says this itself where there is no desktop session.
    let said: String = said
        .lines()
        .filter(|line| !line.contains("XDG_RUNTIME_DIR"))
        .map(|line| line.to_string() + "\n")
        .collect();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty() && said.lines().count() == 1 && !said.contains("panicked"), "{said}");
    said
}

/// A command that asks little of a backend.
fn ask<'a>(model: &'a str, backend: &'a str) -> Vec<&'a str> {
    vec!["generate", "--model", model, "--prompt", "a", "--max-new-tokens", "2", "--backend", backend]
}

#[test]
fn the_adapter_is_listed_and_no_other_is_taken() {
    let found = backend(&gpu());
    let reason = "these tests need a device; for wgpu the package mesa-vulkan-drivers has one";
    assert_eq!(found["unusable"], Value::Null, "{reason}");
    let devices = found["devices"].as_array().unwrap();
    assert!(devices[0]["name"].as_str().is_some_and(|name| !name.is_empty()), "{found}");
    assert!(devices[0]["largest_tensor_bytes"].as_u64().unwrap() >= 1 << 27, "{found}");
    assert!(good(&["devices"]).contains(devices[0]["name"].as_str().unwrap()));
    let (model, beyond) = (fixture("window"), devices.len().to_string());
    let (code, said) = bad(&[&ask(&model, &gpu())[..], &["--device", &beyond]].concat());
    assert!(code == 2 && said.contains(&format!("no device {beyond}")), "{said}");
}

/// A whole run: evaluation, training with evaluations, merging, answers. `more` is added to its flags.
fn whole_run(output: &Path, more: &[&str]) -> Vec<Value> {
    let (model, data, folder) = (fixture("window"), fixture("records.json"), output.display().to_string());
    // A fresh adapter would start from numbers of the device's own generator.
    let (adapter, common) = (fixture("adapter_qv"), ["run", "--model", &model, "--data", &data]);
    let common =
        [&common[..], &["--adapter", &adapter, "--output", &folder, "--max-seq-length", "64"]].concat();
    let steps = ["--max-steps", "4", "--eval-steps", "4", "--learning-rate", "1e-3", "--batch-size", "4"];
    let answers = ["--questions", "2", "--max-new-tokens", "10", "--samples", "0", "--validation-limit", "4"];
    let arguments = [&common[..], &steps, &answers, more].concat();
    // Which of many kernels is the fastest does not matter here, and looking for it takes minutes in software.
    let output_of = program(&arguments).env("CUBECL_AUTOTUNE_LEVEL", "minimal").output().unwrap();
    assert!(output_of.status.success(), "{arguments:?}: {}", text(&output_of.stderr));
    timeless(output)
}

/// What a run measured, row by row: base, tuned and merged model under three protocols.
fn measured(run: &Path) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_path(run.join("model_performance_comparison.csv")).unwrap();
    reader.records().map(|row| row.unwrap().iter().map(String::from).collect()).collect()
}

/// Compares the rows of two trainings.
fn agree(flex: &[Value], found: &[Value], tolerance: f64) {
    assert_eq!(found.len(), flex.len());
    for (flex, found) in flex.iter().zip(found) {
        assert!((number(&flex["loss"]) - number(&found["loss"])).abs() < tolerance, "{flex} {found}");
        if flex["split"] == "train" {
            let ratio = number(&found["grad_norm"]) / number(&flex["grad_norm"]);
            assert!((ratio - 1.0).abs() < 100.0 * tolerance, "{flex} {found}");
        }
    }
}

/// One run on the device, because each start compiles all kernels anew: in software that is most of the time.
#[test]
fn a_run_measures_learns_and_answers_as_on_flex() {
    let folder = tempfile::tempdir().unwrap();
    let (flex, found) = (folder.path().join("flex"), folder.path().join("gpu"));
    let exact = ["--lora-dropout", "0", "--backend"];
    let flex_rows = whole_run(&flex, &[&exact[..], &["flex"]].concat());
    let rows = whole_run(&found, &[&exact[..], &[&gpu()]].concat());
    agree(&flex_rows, &rows, tolerance());
    assert_eq!(json(found.join("manifest.json"))["backend"], gpu());
    // The perplexity's error is the loss's, relatively.
    let (one, other) = (measured(&flex), measured(&found));
    assert!(one.len() >= 3 && one.len() == other.len(), "{one:?} {other:?}");
    for (one, other) in one.iter().flatten().zip(other.iter().flatten()) {
        match (one.parse::<f64>(), other.parse::<f64>()) {
            // Improvements in percent are small differences of large numbers.
            (Ok(a), Ok(b)) => {
                assert!((a - b).abs() <= 20.0 * tolerance() * a.abs().max(1.0), "{one} {other}")
            }
            _ => assert_eq!(one, other),
        }
    }
    // Greedy, and two lengths in a batch: padding is hidden as well.
    let answers = |run: &Path| std::fs::read_to_string(run.join("generation_comparison.csv")).unwrap();
    assert_eq!(answers(&flex), answers(&found));
}

#[test]
fn half_precision_learns_as_flex_does() {
    half_learns("f16", Some(65536.0), 2e-2);
}

/// 8 bits of significand in place of 11.
#[test]
fn bfloat_learns_as_flex_does() {
    half_learns("bf16", None, 6e-2);
}

/// Trains in a half precision that the device has; the losses are those of f32 within `tolerance`.
fn half_learns(precision: &str, loss_scale: Option<f64>, tolerance_of_half: f64) {
    if backend(&gpu())["devices"][0][precision] == false {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let train = |name: &str, backend: &str, precision: &str| {
        let flags = ["--lora-dropout", "0", "--backend", backend, "--precision", precision];
        whole_run(&folder.path().join(name), &flags)
    };
    let half = train("gpu", &gpu(), precision);
    agree(&train("flex", "flex", "f32"), &half, tolerance_of_half);
    let scales = half.iter().filter(|row| row["split"] == "train").map(|row| row["loss_scale"].as_f64());
    assert!(scales.clone().all(|scale| scale == loss_scale), "{half:?}");
    // The base is measured and merged in f32, whatever the adapter was trained in.
    let losses = |run: &str| -> Vec<f64> {
        measured(&folder.path().join(run)).iter().map(|row| row[1].parse().unwrap()).collect()
    };
    let (exact, half) = (losses("flex"), losses("gpu"));
    for protocol in 0..3 {
        let [base, tuned, merged] = [0, 3, 6].map(|model| half[model + protocol]);
        assert!((base - exact[protocol]).abs() < 20.0 * tolerance(), "the base: {half:?} {exact:?}");
        assert!((merged - tuned).abs() < 20.0 * tolerance(), "adapter and merged model: {half:?}");
        assert!((tuned - exact[3 + protocol]).abs() < tolerance_of_half, "{half:?} {exact:?}");
    }
}

/// `--backend auto` is the GPU, except where software plays it, and says so; a backend that is named wins.
#[test]
fn auto_takes_a_gpu_and_never_software() {
    let (model, found) = (fixture("window"), backend(&gpu()));
    let software = found["devices"][0]["kind"].as_str().unwrap().contains("Cpu");
    assert_eq!(found["auto"], !software, "{found}");
    let ask = ["generate", "--model", &model, "--prompt", "a", "--max-new-tokens", "2"];
    let said = |more: &[&str]| text(&run(&[&ask[..], more].concat()).stderr);
    assert_eq!(said(&[]).contains("computing on the GPU"), !software);
    assert!(!said(&["--backend", "flex"]).contains("GPU"));
}

/// Dropout is drawn on the host: the same elements as on the CPU with the same seed, and others with another.
#[test]
fn the_same_seed_drops_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let train = |name: &str, backend: &str, seed: &str| {
        let flags = ["--lora-dropout", "0.3", "--backend", backend, "--seed", seed, "--no-shuffle"];
        let rows = whole_run(&folder.path().join(name), &flags);
        rows.iter().map(|row| number(&row["loss"])).collect::<Vec<f64>>()
    };
    let (one, other) = (train("one", &gpu(), "5"), train("other", &gpu(), "6"));
    let on_flex = train("flex", "flex", "5");
    let apart = |rows: &[f64]| one.iter().zip(rows).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart(&on_flex) < tolerance(), "{one:?} {on_flex:?}");
    assert!(apart(&other) > 1e-3, "{one:?} {other:?}");
}

#[test]
fn every_gpu_passes_the_check() {
    let output = run(&["devices", "--check", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn what_the_adapter_cannot_hold_is_refused_before_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let limit = backend(&gpu())["devices"][0]["largest_tensor_bytes"].as_u64().unwrap();
    let mut config = json(Path::new(&fixture("window")).join("config.json"));
    config["vocab_size"] = (limit / 4 / config["hidden_size"].as_u64().unwrap() + 1).into();
    let file = folder.path().join("config.json").display().to_string();
    std::fs::write(&file, config.to_string()).unwrap();
    let said = one_line(&run(&["bench", "train", "--config", &file, "--length", "16", "--backend", &gpu()]));
    assert!(said.contains("the token embedding") && said.contains("the backend flex"), "{said}");
}

/// A token embedding that the device holds in half alone.
#[test]
fn half_weights_fit_where_whole_ones_do_not() {
    let found = backend(&gpu())["devices"][0].clone();
    let limit = found["largest_tensor_bytes"].as_u64().unwrap();
    if found["f16"] == false || limit > 1 << 28 {
        return; // a model beyond the limit would take too long to make
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut config = json(Path::new(&fixture("window")).join("config.json"));
    config["vocab_size"] = (limit / 4 / config["hidden_size"].as_u64().unwrap() + 1).into();
    config["initializer_range"] = 0.3.into();
    std::fs::write(path("config.json"), config.to_string()).unwrap();
    let model = path("model");
    good(&["init", "--config", &path("config.json"), "--tokenizer", &fixture("window"), "--output", &model]);
    let command = |backend: &str, weights: &str| {
        let first = ["generate", "--model", &model, "--prompt", "a", "--max-new-tokens", "4", "--ignore-eos"];
        let more = ["--json", "--backend", backend, "--weights", weights];
        [&first[..], &more].concat().into_iter().map(String::from).collect::<Vec<_>>()
    };
    let said = one_line(&run(&borrowed(&command(&gpu(), "f32"))));
    assert!(said.contains("the token embedding") && said.contains("weights in f16"), "{said}");
    let ids = |backend: &str, weights: &str| {
        let report: Value = serde_json::from_str(&good(&borrowed(&command(backend, weights)))).unwrap();
        report["new_ids"].clone()
    };
    // The likeliest of a million words, whose logits differ by more than half precision rounds.
    let found = ids(&gpu(), "f16");
    assert_eq!(found.as_array().unwrap().len(), 4);
    assert_eq!(found, ids("flex", "f32"));
}

/// A product on a GPU may be rounded to TF32: what a merge writes comes from the processor, so that it is the same
/// whatever is asked for, and needs no GPU.
#[test]
#[cfg(feature = "wgpu")]
fn a_merge_is_made_on_the_processor() {
    let folder = tempfile::tempdir().unwrap();
    let merged = |backend: &str| {
        let output = folder.path().join(backend);
        let (model, adapter) = (fixture("window"), fixture("adapter_qv"));
        let mut command = program(&["merge", "--model", &model, "--adapter", &adapter, "--backend", backend]);
        command
            .arg("--output")
            .arg(&output)
            .env("VK_DRIVER_FILES", "/none.json")
            .env("VK_ICD_FILENAMES", "/none.json");
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", text(&done.stderr));
        std::fs::read(output.join("model.safetensors")).unwrap()
    };
    assert!(merged("wgpu") == merged("flex"));
}

#[test]
#[cfg(feature = "wgpu")]
fn without_an_adapter_one_line_says_so() {
    let model = fixture("window");
    let mut command = program(&ask(&model, "wgpu"));
    command.env("VK_DRIVER_FILES", "/none.json").env("VK_ICD_FILENAMES", "/none.json");
    let said = one_line(&command.output().unwrap());
    assert!(said.contains("no GPU was found") && said.contains("mesa-vulkan-drivers"), "{said}");
}

#[test]
#[cfg(feature = "cuda")]
fn without_cuda_one_line_says_what_is_missing() {
    let cuda = backend("cuda");
    if cuda["unusable"].is_null() {
        return; // there is an NVIDIA GPU here, with all that it takes
    }
    let said = one_line(&run(&ask(&fixture("window"), "cuda")));
    assert!(said.contains(cuda["unusable"].as_str().unwrap()), "{said}");
    assert!(["driver", "NVRTC", "headers"].iter().any(|part| said.contains(part)), "{said}");
}
