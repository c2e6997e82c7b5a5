//! The linear layer under autodiff: what it keeps, and who asks for which gradient. The arithmetic is the inner backend's.

use std::ops::Range;

use burn::tensor::TensorMetadata;
use burn::tensor::ops::{FloatTensor, FloatTensorOps, QuantizedTensor};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind, unary};

use super::super::{NeoBackend, Precision, so_far};
use super::{LinearGradients, LinearInputs, LoraInputs, plain_add_low_rank};

/// The operation under autodiff.
pub(in super::super) fn tracked<B: NeoBackend, C: CheckpointStrategy>(
    inputs: LinearInputs<FloatTensor<Autodiff<B, C>>>,
) -> FloatTensor<Autodiff<B, C>> {
    let (x, weight) = (inputs.x.clone(), inputs.weight.clone());
    let base = [Some(&weight), inputs.bias.as_ref()];
    let frozen = base.into_iter().flatten().all(|tensor| tensor.node.requirement.is_none());
    match (inputs.bias.clone(), inputs.lora.clone()) {
        (_, None) if frozen => tracked_frozen::<B, C>(inputs),
        (None, None) => tracked_by::<B, C, 2>([x, weight], inputs),
        (Some(bias), None) => tracked_by::<B, C, 3>([x, weight, bias], inputs),
        (None, Some(lora)) => tracked_by::<B, C, 4>([x, weight, lora.a, lora.b], inputs),
        (Some(bias), Some(lora)) => tracked_by::<B, C, 5>([x, weight, bias, lora.a, lora.b], inputs),
    }
}

/// With the tensors that may have gradients: x, W and, where there are such, b, A and B.
fn tracked_by<B: NeoBackend, C: CheckpointStrategy, const N: usize>(
    parents: [FloatTensor<Autodiff<B, C>>; N],
    inputs: LinearInputs<FloatTensor<Autodiff<B, C>>>,
) -> FloatTensor<Autodiff<B, C>> {
    let inputs = LinearInputs {
        x: inputs.x.primitive,
        weight: inputs.weight.primitive,
        bias: inputs.bias.map(|bias| bias.primitive),
        lora: inputs.lora.map(inner::<B, C>),
        precision: inputs.precision,
    };
    let nodes = parents.map(|parent| parent.node);
    match Linear.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::UnTracked(prep) => prep.finish(B::lora_linear(inputs)),
        OpsKind::Tracked(prep) => prep.finish(inputs.clone(), B::lora_linear(inputs)),
    }
}

/// The update without its nodes.
fn inner<B: NeoBackend, C: CheckpointStrategy>(
    lora: LoraInputs<FloatTensor<Autodiff<B, C>>>,
) -> LoraInputs<FloatTensor<B>> {
    LoraInputs {
        a: lora.a.primitive,
        b: lora.b.primitive,
        scale: lora.scale,
        dropout: lora.dropout.map(|dropout| dropout.map(|mask| mask.primitive)),
    }
}

/// [`NeoBackend::quantized_linear`] under autodiff: its input is not kept, and its weight not trained.
pub(in super::super) fn tracked_quantized<B: NeoBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: QuantizedTensor<B>,
    bias: Option<FloatTensor<Autodiff<B, C>>>,
) -> FloatTensor<Autodiff<B, C>> {
    let trained = |bias: &FloatTensor<Autodiff<B, C>>| !bias.node.requirement.is_none();
    if let Some(bias) = bias.clone().filter(trained) {
        let y = tracked_quantized::<B, C>(x, weight, None);
        let [output] = bias.shape().dims();
        // [out] -> [1, out]
        let bias = Autodiff::<B, C>::float_reshape(bias, [1, output].into());
        return Autodiff::<B, C>::float_add(y, bias);
    }
    let bias = bias.map(|bias| bias.primitive);
    match QuantizedLinear.prepare::<C>([x.node]).compute_bound().stateful() {
        OpsKind::UnTracked(prep) => prep.finish(B::quantized_linear(x.primitive, weight, bias)),
        OpsKind::Tracked(prep) => prep.finish(weight.clone(), B::quantized_linear(x.primitive, weight, bias)),
    }
}

