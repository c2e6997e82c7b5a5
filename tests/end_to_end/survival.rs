//! What ends a run, and what does not: deaths at any moment, others in the same folder, streams and resources that the
//! system refuses.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use gptneo_files::{Claim, FileClaim, Lock};

use super::*;

/// A training of a second.
fn short(output: &Path) -> Vec<String> {
    let (model, data, output) = (fixture("window"), fixture("records.json"), output.display().to_string());
    let arguments = ["train", "--quiet", "--model", &model, "--data", &data, "--output", &output];
    let rest = ["--max-seq-length", "48", "--lora-r", "2", "--batch-size", "4", "--max-steps", "4"];
    let more = ["--checkpoint-steps", "2", "--learning-rate", "1e-3", "--backend", "flex"];
    [&arguments[..], &rest, &more].concat().into_iter().map(String::from).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_run_killed_in_its_first_moments_is_not_there_or_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let began = Instant::now();
    good(&borrowed(&short(&whole)));
    let taken = began.elapsed();
    let expected = adapter_bytes(&whole);
    for part in [0, 5, 15, 30, 45, 60, 80] {
        let parent = folder.path().join(format!("killed-{part}"));
        let run = parent.join("run");
        let mut child = program(&borrowed(&short(&run))).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(taken * part / 100);
        child.kill().unwrap();
        child.wait().unwrap();
        match run.exists() {
            true => good(&["train", "--quiet", "--resume", "--output", &run.display().to_string()]),
            false => good(&borrowed(&short(&run))),
        };
        assert_eq!(adapter_bytes(&run), expected, "killed after {part} % of its time");
        assert_eq!(names(&parent), ["run"], "killed after {part} % of its time");
        let unfinished = |folder: &Path| names(folder).into_iter().find(|name| name.ends_with(".partial"));
        assert_eq!((unfinished(&run), unfinished(&run.join("checkpoints"))), (None, None));
    }
}

