//! Panics inside the tokenizers' crate as errors: what a file holds must not end the program.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use gptneo_files::{excerpt, in_plain_words};

std::thread_local! {
    /// Whether this thread's panics become errors, and nothing is to be printed of them.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}
static HOOK: Once = Once::new();

/// Does `work` with a tokenizer; the error, or what it panicked with, is a short phrase.
///
/// # Errors
/// It fails, or panics.
pub(crate) fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                usual(panic);
            }
        }));
    });
    let before = GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    match done {
        Ok(Ok(made)) => Ok(made),
        Ok(Err(error)) => Err(in_plain_words(&excerpt(&error.to_string()))),
        Err(panic) => Err(format!("its tokenizer breaks down ({})", excerpt(&message(panic.as_ref())))),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_string(),
        (None, Some(text)) => text.clone(),
        (None, None) => "without a message".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_ordinary_errors_stay() {
        assert_eq!(guarded(|| Ok(5)), Ok(5));
        assert_eq!(guarded::<()>(|| Err("no\nvocabulary".into())), Err("no\\nvocabulary".to_string()));
        let said = guarded::<()>(|| Err("invalid type: string \"\u{1b}[31m\", expected u32".into()));
        let plain = r#"invalid type: a text "\u{1b}[31m", expected a whole number, 0 or more"#;
        assert_eq!(said, Err(plain.to_string()));
        let broken = guarded::<()>(|| panic!("index {} is out of bounds", 7));
        assert_eq!(broken, Err("its tokenizer breaks down (index 7 is out of bounds)".to_string()));
    }
}
