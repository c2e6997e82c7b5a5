//! The GPUs that wgpu reaches: which there are, what they hold, and how Burn names them.
//!
//! Burn panics on a device thread where there is no adapter, so they are counted here first, in the same graphics API
//! that Burn takes: Metal on macOS, else Vulkan.

use std::sync::OnceLock;

use burn_wgpu::WgpuDevice;
use burn_wgpu::graphics::{AutoGraphicsApi, GraphicsApi};
use wgpu::{DeviceType, Features};

use super::device::Device;
use super::unusable;
use crate::Result;

/// What to do where there is nothing to compute on.
const REMEDY: &str = "install the GPU's driver (on Debian and Ubuntu also the package mesa-vulkan-drivers, which has a \
                      software Vulkan for machines without a GPU), or compute on the CPU";

/// What was found: looking again takes time, and some drivers grumble each time.
static FOUND: OnceLock<Vec<Adapter>> = OnceLock::new();

/// A GPU, or software that acts as one.
#[derive(Clone)]
pub(super) struct Adapter {
    /// Burn's name.
    pub(super) device: WgpuDevice,
    pub(super) described: Device,
}

/// All adapters that Burn can name: discrete GPUs first, then integrated, virtual and software ones.
///
/// # Errors
/// There is none.
pub(super) fn adapters() -> Result<Vec<Adapter>> {
    let found = FOUND.get_or_init(look);
    if found.is_empty() {
        let api = AutoGraphicsApi::backend();
        return Err(unusable(format!("no GPU was found through {api:?} for the backend wgpu: {REMEDY}")));
    }
    Ok(found.clone())
}

fn look() -> Vec<Adapter> {
    let api = AutoGraphicsApi::backend();
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = api.into();
    let instance = wgpu::Instance::new(descriptor);
    let found = burn::tensor::read_sync(instance.enumerate_adapters(api.into()));
    let kinds: Vec<DeviceType> = found.iter().map(|adapter| adapter.get_info().device_type).collect();
    let mut named: Vec<(WgpuDevice, wgpu::Adapter)> =
        names(&kinds).into_iter().zip(found).filter_map(|(name, adapter)| Some((name?, adapter))).collect();
    named.sort_by_key(|(device, _)| rank(device));
    named.into_iter().map(|(device, adapter)| Adapter { device, described: describe(&adapter) }).collect()
}

/// Burn's names of adapters of these kinds, in their order. Burn counts each kind by itself, knows one CPU, and names
/// an adapter of no known kind only where it is alone.
fn names(kinds: &[DeviceType]) -> Vec<Option<WgpuDevice>> {
    let earlier = |index: usize| kinds[..index].iter().filter(|kind| **kind == kinds[index]).count();
    let name = |(index, kind): (usize, &DeviceType)| match kind {
        DeviceType::DiscreteGpu => Some(WgpuDevice::DiscreteGpu(earlier(index))),
        DeviceType::IntegratedGpu => Some(WgpuDevice::IntegratedGpu(earlier(index))),
        DeviceType::VirtualGpu => Some(WgpuDevice::VirtualGpu(earlier(index))),
        DeviceType::Cpu => (earlier(index) == 0).then_some(WgpuDevice::Cpu),
        DeviceType::Other => (kinds.len() == 1).then_some(WgpuDevice::DefaultDevice),
    };
    kinds.iter().enumerate().map(name).collect()
}

fn rank(device: &WgpuDevice) -> usize {
    match device {
        WgpuDevice::DiscreteGpu(_) => 0,
        WgpuDevice::IntegratedGpu(_) => 1,
        WgpuDevice::VirtualGpu(_) => 2,
        WgpuDevice::Cpu => 3,
        _ => 4,
    }
}

fn describe(adapter: &wgpu::Adapter) -> Device {
    let (info, limits) = (adapter.get_info(), adapter.limits());
    Device {
        kind: format!("{:?}, {:?}, {} {}", info.backend, info.device_type, info.driver, info.driver_info),
        name: info.name,
        memory_bytes: None,
        largest_tensor_bytes: Some(limits.max_buffer_size.min(limits.max_storage_buffer_binding_size)),
        software: info.device_type == DeviceType::Cpu,
        f16: adapter.features().contains(Features::SHADER_F16),
        // WGSL has no such type.
        bf16: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_are_named_by_kind_and_number() {
        use DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other};
        assert_eq!(
            names(&[Cpu, DiscreteGpu, IntegratedGpu, DiscreteGpu, Cpu, Other]),
            [
                Some(WgpuDevice::Cpu),
                Some(WgpuDevice::DiscreteGpu(0)),
                Some(WgpuDevice::IntegratedGpu(0)),
                Some(WgpuDevice::DiscreteGpu(1)),
                None,
                None,
            ]
        );
        assert_eq!(names(&[Other]), [Some(WgpuDevice::DefaultDevice)]);
    }
}