/// [`NeoBackend::add_low_rank`] under autodiff.
pub(in super::super) fn tracked_low_rank<B: NeoBackend, C: CheckpointStrategy>(
    y: FloatTensor<Autodiff<B, C>>,
    x: FloatTensor<Autodiff<B, C>>,
    rows: Range<usize>,
    lora: LoraInputs<FloatTensor<Autodiff<B, C>>>,
) -> FloatTensor<Autodiff<B, C>> {
    let [all, _] = y.shape().dims();
    if rows != (0..all) {
        return plain_add_low_rank::<Autodiff<B, C>>(y, x, rows, lora);
    }
    let nodes = [y.node, x.node, lora.a.node.clone(), lora.b.node.clone()];
    let (y, x, lora) = (y.primitive, x.primitive, inner::<B, C>(lora));
    match AddLowRank.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::UnTracked(prep) => prep.finish(B::add_low_rank(y, x, rows, lora)),
        OpsKind::Tracked(prep) => prep.finish((x.clone(), lora.clone()), B::add_low_rank(y, x, rows, lora)),
    }
}

/// Of a layer without anything to train: its input is not kept.
fn tracked_frozen<B: NeoBackend, C: CheckpointStrategy>(
    inputs: LinearInputs<FloatTensor<Autodiff<B, C>>>,
) -> FloatTensor<Autodiff<B, C>> {
    let node = inputs.x.node;
    let inputs = LinearInputs {
        x: inputs.x.primitive,
        weight: inputs.weight.primitive,
        bias: inputs.bias.map(|bias| bias.primitive),
        lora: None,
        precision: inputs.precision,
    };
    let kept = (inputs.weight.clone(), inputs.precision);
    match FrozenLinear.prepare::<C>([node]).compute_bound().stateful() {
        OpsKind::UnTracked(prep) => prep.finish(B::lora_linear(inputs)),
        OpsKind::Tracked(prep) => prep.finish(kept, B::lora_linear(inputs)),
    }
}

/// The backward pass of a frozen layer.
#[derive(Debug)]
struct FrozenLinear;

impl<B: NeoBackend> Backward<B, 1> for FrozenLinear {
    /// The weight, and the numbers of its products.
    type State = (FloatTensor<B>, Precision);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let (weight, precision) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |dy| B::linear_input_gradient(weight, dy, precision));
    }
}

/// The backward pass of a layer with a quantised weight.
#[derive(Debug)]
struct QuantizedLinear;

impl<B: NeoBackend> Backward<B, 1> for QuantizedLinear {
    /// The weight.
    type State = QuantizedTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        unary::<B, _>(ops.parents, ops.node, grads, |dy| B::quantized_input_gradient(ops.state, dy));
    }
}

/// The backward pass of a low-rank update that was added to y.
#[derive(Debug)]
struct AddLowRank;

impl<B: NeoBackend> Backward<B, 4> for AddLowRank {
    /// x and the update.
    type State = (FloatTensor<B>, LoraInputs<FloatTensor<B>>);

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (input, lora) = ops.state;
        let [y, x, a, b] = ops.parents;
        let wanted = LinearGradients { x: x.is_some(), a: a.is_some(), b: b.is_some(), ..Default::default() };
        let found = B::low_rank_backward(input, lora, wanted, gradient.clone());
        for (node, gradient) in [(x, found.x), (a, found.a), (b, found.b), (y, Some(gradient))] {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

/// The backward pass.
#[derive(Debug)]
struct Linear;

impl<B: NeoBackend, const N: usize> Backward<B, N> for Linear {
    type State = LinearInputs<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let inputs = ops.state;
        let mut parents = ops.parents.into_iter();
        let mut next = |is_input| if is_input { parents.next().flatten() } else { None };
        let (has_bias, has_lora) = (inputs.bias.is_some(), inputs.lora.is_some());
        // In the order of the parents.
        let [x, weight, bias, a, b] = [true, true, has_bias, has_lora, has_lora].map(&mut next);
        let wanted = LinearGradients {
            x: x.is_some(),
            weight: weight.is_some(),
            bias: bias.is_some(),
            a: a.is_some(),
            b: b.is_some(),
        };
        let so_far = x
            .as_ref()
            .filter(|_| has_lora)
            .and_then(|node| so_far::take::<B>(grads, &gradient, |tensor| tensor.node = node.clone()));
        let found = match so_far {
            Some(so_far) => B::lora_linear_backward_onto(inputs, wanted, gradient, so_far),
            None => B::lora_linear_backward(inputs, wanted, gradient),
        };
        let gradients = [found.x, found.weight, found.bias, found.a, found.b];
        for (node, gradient) in [x, weight, bias, a, b].into_iter().zip(gradients) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}
