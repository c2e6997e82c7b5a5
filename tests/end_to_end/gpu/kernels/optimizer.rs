//! The optimizer's step, what is asked of its gradients before, and what is read while the GPU works on.

use gptneo_lora::model::ops::{AdamWRule, AdamWStep, AdamWTensors};

use super::*;

/// More tensors than a launch takes, of sizes from 1 to more than its units.
const SIZES: [usize; 5] = [1, 37, 12_288, 70_001, 256];
const TENSORS: usize = 70;

fn gradients<B: Backend>(seed: u64) -> Vec<FloatTensor<B>> {
    (0..TENSORS).map(|index| tensor::<B, 1>(seed + index as u64, [SIZES[index % SIZES.len()]])).collect()
}

fn all_of<B: NeoBackend>(step: AdamWStep<FloatTensor<B>>) -> [Vec<f32>; 3] {
    let [first, second] = step.moments;
    [step.parameter, first, second].map(read::<B, 1>)
}

fn optimizer<B: NeoBackend>() {
    fn outcome<B: NeoBackend>() -> Vec<Vec<f32>> {
        let rule = |time| AdamWRule {
            unscale: Some(1.0 / 1024.0),
            max_norm: 0.1,
            rate: 1e-2,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            time,
        };
        let sums = |seed| B::gradient_sums(gradients::<B>(seed), Some(1.0 / 1024.0));
        let parameters = gradients::<B>(1000).into_iter();
        let first = parameters.zip(gradients::<B>(2000)).map(|(parameter, gradient)| AdamWTensors {
            parameter,
            gradient,
            moments: None,
        });
        let after = B::adamw(first.collect(), sums(2000), rule(1)).into_iter();
        let second = after.zip(gradients::<B>(3000)).map(|(step, gradient)| AdamWTensors {
            parameter: step.parameter,
            gradient,
            moments: Some(step.moments),
        });
        let after = B::adamw(second.collect(), sums(3000), rule(2)).into_iter();
        after.flat_map(all_of::<B>).collect()
    }
    for (index, (found, expected)) in outcome::<B>().iter().zip(&outcome::<NdArray>()).enumerate() {
        // A few roundings of f32 on each element, by itself.
        near(found, expected, 1e-6, &format!("tensor {index}"));
    }
}

#[test]
fn a_step_of_the_optimizer_is_that_of_the_plain_operations() {
    on_the_gpu!(optimizer);
}

fn sums<B: NeoBackend>() {
    let scale = Some(1.0 / 1024.0);
    let found = read::<B, 1>(B::gradient_sums(gradients::<B>(1), scale));
    let expected = read::<NdArray, 1>(NdArray::gradient_sums(gradients::<NdArray>(1), scale));
    near(&found, &expected, 1e-5, "sums");
    assert_eq!((found.len(), found[1]), (2, 0.0));
    // One element of all is enough, wherever it stands; the largest number that is finite is none.
    for (value, finite) in
        [(f32::INFINITY, false), (f32::NAN, false), (f32::NEG_INFINITY, false), (f32::MAX, true)]
    {
        for place in [0, TENSORS - 1] {
            let mut gradients = gradients::<B>(1);
            let size = SIZES[place % SIZES.len()];
            let mut numbers = vec![0.5f32; size];
            numbers[size - 1] = value;
            gradients[place] = given::<B, 1>(TensorData::new(numbers, [size]));
            let met = read::<B, 1>(B::gradient_sums(gradients, scale))[1];
            assert_eq!(met == 0.0, finite, "{value} in {place}");
        }
    }
}

#[test]
fn an_overflow_is_found_and_the_norm_is_that_of_the_plain_operations() {
    on_the_gpu!(sums);
}

/// A step that gradients or their norm forbid, on the GPU itself: everything is as it was, to the bit.
fn skipped<B: NeoBackend>() {
    let rule = AdamWRule {
        unscale: Some(1.0 / 1024.0),
        max_norm: 1.0,
        rate: 1e-2,
        beta_1: 0.9,
        beta_2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.01,
        time: 3,
    };
    let before: Vec<[Vec<f32>; 3]> = (0..TENSORS)
        .map(|index| [1000, 2000, 3000].map(|seed| read::<B, 1>(gradients::<B>(seed).swap_remove(index))))
        .collect();
    for sums in [[1.0f32, 1.0], [f32::INFINITY, 0.0], [f32::NAN, 0.0], [f32::MAX, 0.0]] {
        let tensors = (0..TENSORS).map(|index| {
            let [parameter, first, second] =
                [1000, 2000, 3000].map(|seed| gradients::<B>(seed).swap_remove(index));
            let gradient = gradients::<B>(4000).swap_remove(index);
            AdamWTensors { parameter, gradient, moments: Some([first, second]) }
        });
        let sums_there = given::<B, 1>(TensorData::new(sums.to_vec(), [2]));
        let after: Vec<_> =
            B::adamw(tensors.collect(), sums_there, rule).into_iter().map(all_of::<B>).collect();
        assert_eq!(after == before, sums != [f32::MAX, 0.0], "{sums:?}");
    }
}

#[test]
fn a_step_of_gradients_that_are_not_finite_changes_nothing() {
    on_the_gpu!(skipped);
}

/// What is read later is what was there when it was sent, in its order, whatever comes after; one that nobody waits for does
/// no harm.
fn read_later<B: NeoBackend>() {
    assert!(B::works_ahead());
    let mut kept = Vec::new();
    for round in 0..20u64 {
        let x = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(tensor::<B, 1>(round, [70_001])));
        let ids =
            Tensor::<B, 1, burn::tensor::Int>::arange(round as i64..round as i64 + 3, &Default::default());
        let expected = (x.clone().into_data(), ids.clone().into_data());
        let floats = vec![x.clone().into_primitive().tensor()];
        let reading = B::read_later(floats, vec![ids.into_primitive()]);
        let mut y = x;
        for _ in 0..10 {
            y = y * 1.5 + 1.0;
        }
        drop(y);
        if round % 3 != 0 {
            kept.push((reading, expected));
        }
    }
    for (reading, (floats, ids)) in kept {
        let found = reading.wait().expect("the device works");
        assert!(found[0] == floats && found[1] == ids && found.len() == 2);
    }
    assert!(B::read_later(Vec::new(), Vec::new()).wait().expect("nothing to read").is_empty());
}

#[test]
fn what_is_read_later_is_what_was_sent() {
    on_the_gpu!(read_later);
}
