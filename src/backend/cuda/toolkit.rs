//! Where CUDA's headers and NVRTC are: the kernels' compiler needs both when the program runs.
//!
//! cubecl looks for the headers under `CUDA_PATH` and in three usual folders, and cudarc loads NVRTC from where the
//! system's loader finds it. Many machines have both in a Python environment alone, in NVIDIA's own packages. So what
//! these two would miss is looked for before they look.

use std::path::{Path, PathBuf};
use std::sync::Once;

use cubecl_cuda::install::cuda_path;
use cudarc::nvrtc;

use crate::Result;
use crate::backend::unusable;

/// The headers that kernels include: all of them the first, those in half precision the next two, and those that
/// multiply on tensor cores the last two. cubecl compiles a kernel when it is first launched, so that without the last
/// two everything works until the first product.
const HEADERS: [&str; 5] = ["cuda_runtime.h", "cuda_fp16.h", "cuda_bf16.h", "mma.h", "crt/mma.h"];
/// NVRTC, and the functions that it builds in.
const COMPILER: &str = "libnvrtc.so.";
const BUILT_IN: &str = "libnvrtc-builtins.so.";
/// The variable that cubecl reads.
const VARIABLE: &str = "CUDA_PATH";
/// Where the toolkit comes from.
pub(super) const TOOLKIT: &str = "install the CUDA toolkit (https://developer.nvidia.com/cuda-downloads), of a version that the driver supports: \
     the upper right corner of nvidia-smi names it. Where that is 13 or more, the Python packages nvidia-cuda-nvrtc, \
     nvidia-cuda-runtime, nvidia-cuda-crt and nvidia-cuda-cccl of that version do as well, without root, in the \
     environment whose python3 is found first or in the user's own";

/// Sets `CUDA_PATH` where it is not set and only a place that cubecl does not know has all headers.
///
/// It must run before the program starts a thread.
pub(super) fn settle_path() {
    if std::env::var_os(VARIABLE).is_some() || cuda_path().is_some_and(|root| missing_header(&root).is_none())
    {
        return;
    }
    if let Some(root) = roots().into_iter().find(|root| missing_header(root).is_none()) {
        // SAFETY: no other thread reads the environment yet, as the caller promises.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var(VARIABLE, root);
        }
    }
}

/// Refuses to go on without the headers.
///
/// # Errors
/// There is no toolkit, or it lacks a header; the message names it.
pub(super) fn check_headers() -> Result<()> {
    check_headers_in(cuda_path().as_deref())
}

fn check_headers_in(root: Option<&Path>) -> Result<()> {
    let Some(root) = root else {
        return Err(unusable(format!(
            "the backend cuda compiles its kernels with CUDA's headers, but no toolkit is found: {TOOLKIT}, or set \
             CUDA_PATH to its folder"
        )));
    };
    match missing_header(root) {
        None => Ok(()),
        Some(header) => Err(unusable(format!(
            "the backend cuda compiles its kernels with CUDA's headers, but {} is not there: {TOOLKIT}, or set CUDA_PATH \
             to the folder that has include/{header}",
            root.join("include").join(header).display()
        ))),
    }
}

/// The first header that a toolkit lacks.
fn missing_header(root: &Path) -> Option<&'static str> {
    HEADERS.into_iter().find(|header| !root.join("include").join(header).is_file())
}

/// Whether NVRTC can be loaded. Where the system's loader does not find it, it is loaded from the toolkits' folders;
/// whoever asks for it by name afterwards gets that one.
pub(super) fn has_nvrtc() -> bool {
    static LOOKED: Once = Once::new();
    LOOKED.call_once(|| {
        if !loads() {
            let folders = cuda_path().into_iter().chain(roots()).flat_map(|root| library_folders(&root));
            for folder in folders {
                // NVRTC asks for its built-in functions by name when it first compiles.
                let libraries = [BUILT_IN, COMPILER].map(|name| versioned(&folder, name));
                if libraries.into_iter().flatten().all(|path| keep_loaded(&path)) && loads() {
                    break;
                }
            }
        }
    });
    loads()
}

#[allow(unsafe_code)]
fn loads() -> bool {
    // SAFETY: loading a library runs its initialisers; this is NVIDIA's own, which Burn loads later in any case.
    unsafe { nvrtc::sys::is_culib_present() }
}

/// Loads a library for the rest of the program's life; whether that worked.
#[allow(unsafe_code)]
fn keep_loaded(path: &Path) -> bool {
    // SAFETY: as in `loads`.
    let library = unsafe { libloading::Library::new(path) };
    library.map(std::mem::forget).is_ok()
}

/// A library in a folder by the name that its makers give it: the one here, and a version.
fn versioned(folder: &Path, library: &str) -> Option<PathBuf> {
    let named = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let version = name.strip_prefix(library).unwrap_or_default();
        !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    let mut found: Vec<PathBuf> = entries(folder).filter(named).collect();
    found.sort();
    found.pop()
}

/// Where a toolkit may have its libraries. NVIDIA's older Python packages have a folder each.
fn library_folders(root: &Path) -> Vec<PathBuf> {
    ["lib64", "lib", "targets/x86_64-linux/lib", "../cuda_nvrtc/lib"].map(|folder| root.join(folder)).into()
}

