//! AdamW as the recipe has it: a handle that the training strategy shares with Burn's `Learner`, and the optimizer's state
//! by parameter name. The arithmetic is the backend's, on all parameters at once.

mod update;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::backend::Autodiff;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::adaptor::{GradAdaptor, OptimizerAdaptor};
use burn::optim::record::AdaptorRecord;
use burn::optim::{
    AdamW, AdamWState, AdaptiveMomentumState, GradientsParams, LearningRate, MultiGradientsParams, Optimizer,
};
use burn::tensor::{DType, Tensor, TensorData};
use gptneo_model::ops::AdamWRule;
use gptneo_model::{NeoBackend, device_failure};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::fine_tune::FineTune;
use crate::{TrainingConfig, TrainingError};

/// A parameter's state, as Burn's own AdamW has it.
type State<B> = AdaptorRecord<AdamW, Autodiff<B>>;

type Records<B> = HashMap<ParamId, State<B>>;

/// AdamW behind a shared handle: the `Learner` steps it, the strategy saves its state at any step.
pub(crate) struct SharedAdamW<B: NeoBackend>(Arc<Mutex<Inner<B>>>);

#[derive(Clone)]
struct Inner<B: NeoBackend> {
    config: TrainingConfig,
    records: Records<B>,
    /// What is known of the gradients of the next step; without it they are taken as they are.
    next: Option<Foreknown<B>>,
    /// The parameters of the last step.
    last: HashSet<ParamId>,
}

/// What is known of a step's gradients before it is taken.
#[derive(Clone)]
struct Foreknown<B: NeoBackend> {
    /// As [`NeoBackend::gradient_sums`] gives them.
    sums: Tensor<B, 1>,
    /// What the gradients are multiplied with.
    unscale: Option<f64>,
}

impl<B: NeoBackend> Clone for SharedAdamW<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: NeoBackend> SharedAdamW<B> {
    /// A fresh optimizer.
    pub(crate) fn new(config: &TrainingConfig) -> Self {
        Self::of(Inner { config: config.clone(), records: HashMap::new(), next: None, last: HashSet::new() })
    }

