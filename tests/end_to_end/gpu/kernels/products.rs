//! Products, and the sums and gradients that training every weight asks for.

use burn::tensor::DType;
use burn_flex::Flex;

use super::joined::halves;
use super::*;

/// Rows, terms, columns: one of each, odd sizes, more than a tile, also where terms end in the middle of what a kernel takes
/// at a time, more rows than are made at a time, terms that are divided, and many that cannot be.
const SIZES: [[usize; 3]; 9] = [
    [1, 1, 1],
    [3, 37, 21],
    [130, 64, 200],
    [130, 32, 200],
    [220, 224, 136],
    [2200, 64, 528],
    [16, 4096, 24],
    [7, 4099, 5],
    [200, 8192, 130],
];

/// A matrix whose numbers are of `number`, in f32, or its transposed as a view.
fn matrix<B: Backend>(
    seed: u64,
    [rows, columns]: [usize; 2],
    is_turned: bool,
    number: DType,
) -> Tensor<B, 2> {
    let shape = if is_turned { [columns, rows] } else { [rows, columns] };
    let exact = Tensor::<Flex, 2>::from_data(numbers(seed, shape), &Default::default());
    let rounded = exact.cast(number).cast(DType::F32).into_data();
    let matrix = Tensor::<B, 2>::from_data(rounded, &Default::default());
    if is_turned { matrix.transpose() } else { matrix }
}

fn products<B: NeoBackend>() {
    fn outcome<B: NeoBackend>(
        [m, k, n]: [usize; 3],
        turned: [bool; 2],
        number: DType,
        made_in: DType,
    ) -> Vec<f32> {
        let factor = |seed, shape, is_turned| {
            matrix::<B>(seed, shape, is_turned, number).cast(made_in).into_primitive().tensor()
        };
        let product = B::product(factor(1, [m, k], turned[0]), factor(2, [k, n], turned[1]));
        let product = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(product));
        assert_eq!(product.dtype(), made_in);
        product.cast(DType::F32).into_data().iter::<f32>().collect()
    }
    let in_full = (DType::F32, of_products(5e-5));
    let in_half = halves::<B>().map(|half| (half, if half == DType::F16 { 1e-3 } else { 8e-3 }));
    for (number, tolerance) in std::iter::once(in_full).chain(in_half) {
        for sizes in SIZES {
            for turned in [[false, false], [false, true], [true, false]] {
                let found = outcome::<B>(sizes, turned, number, number);
                let expected = outcome::<NdArray>(sizes, turned, number, DType::F32);
                near(&found, &expected, tolerance, &format!("{sizes:?} {turned:?} {number:?}"));
            }
        }
    }
}

#[test]
fn products_are_those_of_a_cpu_whatever_the_sizes_and_the_order_in_memory() {
    on_the_gpu!(products);
}

/// More rows and columns than a cube takes, one of each.
fn sums<B: NeoBackend>() {
    fn outcome<B: NeoBackend>(shape: [usize; 2]) -> [Vec<f32>; 4] {
        let [x, dy] = [1, 2].map(|seed| tensor::<B, 2>(seed, shape));
        let weight = tensor::<B, 1>(3, [shape[1]]);
        let sums = B::column_sums(x.clone());
        let (dx, of_parameters) = B::layer_norm_rows_backward(x, weight, dy, 1e-2, Parameters::Trained);
        let [dweight, dbias] = of_parameters.unwrap();
        [read::<B, 1>(sums), read::<B, 2>(dx), read::<B, 1>(dweight), read::<B, 1>(dbias)]
    }
    for shape in [[1, 1], [3, 37], [600, 100], [33, 2000]] {
        let (found, expected) = (outcome::<B>(shape), outcome::<NdArray>(shape));
        let whats = ["sums", "dx", "dweight", "dbias"];
        for ((found, expected), what) in found.iter().zip(&expected).zip(whats) {
            near(found, expected, 2e-5, &format!("{what} of {shape:?}"));
        }
    }
}

#[test]
fn sums_over_rows_and_a_norms_parameters_are_those_of_the_plain_operations() {
    on_the_gpu!(sums);
}

/// A head that is trained, over an odd vocabulary and over one that needs no filling up.
fn trained_head<B: NeoBackend>() {
    fn outcome<B: NeoBackend>([rows, hidden, words]: [usize; 3]) -> [Vec<f32>; 4] {
        let targets: Vec<i32> = (0..rows).map(|row| (row * 31 % words) as i32).collect();
        let targets = Tensor::<B, 1, Int>::from_data(TensorData::new(targets, [rows]), &Default::default());
        let x = tensor::<B, 2>(1, [rows, hidden]);
        let head = TensorPrimitive::Float(tensor::<B, 2>(2, [words, hidden]));
        let (in_full, targets) = (Precision::F32, targets.into_primitive());
        let each = B::token_nll(x.clone(), head.clone(), targets.clone(), in_full);
        let (sum, of_hidden, of_head) =
            B::cross_entropy_gradients(x, head, targets, in_full, Parameters::Trained);
        [read::<B, 1>(each), read::<B, 1>(sum), read::<B, 2>(of_hidden), read::<B, 2>(of_head.unwrap())]
    }
    for shape in [[1, 8, 5], [520, 16, 99], [9, 4, 256]] {
        let (found, expected) = (outcome::<B>(shape), outcome::<NdArray>(shape));
        let whats = ["each", "sum", "hidden", "head"];
        for ((found, expected), what) in found.iter().zip(&expected).zip(whats) {
            near(found, expected, of_products(2e-5), &format!("{what} of {shape:?}"));
        }
    }
}

#[test]
fn a_trained_heads_gradient_and_each_rows_loss_are_those_of_the_plain_operations() {
    on_the_gpu!(trained_head);
}
