//! Where a command computes: a backend and the number of one of its devices.

use anyhow::Result;
use gptneo_model::GptNeoConfig;

use super::BackendKind;
use super::device::Device;
use crate::failure::Misuse;

/// A backend and a device of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: BackendKind,
    /// The device's number, as `gptneo-lora devices` counts them.
    pub(crate) device: usize,
}

impl Place {
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
    /// As [`Place::check`]; or a tensor is larger than the device holds in one piece.
    pub(crate) fn check_room(self, model: &GptNeoConfig, batch: usize, tokens: usize) -> Result<()> {
        let found = self.found()?;
        match found.largest_tensor_bytes {
            Some(limit) => Ok(model.check_fits([batch, tokens], &found.name, limit)?),
            None => Ok(()),
        }
    }

    /// The device itself.
    fn found(self) -> Result<Device> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cpu_backend_has_one_device_without_a_limit() {
        let place = |device| Place { kind: BackendKind::Auto, device };
        place(0).check().unwrap();
        assert_eq!(place(0).found().unwrap().largest_tensor_bytes, None);
        let message = place(1).check().unwrap_err().to_string();
        assert!(message.contains("no device 1") && message.contains("leave --device out"), "{message}");
    }
}
