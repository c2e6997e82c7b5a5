//! Ctrl-C and termination: the first tells whoever listens, who finishes what was begun; the next, or one that nobody
//! listens to, ends the program at once, as it would without this.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Error, Result};

use super::notes;

/// The shell's exit code for a program that an interrupt ended.
pub(crate) const INTERRUPTED: i32 = 130;

type Listener = Box<dyn FnOnce() + Send>;

static LISTENER: Mutex<Option<Listener>> = Mutex::new(None);

/// The command that goes on with what is written, and the folder that it is in.
static GOES_ON: Mutex<Option<(String, PathBuf)>> = Mutex::new(None);

/// How the command goes on that an interrupt ended.
pub(crate) fn goes_on(command: &str, folder: &Path) -> String {
    format!("go on with: gptneo-lora {command} --resume --output {}", folder.display())
}

/// Has an interrupt that nobody listens to say how `command` goes on, once anything is in `folder`. Where the system refuses
/// a signal handler, it ends the program without a word.
pub(crate) fn says_how_to_go_on(command: impl Into<String>, folder: &Path) {
    *GOES_ON.lock().unwrap_or_else(PoisonError::into_inner) = Some((command.into(), folder.into()));
    // Whoever listens later is told that it failed.
    let _ = install();
}

/// Has the system call [`handle`], once for all.
fn install() -> Result<()> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| ctrlc::set_handler(handle).map_err(|error| error.to_string()));
    installed.clone().map_err(Error::msg)
}

/// While this lives, the first interrupt is told.
pub(crate) struct Listening;

/// Tells `listener` of the first interrupt until the returned value is dropped.
///
/// # Errors
/// The system refuses a signal handler.
pub(crate) fn listen(listener: impl FnOnce() + Send + 'static) -> Result<Listening> {
    install()?;
    *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(listener));
    Ok(Listening)
}

fn handle() {
    let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner).take();
    match listener {
        Some(listener) => listener(),
        None => {
            if let Some((command, folder)) = &*GOES_ON.lock().unwrap_or_else(PoisonError::into_inner) {
                let begun = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
                match begun {
                    true => notes::warn(format_args!("interrupted; {}", goes_on(command, folder))),
                    false => notes::warn("interrupted before anything was written"),
                }
            }
            std::process::exit(INTERRUPTED)
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENER.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
