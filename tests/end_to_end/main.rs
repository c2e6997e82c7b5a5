//! The program as a user runs it: the real binary on real files, its output and its exit codes.

#![allow(clippy::print_stderr, clippy::unwrap_used)]

mod adapters;
mod base_weights;
mod browser;
mod commands;
mod dashboard;
mod data;
mod exams;
mod export;
mod folders;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod gpu;
mod hub;
mod hub_server;
mod misuse;
mod page;
mod pipeline;
mod push;
mod report;
mod runs;
mod serve;
mod served;
mod server;
mod shapes;
mod story;
mod survival;
mod sweep;
mod training;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A path that a variable names when the tests run, or that was known when they were built: a copy of the tests runs
/// on machines without the sources.
fn path(variable: &str, built: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| PathBuf::from(built), PathBuf::from)
}

fn fixture(name: &str) -> String {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    path("GPTNEO_LORA_TEST_FIXTURES", built).join(name).display().to_string()
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(path("GPTNEO_LORA_TEST_PROGRAM", env!("CARGO_BIN_EXE_gptneo-lora")));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a command that must succeed; returns its standard output.
fn good(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs a command that must fail; returns its exit code and what it said.
fn bad(arguments: &[&str]) -> (i32, String) {
    let output = run(arguments);
    assert_eq!(text(&output.stdout), "", "{arguments:?}: nothing belongs on standard output");
    (output.status.code().unwrap(), text(&output.stderr))
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn rows(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rows without what the clock decides.
fn timeless(run: &Path) -> Vec<Value> {
    let mut rows = rows(run);
    for row in &mut rows {
        let row = row.as_object_mut().unwrap();
        row.remove("seconds");
        row.remove("tokens_per_second");
    }
    rows
}

fn adapter_bytes(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("adapter/adapter_model.safetensors")).unwrap()
}

fn training(output: &str) -> Vec<String> {
    let (model, data) = (fixture("window"), fixture("records.json"));
    let arguments = [
        "train",
        "--model",
        &model,
        "--data",
        &data,
        "--output",
        output,
        "--batch-size",
        "4",
        "--max-seq-length",
        "64",
        "--learning-rate",
        "1e-3",
        "--lora-r",
        "4",
        "--epochs",
        "3",
        "--eval-steps",
        "7",
        "--checkpoint-steps",
        "5",
        "--seed",
        "3",
    ];
    arguments.iter().map(ToString::to_string).collect()
}

fn train(output: &Path) -> Vec<String> {
    training(&output.display().to_string())
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}
