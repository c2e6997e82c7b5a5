//! Ctrl-C and termination: the first tells whoever listens, who finishes what was begun; the next, or one that nobody
//! listens to, ends the program at once, as it would without this.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

use anyhow::Result;

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

/// Has an interrupt that nobody listens to say how `command` goes on, once anything is in `folder`.
///
/// # Errors
/// The system refuses a signal handler.
pub(crate) fn says_how_to_go_on(command: impl Into<String>, folder: &Path) -> Result<()> {
    install()?;
    *GOES_ON.lock().unwrap_or_else(PoisonError::into_inner) = Some((command.into(), folder.into()));
    Ok(())
}

fn install() -> Result<()> {
    static HANDLER: Once = Once::new();
    let mut installed = Ok(());
    HANDLER.call_once(|| installed = ctrlc::set_handler(handle));
    Ok(installed?)
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
