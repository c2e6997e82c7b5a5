//! `run --seeds`, `compare` of several runs, and `sweep`.

use std::path::Path;

use serde_json::Value;

use super::data::{asked, lines};
use super::pipeline::{table, whole_way};
use super::*;

#[test]
fn several_seeds_share_a_split_and_are_told_by_mean_and_spread() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("runs");
    let seeds = |more: &[&str]| {
        good(&borrowed(&whole_way(&output, &[&["--seeds", "3", "--seed", "5"], more].concat())))
    };
    let said = seeds(&["--samples", "0"]);
    assert!(said.contains("deviation") && said.contains("discrimination"), "{said}");
    let run = |seed: u64| output.join(format!("seed-{seed}"));
    let records = |seed| -> Vec<String> {
        table(&run(seed).join("held_out_losses.csv")).into_iter().map(|row| row[0].clone()).collect()
    };
    assert_eq!(records(5), records(6));
    assert_ne!(adapter_bytes(&run(5)), adapter_bytes(&run(6)));
    let spread = table(&output.join("seeds.csv"));
    assert_eq!(spread[0], ["Measure", "Model", "Mean", "Standard Deviation", "Smallest", "Largest", "Runs"]);
    let row = |measure: &str, model: &str| {
        spread.iter().find(|row| row[0] == measure && row[1] == model).unwrap_or_else(|| panic!("{measure}"))
    };
    let losses: Vec<f64> = [5, 6, 7]
        .map(|seed| {
            let rows = table(&run(seed).join("model_performance_comparison.csv"));
            rows.iter().find(|row| row[0] == "LoRA Model" && row[3] == "response").unwrap()[1]
                .parse()
                .unwrap()
        })
        .to_vec();
    let mean: f64 = row("loss, response", "LoRA Model")[2].parse().unwrap();
    assert!((mean - losses.iter().sum::<f64>() / 3.0).abs() < 1e-12, "{mean} {losses:?}");
    assert_eq!(row("loss, text", "Base Model")[3], "0", "the base knows no seed");
    row("token F1", "LoRA Model");

    // What would make other runs of some is refused, and so is a table of fewer than there are.
    let whole = output.display().to_string();
    for (more, words) in [
        (&["--seeds", "4", "--max-steps", "9"][..], "these differ: training.max_steps"),
        (&["--seeds", "2"], "has runs up to seed-7, beyond 2 seeds"),
    ] {
        let (code, said) = bad(&[&["run", "--resume", "--output", &whole][..], more].concat());
        assert!(code == 2 && said.contains(words), "{said}");
    }
    // One that did not come to its end is made up for, the others stay.
    std::fs::remove_file(run(6).join("report.html")).unwrap();
    let kept = std::fs::metadata(run(5).join("report.html")).unwrap().modified().unwrap();
    let output = output.display().to_string();
    good(&["run", "--seeds", "3", "--resume", "--output", &output]);
    assert!(run(6).join("report.html").exists());
    assert_eq!(std::fs::metadata(run(5).join("report.html")).unwrap().modified().unwrap(), kept);

    let paths = [5, 6, 7].map(|seed| run(seed).display().to_string());
    let arguments = ["compare", &paths[0], &paths[1], &paths[2], "--json"];
    let compared: Value = serde_json::from_str(&good(&arguments)).unwrap();
    assert_eq!(compared["runs"].as_array().unwrap().len(), 3);
    let differences = compared["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 2);
    assert_eq!(compared["difference"], differences[0]["difference"]);
    for (at, one) in differences.iter().enumerate() {
        let loss = |at: usize| compared["runs"][at]["loss"].as_f64().unwrap();
        assert!((one["difference"].as_f64().unwrap() - (loss(at + 1) - loss(0))).abs() < 1e-9, "{compared}");
        assert!(
            one["discrimination"]["p_value"].is_number() && one["answers"]["chrF"]["interval"].is_array()
        );
    }
    let said = good(&arguments[..4]);
    assert!(
        said.contains(&format!("{} against {}", paths[2], paths[0])) && said.contains("McNemar"),
        "{said}"
    );
}

