//! Gives the library a number that changes with its kernels: `GPTNEO_CUBES_SOURCES`, a hash of its sources and of what
//! the lock file says of the crates that turn them into a GPU's code.

use std::fs;
use std::io::Result;
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let mut paths = Vec::new();
    add_sources(Path::new("src"), &mut paths)?;
    paths.sort();
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src");
    let mut hash = Fnv::new();
    for path in paths {
        hash.part(path.to_string_lossy().replace('\\', "/").as_bytes());
        hash.part(&fs::read(&path)?);
    }
    // Where the crate stands in its workspace.
    let lock = Path::new("../../Cargo.lock");
    if let Ok(text) = fs::read_to_string(lock) {
        println!("cargo:rerun-if-changed={}", lock.display());
        for package in text.split("[[package]]").filter(|package| makes_kernels(package)) {
            hash.part(package.as_bytes());
        }
    }
    println!("cargo:rustc-env=GPTNEO_CUBES_SOURCES={:016x}", hash.0);
    Ok(())
}

/// All Rust files of a folder and of those in it.
fn add_sources(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            add_sources(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

/// Whether a package of the lock file brings kernels or compiles them: cubecl's, cubek's and Burn's on top of these.
fn makes_kernels(package: &str) -> bool {
    ["name = \"cubecl", "name = \"cubek", "name = \"burn-cubecl"]
        .iter()
        .any(|name| package.trim_start().starts_with(name))
}

/// FNV-1a in 64 bits, <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// A part and its length, so that no two rows of parts are the same bytes.
    fn part(&mut self, part: &[u8]) {
        for byte in (part.len() as u64).to_le_bytes().iter().chain(part) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}
