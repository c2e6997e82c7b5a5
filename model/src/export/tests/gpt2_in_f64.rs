//! GPT-2 as transformers computes it (`GPT2LMHeadModel`), written down anew in plain loops of f64 from a folder's files:
//! it shares nothing with the network of this crate or with what wrote the files.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;

pub(super) struct Gpt2 {
    config: Value,
    tensors: HashMap<String, (Vec<usize>, Vec<f64>)>,
}

impl Gpt2 {
    pub(super) fn open(folder: &Path) -> Self {
        let config = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
        let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
        let tensors =
            SafeTensors::deserialize(&bytes).unwrap().tensors().into_iter().map(|(name, tensor)| {
                let values = tensor.data().chunks_exact(4);
                let values = values.map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect();
                let name = name.strip_prefix("transformer.").unwrap_or(&name).to_string();
                (name, (tensor.shape().to_vec(), values))
            });
        Self { config, tensors: tensors.collect() }
    }

    fn size(&self, name: &str) -> usize {
        self.config[name].as_u64().unwrap() as usize
    }

    fn row(&self, name: &str, row: usize) -> &[f64] {
        let (shape, values) = &self.tensors[name];
        &values[row * shape[1]..(row + 1) * shape[1]]
    }

    /// `Conv1D`: `x W + b` with W `[in, out]`.
    fn conv1d(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let mut y = self.tensors[&format!("{name}.bias")].1.clone();
        for (input, value) in x.iter().enumerate() {
            let row = self.row(&format!("{name}.weight"), input);
            y.iter_mut().zip(row).for_each(|(y, weight)| *y += value * weight);
        }
        y
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let count = x.len() as f64;
        let mean = x.iter().sum::<f64>() / count;
        let variance = x.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let deviation = (variance + self.config["layer_norm_epsilon"].as_f64().unwrap()).sqrt();
        let (weight, bias) =
            (&self.tensors[&format!("{name}.weight")].1, &self.tensors[&format!("{name}.bias")].1);
        x.iter().zip(weight).zip(bias).map(|((x, w), b)| (x - mean) / deviation * w + b).collect()
    }

    /// The logits of each position.
    pub(super) fn logits(&self, ids: &[usize]) -> Vec<Vec<f64>> {
        let (layers, heads) = (self.size("n_layer"), self.size("n_head"));
        let hidden = self.size("n_embd");
        let head = hidden / heads;
        assert!(ids.len() <= self.size("n_positions"));
        let mut x: Vec<Vec<f64>> = ids
            .iter()
            .enumerate()
            .map(|(position, id)| sum(self.row("wte.weight", *id), self.row("wpe.weight", position)))
            .collect();
        for layer in 0..layers {
            let name = |part: &str| format!("h.{layer}.{part}");
            let qkv: Vec<Vec<f64>> =
                x.iter().map(|x| self.conv1d(&name("attn.c_attn"), &self.norm(&name("ln_1"), x))).collect();
            for (position, x) in x.iter_mut().enumerate() {
                let mut mixed = Vec::new();
                for first in (0..hidden).step_by(head) {
                    let part = |position: usize, which: usize| {
                        &qkv[position][which * hidden + first..which * hidden + first + head]
                    };
                    let scores: Vec<f64> = (0..=position)
                        .map(|key| (dot(part(position, 0), part(key, 1)) / (head as f64).sqrt()).exp())
                        .collect();
                    let total: f64 = scores.iter().sum();
                    for index in 0..head {
                        let values =
                            scores.iter().enumerate().map(|(key, score)| score * part(key, 2)[index]);
                        mixed.push(values.sum::<f64>() / total);
                    }
                }
                *x = sum(x, &self.conv1d(&name("attn.c_proj"), &mixed));
            }
            for x in &mut x {
                let inner: Vec<f64> = self
                    .conv1d(&name("mlp.c_fc"), &self.norm(&name("ln_2"), x))
                    .into_iter()
                    .map(gelu)
                    .collect();
                *x = sum(x, &self.conv1d(&name("mlp.c_proj"), &inner));
            }
        }
        let table = if self.tensors.contains_key("lm_head.weight") { "lm_head.weight" } else { "wte.weight" };
        let logits = |x: &Vec<f64>| {
            let x = self.norm("ln_f", x);
            (0..self.size("vocab_size")).map(|id| dot(&x, self.row(table, id))).collect()
        };
        x.iter().map(logits).collect()
    }
}

fn sum(left: &[f64], right: &[f64]) -> Vec<f64> {
    left.iter().zip(right).map(|(left, right)| left + right).collect()
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// `gelu_new`.
fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
}
