//! Compiled kernels, kept from one start of the program to the next. Without it each start compiles some hundreds
//! anew, which takes longer than many a run.
//!
//! cubecl can keep them in a file, but leaves that off, and its key for a kernel is the kernel's name and parameters:
//! neither its body, nor the architecture that it was compiled for, nor the version of its compiler. So these are part of
//! the folder's name, the body as a hash of all kernels' sources beside the program's version.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cubecl_runtime::config::cache::CacheConfig;
use cubecl_runtime::config::{CubeClRuntimeConfig, RuntimeConfig};
use gptneo_model::ops::KERNEL_SOURCES;

/// Has kernels kept in the user's cache folder from now on. Settings in a `cubecl.toml` win. Nothing happens where
/// cubecl has already settled, or where the GPUs have several architectures: one folder would serve them all.
pub(super) fn keep(architectures: &[(i32, i32)], compiler: (i32, i32)) {
    let mut settled = CubeClRuntimeConfig::storage().lock();
    if settled.is_some() {
        return;
    }
    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    let folder = user_cache()
        .and_then(|cache| folder(&cache, architectures, compiler))
        .filter(|folder| std::fs::create_dir_all(folder).is_ok());
    if let Some(folder) = folder {
        config.compilation.cache.get_or_insert(CacheConfig::File(folder));
    }
    *settled = Some(Arc::new(config));
}

/// The folder of these kernels under the user's cache folder.
fn folder(cache: &Path, architectures: &[(i32, i32)], compiler: (i32, i32)) -> Option<PathBuf> {
    let (major, minor) = *architectures.first()?;
    if architectures.iter().any(|other| *other != (major, minor)) {
        return None;
    }
    let sources = format!("{}-{KERNEL_SOURCES}", env!("CARGO_PKG_VERSION"));
    let name = format!("sm_{major}{minor}-nvrtc-{}.{}", compiler.0, compiler.1);
    Some(cache.join("gptneo-lora/kernels").join(sources).join(name))
}

/// Where the user's caches are.
fn user_cache() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let usual = || match cfg!(windows) {
        true => named("LOCALAPPDATA"),
        false => std::env::home_dir().map(|home| home.join(".cache")),
    };
    named("XDG_CACHE_HOME").or_else(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_of_another_architecture_or_compiler_are_kept_elsewhere() {
        let of =
            |architectures: &[(i32, i32)], compiler| folder(Path::new("/cache"), architectures, compiler);
        let found = of(&[(7, 5)], (13, 0));
        let version = env!("CARGO_PKG_VERSION");
        let name = format!("/cache/gptneo-lora/kernels/{version}-{KERNEL_SOURCES}/sm_75-nvrtc-13.0");
        assert_eq!(found, Some(PathBuf::from(name)));
        assert_eq!(found, of(&[(7, 5), (7, 5)], (13, 0)));
        assert_ne!(found, of(&[(9, 0)], (13, 0)));
        assert_ne!(found, of(&[(7, 5)], (12, 9)));
        assert_eq!(of(&[(7, 5), (9, 0)], (13, 0)), None);
    }
}
