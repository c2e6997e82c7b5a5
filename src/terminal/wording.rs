//! What the library says in terms of the settings file, said in terms of the command line.

use std::error::Error;

use gptneo_datasets::{Columns, DataError};
use gptneo_lora::{Problem, Remedy};

use crate::cli::{flag, section_and_key};

/// What is wrong and what to do, with settings by their flags.
pub(crate) fn of_problem(Problem { what, remedy }: &Problem) -> String {
    match remedy {
        Remedy::None => what.clone(),
        Remedy::Give(key) => {
            let (section, name) = section_and_key(key);
            format!("{} is missing: give it, or set [{section}] {name} in the settings file", flag(key))
        }
        remedy => format!("{what}: {}", of_remedy(remedy)),
    }
}

fn of_remedy(remedy: &Remedy) -> String {
    let join = |all: &[Remedy], between| all.iter().map(of_remedy).collect::<Vec<_>>().join(between);
    match remedy {
        Remedy::Give(key) => format!("give {}", flag(key)),
        Remedy::Set(key, value) => format!("give {} {value}", flag(key)),
        Remedy::Change(key) => format!("give another {}", flag(key)),
        Remedy::Lower(key) => format!("lower {}", flag(key)),
        Remedy::Raise(key) => format!("raise {}", flag(key)),
        Remedy::LeaveOut(key) => format!("leave {} out", flag(key)),
        Remedy::Feature(name) => {
            format!("build with `cargo build --release --features {name}` to add it")
        }
        Remedy::Both(all) => join(all, " and "),
        Remedy::Either(all) => join(all, ", or "),
        other => other.to_string(),
    }
}

/// One error of a chain.
pub(crate) fn of_cause(cause: &(dyn Error + 'static)) -> String {
    let error = cause.downcast_ref::<gptneo_lora::Error>();
    if let Some(problem) = error.and_then(gptneo_lora::Error::problem).or(cause.downcast_ref()) {
        return of_problem(problem);
    }
    match (error, cause.downcast_ref()) {
        (Some(gptneo_lora::Error::Data(data)), _) | (_, Some(data)) => of_data(data),
        _ => cause.to_string(),
    }
}

/// An error of the data, with the flags that are a way out.
fn of_data(error: &DataError) -> String {
    let flag = |key: &str| flag(&format!("data.{key}"));
    match error {
        DataError::Setting { name, found, expected } if is_data_setting(name) => {
            format!("{} is {found}; expected {expected}", flag(name))
        }
        DataError::BadRecords { format: Some(_), .. } => {
            format!("{error}\nmend them, or leave them out with {} skip", flag("bad_records"))
        }
        DataError::MissingColumns { missing, .. } => {
            let columns = ["question_column", "answer_column", "instruction_column"].map(flag);
            let without = match missing.as_slice() {
                [one] if *one == Columns::default().instruction => {
                    format!(", or give a {} without {{instruction}}", flag("prompt_template"))
                }
                _ => String::new(),
            };
            format!(
                "{error}, with {}, or say what form the data have with {}{without}",
                columns.join(", "),
                flag("format")
            )
        }
        DataError::TooLarge { .. } => format!("{error}: raise {}", flag("max_data_size")),
        DataError::Leaks(_) => {
            format!("{error}: take them out of the training data, or leave {} out", flag("deny_leaks"))
        }
        _ => error.to_string(),
    }
}

/// Whether a setting's name is a key of the section for data.
fn is_data_setting(name: &str) -> bool {
    const KEYS: [&str; 7] = [
        "bad_records",
        "format",
        "max_data_size",
        "max_seq_length",
        "overlong",
        "validation_fraction",
        "validation_limit",
    ];
    KEYS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_named_by_their_flags() {
        let remedy = Remedy::Either(vec![
            Remedy::Both(vec![
                Remedy::Lower("training.batch_size"),
                Remedy::Raise("training.grad_accumulation_steps"),
            ]),
            Remedy::Set("data.max_seq_length", "64 or less".into()),
            Remedy::LeaveOut("run.device"),
            Remedy::Set("lora.r", "4".into()),
        ]);
        assert_eq!(
            of_problem(&Problem { what: "too large".into(), remedy }),
            "too large: lower --batch-size and raise --grad-accumulation-steps, or give --max-seq-length 64 or less, \
             or leave --device out, or give --lora-r 4"
        );
        let missing = Problem { what: "a setting is missing".into(), remedy: Remedy::Give("data.path") };
        assert_eq!(
            of_problem(&missing),
            "--data is missing: give it, or set [data] path in the settings file"
        );
        let error = anyhow::Error::from(gptneo_lora::Error::from(missing));
        assert!(error.chain().map(of_cause).any(|line| line.starts_with("--data")));
    }
}
