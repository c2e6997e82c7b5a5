//! A step of AdamW over a model: every parameter that has a gradient is gathered, all are updated together, and each is put
//! back.

use std::collections::{BTreeMap, HashMap, HashSet};

use burn::backend::Autodiff;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::adaptor::GradAdaptor;
use burn::optim::{AdamWState, AdaptiveMomentumState};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};
use gptneo_model::NeoBackend;
use gptneo_model::ops::{AdamWRule, AdamWStep, AdamWTensors};

use super::{Records, State};
use crate::fine_tune::FineTune;

/// The model after a step in which each parameter is at the time that `records` has, which move on, and the parameters that
/// took it; `sums` are of all gradients, `rule` is that of a time.
pub(super) fn update<B: NeoBackend>(
    model: FineTune<Autodiff<B>>,
    gradients: GradAdaptor,
    sums: Tensor<B, 1>,
    records: &mut Records<B>,
    rule: impl Fn(usize) -> AdamWRule,
) -> (FineTune<Autodiff<B>>, HashSet<ParamId>) {
    let mut gather = Gather { gradients, records, by_time: BTreeMap::new() };
    model.visit(&mut gather);
    let mut steps = HashMap::new();
    for (time, Gathered { ids, tensors }) in gather.by_time {
        let taken = B::adamw(tensors, unwrap(sums.clone()), rule(time));
        steps.extend(ids.into_iter().zip(taken.into_iter().map(|step| (time, step))));
    }
    let stepped = steps.keys().copied().collect();
    (model.map(&mut PutBack { steps, records }), stepped)
}

/// The parameters that take the same step.
struct Gathered<B: Backend> {
    ids: Vec<ParamId>,
    tensors: Vec<AdamWTensors<FloatTensor<B>>>,
}

struct Gather<'a, B: NeoBackend> {
    gradients: GradAdaptor,
    records: &'a mut Records<B>,
    /// By the number of the step that a parameter takes: all have the same unless one had no gradient before.
    by_time: BTreeMap<usize, Gathered<B>>,
}

impl<B: NeoBackend> ModuleVisitor<Autodiff<B>> for Gather<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let Some((gradient, _)) = self.gradients.remove::<B, D>(param.id) else { return };
        let momentum = self.records.remove(&param.id).map(|record| record.into_state::<D>().momentum);
        let time = 1 + momentum.as_ref().map_or(0, |momentum| momentum.time);
        let group =
            self.by_time.entry(time).or_insert_with(|| Gathered { ids: Vec::new(), tensors: Vec::new() });
        group.ids.push(param.id);
        group.tensors.push(AdamWTensors {
            parameter: unwrap(param.val().inner()),
            gradient: unwrap(gradient),
            moments: momentum.map(|momentum| [momentum.moment_1, momentum.moment_2].map(unwrap)),
        });
    }
}

struct PutBack<'a, B: NeoBackend> {
    steps: HashMap<ParamId, (usize, AdamWStep<FloatTensor<B>>)>,
    records: &'a mut Records<B>,
}

impl<B: NeoBackend> ModuleMapper<Autodiff<B>> for PutBack<'_, B> {
    fn map_float<const D: usize>(
        &mut self,
        param: Param<Tensor<Autodiff<B>, D>>,
    ) -> Param<Tensor<Autodiff<B>, D>> {
        let Some((time, step)) = self.steps.remove(&param.id) else { return param };
        let [first, second] = step.moments.map(wrap::<B, D>);
        let momentum = AdaptiveMomentumState::new(time, first, second);
        self.records.insert(param.id, State::<B>::from_state(AdamWState::new(momentum)));
        param.map(|before| {
            let learns = before.is_require_grad();
            Tensor::from_inner(wrap::<B, D>(step.parameter)).set_require_grad(learns)
        })
    }
}

fn unwrap<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

fn wrap<B: Backend, const D: usize>(tensor: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(tensor))
}
