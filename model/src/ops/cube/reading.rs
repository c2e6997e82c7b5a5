//! Numbers on their way from a GPU. The copy is asked for at once, so that what is launched after it runs while the host
//! waits for what was there before.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll, Waker};

use burn::tensor::TensorData;
use burn::tensor::backend::ExecutionError;
use burn_cubecl::CubeRuntime;
use burn_cubecl::cubecl::future::block_on;
use burn_cubecl::cubecl::server::CopyDescriptor;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::super::Reading;

/// Sends these tensors, which are on one device, in one go.
pub(super) fn read_later<R: CubeRuntime>(tensors: Vec<CubeTensor<R>>) -> Reading {
    let tensors: Vec<_> = tensors.into_iter().map(into_contiguous).collect();
    let reading = async move {
        let Some(client) = tensors.first().map(|tensor| tensor.client.clone()) else {
            return Ok(Vec::new());
        };
        let copies = tensors.iter().map(|tensor| {
            let (shape, strides) = (tensor.meta.shape().clone(), tensor.meta.strides().clone());
            CopyDescriptor::new(tensor.handle.clone().binding(), shape, strides, tensor.dtype.size())
        });
        // This asks for the copies; what it gives waits for them, and on CUDA does so as soon as it is polled.
        let copied = client.read_tensor_async(copies.collect());
        once_later().await;
        let copied =
            copied.await.map_err(|error| ExecutionError::WithContext { reason: format!("{error:?}") })?;
        let data = copied
            .into_iter()
            .zip(&tensors)
            .map(|(bytes, tensor)| TensorData::from_bytes(bytes, tensor.meta.shape().clone(), tensor.dtype));
        Ok(data.collect())
    };
    let mut reading = Box::pin(reading);
    match reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => Reading::new(move || read),
        Poll::Pending => Reading::new(move || block_on(reading)),
    }
}

/// Is there when it is asked for the second time.
async fn once_later() {
    let mut asked = false;
    poll_fn(|_| if std::mem::replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}
