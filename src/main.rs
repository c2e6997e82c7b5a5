//! `gptneo-lora`: parses the command line, runs one command, and says in one place how it ended.

mod allocator;
mod answers;
mod backend;
mod cli;
mod commands;
mod dashboard;
mod data;
mod embedded;
mod failure;
mod fine_tuning;
mod hub;
mod interrupt;
mod live;
mod loading;
mod machine;
mod manifest;
mod model_card;
mod notes;
mod output;
mod performance;
mod preflight;
mod presets;
mod progress;
mod report_page;
mod run_folder;
mod settings;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    allocator::keep_memory();
    backend::prepare();
    let Cli { command, quiet } = Cli::parse();
    if quiet {
        notes::be_quiet();
    }
    let result = match command {
        Command::Run(args) => commands::run::run(&args),
        Command::Prepare(args) => commands::prepare::run(&args),
        Command::Init(args) => commands::init::run(&args),
        Command::Train(args) => commands::train::run(&args),
        Command::Evaluate(args) => commands::evaluate::run(&args),
        Command::Generate(args) => commands::generate::run(&args),
        Command::Merge(args) => commands::merge::run(&args),
        Command::Compare(args) => commands::compare::run(&args),
        Command::Push(args) => commands::push::run(&args),
        Command::Devices(args) => commands::devices::run(&args),
        Command::Bench { what } => commands::bench::run(&what),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