#[test]
fn a_second_process_says_at_once_that_it_is_not_alone() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = run.display().to_string();
    let refused = |arguments: &[&str], word: &str| {
        let began = Instant::now();
        let (code, said) = bad(arguments);
        assert!(code == 1 && said.contains(word), "{code}: {said}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    };
    // Another process makes the folder, then runs in it.
    let claim = Claim::new(&run).unwrap();
    refused(&borrowed(&short(&run)), "another process is writing");
    drop(claim);
    good(&borrowed(&short(&run)));
    let lock = Lock::take(&run.join(".lock")).unwrap().unwrap();
    refused(&["train", "--resume", "--output", &output], "another process is at work on the run");
    refused(&borrowed(&short(&run)), "another process is at work on the run");
    drop(lock);
    let (code, said) = bad(&borrowed(&short(&run)));
    assert!(code == 2 && said.contains("holds a run: resume it"), "{said}");

    let merged = folder.path().join("merged");
    let (adapter, to) = (run.join("adapter").display().to_string(), merged.display().to_string());
    let merge = ["merge", "--model", &fixture("window"), "--adapter", &adapter, "--output", &to];
    let claim = Claim::new(&merged).unwrap();
    refused(&merge, "another process is writing");
    // What comes into the folder meanwhile is not the merge's to remove.
    drop(claim);
    good(&merge);
    let (code, said) = bad(&merge);
    assert!(code == 2 && said.contains("not empty"), "{said}");
    assert_eq!(names(folder.path()), ["merged", "run"]);

    // Files and folders of the other commands.
    let place = |name: &str| folder.path().join(name);
    let shown = |name: &str| place(name).display().to_string();
    let (model, table) = (fixture("window"), shown("table.csv"));
    let compare =
        ["compare", "--model", &model, "--adapter", &adapter, "--question", "Why?", "--output", &table];
    let compare = [&compare[..], &["--max-new-tokens", "2"]].concat();
    let gguf_file = shown("model.gguf");
    let gguf =
        ["export", "--model", &model, "--format", "gguf", "--output", &gguf_file, "--max-positions", "8"];
    let gpt2_folder = shown("gpt2");
    let gpt2 =
        ["export", "--model", &model, "--format", "gpt2", "--output", &gpt2_folder, "--max-positions", "8"];
    for (name, command) in [("table.csv", &compare[..]), ("model.gguf", &gguf[..])] {
        let claim = FileClaim::new(place(name)).unwrap();
        refused(command, "another process is writing");
        drop(claim);
        good(command);
        let (code, said) = bad(command);
        assert!(code == 2 && said.contains("exists already"), "{said}");
    }
    let claim = Claim::new(place("gpt2")).unwrap();
    refused(&gpt2, "another process is writing");
    drop(claim);
    good(&gpt2);
    let sweep_folder = shown("sweep");
    let plan = format!(
        "[model]\npath = {model:?}\n[data]\npath = {:?}\n[training]\nmax_steps = 1\n[sweep]\nrungs = 1\n[grid.lora]\nr = [2]\n",
        fixture("records.json")
    );
    fs::write(place("plan.toml"), plan).unwrap();
    let plan_file = shown("plan.toml");
    let sweep = ["sweep", "--quiet", &plan_file, "--output", &sweep_folder];
    let claim = Claim::new(place("sweep")).unwrap();
    refused(&sweep, "another process is writing");
    drop(claim);
    good(&sweep);
    let lock = Lock::take(&place("sweep").join(".lock")).unwrap().unwrap();
    refused(&["sweep", "--quiet", "--resume", "--output", &sweep_folder], "another process is at work");
    drop(lock);
    let all = ["gpt2", "merged", "model.gguf", "plan.toml", "run", "sweep", "table.csv"];
    assert_eq!(names(folder.path()), all);
}

#[test]
fn a_damaged_checkpoint_is_named_and_strays_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = run.display().to_string();
    good(&borrowed(&short(&run)));
    let expected = adapter_bytes(&run);
    let checkpoints = run.join("checkpoints");
    let newest = names(&checkpoints).pop().unwrap();
    for stray in ["step-00000099", "step-7", "notes"] {
        fs::create_dir(checkpoints.join(stray)).unwrap();
    }
    good(&["train", "--quiet", "--resume", "--output", &output]);
    let path = checkpoints.join(&newest).join("adapter_model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 4;
    fs::write(&path, bytes).unwrap();
    let (code, said) = bad(&["train", "--quiet", "--resume", "--output", &output]);
    assert!(
        code == 1 && said.contains(&newest) && said.contains("adapter_model.safetensors"),
        "{code}: {said}"
    );
    assert!(said.contains("Remove that folder"), "{said}");
    fs::remove_dir_all(checkpoints.join(&newest)).unwrap();
    good(&["train", "--quiet", "--resume", "--output", &output]);
    assert_eq!(adapter_bytes(&run), expected);
}

#[test]
#[cfg(target_os = "linux")]
fn standard_error_that_is_closed_or_full_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut runs: Vec<PathBuf> = Vec::new();
    let mut told = |name: &str, stderr: Stdio| {
        let run = folder.path().join(name);
        let arguments: Vec<String> = short(&run).into_iter().filter(|flag| flag != "--quiet").collect();
        let output = program(&borrowed(&arguments)).stderr(stderr).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}");
        runs.push(run);
    };
    told("full", File::options().write(true).open("/dev/full").unwrap().into());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    told("closed", writer.into());
    told("heard", Stdio::null());
    let adapters: Vec<Vec<u8>> = runs.iter().map(|run| adapter_bytes(run)).collect();
    assert!(adapters.windows(2).all(|pair| pair[0] == pair[1]));
    // An error is told by the exit code alone then.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = program(&["train", "--output", "x"]).stderr(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// The program under limits of the shell's `ulimit`.
