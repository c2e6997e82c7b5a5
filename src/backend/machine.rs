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

/// The most memory that this program can ever have, in bytes: [`total_memory`] with what the system swaps out, or less
/// where the process is limited (`ulimit -v`, `ulimit -d`).
pub fn memory_limit() -> Option<u64> {
    let swap = kibibytes("/proc/meminfo", "SwapTotal:").unwrap_or_default();
    let all = total_memory().map(|total| total.saturating_add(swap));
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limits = ["Max address space", "Max data size"].map(|name| soft_limit(&limits, name));
    all.into_iter().chain(limits.into_iter().flatten()).min()
}

/// A limit that holds now, from the text of proc_pid_limits(5); none where there is none.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Bytes in the unit that suits them.
pub(crate) fn size(bytes: f64) -> String {
    match bytes {
        small if small < 1e6 => format!("{:.1} kB", small / 1e3),
        middling if middling < 1e9 => format!("{:.1} MB", middling / 1e6),
        large if large < 1e15 => format!("{:.1} GB", large / 1e9),
        _ => "more than 1,000,000 GB".into(),
    }
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
        assert!(memory_limit().unwrap() > peak);
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax data size  4096  unlimited  bytes\n\
                      Max address space  unlimited  unlimited  bytes\n";
        assert_eq!(soft_limit(limits, "Max data size"), Some(4096));
        assert_eq!(soft_limit(limits, "Max address space"), None);
        let folder = tempfile::tempdir().unwrap();
        let free = free_room(folder.path()).unwrap();
        assert_eq!(free_room(&folder.path().join("not/yet")).unwrap() >> 30, free >> 30);
    }
}
