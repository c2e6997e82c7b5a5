//! Where a command computes: a backend and the number of one of its devices.

use anyhow::Result;
use gptneo_model::{GptNeoConfig, WeightFormat};

use super::device::Device;
use super::{BackendKind, Precision};
use crate::failure::Misuse;

/// A backend and a device of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: BackendKind,
    /// The device's number, as `gptneo-lora devices` counts them.
    pub(crate) device: usize,
}

impl Place {
    /// The processor in place of a GPU, for what must be exact; a processor stays.
    pub(crate) fn on_processor(self) -> Self {
        match self.kind {
            BackendKind::Flex | BackendKind::Ndarray => self,
            BackendKind::Auto | BackendKind::Cuda | BackendKind::Wgpu => {
                Self { kind: BackendKind::cpu(), device: 0 }
            }
        }
    }

    /// Refuses a place that cannot compute, before anything is read or downloaded for it.
    ///
    /// # Errors
    /// The backend is not in this build, has no device, lacks a library, or has no device of this number.
    pub(crate) fn check(self) -> Result<()> {
        self.found().map(drop)
    }

    /// Refuses a model, or batches of `batch` texts of `tokens` tokens, that the device cannot hold.
    ///
    /// # Errors
    /// As [`Place::check`]; or a tensor is larger than the device holds in one piece, or the weights than its memory.
    pub(crate) fn check_room(self, model: &GptNeoConfig, batch: usize, tokens: usize) -> Result<()> {
        self.check_room_for(WeightFormat::F32, model, batch, tokens)
    }

    /// As [`Place::check_room`], with the weights in this format.
    ///
    /// # Errors
    /// As [`Place::check_room`].
    pub(crate) fn check_room_for(
        self,
        format: WeightFormat,
        model: &GptNeoConfig,
        batch: usize,
        tokens: usize,
    ) -> Result<()> {
        let found = self.found()?;
        if let Some(limit) = found.largest_tensor_bytes {
            model.check_fits(format, [batch, tokens], &found.name, limit)?;
        }
        // A CPU has smaller formats, and its system finds room where there is none.
        if let Some(memory) = found.memory_bytes.filter(|_| !self.kind.is_cpu()) {
            model.check_memory(format, &found.name, memory)?;
        }
        Ok(())
    }

    /// Refuses a format of weights that the backend or the device does not compute with.
    ///
    /// # Errors
    /// As [`Place::check`]; or the format is one of another backend, or the device lacks its type.
    pub(crate) fn check_weights(self, format: WeightFormat) -> Result<()> {
        let kind = self.kind.resolved();
        let (fits, whose) = match format {
            WeightFormat::F32 => return Ok(()),
            WeightFormat::F16 => (!kind.is_cpu() && self.found()?.f16, "GPUs that compute in f16"),
            WeightFormat::Bf16 | WeightFormat::Int8 => (kind == BackendKind::Flex, "the backend flex"),
        };
        if fits {
            return Ok(());
        }
        Err(Misuse::error(format!(
            "the format that --weights names is for {whose}, but {} was asked for: give another format (`gptneo-lora \
             devices` lists what each device computes in) or another backend",
            kind.name()
        )))
    }

    /// The precision to train in: the one that is asked for, but f32 on a processor that does not multiply in that one,
    /// which it says on standard error.
    ///
    /// # Errors
    /// As [`Place::check`]; or a GPU has no products in that precision.
    pub(crate) fn precision(self, asked: Precision) -> Result<Precision> {
        if asked == Precision::F32 {
            return Ok(asked);
        }
        let found = self.found()?;
        if computes_in(&found, asked) {
            return Ok(asked);
        }
        if !self.kind.is_cpu() {
            return Err(refusal(&found, asked));
        }
        eprintln!(
            "--precision {}: the backend {} has no instructions for it on this processor, and f32 is used",
            asked.name(),
            self.kind.resolved().name()
        );
        Ok(Precision::F32)
    }

    /// The device itself.
    ///
    /// # Errors
    /// As [`Place::check`].
    pub(super) fn found(self) -> Result<Device> {
        let name = self.kind.resolved().name();
        let mut devices = self.kind.devices()?;
        if self.device < devices.len() {
            return Ok(devices.swap_remove(self.device));
        }
        let last = devices.len().saturating_sub(1);
        Err(Misuse::error(match last {
            0 => format!(
                "there is no device {} of the backend {name}, which has one: leave --device out",
                self.device
            ),
            _ => format!(
                "there is no device {} of the backend {name}: give --device 0 to {last}; `gptneo-lora devices` lists \
                 them",
                self.device
            ),
        }))
    }
}

fn computes_in(device: &Device, precision: Precision) -> bool {
    match precision {
        Precision::F32 => true,
        Precision::F16 => device.f16,
        Precision::Bf16 => device.bf16,
    }
}

/// Why a GPU does not train in a precision, and which one to take instead.
fn refusal(device: &Device, asked: Precision) -> anyhow::Error {
    let instead = if computes_in(device, Precision::F16) { Precision::F16 } else { Precision::F32 };
    Misuse::error(format!(
        "--precision {}: {} ({}) has no products in it: give --precision {}",
        asked.name(),
        device.name,
        device.kind,
        instead.name()
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cpu_backend_has_one_device_without_a_limit() {
        let place = |device| Place { kind: BackendKind::cpu(), device };
        place(0).check().unwrap();
        assert_eq!(place(0).found().unwrap().largest_tensor_bytes, None);
        let message = place(1).check().unwrap_err().to_string();
        assert!(message.contains("no device 1") && message.contains("leave --device out"), "{message}");
    }

    #[test]
    fn what_must_be_exact_is_computed_on_the_processor() {
        let cpu = Place { kind: BackendKind::cpu(), device: 0 };
        for kind in [BackendKind::Auto, BackendKind::Cuda, BackendKind::Wgpu] {
            assert_eq!(Place { kind, device: 2 }.on_processor(), cpu);
        }
        let second = Place { kind: BackendKind::Ndarray, device: 0 };
        assert_eq!(second.on_processor(), second);
    }

    #[test]
    fn a_gpu_without_bf16_is_told_to_take_f16() {
        let turing = Device {
            name: "Tesla T4".into(),
            kind: "CUDA, compute capability 7.5".into(),
            memory_bytes: None,
            largest_tensor_bytes: None,
            software: false,
            f16: true,
            bf16: false,
        };
        assert!(computes_in(&turing, Precision::F16) && !computes_in(&turing, Precision::Bf16));
        let message = refusal(&turing, Precision::Bf16).to_string();
        assert!(message.contains("Tesla T4") && message.contains("give --precision f16"), "{message}");
        let older = Device { f16: false, ..turing };
        assert!(refusal(&older, Precision::F16).to_string().contains("give --precision f32"));
    }

    #[test]
    fn a_format_is_for_the_backends_that_compute_with_it() {
        let place = |kind| Place { kind, device: 0 };
        let refused = |kind, format| place(kind).check_weights(format).unwrap_err().to_string();
        for format in [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8] {
            place(BackendKind::cpu()).check_weights(format).unwrap();
        }
        let message = refused(BackendKind::cpu(), WeightFormat::F16);
        assert!(message.contains("GPUs that compute in f16") && message.contains("flex"), "{message}");
        for format in [WeightFormat::F16, WeightFormat::Bf16, WeightFormat::Int8] {
            assert!(refused(BackendKind::Ndarray, format).contains("ndarray was asked for"));
        }
        place(BackendKind::Ndarray).check_weights(WeightFormat::F32).unwrap();
    }
}