#[test]
fn training_alone_takes_several_seeds_too() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("runs");
    let mut arguments = train(&output);
    arguments.extend(["--seeds", "2", "--samples", "0"].map(String::from));
    good(&borrowed(&arguments));
    assert_ne!(adapter_bytes(&output.join("seed-3")), adapter_bytes(&output.join("seed-4")));
    let spread = table(&output.join("seeds.csv"));
    let best: f64 = spread.iter().find(|row| row[0] == "best validation loss").unwrap()[2].parse().unwrap();
    // A seed more learns from the same records, or not at all.
    let data = folder.path().join("records.json");
    let mut fewer = json(fixture("records.json"));
    fewer.as_array_mut().unwrap().pop();
    std::fs::write(&data, fewer.to_string()).unwrap();
    let (whole, data) = (output.display().to_string(), data.display().to_string());
    let (code, said) = bad(&["train", "--resume", "--output", &whole, "--seeds", "3", "--data", &data]);
    assert!(code == 1 && said.contains("data changed since the run in"), "{said}");
    assert!(!output.join("seed-5").exists());
    let (code, said) = bad(&["train", "--resume", "--output", &whole]);
    assert!(code == 2 && said.contains("it holds runs") && said.contains("seed-4"), "{said}");
    let losses = [3, 4].map(|seed| {
        let rows =
            rows(&output.join(format!("seed-{seed}"))).into_iter().filter(|row| row["split"] == "validation");
        rows.map(|row| row["loss"].as_f64().unwrap()).fold(f64::INFINITY, f64::min)
    });
    assert!((best - (losses[0] + losses[1]) / 2.0).abs() < 1e-12, "{best} {losses:?}");
}

