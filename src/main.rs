//! `gptneo-lora`: parses the command line, runs one command, and says in one place how it ended.

mod cli;
mod commands;
mod hub;
mod terminal;

use std::process::ExitCode;

use gptneo_lora::backend;

use crate::cli::{Cli, Command};
use crate::terminal::{failure, notes, wording};

#[global_allocator]
static ALLOCATOR: terminal::limits::Allocator = terminal::limits::Allocator;

fn main() -> ExitCode {
    terminal::limits::prepare();
    gptneo_lora::use_whole_machine();
    backend::prepare();
    backend::on_choice(|choice| notes::say(wording::of_problem(choice)));
    let Cli { command, quiet, registers } = cli::parse();
    if quiet {
        notes::be_quiet();
    }
    let held = backend::hold_registers(registers.0).map_err(anyhow::Error::from);
    match held.and_then(|()| run(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(args) => commands::run::run(&args),
        Command::Prepare(args) => commands::prepare::run(&args),
        Command::Init(args) => commands::init::run(&args),
        Command::Train(args) => commands::train::run(&args),
        Command::Evaluate(args) => commands::evaluate::run(&args),
        Command::Generate(args) => commands::generate::run(&args),
        Command::Merge(args) => commands::merge::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Compare(args) => commands::compare::run(&args),
        Command::Sweep(args) => commands::sweep::run(&args),
        Command::Serve(args) => commands::serve::run(&args),
        Command::Chat(args) => commands::chat::run(&args),
        Command::Push(args) => commands::push::run(&args),
        Command::Devices(args) => commands::devices::run(&args),
        Command::Bench { what } => commands::bench::run(&what),
    }
}
