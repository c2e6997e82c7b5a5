//! What was asked for, written to a file when the program ends.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The counts of one program.
pub(crate) struct Counts {
    /// Modules loaded: kernels that were compiled.
    pub(crate) kernels: u64,
    pub(crate) launches: u64,
    /// Times that the host waited for the device.
    pub(crate) host_waits: u64,
    /// Those of them with nothing launched behind what was waited for: then the device waits for the host in its turn.
    pub(crate) idle_waits: u64,
    pub(crate) copies_to_device: u64,
    pub(crate) bytes_to_device: u64,
    pub(crate) copies_to_host: u64,
    pub(crate) bytes_to_host: u64,
    pub(crate) allocations: u64,
    /// Bytes of the device in use, and the most that ever were.
    pub(crate) bytes_in_use: u64,
    pub(crate) most_bytes_in_use: u64,
    /// Launches by the kernel's name.
    pub(crate) by_name: BTreeMap<String, u64>,
}

static COUNTS: Mutex<Counts> = Mutex::new(Counts {
    kernels: 0,
    launches: 0,
    host_waits: 0,
    idle_waits: 0,
    copies_to_device: 0,
    bytes_to_device: 0,
    copies_to_host: 0,
    bytes_to_host: 0,
    allocations: 0,
    bytes_in_use: 0,
    most_bytes_in_use: 0,
    by_name: BTreeMap::new(),
});

/// The counts so far.
pub(crate) fn counts() -> MutexGuard<'static, Counts> {
    COUNTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the counts written when the program ends.
pub(crate) fn write_at_exit() {
    // SAFETY: `write` takes no arguments, returns nothing and does not unwind.
    unsafe { libc::atexit(write) };
}

extern "C" fn write() {
    let Some(path) = std::env::var_os("COUNTING_DRIVER_OUTPUT") else { return };
    // There is nobody left to tell of a file that cannot be written; whoever reads it will miss it.
    let _ = std::fs::write(path, counts().json());
}

impl Counts {
    fn json(&self) -> String {
        let Self { kernels, launches, host_waits, idle_waits, copies_to_device, bytes_to_device, .. } = self;
        let Self { copies_to_host, bytes_to_host, allocations, most_bytes_in_use, by_name, .. } = self;
        let mut text = format!(
            "{{\"kernels\": {kernels}, \"launches\": {launches}, \"host_waits\": {host_waits}, \
             \"idle_waits\": {idle_waits}, \
             \"copies_to_device\": {copies_to_device}, \"bytes_to_device\": {bytes_to_device}, \
             \"copies_to_host\": {copies_to_host}, \"bytes_to_host\": {bytes_to_host}, \
             \"allocations\": {allocations}, \"most_bytes_in_use\": {most_bytes_in_use}, \"by_name\": {{"
        );
        for (index, (name, launches)) in by_name.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            // Names are C identifiers; writing to a string cannot fail.
            let _ = write!(text, "{separator}\"{name}\": {launches}");
        }
        text.push_str("}}\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_one_json_object() {
        let mut counts = counts();
        counts.launches = 3;
        counts.by_name.extend([("a".to_string(), 1), ("b".to_string(), 2)]);
        let text = counts.json();
        assert!(
            text.contains("\"launches\": 3") && text.ends_with("\"by_name\": {\"a\": 1, \"b\": 2}}\n"),
            "{text}"
        );
    }
}
