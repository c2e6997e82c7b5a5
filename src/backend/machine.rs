//! What the machine has and what this program takes of it: memory and room on the disk, where the system tells.

use std::path::Path;

/// The largest resident memory since the start, or since [`forget_peak`], in bytes, as Linux tells it.
pub fn peak_memory() -> Option<u64> {
    kibibytes("/proc/self/status", "VmHWM:")
}

/// Lets [`peak_memory`] count from now. Nothing happens where the system cannot.
pub fn forget_peak() {
    // proc_pid_clear_refs(5): 5 sets the peak to what is resident now.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The memory that this program can have in all, in bytes: the machine's, or less where its control group says so.
pub fn total_memory() -> Option<u64> {
    let machine = kibibytes("/proc/meminfo", "MemTotal:");
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(group).min()
}

/// The processor's name, as Linux tells it.
pub fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// The room that is left for files in `folder`, in bytes. The folder need not exist yet.
#[cfg(unix)]
pub fn free_room(folder: &Path) -> Option<u64> {
    let absolute = std::path::absolute(folder).ok()?;
    let existing = absolute.ancestors().find(|folder| folder.exists())?;
    let found = rustix::fs::statvfs(existing).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

/// The room that is left for files in `folder`: not known here.
#[cfg(not(unix))]
pub fn free_room(_folder: &Path) -> Option<u64> {
    None
}

/// A line `NAME  N kB` of a file under /proc, in bytes.
fn kibibytes(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_system_tells() {
        let (peak, total) = (peak_memory().unwrap(), total_memory().unwrap());
        assert!(peak > 1 << 20 && peak < total, "{peak} of {total}");
        let folder = tempfile::tempdir().unwrap();
        let free = free_room(folder.path()).unwrap();
        assert_eq!(free_room(&folder.path().join("not/yet")).unwrap() >> 30, free >> 30);
    }
}