/// Folders that may be a toolkit, the likeliest first: those that cubecl knows, the one of the compiler on the path,
/// and NVIDIA's packages in Python environments.
fn roots() -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = ["/usr/local/cuda", "/opt/cuda", "/usr"].map(PathBuf::from).into();
    for compiler in on_path(&["nvcc"]) {
        if let Some(root) = compiler.parent().and_then(Path::parent) {
            roots.extend([root.to_path_buf(), root.join("targets/x86_64-linux")]);
        }
    }
    roots.extend(python_roots(&python_prefixes()));
    roots
}

/// The folders that Python environments are in: the active one, those of the interpreters on the path, and where pip
/// installs without one: for the user, and as Debian has it for the machine.
fn python_prefixes() -> Vec<PathBuf> {
    let active = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let interpreters = on_path(&["python3", "python"]);
    let user = std::env::var_os("PYTHONUSERBASE").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    active
        .chain(interpreters.iter().filter_map(|path| Some(path.parent()?.parent()?.to_path_buf())))
        .chain(user.or_else(|| std::env::home_dir().map(|home| home.join(".local"))))
        .chain([PathBuf::from("/usr/local")])
        .collect()
}

/// NVIDIA's packages under these prefixes: since CUDA 13 in one folder, before that in one each.
fn python_roots(prefixes: &[PathBuf]) -> Vec<PathBuf> {
    let mut roots = Vec::new();
    for prefix in prefixes {
        let mut versions: Vec<PathBuf> = entries(&prefix.join("lib")).collect();
        versions.retain(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3"))
        });
        versions.sort();
        for packages in
            versions.iter().flat_map(|path| ["site-packages", "dist-packages"].map(|name| path.join(name)))
        {
            let nvidia = packages.join("nvidia");
            roots.extend(
                ["cu13", "cuda_runtime"]
                    .map(|name| nvidia.join(name))
                    .into_iter()
                    .filter(|root| root.is_dir()),
            );
        }
    }
    roots
}

/// Programs of these names on the path; of a link, also what it points to.
fn on_path(names: &[&str]) -> Vec<PathBuf> {
    let folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let mut found = Vec::new();
    for path in folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name))) {
        if path.is_file() {
            found.extend(path.canonicalize());
            found.push(path);
        }
    }
    found
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn a_missing_header_is_named_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let none = check_headers_in(None).unwrap_err().to_string();
        assert!(none.contains("CUDA_PATH") && none.contains("toolkit"), "{none}");
        for header in HEADERS {
            let message = check_headers_in(Some(folder.path())).unwrap_err().to_string();
            assert!(message.contains(&format!("include/{header}")), "{message}");
            touch(&folder.path().join("include").join(header));
        }
        check_headers_in(Some(folder.path())).unwrap();
    }

    #[test]
    fn the_headers_of_tensor_cores_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        for header in ["cuda_runtime.h", "cuda_fp16.h", "cuda_bf16.h"] {
            touch(&folder.path().join("include").join(header));
        }
        assert_eq!(missing_header(folder.path()), Some("mma.h"));
        touch(&folder.path().join("include/mma.h"));
        assert_eq!(missing_header(folder.path()), Some("crt/mma.h"));
    }

    #[test]
    fn packages_of_a_python_environment_are_found() {
        let environment = tempfile::tempdir().unwrap();
        let nvidia = environment.path().join("lib/python3.12/site-packages/nvidia");
        for header in HEADERS {
            touch(&nvidia.join("cu13/include").join(header));
        }
        touch(&nvidia.join("cuda_runtime/include/cuda_runtime.h"));
        // Debian's pip, on the same prefix.
        let of_debian = environment.path().join("lib/python3.12/dist-packages/nvidia/cu13");
        touch(&of_debian.join("include/cuda_runtime.h"));
        let roots = python_roots(&[environment.path().to_path_buf()]);
        assert_eq!(roots, [nvidia.join("cu13"), nvidia.join("cuda_runtime"), of_debian]);
        assert_eq!(roots.iter().find(|root| missing_header(root).is_none()), Some(&nvidia.join("cu13")));
    }

    #[test]
    fn packages_that_pip_installed_outside_an_environment_are_looked_for() {
        let prefixes = python_prefixes();
        assert!(prefixes.contains(&PathBuf::from("/usr/local")), "{prefixes:?}");
        if let (None, Some(home)) = (std::env::var_os("PYTHONUSERBASE"), std::env::home_dir()) {
            assert!(prefixes.contains(&home.join(".local")), "{prefixes:?}");
        }
    }

    #[test]
    fn nvrtc_is_known_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["libnvrtc-builtins.so.13.0", "libnvrtc.alt.so.13", "libnvrtc.so", "libnvrtc.so.13"] {
            touch(&folder.path().join(name));
        }
        assert_eq!(versioned(folder.path(), COMPILER), Some(folder.path().join("libnvrtc.so.13")));
        assert_eq!(versioned(folder.path(), BUILT_IN), Some(folder.path().join("libnvrtc-builtins.so.13.0")));
        assert_eq!(versioned(&folder.path().join("none"), COMPILER), None);
    }
}
