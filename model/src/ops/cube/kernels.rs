//! A kernel's call: tensors made contiguous, room for what it writes, the numbers that it goes by.

mod products;

use burn::tensor::{DType, Shape, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::kernel::{into_contiguous, slice};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::ops::reshape;
use burn_cubecl::tensor::CubeTensor;
use gptneo_cubes::{self as cubes, AdamWFactors, AttentionShape, DropoutRule, FewRowsFollow, LowRankShape};

pub(super) use self::products::{product, product_by, product_of_its_own};
use super::super::adamw::CLIP_EPSILON;
use super::super::{AdamWRule, AdamWStep, AttentionRule, Follow};

/// Room for a tensor beside `like`.
fn room<R: CubeRuntime>(like: &CubeTensor<R>, shape: Shape, dtype: DType) -> CubeTensor<R> {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape, dtype)
}

/// Room for a tensor of the shape and type of `like`.
fn room_like<R: CubeRuntime>(like: &CubeTensor<R>) -> CubeTensor<R> {
    room(like, like.shape(), like.dtype)
}

/// The tensor itself where nothing else holds it, or a copy. That of CUDA has gaps behind rows of odd lengths, which the
/// kernels do not expect.
fn writable<R: CubeRuntime>(tensor: CubeTensor<R>) -> CubeTensor<R> {
    if tensor.can_mut() { tensor } else { into_contiguous(tensor.copy()) }
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
    let number = query.dtype.into();
    AttentionShape { batch, queries, keys, heads, size: hidden / heads, window, number }
}

/// Whether there are kernels for an attention of these heads.
pub(super) fn takes_attention<R: CubeRuntime>(
    query: &CubeTensor<R>,
    key: &CubeTensor<R>,
    rule: AttentionRule,
) -> bool {
    attention_shape(query, key, rule).is_taken()
}

