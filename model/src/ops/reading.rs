//! Numbers on their way from the device to the host.

use burn::tensor::backend::{Backend, ExecutionError};
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{Int, Tensor, TensorData, TensorPrimitive, Transaction};

use crate::ModelError;

/// Waits for the numbers.
type Wait = Box<dyn FnOnce() -> Result<Vec<TensorData>, ExecutionError> + Send>;

/// What [`super::NeoBackend::read_later`] sent.
pub struct Reading {
    /// None once it was waited for.
    wait: Option<Wait>,
}

impl Reading {
    /// What `wait` waits for.
    pub(super) fn new(
        wait: impl FnOnce() -> Result<Vec<TensorData>, ExecutionError> + Send + 'static,
    ) -> Self {
        Self { wait: Some(Box::new(wait)) }
    }

    /// The tensors' numbers, in their order, the floats before the ints.
    ///
    /// # Errors
    ///
    /// [`ModelError::Device`] where the copy failed. A device that failed before may give zeros: see
    /// [`device_failure::check`](crate::device_failure::check).
    pub fn wait(mut self) -> Result<Vec<TensorData>, ModelError> {
        let read = self.wait.take().map_or_else(|| Ok(Vec::new()), |wait| wait());
        read.map_err(|error| ModelError::Device(format!("{error:?}")))
    }
}

impl Drop for Reading {
    /// The device writes to memory that is held until it has.
    fn drop(&mut self) {
        match self.wait.take() {
            // A wait that failed in the midst of a failure would end the program.
            Some(wait) if std::thread::panicking() => std::mem::forget(wait),
            Some(wait) => {
                // Numbers of work that is thrown away, and so is a failure on their way.
                let _ = wait();
            }
            None => {}
        }
    }
}

/// The default of [`super::NeoBackend::read_later`]: they are read when they are waited for.
pub(super) fn plain<B: Backend>(floats: Vec<FloatTensor<B>>, ints: Vec<IntTensor<B>>) -> Reading {
    let floats =
        floats.into_iter().map(|float| Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(float)));
    let ints = ints.into_iter().map(Tensor::<B, 1, Int>::from_primitive);
    let all = floats.fold(Transaction::<B>::default(), Transaction::register);
    let all = ints.fold(all, Transaction::register);
    Reading::new(move || all.try_execute())
}