    fn of(inner: Inner<B>) -> Self {
        Self(Arc::new(Mutex::new(inner)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the gradients of the next step, and of no other, unscaled by the scale of their loss and clipped by their `sums`;
    /// where these are not finite, the step leaves everything as it is.
    pub(crate) fn prepare(&self, sums: Tensor<B, 1>, loss_scale: Option<f64>) {
        self.lock().next = Some(Foreknown { sums, unscale: loss_scale.map(|scale| 1.0 / scale) });
    }

    /// Counts the last step as none: it left everything as it was.
    pub(crate) fn forget_last(&self, model: &FineTune<Autodiff<B>>) {
        let inner = &mut *self.lock();
        let last = std::mem::take(&mut inner.last);
        model.visit(&mut Earlier { last, records: &mut inner.records });
    }

    /// Writes the moments of every parameter as safetensors, by PyTorch's names: `{parameter}.exp_avg`,
    /// `.exp_avg_sq`, `.step`.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(crate) fn save(&self, model: &FineTune<Autodiff<B>>, path: &Path) -> Result<(), TrainingError> {
        let records = self.lock().records.clone();
        let mut visitor = Collect::<B> { path: Vec::new(), records, tensors: BTreeMap::new() };
        model.visit(&mut visitor);
        let failed = |reason: String| TrainingError::Checkpoint { path: path.into(), reason };
        let views = visitor
            .tensors
            .iter()
            .map(|(name, data)| {
                TensorView::new(Dtype::F32, data.shape.to_vec(), data.as_bytes())
                    .map(|view| (name, view))
                    .map_err(|error| failed(error.to_string()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        // Numbers of a failed device must not become a file.
        device_failure::check()?;
        safetensors::serialize_to_file(views, None, path).map_err(|error| failed(error.to_string()))
    }

    /// Takes up the state that [`SharedAdamW::save`] wrote.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or does not fit the model's trainable parameters.
    pub(crate) fn load(&self, model: &FineTune<Autodiff<B>>, path: &Path) -> Result<(), TrainingError> {
        let failed = |reason: String| TrainingError::Checkpoint { path: path.into(), reason };
        let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| failed(error.to_string()))?;
        let device = model.model.head_weight().device();
        let mut visitor = Restore::<B> {
            path: Vec::new(),
            file: &file,
            device,
            records: HashMap::new(),
            problems: Vec::new(),
        };
        model.visit(&mut visitor);
        if !visitor.problems.is_empty() {
            return Err(failed(visitor.problems.join("; ")));
        }
        self.lock().records = visitor.records;
        Ok(())
    }
}

impl<B: NeoBackend> Optimizer<FineTune<Autodiff<B>>, Autodiff<B>> for SharedAdamW<B> {
    /// That of Burn's own AdamW.
    type Record = <OptimizerAdaptor<AdamW, FineTune<Autodiff<B>>, Autodiff<B>> as Optimizer<
        FineTune<Autodiff<B>>,
        Autodiff<B>,
    >>::Record;

    fn step(
        &mut self,
        lr: LearningRate,
        module: FineTune<Autodiff<B>>,
        grads: GradientsParams,
    ) -> FineTune<Autodiff<B>> {
        self.lock().step(lr, module, grads.into())
    }

    fn step_multi(
        &mut self,
        lr: LearningRate,
        module: FineTune<Autodiff<B>>,
        grads: MultiGradientsParams,
    ) -> FineTune<Autodiff<B>> {
        self.lock().step(lr, module, grads.into())
    }

    fn to_record(&self) -> Self::Record {
        self.lock().records.clone().into_iter().collect()
    }

    fn load_record(self, record: Self::Record) -> Self {
        let inner = Inner { records: record.into_iter().collect(), ..self.lock().clone() };
        Self::of(inner)
    }
}

impl<B: NeoBackend> Inner<B> {
    fn step(
        &mut self,
        rate: LearningRate,
        model: FineTune<Autodiff<B>>,
        gradients: GradAdaptor,
    ) -> FineTune<Autodiff<B>> {
        let config = &self.config;
        let Foreknown { sums, unscale } = self.next.take().unwrap_or_else(|| {
            let device = model.model.head_weight().device();
            Foreknown { sums: Tensor::zeros([2], (&device, DType::F32)), unscale: None }
        });
        let rule = |time| AdamWRule {
            unscale,
            max_norm: config.max_grad_norm,
            rate,
            beta_1: config.beta1 as f32,
            beta_2: config.beta2 as f32,
            epsilon: config.epsilon as f32,
            weight_decay: config.weight_decay as f32,
            time,
        };
        let (model, stepped) = update::update(model, gradients, sums, &mut self.records, rule);
        self.last = stepped;
        model
    }
}

/// Takes the last step off the count of some parameters.
struct Earlier<'a, B: NeoBackend> {
    last: HashSet<ParamId>,
    records: &'a mut Records<B>,
}

impl<B: NeoBackend> ModuleVisitor<Autodiff<B>> for Earlier<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        if !self.last.remove(&param.id) {
            return;
        }
        let Some(record) = self.records.remove(&param.id) else { return };
        let mut momentum = record.into_state::<D>().momentum;
        momentum.time -= 1;
        self.records.insert(param.id, State::<B>::from_state(AdamWState::new(momentum)));
    }
}

/// Gathers each parameter's moments under its name.
struct Collect<B: NeoBackend> {
    path: Vec<String>,
    records: Records<B>,
    tensors: BTreeMap<String, TensorData>,
}

impl<B: NeoBackend> ModuleVisitor<Autodiff<B>> for Collect<B> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let Some(record) = self.records.remove(&param.id) else { return };
        let momentum = record.into_state::<D>().momentum;
        let name = self.path.join(".");
        self.tensors.insert(format!("{name}.exp_avg"), momentum.moment_1.into_data());
        self.tensors.insert(format!("{name}.exp_avg_sq"), momentum.moment_2.into_data());
        // Exact up to 2^24 steps.
        let step = TensorData::new(vec![momentum.time as f32], [1]);
        self.tensors.insert(format!("{name}.step"), step);
    }
}

/// Builds the records of all trainable parameters from the file.
struct Restore<'a, B: NeoBackend> {
    path: Vec<String>,
    file: &'a SafeTensors<'a>,
    device: B::Device,
    records: Records<B>,
    problems: Vec<String>,
}

impl<B: NeoBackend> Restore<'_, B> {
    fn read(&mut self, name: &str, shape: &[usize]) -> Option<TensorData> {
        match self.file.tensor(name) {
            Ok(view) if view.dtype() == Dtype::F32 && view.shape() == shape => {
                let values = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
                Some(TensorData::new(values.collect::<Vec<f32>>(), shape))
            }
            Ok(view) => {
                let (dtype, found) = (view.dtype(), view.shape());
                self.problems.push(format!("{name}: expected F32 {shape:?}, found {dtype:?} {found:?}"));
                None
            }
            Err(_) => {
                self.problems.push(format!("{name}: missing"));
                None
            }
        }
    }
}

impl<B: NeoBackend> ModuleVisitor<Autodiff<B>> for Restore<'_, B> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let value = param.val();
        if !value.is_require_grad() {
            return;
        }
        let (name, shape) = (self.path.join("."), value.dims());
        let moments = (
            self.read(&format!("{name}.exp_avg"), &shape),
            self.read(&format!("{name}.exp_avg_sq"), &shape),
            self.read(&format!("{name}.step"), &[1]),
        );
        let (Some(first), Some(second), Some(step)) = moments else { return };
        let tensor = |data| Tensor::<B, D>::from_data(data, (&self.device, DType::F32));
        let time = step.iter::<f32>().next().unwrap_or_default() as usize;
        let momentum = AdaptiveMomentumState::new(time, tensor(first), tensor(second));
        self.records.insert(param.id, State::<B>::from_state(AdamWState::new(momentum)));
    }
}
