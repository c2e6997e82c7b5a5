//! What is taken for a checkpoint, and what is found wrong with one.

use std::path::Path;

use super::*;

fn state(step: usize) -> RunState {
    RunState {
        step,
        skipped_steps: 0,
        total_steps: 12,
        tokens: 340,
        evaluated_step: None,
        best: None,
        evaluations_without_gain: 0,
        config: TrainingConfig::default(),
        precision: Precision::F32,
        loss_scale: None,
        tuning: Tuning::default(),
        fingerprint: "base and texts".into(),
    }
}

/// A checkpoint with a file beside its state.
fn checkpoint(checkpoints: &Checkpoints, state: &RunState) {
    let folder = checkpoints.path(state.step);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("optimizer.safetensors"), "moments").unwrap();
    fs::write(folder.join(STATE), serde_json::to_string_pretty(state).unwrap()).unwrap();
    sums::write(&folder).unwrap();
}

fn flip(path: &Path, byte: usize, bit: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[byte] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
}

#[test]
fn every_flipped_bit_is_found_and_the_checkpoint_before_is_offered() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path());
    checkpoint(&checkpoints, &state(5));
    checkpoint(&checkpoints, &state(10));
    assert_eq!(checkpoints.newest().unwrap().unwrap(), state(10));
    for name in ["optimizer.safetensors", STATE, "SHA256SUMS"] {
        let path = checkpoints.path(10).join(name);
        for byte in 0..fs::read(&path).unwrap().len() {
            let bit = (byte % 8) as u8;
            flip(&path, byte, bit);
            let message = checkpoints.newest().unwrap_err().to_string();
            assert!(
                message.contains("step-00000010") && message.contains("step 5"),
                "{name} {byte}: {message}"
            );
            assert!(!message.contains(|c: char| c.is_control()) && message.len() < 600, "{message}");
            flip(&path, byte, bit);
        }
    }
    assert_eq!(checkpoints.newest().unwrap().unwrap(), state(10));
    fs::remove_dir_all(checkpoints.path(5)).unwrap();
    flip(&checkpoints.path(10).join("optimizer.safetensors"), 3, 1);
    let message = checkpoints.newest().unwrap_err().to_string();
    assert!(message.contains("optimizer.safetensors") && message.contains("begins again"), "{message}");
}

#[test]
fn strays_are_no_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path());
    checkpoint(&checkpoints, &state(5));
    fs::write(folder.path().join("step-00000099"), "a file").unwrap();
    for stray in ["step-00000050", "step-7", "step-+00000060", "step-99999999999999999999999", "notes"] {
        fs::create_dir(folder.path().join(stray)).unwrap();
    }
    fs::copy(checkpoints.path(5).join(STATE), folder.path().join("step-7").join(STATE)).unwrap();
    assert_eq!(checkpoints.steps(), [5]);
    assert_eq!(checkpoints.newest().unwrap().unwrap(), state(5));
}

#[test]
fn a_state_that_cannot_be_is_refused_without_hashes_too() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path());
    let best = |step, loss| RunState { best: Some(Best { step, loss }), ..state(5) };
    let cases = [
        RunState { step: 6, ..state(5) },
        RunState { total_steps: 4, ..state(5) },
        RunState { skipped_steps: 6, ..state(5) },
        best(6, 1.0),
        best(0, 1.0),
    ];
    for case in cases {
        checkpoint(&checkpoints, &state(5));
        fs::remove_file(checkpoints.path(5).join("SHA256SUMS")).unwrap();
        assert_eq!(checkpoints.newest().unwrap().unwrap(), state(5), "those of earlier versions are taken");
        fs::write(checkpoints.path(5).join(STATE), serde_json::to_string(&case).unwrap()).unwrap();
        let message = checkpoints.newest().unwrap_err().to_string();
        assert!(message.contains("state.json says that"), "{message}");
    }
    fs::write(checkpoints.path(5).join(STATE), r#"{"step": "five\u001b"}"#).unwrap();
    let message = checkpoints.newest().unwrap_err().to_string();
    assert!(message.contains("a whole number") && !message.contains("usize"), "{message}");
}