fn sweep_file(folder: &Path) -> String {
    let file = folder.join("sweep.toml");
    let data = folder.join("records.json");
    std::fs::copy(fixture("records.json"), &data).unwrap();
    let text = format!(
        "[model]\npath = {:?}\n[data]\npath = {:?}\nmax_seq_length = 64\nvalidation_fraction = 0.2\n\
         [training]\nmax_steps = 8\nbatch_size = 4\n[answers]\nsamples = 0\n[lora]\nr = 2\n[run]\nbackend = \"flex\"\n\
         [grid.training]\nlearning_rate = [1e-6, 3e-3]\n[grid.lora]\nalpha = [2.0, 4.0]\n[sweep]\nrungs = 2\n",
        fixture("window"),
        data
    );
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[test]
fn a_sweep_stops_the_hopeless_goes_on_and_measures_once() {
    let folder = tempfile::tempdir().unwrap();
    let (file, output) = (sweep_file(folder.path()), folder.path().join("sweep"));
    let name = output.display().to_string();
    let found: Value = serde_json::from_str(&good(&["sweep", &file, "--output", &name, "--json"])).unwrap();
    let trials = found["trials"].as_array().unwrap();
    let steps: Vec<u64> = trials.iter().map(|trial| trial["steps"].as_u64().unwrap()).collect();
    // In the order alpha, learning rate: the rate of almost nothing is stopped at the first rung, both times.
    assert_eq!(steps, [4, 8, 4, 8], "{found}");
    let chosen = found["chosen"].as_u64().unwrap();
    assert!([2, 4].contains(&chosen), "{found}");
    let losses: Vec<f64> = trials.iter().map(|trial| trial["validation_loss"].as_f64().unwrap()).collect();
    assert!(losses.iter().all(|loss| *loss >= losses[chosen as usize - 1]), "{losses:?}");
    assert!(found["test"]["paired"]["response"]["difference"].as_f64().unwrap() < 0.0, "{found}");
    let rows = table(&output.join("sweep.csv"));
    assert_eq!(rows[0][..3], ["Trial", "lora.alpha", "training.learning_rate"]);
    assert_eq!((rows.len(), rows[chosen as usize][7].as_str()), (5, "yes"));
    assert!(std::fs::read(output.join("sweep_chart.png")).unwrap().starts_with(b"\x89PNG"));
    // No question of the test is in the search.
    let questions = |name: &str| -> Vec<String> {
        let records = json(output.join("parts").join(name));
        records
            .as_array()
            .unwrap()
            .iter()
            .map(|record| record["input"].as_str().unwrap().to_string())
            .collect()
    };
    let search = questions("search.json");
    assert!(questions("test.json").iter().all(|question| !search.contains(question)));

    // A trial that was paused and goes on is one that ran through, bit for bit.
    let whole = folder.path().join("whole");
    let settings = output.join(format!("trial-{chosen:02}/settings.toml")).display().to_string();
    good(&["train", "--config", &settings, "--output", &whole.display().to_string()]);
    assert!(adapter_bytes(&whole) == adapter_bytes(&output.join(format!("trial-{chosen:02}"))));

    // Going on with what is done changes nothing; what is missing is made up for.
    std::fs::remove_dir_all(output.join("trial-03")).unwrap();
    let again: Value =
        serde_json::from_str(&good(&["sweep", "--resume", "--output", &name, "--json"])).unwrap();
    assert_eq!(again, found);
    // Data that were changed in between would part otherwise: the parts that the trials learned from stay.
    let data = folder.path().join("records.json");
    let mut records = json(&data);
    records.as_array_mut().unwrap().remove(0);
    std::fs::write(&data, records.to_string()).unwrap();
    let (code, said) = bad(&["sweep", "--resume", "--output", &name]);
    assert!(code == 2 && said.contains("search.json): a data file was changed"), "{said}");
    assert_eq!(questions("search.json"), search);
    let (code, said) = bad(&["sweep", &file, "--output", &name]);
    assert!(code == 2 && said.contains("is not empty"), "{said}");
    let nowhere = folder.path().join("nowhere").display().to_string();
    let (code, said) = bad(&["sweep", "--resume", "--output", &nowhere]);
    assert!(code == 2 && said.contains("sweep.toml is missing"), "{said}");
}

#[test]
fn a_trial_that_diverges_is_no_candidate_and_ends_no_sweep() {
    let folder = tempfile::tempdir().unwrap();
    let (file, output) = (sweep_file(folder.path()), folder.path().join("sweep"));
    let sweep = |rates: &str, name: &str| {
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.replace("[1e-6, 3e-3]", rates).replace("[2.0, 4.0]", "[2.0]");
        let own = folder.path().join(format!("{name}.toml"));
        std::fs::write(&own, text).unwrap();
        let output = output.join(name).display().to_string();
        super::run(&["sweep", &own.display().to_string(), "--output", &output, "--json"])
    };
    let ran = sweep("[1e30, 3e-3, 1e29]", "one");
    let said = text(&ran.stderr);
    assert!(ran.status.success() && said.contains("trial 1 is lost: "), "{said}");
    // Two of three go on, but only one is left.
    assert!(said.contains("the best first: 2\n") && !said.contains("rung 2: trial 1"), "{said}");
    let found: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((found["chosen"].as_u64(), found["trials"][0]["validation_loss"].is_null()), (Some(2), true));
    let ran = sweep("[1e30, 1e29]", "none");
    let said = text(&ran.stderr);
    assert!(ran.status.code() == Some(1) && said.contains("not a finite number"), "{said}");
    let rows = table(&output.join("none/sweep.csv"));
    assert!(rows.len() == 3 && rows[1..].iter().all(|row| row[6].is_empty() && row[7] == "no"), "{rows:?}");
}

#[test]
fn where_all_that_went_on_diverge_the_best_of_the_stopped_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (file, output) = (sweep_file(folder.path()), folder.path().join("sweep").display().to_string());
    // The second trial's steps grow with the warm-up until its weight decay, beyond 2, turns the weights' signs.
    let text_of_file = std::fs::read_to_string(&file).unwrap();
    let late = text_of_file
        .replace("max_steps = 8", "max_steps = 60\nwarmup_steps = 1000000\nweight_decay = 300.0")
        .replace("[1e-6, 3e-3]", "[1e-3, 1e3]")
        .replace("[2.0, 4.0]", "[4.0]")
        .replace("rungs = 2", "rungs = 2\nfactor = 30");
    std::fs::write(&file, late).unwrap();
    let ran = super::run(&["sweep", &file, "--output", &output, "--json"]);
    let said = text(&ran.stderr);
    assert!(ran.status.success() && said.contains("the best first: 2\n"), "{said}");
    assert!(
        said.contains("rises over 1,000,000 steps, but there are 60")
            && said.contains("trial 2 is lost: ")
            && said.contains("trial 1, which was stopped before"),
        "{said}"
    );
    let found: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let steps = |trial: usize| found["trials"][trial]["steps"].as_u64().unwrap();
    assert_eq!((found["chosen"].as_u64(), steps(0)), (Some(1), 60), "{found}");
    assert!(steps(1) > 2 && steps(1) < 60, "{found}");
    let again = good(&["sweep", "--resume", "--output", &output, "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap(), found);
}

#[test]
fn a_sweep_chooses_by_and_reports_on_files_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let train = lines(folder.path(), "train.jsonl", &asked(0..24));
    let validation = lines(folder.path(), "own.jsonl", &asked(40..46));
    let test = lines(folder.path(), "last.jsonl", &asked(45..50));
    let (file, output) = (folder.path().join("sweep.toml"), folder.path().join("sweep"));
    let settings = format!(
        "[model]\npath = {:?}\n[data]\npath = {train:?}\nmax_seq_length = 64\ntest_data = \"no-such-file.jsonl\"\n\
         [training]\nmax_steps = 4\nbatch_size = 4\n[answers]\nsamples = 0\ndiscriminate = 0\n\
         [run]\nbackend = \"flex\"\n[grid.training]\nlearning_rate = [1e-3, 3e-3]\n[sweep]\nrungs = 2\n",
        fixture("window")
    );
    std::fs::write(&file, settings).unwrap();
    let (file, name) = (file.display().to_string(), output.display().to_string());
    let (code, said) = bad(&["sweep", &file, "--output", &name, "--validation-data", &validation]);
    assert!(code == 1 && said.contains("no-such-file"), "{said}");
    let own = ["--validation-data", &validation, "--test-data", &test];
    assert!(!output.exists(), "what is refused leaves nothing");
    let ran = super::run(&[&["sweep", &file, "--output", &name, "--json"][..], &own].concat());
    let said = text(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    let leak = "1 of the test data are in the validation data too";
    assert_eq!(said.matches(leak).count(), 1, "{said}");
    let found: Value = serde_json::from_slice(&ran.stdout).unwrap();
    // All records are learned from or measured on as they were given: nothing is parted.
    assert!(!output.join("parts").exists());
    for trial in ["trial-01", "trial-02"] {
        let counts = json(output.join(trial).join("manifest.json"))["counts"].clone();
        let of = |name: &str| counts[name].as_u64().unwrap_or_default();
        assert_eq!(
            (of("train_examples"), of("validation_examples"), of("test_examples")),
            (24, 6, 0),
            "{trial}: {counts}"
        );
    }
    // What is reported is what the chosen one gets on the test file.
    let weights = found["weights"].as_str().unwrap();
    let (window, length) = (fixture("window"), ["--max-seq-length", "64", "--batch-size", "4", "--json"]);
    let examined =
        [&["evaluate", "--model", &window, "--adapter", weights, "--data", &test][..], &length].concat();
    let examined: Value = serde_json::from_str(&good(&examined)).unwrap();
    assert_eq!(found["test"]["tuned"]["protocols"]["response"], examined["protocols"]["response"], "{found}");
    // What the flags said is kept for when it goes on.
    let again = good(&["sweep", "--resume", "--output", &name, "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap(), found);
    let (code, said) = bad(&["sweep", "--resume", "--output", &name, "--test-data", &test]);
    assert!(code == 2 && said.contains("--resume"), "{said}");
}