#[cfg(target_os = "linux")]
fn limited(limits: &str, arguments: &[String]) -> Output {
    let program = path("GPTNEO_LORA_TEST_PROGRAM", env!("CARGO_BIN_EXE_gptneo-lora"));
    let script = format!("{limits} && exec \"$0\" \"$@\"");
    Command::new("sh")
        .args(["-c", &script])
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn what_the_system_refuses_is_a_plain_error_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    // Files of 16 kB (blocks of 512 bytes): no settings or manifest is larger, a checkpoint is.
    let output = limited("ulimit -f 32", &short(&run));
    let said = text(&output.stderr);
    assert!(
        output.status.code() == Some(1) && said.starts_with("error: cannot"),
        "{:?} {said}",
        output.status
    );
    good(&["train", "--quiet", "--resume", "--output", &run.display().to_string()]);
    // Few addresses, few open files, and, but for root, no thread.
    for limits in ["ulimit -v 600000", "ulimit -v 300000", "ulimit -n 12", "ulimit -u 1"] {
        let again = folder.path().join("again");
        let output = limited(limits, &short(&again));
        let said = text(&output.stderr);
        let plain = matches!(output.status.code(), Some(0..=2)) && !said.contains("panicked");
        assert!(plain, "{limits}: {:?} {said}", output.status);
        let _ = fs::remove_dir_all(again);
    }
}

#[test]
fn sizes_beyond_the_machine_are_refused_at_once_by_their_flags() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let window = fixture("window");
    let training = |flag: &str, value: &str| {
        let mut arguments = short(&run);
        if let Some(at) = arguments.iter().position(|argument| argument == flag) {
            arguments.drain(at..at + 2);
        }
        arguments.extend([flag.to_string(), value.to_string()]);
        arguments
    };
    let bench = |what: &str, flag: &str, value: &str| {
        ["bench", what, "--model", &window, flag, value].map(String::from).to_vec()
    };
    let cases = [
        training("--lora-r", "1000000000"),
        training("--lora-r", "9223372036854775807"),
        training("--epochs", "9223372036854775807"),
        training("--max-steps", "1000000001"),
        training("--batch-size", "-1"),
        training("--batch-size", "0"),
        training("--seed", "x"),
        training("--learning-rate", "nan"),
        training("--learning-rate", "-1"),
        training("--lora-dropout", "1"),
        training("--samples", "4000000000"),
        training("--warmup-steps", "99999999999999999999"),
        bench("train", "--batch-size", "1000000000"),
        bench("train", "--lora-r", "1000000000"),
        bench("train", "--length", "1000000000"),
        bench("train", "--steps", "1000000000"),
        bench("generate", "--batch-size", "1000000000"),
        bench("generate", "--max-new-tokens", "1000000000"),
        ["bench", "products", "--rows", "8,1000000000"].map(String::from).to_vec(),
        ["bench", "products", "--registers", "128"].map(String::from).to_vec(),
    ];
    for mut arguments in cases {
        if arguments[0] == "bench" && !arguments.contains(&"--length".to_string()) && arguments[1] == "train"
        {
            arguments.extend(["--length", "16"].map(String::from));
        }
        if arguments[1] == "generate" && !arguments.contains(&"--max-new-tokens".to_string()) {
            arguments.extend(["--max-new-tokens", "16"].map(String::from));
        }
        let flag = arguments.iter().rev().find(|argument| {
            argument.starts_with("--") && !["--length", "--max-new-tokens"].contains(&argument.as_str())
        });
        let flag = flag.filter(|flag| *flag != "--model").map_or("--", String::as_str).to_string();
        let began = Instant::now();
        let (code, said) = bad(&borrowed(&arguments));
        assert!(code == 2 && said.contains(&flag), "{flag} in {arguments:?}: {code}: {said}");
        assert!(!said.contains("usize") && !said.contains("panicked"), "{said}");
        assert!(began.elapsed() < Duration::from_secs(10), "{arguments:?}: {:?}", began.elapsed());
        assert_eq!(names(folder.path()), [""; 0], "{arguments:?}");
    }
}
