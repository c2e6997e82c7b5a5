//! How a backend on CubeCL has a kernel run: the backend itself at once, under Burn's fusion as an operation of its stream,
//! behind those that make its inputs.

use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{DType, Shape, backend::Backend};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

/// The shape and the type of a tensor that a kernel writes.
pub(super) type Output = (Shape, DType);

/// A backend on CubeCL.
pub trait CubeLaunch: Backend {
    /// What compiles and runs its kernels.
    type Runtime: CubeRuntime;

    /// Runs `work`, which launches the kernels called `name`, on `inputs`; what it gives has the shapes and types of
    /// `outputs`. An input that nothing else holds may be written in place.
    fn launch_all(
        name: &'static str,
        inputs: Vec<FloatTensor<Self>>,
        outputs: Vec<Output>,
        work: impl Fn(Vec<CubeTensor<Self::Runtime>>) -> Vec<CubeTensor<Self::Runtime>> + Send + Sync + 'static,
    ) -> Vec<FloatTensor<Self>>;

    /// A tensor of integers among the inputs.
    fn integers(tensor: IntTensor<Self>) -> FloatTensor<Self>;

    /// A tensor of integers among the outputs.
    fn of_integers(tensor: FloatTensor<Self>) -> IntTensor<Self>;

    /// As [`CubeLaunch::launch_all`], for a number of tensors that is known.
    fn launch<const INPUTS: usize, const OUTPUTS: usize>(
        name: &'static str,
        inputs: [FloatTensor<Self>; INPUTS],
        outputs: [Output; OUTPUTS],
        work: impl Fn([CubeTensor<Self::Runtime>; INPUTS]) -> [CubeTensor<Self::Runtime>; OUTPUTS]
        + Send
        + Sync
        + 'static,
    ) -> [FloatTensor<Self>; OUTPUTS] {
        exactly(Self::launch_all(name, inputs.into(), outputs.into(), move |inputs| {
            work(exactly(inputs)).into()
        }))
    }
}

/// The elements of a vector whose length is known.
pub(super) fn exactly<T, const COUNT: usize>(elements: Vec<T>) -> [T; COUNT] {
    let found = elements.len();
    elements.try_into().unwrap_or_else(|_| panic!("a kernel has {COUNT} tensors on this side, not {found}"))
}

impl<R: CubeRuntime, F: FloatElement, I: IntElement, T: BoolElement> CubeLaunch for CubeBackend<R, F, I, T> {
    type Runtime = R;

    fn launch_all(
        _name: &'static str,
        inputs: Vec<CubeTensor<R>>,
        _outputs: Vec<Output>,
        work: impl Fn(Vec<CubeTensor<R>>) -> Vec<CubeTensor<R>> + Send + Sync + 'static,
    ) -> Vec<CubeTensor<R>> {
        work(inputs)
    }

    fn integers(tensor: CubeTensor<R>) -> CubeTensor<R> {
        tensor
    }

    fn of_integers(tensor: CubeTensor<R>) -> CubeTensor<R> {
        tensor
    }
}

/// Under fusion, which has the backend's tensors by number and its operations in streams.
#[cfg(feature = "fusion")]
mod deferred {
    use std::fmt;

    use burn_cubecl::fusion::FusionCubeRuntime;
    use burn_fusion::stream::{Operation, OperationStreams};
    use burn_fusion::{Fusion, FusionTensor};
    use burn_ir::{BackendIr, CustomOpIr, HandleContainer, OperationIr, TensorIr};

    use super::*;

    impl<R: CubeRuntime, F: FloatElement, I: IntElement, T: BoolElement> CubeLaunch
        for Fusion<CubeBackend<R, F, I, T>>
    {
        type Runtime = R;

        fn launch_all(
            name: &'static str,
            inputs: Vec<FusionTensor<FusionCubeRuntime<R>>>,
            outputs: Vec<Output>,
            work: impl Fn(Vec<CubeTensor<R>>) -> Vec<CubeTensor<R>> + Send + Sync + 'static,
        ) -> Vec<FusionTensor<FusionCubeRuntime<R>>> {
            let Some(first) = inputs.first() else { return Vec::new() };
            let client = first.client.clone();
            let streams = OperationStreams::with_inputs(&inputs);
            let outputs: Vec<TensorIr> = outputs
                .into_iter()
                .map(|(shape, dtype)| TensorIr::uninit(client.create_empty_handle(), shape, dtype))
                .collect();
            let inputs: Vec<TensorIr> = inputs.into_iter().map(FusionTensor::into_ir).collect();
            let tensors = CustomOpIr::new(name, &inputs, &outputs);
            let operation = Deferred::<CubeBackend<R, F, I, T>, _> {
                tensors: tensors.clone(),
                work,
                backend: std::marker::PhantomData,
            };
            client.register(streams, OperationIr::Custom(tensors), operation)
        }

        fn integers(tensor: FusionTensor<FusionCubeRuntime<R>>) -> FusionTensor<FusionCubeRuntime<R>> {
            tensor
        }

        fn of_integers(tensor: FusionTensor<FusionCubeRuntime<R>>) -> FusionTensor<FusionCubeRuntime<R>> {
            tensor
        }
    }

    /// Work that waits for its turn.
    struct Deferred<B, W> {
        tensors: CustomOpIr,
        work: W,
        backend: std::marker::PhantomData<fn() -> B>,
    }

    impl<B, W> fmt::Debug for Deferred<B, W> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}", self.tensors.id)
        }
    }

    impl<R, F, I, T, W> Operation<FusionCubeRuntime<R>> for Deferred<CubeBackend<R, F, I, T>, W>
    where
        R: CubeRuntime,
        F: FloatElement,
        I: IntElement,
        T: BoolElement,
        W: Fn(Vec<CubeTensor<R>>) -> Vec<CubeTensor<R>> + Send + Sync,
    {
        fn execute(&self, handles: &mut HandleContainer<<CubeBackend<R, F, I, T> as BackendIr>::Handle>) {
            // Tensors of integers are of the same kind here.
            let inputs = self.tensors.inputs.iter();
            let inputs =
                inputs.map(|input| handles.get_float_tensor::<CubeBackend<R, F, I, T>>(input)).collect();
            for (output, tensor) in self.tensors.outputs.iter().zip((self.work)(inputs)) {
                handles.register_float_tensor::<CubeBackend<R, F, I, T>>(&output.id, tensor);
            }
        }
    }
}
