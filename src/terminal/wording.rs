//! What the library says in terms of the settings file, said in terms of the command line.

use std::error::Error;

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
    let problem = cause.downcast_ref::<gptneo_lora::Error>().and_then(gptneo_lora::Error::problem);
    problem.or(cause.downcast_ref()).map_or_else(|| cause.to_string(), of_problem)
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
