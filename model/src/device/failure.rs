//! Failures of a GPU that no call returns: Burn computes on threads of its own, and where one of them panics, what is
//! then read can be zeros instead of an error.
//!
//! [`watch`] notes such panics instead of printing them, and [`check`] turns the note into an error. It is called
//! wherever results have just been read: after each training step, each batch of an evaluation, each new token.
//! A program that computes on the CPU alone never calls [`watch`], and [`check`] then costs a look at one flag.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use crate::ModelError;

/// How cubecl names the threads that own a device: `DSU-...` and `DSD-...`, with the device's type and number.
const DEVICE_THREADS: &str = "DS";
/// The longest message that is kept, in characters: a shader's whole source can stand in one.
const LONGEST: usize = 600;

static FAILED: AtomicBool = AtomicBool::new(false);
static FIRST: Mutex<Option<String>> = Mutex::new(None);
static HOOK: Once = Once::new();

std::thread_local! {
    /// Whether this thread's panics are turned into errors by [`watch`].
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, which computes on a GPU. A panic of its own or of a device's thread becomes an error, and nothing is
/// printed of it.
///
/// # Errors
///
/// What `work` returns; [`ModelError::Device`] with the first panic, even where `work` succeeded.
pub fn watch<T, E: From<ModelError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if is_of_device() || WATCHED.get() {
                note(&message(panic));
            } else {
                usual(panic);
            }
        }));
    });
    let before = WATCHED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    WATCHED.set(before);
    // What failed on the device is the cause of whatever failed after it.
    check()?;
    // Every panic that can be caught here was noted.
    result.unwrap_or_else(|_| Err(ModelError::Device("it stopped without a message".into()).into()))
}

/// Whether a device has failed since the program began.
///
/// # Errors
///
/// [`ModelError::Device`], with what was noted first.
pub fn check() -> Result<(), ModelError> {
    if !FAILED.load(Ordering::Acquire) {
        return Ok(());
    }
    let first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    Err(ModelError::Device(first.clone().unwrap_or_default()))
}

/// Forgets a failure, before the program goes on without the device that failed.
pub fn forget() {
    FIRST.lock().unwrap_or_else(PoisonError::into_inner).take();
    FAILED.store(false, Ordering::Release);
}

fn is_of_device() -> bool {
    std::thread::current().name().is_some_and(|name| name.starts_with(DEVICE_THREADS))
}

fn note(message: &str) {
    FIRST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| message.to_string());
    FAILED.store(true, Ordering::Release);
}

/// What a panic says, on one line.
fn message(panic: &PanicHookInfo<'_>) -> String {
    let text = panic.payload_as_str().unwrap_or("a failure without a message");
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::*;

    const TEST: &str = "device::failure::tests::a_panic_on_a_device_thread_or_while_watched_becomes_an_error";
    const CHILD: &str = "GPTNEO_LORA_TEST_CHILD";

    /// In a process of its own: the note is the whole program's.
    #[test]
    fn a_panic_on_a_device_thread_or_while_watched_becomes_an_error() {
        if std::env::var_os(CHILD).is_none() {
            let mut child = Command::new(std::env::current_exe().unwrap());
            let output = child.args(["--exact", TEST, "--nocapture"]).env(CHILD, "1").output().unwrap();
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(output.status.success(), "{said}");
            assert!(said.contains("1 passed") && !said.contains("panicked at"), "{said}");
            return;
        }
        watch::<(), ModelError>(|| Ok(())).unwrap();
        let on_device = watch::<u8, ModelError>(|| {
            let device = std::thread::Builder::new().name("DSD-4-0".into());
            assert!(device.spawn(|| panic!("no room\n  for 5 bytes")).unwrap().join().is_err());
            // What was read is worth nothing, though no call failed.
            Ok(0)
        });
        let text = on_device.unwrap_err().to_string();
        assert!(text.contains("no room for 5 bytes"), "{text}");
        assert!(check().is_err());

        forget();
        check().unwrap();
        let here = watch::<(), ModelError>(|| panic!("{}", "word ".repeat(1000))).unwrap_err().to_string();
        assert!(here.contains("word word") && here.chars().count() < LONGEST + 300, "{here}");
        assert!(check().is_err());
    }
}
