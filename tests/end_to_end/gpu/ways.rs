//! A measurement: what each of cubek's kernels makes of the products that training asks for, as lines of JSON. From it
//! comes the choice in `model/cubes/src/products/ways.rs`.
//!
//! `gptneo-lora`'s kit runs it (`scripts/gpu-kit.sh`); GPTNEO_LORA_TEST_SIZES=small takes sizes for software Vulkan.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use burn::tensor::cast::ToElement;
use burn::tensor::{DType, Distribution, Tensor, TensorPrimitive};
use gptneo_lora::model::ops::{OnCubes, product_by, product_ways};
use serde_json::json;

use super::gpu;

/// How often a product is made between two looks at the clock, and how many such rounds there are.
const LAUNCHES: u32 = 12;
const ROUNDS: u32 = 3;

/// Rows, terms, columns, and which factor is a transposed view.
type Product = ([usize; 3], [bool; 2]);

/// The head's products forward and backward, those of weights' gradients, and a layer's: the longest first, since a kit's
/// sweep ends at its limit.
fn products() -> Vec<Product> {
    let (forward, backward, of_weight) = ([false, true], [false, false], [true, false]);
    if std::env::var("GPTNEO_LORA_TEST_SIZES").is_ok_and(|sizes| sizes == "small") {
        return vec![([32, 64, 48], forward), ([48, 32, 64], of_weight)];
    }
    let mut products = vec![([2048, 768, 50_304], forward), ([2048, 50_304, 768], backward)];
    products.extend([([768, 2048, 3072], of_weight), ([224, 16_384, 896], of_weight)]);
    for rows in [2048, 256] {
        for (terms, columns) in [(768, 768), (768, 3072), (3072, 768)] {
            products.extend([([rows, terms, columns], forward), ([rows, terms, columns], backward)]);
        }
    }
    products
}

fn time<B: OnCubes>() {
    let device = Default::default();
    let halves = [DType::F16, DType::BF16].into_iter().filter(|half| B::supports_dtype(&device, *half));
    for number in halves.take(1).chain([DType::F32]) {
        for ([rows, terms, columns], turned) in products() {
            let factor = |[rows, columns]: [usize; 2], is_turned: bool| {
                let shape = if is_turned { [columns, rows] } else { [rows, columns] };
                let made =
                    Tensor::<B, 2>::random(shape, Distribution::Uniform(-0.1, 0.1), &device).cast(number);
                if is_turned { made.transpose() } else { made }
            };
            let (lhs, rhs) = (factor([rows, terms], turned[0]), factor([terms, columns], turned[1]));
            let expected = lhs.clone().matmul(rhs.clone()).cast(DType::F32);
            for (way, name) in product_ways().into_iter().enumerate() {
                let once = || {
                    let [lhs, rhs] = [&lhs, &rhs].map(|factor| factor.clone().into_primitive().tensor());
                    product_by::<B>(way, lhs, rhs)
                };
                let mut told = json!({
                    "rows": rows, "terms": terms, "columns": columns, "turned": turned,
                    "number": format!("{number:?}"), "way": name,
                });
                let measured = || -> Result<(f64, f64), String> {
                    let found = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(once()?));
                    let largest = |x: Tensor<B, 2>| x.abs().max().into_scalar().to_f64();
                    let apart =
                        largest(found.cast(DType::F32) - expected.clone()) / largest(expected.clone());
                    let mut best = f64::INFINITY;
                    for _ in 0..ROUNDS {
                        let start = Instant::now();
                        for _ in 0..LAUNCHES {
                            once()?;
                        }
                        B::sync(&device).map_err(|error| error.to_string())?;
                        best = best.min(start.elapsed().as_secs_f64() / f64::from(LAUNCHES));
                    }
                    Ok((best, apart))
                };
                match catch_unwind(AssertUnwindSafe(measured)) {
                    Ok(Ok((seconds, apart))) => {
                        let rate = 2.0 * (rows * terms * columns) as f64 / seconds / 1e12;
                        told["seconds"] = json!(seconds);
                        told["tera_operations"] = json!(rate);
                        told["apart"] = json!(apart);
                    }
                    Ok(Err(refused)) => {
                        told["refused"] = json!(refused.chars().take(200).collect::<String>())
                    }
                    Err(_) => told["refused"] = json!("it panicked"),
                }
                println!("{told}");
            }
        }
    }
}

#[test]
#[ignore = "a measurement of some minutes"]
fn every_way_to_make_a_product() {
    match gpu().as_str() {
        #[cfg(feature = "cuda")]
        "cuda" => time::<burn_cuda::Cuda>(),
        #[cfg(feature = "wgpu")]
        "wgpu" => time::<burn_wgpu::Wgpu>(),
        other => panic!("this build has no backend {other}"),
    }
}
