//! The settings' names on the command line, and their defaults in its help.

use std::collections::BTreeMap;

use clap::{Arg, Command, CommandFactory, FromArgMatches};
use gptneo_datasets::DEFAULT_LENGTH;
use gptneo_lora::settings::Settings;
use toml::{Table, Value};

use super::Cli;

/// The command line, parsed; or the help or an error is printed and the program ends.
pub(crate) fn parse() -> Cli {
    Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit())
}

/// The flag of a setting, which is named by section and key.
pub(crate) fn flag(setting: &str) -> String {
    let (section, key) = section_and_key(setting);
    match (section, key) {
        ("model" | "data", "path") => format!("--{section}"),
        ("lora", "r" | "alpha" | "dropout") => format!("--lora-{key}"),
        ("lora", "use_rslora") => "--rslora".into(),
        ("lora", "use_dora") => "--dora".into(),
        ("training", "shuffle") => "--no-shuffle".into(),
        _ => format!("--{}", key.replace('_', "-")),
    }
}

/// A setting's section, where it has one, and its key.
pub(crate) fn section_and_key(setting: &str) -> (&str, &str) {
    setting.split_once('.').unwrap_or(("", setting))
}

/// The commands, with the settings' defaults in their help.
fn command() -> Command {
    let defaults = defaults();
    Cli::command().mut_subcommands(|command| with_defaults(command, &defaults))
}

fn with_defaults(command: Command, defaults: &BTreeMap<String, String>) -> Command {
    let command = command.mut_subcommands(|command| with_defaults(command, defaults));
    command.mut_args(|arg| {
        // A negative number is a wrong value, to be named with its flag, not a flag that is unknown.
        let names = arg.get_value_names().unwrap_or_default();
        let takes_numbers = names.iter().any(|name| ["N", "X", "K", "P", "N,N"].contains(&name.as_str()));
        let arg = arg.allow_negative_numbers(takes_numbers);
        // A flag that is no setting has a default of its own.
        let own = !arg.get_default_values().is_empty();
        let default = arg.get_long().and_then(|name| defaults.get(&format!("--{name}"))).filter(|_| !own);
        match default {
            Some(default) => told(arg, default),
            None => arg,
        }
    })
}

fn told(arg: Arg, default: &str) -> Arg {
    let with = |help: String| format!("{help} [default: {default}]");
    let (short, long) =
        (arg.get_help().map(ToString::to_string), arg.get_long_help().map(ToString::to_string));
    let arg = if let Some(help) = short { arg.help(with(help)) } else { arg };
    if let Some(help) = long { arg.long_help(with(help)) } else { arg }
}

/// The defaults of all settings that have one, by their flags.
fn defaults() -> BTreeMap<String, String> {
    let settings = Table::try_from(Settings::default()).unwrap_or_default();
    let mut found = BTreeMap::new();
    for (section, keys) in settings {
        for (key, value) in keys.as_table().into_iter().flatten() {
            if let Some(text) = shown(value) {
                found.insert(flag(&format!("{section}.{key}")), text);
            }
        }
    }
    let length = format!("{DEFAULT_LENGTH}, or the model's positions if fewer");
    found.insert(flag("data.max_seq_length"), length);
    found
}

/// A default as a flag would take it; none for switches and for texts of several lines.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.contains('\n')).then(|| text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Array(values) => Some(values.iter().filter_map(shown).collect::<Vec<_>>().join(",")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        command().debug_assert();
    }

    #[test]
    fn every_setting_has_its_flag() {
        let command = command();
        let run = command.find_subcommand("run").unwrap();
        let flags: Vec<String> =
            run.get_arguments().filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect();
        for (section, keys) in Table::try_from(Settings::default()).unwrap() {
            for key in keys.as_table().unwrap().keys() {
                let name = flag(&format!("{section}.{key}"));
                let in_the_file_alone = ["--beta1", "--beta2", "--epsilon"].contains(&name.as_str());
                assert_ne!(flags.contains(&name), in_the_file_alone, "{section}.{key}: {name}");
            }
        }
    }

    #[test]
    fn the_help_shows_the_settings_defaults() {
        let mut command = command();
        // Flags of all commands reach each of them.
        command.build();
        let help = command.find_subcommand_mut("run").unwrap().render_long_help().to_string();
        let settings = Settings::default();
        let rate = format!("The highest learning rate [default: {}]", settings.training.learning_rate);
        for line in [rate.as_str(), "[default: q_proj,v_proj]", "[default: lora]", "[default: 256, or the"] {
            assert!(help.contains(line), "{line}: {help}");
        }
        let help = command.find_subcommand_mut("generate").unwrap().render_long_help().to_string();
        assert_eq!(help.matches("[default: 42]").count(), 1, "{help}");
    }
}
