//! The flashcards that come with the crate: a small data set of our own. `medical-flashcards/README.md` describes them.

/// The name of the data set.
pub const NAME: &str = "medical-flashcards";

macro_rules! files {
    ($($name:literal),+) => {
        &[$(($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/medical-flashcards/", $name)))),+]
    };
}

/// The files, by their names; the records first.
pub static FILES: &[(&str, &[u8])] = files!("medical_flashcards.json", "README.md");
