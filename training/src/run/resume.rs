//! Whether a run may go on: only under the settings and on the data that it was started with.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::TrainingError;
use crate::checkpoint::{Checkpoints, RunState};

/// The newest checkpoint's state, if it is of the run that would otherwise begin as `fresh`; that where there is none.
///
/// # Errors
///
/// The checkpoint cannot be read or is of other settings or data, which are named.
pub(super) fn state_to_resume(checkpoints: &Checkpoints, fresh: RunState) -> Result<RunState, TrainingError> {
    let Some(found) = checkpoints.newest()? else { return Ok(fresh) };
    let comparable = RunState {
        step: 0,
        skipped_steps: 0,
        tokens: 0,
        evaluated_step: None,
        best: None,
        evaluations_without_gain: 0,
        loss_scale: fresh.loss_scale,
        ..found.clone()
    };
    if comparable == fresh {
        return Ok(found);
    }
    let path = checkpoints.path(found.step);
    let differences = match (serde_json::to_value(&comparable), serde_json::to_value(&fresh)) {
        (Ok(before), Ok(now)) => differences("", &before, &now).join("; "),
        _ => "its settings cannot be compared".into(),
    };
    Err(TrainingError::Checkpoint {
        path,
        reason: format!(
            "the run was started with other settings or data ({differences}); \
             resume it with the same ones, or choose another output folder"
        ),
    })
}

fn differences(path: &str, before: &Value, now: &Value) -> Vec<String> {
    match (before, now) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let null = Value::Null;
            keys.into_iter()
                .flat_map(|key| differences(key, a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null)))
                .collect()
        }
        _ if before == now => Vec::new(),
        _ => vec![format!("{path} was {before} and is now {now}")],
    }
}
