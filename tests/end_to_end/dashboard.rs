//! The dashboard, in a terminal that util-linux's `script` plays.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use super::*;

/// Starts a training of `steps` steps with `--tui` in a terminal; what it shows comes out of its standard output.
fn watched(output: &Path, steps: &str) -> std::process::Child {
    let (program, model, data) =
        (env!("CARGO_BIN_EXE_gptneo-lora"), fixture("window"), fixture("records.json"));
    let command = format!(
        "stty rows 40 cols 120; '{program}' train --model '{model}' --data '{data}' --output '{}' \
         --max-seq-length 64 --max-steps {steps} --eval-steps 10 --tui",
        output.display()
    );
    Command::new("script")
        .args(["--quiet", "--flush", "--return", "--command", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn the_dashboard_opens_shows_the_measures_and_closes() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("run");
    let mut child = watched(&output, "40");
    let _keys = child.stdin.take().unwrap();
    let mut shown = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut shown).unwrap();
    assert!(child.wait().unwrap().success());
    let shown = String::from_utf8_lossy(&shown);
    let opened = shown.find("\u{1b}[?1049h").unwrap();
    let closed = shown.find("\u{1b}[?1049l").unwrap();
    let dashboard = &shown[opened..closed];
    for word in ["loss", "speed", "gradient", "Valid"] {
        assert!(dashboard.contains(word), "{word}: {dashboard}");
    }
    let after = &shown[closed..];
    assert!(after.contains("step 40: validation loss"), "{after}");
    assert!(output.join("adapter/adapter_model.safetensors").exists());
}

/// Presses keys again and again in a training without an end until it ends: with code 130, and all that it showed.
fn ended_by(keys_pressed: &[u8], output: &Path) -> String {
    let mut child = watched(output, "1000000");
    let mut keys = child.stdin.take().unwrap();
    let mut shown = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        shown.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "the keys end it");
        let begun = std::fs::read(output.join("metrics.jsonl")).is_ok_and(|rows| !rows.is_empty());
        if begun {
            // A pipe that the ended program left is no failure of this test.
            let _ = keys.write_all(keys_pressed);
        }
        std::thread::sleep(Duration::from_millis(300));
    };
    let said = reader.join().unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    said
}

#[test]
fn its_keys_stop_the_run_which_can_go_on_or_end_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("run");
    let said = ended_by(b"qs", &output);
    assert!(said.contains("--resume"), "{said}");
    assert!(std::fs::read_dir(output.join("checkpoints")).unwrap().next().is_some());
    let said = ended_by(b"qk", &folder.path().join("killed"));
    let after = &said[said.find("\u{1b}[?1049l").unwrap()..];
    assert!(!after.contains("panic") && !after.contains("Killing"), "{after}");
}

#[test]
fn without_a_terminal_it_is_refused() {
    let (code, said) = bad(&["run", "--tui", "--output", "no-such-folder"]);
    assert!(code == 2 && said.contains("--tui needs a terminal"), "{said}");
}
