//! A model's parameters by their paths: to list them, to read them, and to put others in their place.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};

use crate::{GptNeo, ModelError, WeightFormat};

/// One parameter; its numbers are read when they are asked for.
pub(crate) struct Parameter {
    /// Its path, which is its key in a checkpoint.
    pub(crate) path: String,
    pub(crate) shape: Vec<usize>,
    read: Box<dyn Fn() -> TensorData>,
}

impl Parameter {
    /// The parameter of this path.
    pub(crate) fn of<B: Backend, const D: usize>(path: String, tensor: Tensor<B, D>) -> Self {
        Self { path, shape: tensor.dims().to_vec(), read: Box::new(move || tensor.to_data()) }
    }

    /// Its numbers, in the type it is held in.
    pub(crate) fn data(&self) -> TensorData {
        (self.read)()
    }
}

/// The path of the module that is being visited. Burn enters each field, and each element of a list.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn enter(&mut self, name: &str) {
        self.0.push(name.to_string());
    }

    fn leave(&mut self) {
        self.0.pop();
    }

    fn joined(&self) -> String {
        self.0.join(".")
    }
}

/// All parameters of a model.
pub(super) fn parameters<B: Backend>(model: &GptNeo<B>) -> Vec<Parameter> {
    struct Collect(Path, Vec<Parameter>);
    impl<B: Backend> ModuleVisitor<B> for Collect {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.0.enter(name);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.leave();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.1.push(Parameter::of(self.0.joined(), param.val()));
        }
    }
    let mut collect = Collect(Path::default(), Vec::new());
    model.visit(&mut collect);
    collect.1
}

/// The shapes of all parameters of a model, none of which is made for it.
pub(super) fn shapes<B: Backend>(model: &GptNeo<B>) -> Vec<(String, Vec<usize>)> {
    struct Shapes(Path, Vec<(String, Vec<usize>)>);
    impl<B: Backend> ModuleVisitor<B> for Shapes {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.0.enter(name);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.leave();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.1.push((self.0.joined(), param.lazy_shape().to_vec()));
        }
    }
    let mut shapes = Shapes(Path::default(), Vec::new());
    model.visit(&mut shapes);
    shapes.1
}

/// How a parameter is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// In a type of the device.
    As(DType),
    /// A matrix, in the format of a base.
    Packed(WeightFormat),
}

/// The model with each parameter replaced by what `read` makes of its path and, where it asks for them, its numbers; and
/// how the parameter is then held.
///
/// # Errors
///
/// The first of `read`.
pub(super) fn replaced<B: Backend>(
    model: GptNeo<B>,
    read: impl FnMut(&str, &dyn Fn() -> TensorData) -> Result<(TensorData, Held), ModelError>,
) -> Result<GptNeo<B>, ModelError> {
    struct Replace<R> {
        path: Path,
        read: R,
        failed: Option<ModelError>,
    }
    impl<B, R> ModuleMapper<B> for Replace<R>
    where
        B: Backend,
        R: FnMut(&str, &dyn Fn() -> TensorData) -> Result<(TensorData, Held), ModelError>,
    {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.enter(name);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.leave();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            if self.failed.is_some() {
                return param;
            }
            match (self.read)(&self.path.joined(), &|| param.val().to_data()) {
                Ok((data, held)) => {
                    let device = param.lazy_device();
                    let value = match held {
                        Held::As(dtype) => Tensor::from_data(data.convert_dtype(dtype), (&device, dtype)),
                        Held::Packed(format) => {
                            let data = data.convert_dtype(DType::F32);
                            let matrix = Tensor::<B, 2>::from_data(data, (&device, DType::F32));
                            Tensor::from_primitive(format.of(matrix).into_primitive())
                        }
                    };
                    let id = param.id;
                    param.transform_for_load(value, id)
                }
                Err(error) => {
                    self.failed = Some(error);
                    param
                }
            }
        }
    }
    let mut replace = Replace { path: Path::default(), read, failed: None };
    let model = model.map(&mut replace);
    match replace.failed {
        Some(error) => Err(error),
        None => Ok(model),
    }
}
