//! Where something is computed: a backend and the number of one of its devices.

use gptneo_model::{GptNeoConfig, LoraConfig, ModelError, WeightFormat};
use gptneo_training::Precision;

use super::BackendKind;
use super::device::Device;
use crate::{Error, Problem, Remedy, Result};

/// A backend and a device of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The backend.
    pub kind: BackendKind,
    /// The device's number: its place in [`BackendKind::devices`].
    pub device: usize,
}

impl Place {
    /// The processor in place of a GPU, for what must be exact; a processor stays.
    pub fn on_processor(self) -> Self {
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
    pub fn check(self) -> Result<()> {
        self.found().map(drop)
    }

    /// Refuses a model, or batches of `batch` texts of `tokens` tokens, that the device cannot hold.
    ///
    /// # Errors
    /// As [`Place::check`]; or a tensor is larger than the device holds in one piece, or the weights than its memory.
    pub fn check_room(self, model: &GptNeoConfig, batch: usize, tokens: usize) -> Result<()> {
        self.check_room_for(WeightFormat::F32, model, batch, tokens)
    }

    /// As [`Place::check_room`], with the weights in this format.
    ///
    /// # Errors
    /// As [`Place::check_room`].
    pub fn check_room_for(
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
        // For a CPU see [`Place::check_memory`], which knows the work as well.
        if let Some(memory) = found.memory_bytes.filter(|_| !self.kind.is_cpu()) {
            model.check_memory(format, &found.name, memory)?;
        }
        Ok(())
    }

    /// Refuses an adapter that a GPU cannot hold while it is trained. For a CPU see [`Place::check_memory`].
    ///
    /// # Errors
    /// As [`Place::check`]; or the adapter takes more than the device's memory.
    pub fn check_adapter(self, model: &GptNeoConfig, lora: &LoraConfig) -> Result<()> {
        let found = self.found()?;
        if let Some(memory) = found.memory_bytes.filter(|_| !self.kind.is_cpu()) {
            let refuse = |error: ModelError| Error::settings(error.to_string(), Remedy::Lower("lora.r"));
            model.check_adapter(lora, &found.name, memory).map_err(refuse)?;
        }
        Ok(())
    }

    /// Refuses a format of weights that the backend or the device does not compute with.
    ///
    /// # Errors
    /// As [`Place::check`]; or the format is one of another backend, or the device lacks its type.
    pub fn check_weights(self, format: WeightFormat) -> Result<()> {
        self.check_format(format, "weights")
    }

    /// As [`Place::check_weights`], of a base that an adapter is trained over.
    ///
    /// # Errors
    /// As there.
    pub fn check_base_weights(self, format: WeightFormat) -> Result<()> {
        self.check_format(format, "run.base_weights")
    }

    fn check_format(self, format: WeightFormat, setting: &'static str) -> Result<()> {
        let kind = self.kind.resolved();
        let (fits, whose) = match format {
            WeightFormat::F32 => return Ok(()),
            WeightFormat::F16 => (!kind.is_cpu() && self.found()?.f16, "GPUs that compute in f16"),
            WeightFormat::Bf16 | WeightFormat::Int8 => (kind == BackendKind::Flex, "the backend flex"),
        };
        if fits {
            return Ok(());
        }
        Err(Error::settings(
            format!("the format {format:?} of the weights is for {whose}, but {} was asked for", kind.name()),
            Remedy::Either(vec![Remedy::Change(setting), Remedy::Change("run.backend")]),
        ))
    }

    /// The precision to train in: the one that is asked for, but f32 on a processor that does not multiply in that one;
    /// then with what there is to say about it.
    ///
    /// # Errors
    /// As [`Place::check`]; or a GPU has no products in that precision.
    pub fn precision(self, asked: Precision) -> Result<(Precision, Option<Problem>)> {
        if asked == Precision::F32 {
            return Ok((asked, None));
        }
        let found = self.found()?;
        if computes_in(&found, asked) {
            return Ok((asked, None));
        }
        if !self.kind.is_cpu() {
            return Err(refusal(&found, asked));
        }
        let backend = self.kind.resolved();
        let why = match (backend, asked) {
            (BackendKind::Flex, Precision::Bf16) => "has no instructions for it on this processor",
            _ => "does not compute in it",
        };
        let (asked, backend) = (asked.name(), backend.name());
        let what = format!("precision {asked}: the backend {backend} {why}, and f32 is used");
        Ok((Precision::F32, Some(Problem { what, remedy: Remedy::None })))
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
        let what = format!("there is no device {} of the backend {name}", self.device);
        Err(match last {
            0 => Error::settings(format!("{what}, which has one"), Remedy::LeaveOut("run.device")),
            _ => Error::settings(what, Remedy::Set("run.device", format!("0 to {last}"))),
        })
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
fn refusal(device: &Device, asked: Precision) -> Error {
    let instead = if computes_in(device, Precision::F16) { Precision::F16 } else { Precision::F32 };
    Error::settings(
        format!("{} ({}) has no products in {asked}", device.name, device.kind),
        Remedy::Set("run.precision", instead.name().into()),
    )
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
        assert!(message.contains("no device 1") && message.contains("leave run.device out"), "{message}");
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
        assert!(message.contains("Tesla T4") && message.contains("set run.precision to f16"), "{message}");
        let older = Device { f16: false, ..turing };
        assert!(refusal(&older, Precision::F16).to_string().contains("set run.precision to f32"));
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