/// Attention of query, key and value.
pub(super) fn attention<R: CubeRuntime>(inputs: [CubeTensor<R>; 3], rule: AttentionRule) -> CubeTensor<R> {
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
    output
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
pub(super) fn cached_attention<R: CubeRuntime>(inputs: [CubeTensor<R>; 4], heads: usize) -> CubeTensor<R> {
    let [query, keys, values, table] = inputs.map(into_contiguous);
    let (client, output) = (query.client.clone(), room_like(&query));
    let [query, keys, values, table] = [query, keys, values, table].map(CubeTensor::binding);
    let nothing_new = None;
    cubes::cached_attention(
        &client,
        query,
        nothing_new,
        [keys, values],
        table,
        output.clone().binding(),
        heads,
    );
    output
}

/// The same from query, new key, new value and table, with the new in the cache then; and the cache.
pub(super) fn appended_attention<R: CubeRuntime>(
    inputs: [CubeTensor<R>; 4],
    cache: [CubeTensor<R>; 2],
    heads: usize,
) -> (CubeTensor<R>, [CubeTensor<R>; 2]) {
    let [query, key, value, table] = inputs.map(into_contiguous);
    let cache = cache.map(|of_cache| writable(into_contiguous(of_cache)));
    let (client, output) = (query.client.clone(), room_like(&query));
    let [query, key, value, table] = [query, key, value, table].map(CubeTensor::binding);
    let of_cache = cache.clone().map(CubeTensor::binding);
    let new = Some([key, value]);
    cubes::cached_attention(&client, query, new, of_cache, table, output.clone().binding(), heads);
    (output, cache)
}

/// A few rows times each of the weights, and what follows.
pub(super) fn few_rows<R: CubeRuntime>(
    x: CubeTensor<R>,
    weights: Vec<CubeTensor<R>>,
    follow: Follow<CubeTensor<R>>,
) -> Vec<CubeTensor<R>> {
    let binding = |tensor: CubeTensor<R>| into_contiguous(tensor).binding();
    let ([rows, _], client, number) = (x.shape().dims(), x.client.clone(), weights[0].dtype.into());
    let follow = match follow {
        Follow::Nothing => FewRowsFollow::Nothing,
        Follow::Gelu(bias) => FewRowsFollow::Gelu(binding(bias)),
        Follow::Sum(bias, residual) => FewRowsFollow::Sum(binding(bias), binding(residual)),
    };
    let results: Vec<_> =
        weights.iter().map(|weight| room(&x, [rows, weight.shape()[0]].into(), DType::F32)).collect();
    let of_results = results.iter().map(|result| result.clone().binding()).collect();
    let weights = weights.into_iter().map(binding).collect();
    cubes::few_rows(&client, binding(x), weights, number, follow, of_results);
    results
}

/// The likeliest of each row of logits.
pub(super) fn likeliest<R: CubeRuntime>(logits: CubeTensor<R>) -> CubeTensor<R> {
    let by_rows = logits.meta.strides()[1] == 1;
    let logits = if by_rows { logits } else { into_contiguous(logits) };
    let [rows, _] = logits.shape().dims();
    let (client, ids) = (logits.client.clone(), room(&logits, [rows].into(), DType::I32));
    cubes::likeliest(&client, logits.binding(), ids.clone().binding());
    ids
}

/// Layer norm of x by weight and bias, in the type `number`.
pub(super) fn layer_norm<R: CubeRuntime>(
    inputs: [CubeTensor<R>; 3],
    epsilon: f32,
    number: DType,
) -> CubeTensor<R> {
    let [x, weight, bias] = inputs.map(into_contiguous);
    let (client, y) = (x.client.clone(), room(&x, x.shape(), number));
    let [x, weight, bias, of_y] = [x, weight, bias, y.clone()].map(CubeTensor::binding);
    cubes::layer_norm(&client, x, weight, bias, of_y, epsilon, number.into());
    y
}

/// The gradient of x, from x, weight and the output's gradient, added to what it is so far.
pub(super) fn layer_norm_backward<R: CubeRuntime>(
    inputs: [CubeTensor<R>; 3],
    so_far: Option<CubeTensor<R>>,
    epsilon: f32,
) -> CubeTensor<R> {
    let [x, weight, dy] = inputs.map(into_contiguous);
    let (client, number, is_begun) = (x.client.clone(), dy.dtype.into(), so_far.is_some());
    let dx = so_far.map_or_else(|| room_like(&x), |so_far| writable(into_contiguous(so_far)));
    let inputs = [x, weight, dy].map(CubeTensor::binding);
    cubes::layer_norm_backward(&client, inputs, dx.clone().binding(), is_begun, epsilon, number);
    dx
}

/// The gradients of weight and bias, from x and the output's gradient.
pub(super) fn layer_norm_parameters<R: CubeRuntime>(
    inputs: [CubeTensor<R>; 2],
    epsilon: f32,
) -> [CubeTensor<R>; 2] {
    let [x, dy] = inputs.map(into_contiguous);
    let ([_, columns], client, number) = (x.shape().dims(), x.client.clone(), dy.dtype.into());
    let both = room(&x, [2, columns].into(), DType::F32);
    cubes::layer_norm_parameters(
        &client,
        [x, dy].map(CubeTensor::binding),
        both.clone().binding(),
        epsilon,
        number,
    );
    [0, 1].map(|row| reshape(slice(both.clone(), &[row..row + 1, 0..columns]), [columns].into()))
}

/// The sum of each column.
pub(super) fn column_sums<R: CubeRuntime>(x: CubeTensor<R>) -> CubeTensor<R> {
    let x = into_contiguous(x);
    let ([_, columns], client, number) = (x.shape().dims(), x.client.clone(), x.dtype.into());
    let sums = room(&x, [columns].into(), DType::F32);
    cubes::column_sums(&client, x.binding(), number, sums.clone().binding());
    sums
}

/// GELU of x and the bias.
pub(super) fn biased_gelu<R: CubeRuntime>(inputs: [CubeTensor<R>; 2]) -> CubeTensor<R> {
    let [x, bias] = inputs.map(into_contiguous);
    let (client, number, y) = (x.client.clone(), x.dtype.into(), room_like(&x));
    cubes::biased_gelu(&client, [x, bias, y.clone()].map(CubeTensor::binding), number);
    y
}

/// The gradient of x, from x, the bias and the output's gradient.
pub(super) fn biased_gelu_backward<R: CubeRuntime>(inputs: [CubeTensor<R>; 3]) -> CubeTensor<R> {
    let [x, bias, dy] = inputs.map(into_contiguous);
    let (client, number, dx) = (x.client.clone(), x.dtype.into(), room_like(&x));
    cubes::biased_gelu_backward(&client, [x, bias, dy, dx.clone()].map(CubeTensor::binding), number);
    dx
}

/// The sum of x, the bias and the residual stream.
pub(super) fn biased_sum<R: CubeRuntime>(inputs: [CubeTensor<R>; 3]) -> CubeTensor<R> {
    let [x, bias, residual] = inputs.map(into_contiguous);
    let (client, number, y) = (x.client.clone(), x.dtype.into(), room_like(&residual));
    cubes::biased_sum(&client, [x, bias, residual, y.clone()].map(CubeTensor::binding), number);
    y
}

/// y with the low-rank part of x, from these, A and B.
pub(super) fn add_low_rank<R: CubeRuntime>(inputs: [CubeTensor<R>; 4], shape: LowRankShape) -> CubeTensor<R> {
    let [y, x, a, b] = inputs.map(into_contiguous);
    let (client, y) = (x.client.clone(), writable(y));
    let matrices = [a, b].map(CubeTensor::binding);
    cubes::add_low_rank(&client, x.binding(), matrices, y.clone().binding(), shape);
    y
}

/// The gradients of A and B, from x, the gradient of y, A and B; and that of x, where it has one to be added to, with what
/// else is added to it.
pub(super) fn low_rank_backward<R: CubeRuntime>(
    inputs: [CubeTensor<R>; 4],
    of_x: Option<CubeTensor<R>>,
    so_far: Option<CubeTensor<R>>,
    shape: LowRankShape,
) -> ([CubeTensor<R>; 2], Option<CubeTensor<R>>) {
    let [x, dy, a, b] = inputs.map(into_contiguous);
    let of_x = of_x.map(|of_x| writable(into_contiguous(of_x)));
    let (client, of_matrices) = (x.client.clone(), [&a, &b].map(room_like));
    let gradients = cubes::LowRankGradients {
        of_x: of_x.clone().map(CubeTensor::binding),
        so_far: so_far.map(|so_far| into_contiguous(so_far).binding()),
        of_matrices: of_matrices.clone().map(CubeTensor::binding),
    };
    let [x, dy, a, b] = [x, dy, a, b].map(CubeTensor::binding);
    cubes::low_rank_backward(&client, [x, dy], [a, b], gradients, shape);
    (of_matrices, of_x)
}

/// The factors of a dropout for a matrix like this one.
pub(super) fn dropout_factors<R: CubeRuntime>(like: &CubeTensor<R>, rule: DropoutRule) -> CubeTensor<R> {
    let factors = room_like(like);
    cubes::dropout_factors(&like.client, rule, factors.clone().binding(), like.dtype.into());
    factors
}

/// Logits and targets to the logits' gradient times `lift`, of their type, and each row's negative log-likelihood. The
/// first `words` of a row count; the others stay as they are.
pub(super) fn cross_entropy_rows<R: CubeRuntime>(
    [logits, targets]: [CubeTensor<R>; 2],
    words: usize,
    lift: f32,
) -> [CubeTensor<R>; 2] {
    let by_rows = logits.meta.strides()[1] == 1;
    let logits = writable(if by_rows { logits } else { into_contiguous(logits) });
    let [rows, _] = logits.shape().dims();
    let (client, nll) = (logits.client.clone(), room(&logits, [rows].into(), DType::F32));
    let (gradient, number) = (logits.clone(), logits.dtype.into());
    let (targets, mut logits) = (into_contiguous(targets).binding(), logits.binding());
    logits.shape = [rows, words].into();
    cubes::cross_entropy_rows(&client, logits, number, targets, nll.clone().binding(), lift);
    [gradient, nll]
}

/// The sum of squares and whether all is finite.
pub(super) fn gradient_sums<R: CubeRuntime>(gradients: Vec<CubeTensor<R>>, factor: f32) -> CubeTensor<R> {
    let (client, result) = (gradients[0].client.clone(), room(&gradients[0], [2].into(), DType::F32));
    let gradients = gradients.into_iter().map(|gradient| into_contiguous(gradient).binding()).collect();
    cubes::gradient_sums(&client, gradients, factor, result.clone().binding());
    result
}

/// Two tensors.
type Pair<R> = [CubeTensor<R>; 2];

/// A step for each parameter with its gradient and its two moments, unless the sums forbid it.
pub(super) fn adamw<R: CubeRuntime>(
    tensors: Vec<(Pair<R>, Pair<R>)>,
    sums: CubeTensor<R>,
    rule: AdamWRule,
) -> Vec<AdamWStep<CubeTensor<R>>> {
    let Some(client) = tensors.first().map(|([parameter, _], _)| parameter.client.clone()) else {
        return Vec::new();
    };
    let (mut arguments, mut results) = (Vec::new(), Vec::new());
    for (given, moments) in tensors {
        let [parameter, gradient] = given.map(into_contiguous);
        let moments = moments.map(|moment| writable(into_contiguous(moment)));
        let updated = room_like(&parameter);
        let [first, second] = moments.clone().map(CubeTensor::binding);
        results.push(AdamWStep { parameter: updated.clone(), moments });
        arguments.push(cubes::AdamWTensors {
            parameter: parameter.binding(),
            gradient: gradient.binding(),
            first,
            second,
            updated: updated.binding(),
        });
    }
    let [correction_1, correction_2] = rule.corrections();
    let factors = AdamWFactors {
        unscale: rule.unscale.unwrap_or(1.0) as f32,
        max_norm: rule.max_norm as f32,
        clip_epsilon: CLIP_EPSILON as f32,
        beta_1: rule.beta_1,
        beta_2: rule.beta_2,
        correction_1,
        correction_2,
        epsilon: rule.epsilon,
        keep: rule.kept() as f32,
        rate: rule.rate as f32,
    };
    cubes::adamw(&client, arguments, into_contiguous(sums).binding(), factors);
    results
}
