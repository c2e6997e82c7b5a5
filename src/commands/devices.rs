//! `devices`: what this build can compute on, on this machine, and why it cannot where it cannot.

use std::fmt::Write;

use anyhow::Result;
use gptneo_datasets::grouped;
use gptneo_lora::backend::{BackendKind, Device, Place, check_device};
use serde::Serialize;

use crate::cli::DevicesArgs;
use crate::terminal::{notes, output, wording};

/// A backend with its devices, or with the reason that it has none.
#[derive(Serialize)]
struct Backend {
    backend: &'static str,
    /// What `--backend auto` stands for.
    auto: bool,
    /// By the numbers that `--device` takes.
    devices: Vec<Device>,
    unusable: Option<String>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    backends: Vec<Backend>,
}

/// Runs the command.
pub(crate) fn run(args: &DevicesArgs) -> Result<()> {
    let backends: Vec<Backend> = BackendKind::in_build().into_iter().map(look).collect();
    let report = Report { backends };
    if args.check {
        check(&report.backends)?;
    }
    if args.json {
        return output::json(&report);
    }
    output::line(render(&report.backends).trim_end())
}

fn look(kind: BackendKind) -> Backend {
    let (devices, unusable) = match kind.devices() {
        Ok(devices) => (devices, None),
        Err(error) => (Vec::new(), Some(wording::of_cause(&error))),
    };
    Backend { backend: kind.name(), auto: BackendKind::likely_auto() == kind, devices, unusable }
}

/// Computes a known model on every GPU.
fn check(backends: &[Backend]) -> Result<()> {
    let gpu = |(kind, _): &(BackendKind, &Backend)| matches!(kind, BackendKind::Wgpu | BackendKind::Cuda);
    let all = BackendKind::in_build().into_iter().zip(backends);
    for (kind, Backend { backend, devices, .. }) in all.filter(gpu) {
        for device in 0..devices.len() {
            check_device(Place { kind, device })?;
            notes::say(format_args!("{backend} {device} computes as it should"));
        }
    }
    Ok(())
}

fn render(backends: &[Backend]) -> String {
    let mut text = String::new();
    for Backend { backend, auto, devices, unusable } in backends {
        let auto = if *auto { "  (--backend auto)" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{backend}{auto}");
        for (number, device) in devices.iter().enumerate() {
            let _ =
                writeln!(text, "  {number}  {}  ({})\n     {}", device.name, device.kind, abilities(device));
        }
        if let Some(reason) = unusable {
            let _ = writeln!(text, "  cannot be used: {reason}");
        }
    }
    text
}

/// What a device can hold and compute.
fn abilities(device: &Device) -> String {
    let megabytes = |bytes: u64| format!("{} MB", grouped((bytes / 1_000_000) as usize));
    let mut parts = Vec::new();
    parts.extend(device.memory_bytes.map(|bytes| format!("memory {}", megabytes(bytes))));
    parts.extend(device.largest_tensor_bytes.map(|bytes| format!("largest tensor {}", megabytes(bytes))));
    let half: Vec<&str> = [("f16", device.f16), ("bf16", device.bf16)]
        .iter()
        .filter(|(_, has)| *has)
        .map(|(name, _)| *name)
        .collect();
    parts.push(format!("precision f32{}", half.iter().map(|name| format!(", {name}")).collect::<String>()));
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_told_with_its_devices_or_with_the_reason() {
        let device = Device {
            name: "A GPU".into(),
            kind: "Vulkan".into(),
            memory_bytes: None,
            largest_tensor_bytes: Some(134_217_728),
            software: false,
            f16: true,
            bf16: false,
        };
        let one = Backend { backend: "wgpu", auto: false, devices: vec![device], unusable: None };
        let none =
            Backend { backend: "cuda", auto: false, devices: vec![], unusable: Some("no driver".into()) };
        assert_eq!(
            render(&[one, none]),
            "wgpu\n  0  A GPU  (Vulkan)\n     largest tensor 134 MB; precision f32, f16\ncuda\n  cannot be used: no \
             driver\n"
        );
        let flex = look(BackendKind::cpu());
        assert!(flex.devices.len() == 1 && flex.unusable.is_none());
    }
}
