//! A kernel's call: tensors made contiguous, room for what it writes, the numbers that it goes by.

use burn::tensor::{DType, Shape, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use gptneo_cubes::{self as cubes, AdamWFactors, AttentionShape};

use super::super::{AdamWRule, AttentionRule};
use super::launch::exactly;

/// Room for a tensor beside `like`.
fn room<R: CubeRuntime>(like: &CubeTensor<R>, shape: Shape, dtype: DType) -> CubeTensor<R> {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape, dtype)
}

/// Room for a tensor of the shape and type of `like`.
fn room_like<R: CubeRuntime>(like: &CubeTensor<R>) -> CubeTensor<R> {
    room(like, like.shape(), like.dtype)
}

/// The tensor itself where nothing else holds it, or a copy.
fn writable<R: CubeRuntime>(tensor: CubeTensor<R>) -> CubeTensor<R> {
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

/// The sizes of an attention of `query` over `key`.
fn attention_shape<R: CubeRuntime>(
    query: &CubeTensor<R>,
    key: &CubeTensor<R>,
    rule: AttentionRule,
) -> AttentionShape {
    let [batch, queries, hidden] = query.shape().dims();
    let [_, keys, _] = key.shape().dims();
    let AttentionRule { heads, window } = rule;
    AttentionShape { batch, queries, keys, heads, size: hidden / heads, window }
}

/// Attention of query, key and value.
pub(super) fn attention<R: CubeRuntime>(
    inputs: [CubeTensor<R>; 3],
    rule: AttentionRule,
) -> [CubeTensor<R>; 1] {
    let [query, key, value] = inputs.map(into_contiguous);
    let (shape, client, output) =
        (attention_shape(&query, &key, rule), query.client.clone(), room_like(&query));
    cubes::attention(
        &client,
        query.binding(),
        key.binding(),
        value.binding(),
        output.clone().binding(),
        shape,
    );
    [output]
}

/// The gradients of query, key and value, from these and the output's gradient.
pub(super) fn attention_backward<R: CubeRuntime>(
    inputs: [CubeTensor<R>; 4],
    rule: AttentionRule,
) -> [CubeTensor<R>; 3] {
    let [query, key, value, gradient] = inputs.map(into_contiguous);
    let (shape, client) = (attention_shape(&query, &key, rule), query.client.clone());
    let outputs = [&query, &key, &value].map(room_like);
    cubes::attention_backward(
        &client,
        [query, key, value].map(CubeTensor::binding),
        gradient.binding(),
        outputs.clone().map(CubeTensor::binding),
        shape,
    );
    outputs
}

/// Attention of query over keys and values of a cache, by a table of places.
pub(super) fn cached_attention<R: CubeRuntime>(
    inputs: [CubeTensor<R>; 4],
    heads: usize,
) -> [CubeTensor<R>; 1] {
    let [query, keys, values, table] = inputs.map(into_contiguous);
    let (client, output) = (query.client.clone(), room_like(&query));
    cubes::cached_attention(
        &client,
        query.binding(),
        keys.binding(),
        values.binding(),
        table.binding(),
        output.clone().binding(),
        heads,
    );
    [output]
}

/// Layer norm of x by weight and bias.
pub(super) fn layer_norm<R: CubeRuntime>(inputs: [CubeTensor<R>; 3], epsilon: f32) -> [CubeTensor<R>; 1] {
    let [x, weight, bias] = inputs.map(into_contiguous);
    let (client, y) = (x.client.clone(), room_like(&x));
    cubes::layer_norm(&client, x.binding(), weight.binding(), bias.binding(), y.clone().binding(), epsilon);
    [y]
}

/// The gradient of x, from x, weight and the output's gradient.
pub(super) fn layer_norm_backward<R: CubeRuntime>(
    inputs: [CubeTensor<R>; 3],
    epsilon: f32,
) -> [CubeTensor<R>; 1] {
    let [x, weight, dy] = inputs.map(into_contiguous);
    let (client, dx) = (x.client.clone(), room_like(&x));
    let arguments = [x, weight, dy, dx.clone()].map(CubeTensor::binding);
    let [x, weight, dy, of_x] = arguments;
    cubes::layer_norm_backward(&client, x, weight, dy, of_x, epsilon);
    [dx]
}

/// Logits and targets to the logits' gradient times `lift`, of their type, and each row's negative log-likelihood.
pub(super) fn cross_entropy_rows<R: CubeRuntime>(
    [logits, targets]: [CubeTensor<R>; 2],
    lift: f32,
) -> [CubeTensor<R>; 2] {
    let by_rows = logits.meta.strides()[1] == 1;
    let logits = writable(if by_rows { logits } else { into_contiguous(logits) });
    let [rows, _] = logits.shape().dims();
    let (client, nll) = (logits.client.clone(), room(&logits, [rows].into(), DType::F32));
    let (gradient, number) = (logits.clone(), logits.dtype.into());
    let targets = into_contiguous(targets).binding();
    cubes::cross_entropy_rows(&client, logits.binding(), number, targets, nll.clone().binding(), lift);
    [gradient, nll]
}

/// The sum of squares and whether all is finite.
pub(super) fn gradient_sums<R: CubeRuntime>(
    gradients: Vec<CubeTensor<R>>,
    factor: f32,
) -> Vec<CubeTensor<R>> {
    let (client, result) = (gradients[0].client.clone(), room(&gradients[0], [2].into(), DType::F32));
    let gradients = gradients.into_iter().map(|gradient| into_contiguous(gradient).binding()).collect();
    cubes::gradient_sums(&client, gradients, factor, result.clone().binding());
    vec![result]
}

/// Of each parameter, its gradient and its two moments: the parameter and its moments after the step.
pub(super) fn adamw<R: CubeRuntime>(tensors: Vec<CubeTensor<R>>, rule: AdamWRule) -> Vec<CubeTensor<R>> {
    let client = tensors[0].client.clone();
    let (mut arguments, mut results) = (Vec::new(), Vec::new());
    let mut tensors = tensors.into_iter();
    loop {
        let of_one: Vec<_> = tensors.by_ref().take(4).map(into_contiguous).collect();
        if of_one.is_empty() {
            break;
        }
        let [parameter, gradient, first, second] = exactly(of_one);
        let [first, second] = [first, second].map(writable);
        let updated = room_like(&parameter);
        results.extend([updated.clone(), first.clone(), second.clone()]);
        arguments.push(cubes::AdamWTensors {
            parameter: parameter.binding(),
            gradient: gradient.binding(),
            first: first.binding(),
            second: second.binding(),
            updated: updated.binding(),
        });
    }
    let [correction_1, correction_2] = rule.corrections();
    let factor = |factor: Option<f64>| factor.unwrap_or(1.0) as f32;
    let factors = AdamWFactors {
        unscale: factor(rule.factors.unscale),
        clip: factor(rule.factors.clip),
        beta_1: rule.beta_1,
        beta_2: rule.beta_2,
        correction_1,
        correction_2,
        epsilon: rule.epsilon,
        keep: rule.kept() as f32,
        rate: rule.rate as f32,
    };
    cubes::adamw(&client, arguments, factors);
    results
}
