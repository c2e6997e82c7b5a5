//! The file of a sweep: it describes trials, or is refused in a short message.

use gptneo_lora::run::sweep::Sweep;
use gptneo_lora::settings::Layer;

pub(crate) fn read(data: &[u8]) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let file = folder.path().join("sweep.toml");
    if std::fs::write(&file, data).is_err() {
        return;
    }
    if let Err(error) = Sweep::new(&file, Layer::default(), &folder.path().join("out")) {
        let message = error.to_string();
        assert!(message.len() < 1 << 12, "{} bytes of message", message.len());
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}
