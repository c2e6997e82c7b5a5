//! What the backend `auto` stands for: a GPU where the build has a backend for it and it computes as it should, else the
//! processor. Whoever asks with [`on_choice`] hears of it.

use std::sync::OnceLock;

use super::{BackendKind, Place, check_device};
use crate::{Problem, Remedy};

/// The backends that reach GPUs, the fastest first.
const GPUS: [BackendKind; 2] = [BackendKind::Cuda, BackendKind::Wgpu];

static LISTENER: OnceLock<fn(&Problem)> = OnceLock::new();

/// Has `listener` hear of a GPU that `auto` takes or leaves. The choice is made once in the life of a program; who
/// listens first hears of it.
pub fn on_choice(listener: fn(&Problem)) {
    let _ = LISTENER.set(listener);
}

fn tell(what: String, remedy: Remedy) {
    if let Some(listener) = LISTENER.get() {
        listener(&Problem { what, remedy });
    }
}

/// The choice for this run of the program; made once, because the check of a GPU compiles kernels.
pub(super) fn choice() -> BackendKind {
    static CHOICE: OnceLock<BackendKind> = OnceLock::new();
    *CHOICE.get_or_init(|| match pick(&GPUS, first_gpu, passes) {
        Some((kind, name)) => {
            let processor = format!("{} to take the processor", BackendKind::cpu());
            tell(format!("computing on the GPU {name} ({kind})"), Remedy::Set("run.backend", processor));
            kind
        }
        None => BackendKind::cpu(),
    })
}

/// The choice if the GPU passes its check, which is not made.
pub(super) fn likely() -> BackendKind {
    pick(&GPUS, first_gpu, |_, _| true).map_or(BackendKind::cpu(), |(kind, _)| kind)
}

/// The first of these backends that is in the build, has a GPU and passes, and the GPU's name.
fn pick(
    gpus: &[BackendKind],
    first_gpu: impl Fn(BackendKind) -> Option<String>,
    passes: impl Fn(BackendKind, &str) -> bool,
) -> Option<(BackendKind, String)> {
    let in_build = BackendKind::in_build();
    let present = gpus.iter().copied().filter(|kind| in_build.contains(kind));
    present.filter_map(|kind| Some((kind, first_gpu(kind)?))).find(|(kind, name)| passes(*kind, name))
}

/// The backend's first device, if it is a GPU and not software.
fn first_gpu(kind: BackendKind) -> Option<String> {
    let first = kind.devices().ok()?.into_iter().next()?;
    (!first.software).then_some(first.name)
}

/// Whether the GPU computes the known model as it should; why not is said.
fn passes(kind: BackendKind, name: &str) -> bool {
    match check_device(Place { kind, device: 0 }) {
        Ok(()) => true,
        Err(error) => {
            tell(format!("the GPU {name} is not used: {error}"), Remedy::None);
            gptneo_model::device_failure::forget();
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_taken_where_it_passes() {
        // The processor's own backends play GPUs: every build has them.
        let gpus = BackendKind::in_build();
        let named = |_: BackendKind| Some("a GPU".to_string());
        assert_eq!(pick(&gpus, named, |_, _| true), Some((gpus[0], "a GPU".to_string())));
        assert_eq!(pick(&gpus, named, |_, _| false), None);
        assert_eq!(pick(&gpus, |_| None, |_, _| true), None);
        assert_eq!(pick(&[], named, |_, _| true), None);
    }

    #[test]
    #[cfg(feature = "wgpu")]
    fn software_is_never_taken() {
        let software = BackendKind::Wgpu.devices().is_ok_and(|devices| devices[0].software);
        if software {
            assert_eq!(first_gpu(BackendKind::Wgpu), None);
        }
    }
}
