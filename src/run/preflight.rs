//! What a run will take, before it starts: parameters, steps, time, memory and disk, and warnings where it may not
//! fit. Time and memory are measured on one real step over the largest batch, which is thrown away.

use std::path::Path;

use gptneo_datasets::{Dataset, Truncation, grouped};
use gptneo_model::checkpoint::Dtype;
use gptneo_model::export::{ExportFormat, GgufType};
use gptneo_model::{GptNeo, GptNeoConfig, NeoBackend};
use gptneo_training::timing::time_largest_batch;
use gptneo_training::{BatchOrder, Tuning, TuningKind, Workload};
use serde::Serialize;

use super::model_folder::ModelFolder;
use crate::backend::machine::{self, size};
use crate::backend::{self, Job, Load, Training, Work, dispatch, smaller_batches};
use crate::settings::{RunSettings, Settings};
use crate::{Problem, Remedy, Result};

/// The share of the machine's memory from which on a run is warned.
const MUCH_MEMORY: f64 = 0.9;
/// The share of the answers that may be cut without a warning.
const FEW_CUT: f64 = 0.01;
/// Bytes of a number as checkpoints and adapters hold it.
const F32: u64 = 4;
/// Of a number in half of them.
const F16: u64 = 2;
/// The checkpoints that may stand at once: the best, the last, and the one being written.
const CHECKPOINTS: u64 = 3;

/// What a run is about.
pub(crate) struct Planned<'a, B: NeoBackend> {
    pub(crate) settings: &'a Settings,
    /// The model as the training takes it.
    pub(crate) model: &'a GptNeo<Training<B>>,
    pub(crate) tuning: &'a Tuning,
    pub(crate) order: &'a BatchOrder,
    pub(crate) truncation: &'a Truncation,
    /// Trained and all parameters.
    pub(crate) parameters: (usize, usize),
    /// Where the run writes.
    pub(crate) folder: &'a Path,
}

/// What a run will take. Sizes in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Preflight {
    trainable_parameters: usize,
    total_parameters: usize,
    steps: usize,
    /// Supervised tokens over all steps.
    tokens: u64,
    /// Positions over all steps, padding included.
    positions: u64,
    /// Texts and tokens of the largest batch.
    largest_batch: [usize; 2],
    /// A training step over it.
    largest_batch_seconds: f64,
    /// Estimated from it by the positions; measurements and answers come on top.
    training_seconds: f64,
    /// The program's largest memory during that step; none on a GPU, or where the system does not tell.
    peak_memory: Option<u64>,
    total_memory: Option<u64>,
    checkpoint_size: u64,
    /// The adapter, the plain model and its export, as far as they are written.
    weights_size: u64,
    free_disk: Option<u64>,
    /// What may go wrong.
    pub warnings: Vec<Problem>,
}

impl Preflight {
    /// Takes the step and does the sums.
    ///
    /// # Errors
    /// As [`time_largest_batch`].
    pub(crate) fn measure<B: NeoBackend>(planned: &Planned<'_, B>) -> Result<Self> {
        let Planned { settings, model, tuning, order, truncation, folder, .. } = planned;
        let (trainable, total) = planned.parameters;
        machine::forget_peak();
        let seconds = time_largest_batch::<B>(model, tuning, order, settings.run.precision)?;
        let on_cpu = settings.run.backend.is_cpu();
        let Workload { tokens, positions, largest_rows, largest_width } = order.workload();
        let largest = (largest_rows * largest_width).max(1) as f64;
        let plain = plain_size(&settings.run, model.config(), total as u64);
        let (state, weights) = match tuning {
            Tuning::Lora(_) => (trainable as u64 * F32, trainable as u64 * F32 + plain),
            Tuning::Full => (total as u64 * F32, plain),
        };
        let mut found = Self {
            trainable_parameters: trainable,
            total_parameters: total,
            steps: order.total_steps(),
            tokens,
            positions,
            largest_batch: [largest_rows, largest_width],
            largest_batch_seconds: seconds,
            training_seconds: seconds / largest * positions as f64,
            peak_memory: machine::peak_memory().filter(|_| on_cpu),
            total_memory: machine::total_memory().filter(|_| on_cpu),
            // The weights and AdamW's two moments.
            checkpoint_size: state + 2 * F32 * trainable as u64,
            weights_size: weights,
            free_disk: machine::free_room(folder),
            warnings: cut_answers(truncation, model.config().max_position_embeddings)
                .into_iter()
                .chain(never_warm(settings, order))
                .collect(),
        };
        found.warn();
        Ok(found)
    }

    /// Measures what training on `data` would take, where nothing of a run stands yet.
    ///
    /// # Errors
    /// The device lacks room, a file does not fit, or a step without a supervised token.
    pub fn of(settings: &Settings, base: &ModelFolder, data: &Dataset, order: &BatchOrder) -> Result<Self> {
        let place = settings.run.place();
        place.check_base_weights(settings.run.base_weights)?;
        let Workload { largest_rows, largest_width, .. } = order.workload();
        place.check_room(base.config(), largest_rows, largest_width)?;
        if settings.model.tuning == TuningKind::Lora {
            place.check_adapter(base.config(), &settings.lora)?;
        }
        place.check_memory(&Load {
            model: base.config(),
            weights: settings.run.base_weights,
            work: Work::Training(settings.model.tuning, &settings.lora, settings.run.activations()),
            positions: largest_rows as f64 * largest_width as f64,
            smaller: smaller_batches(),
        })?;
        dispatch(place, Measure { settings, base, data, order })
    }

    /// All that the run's folder will hold at most.
    fn disk(&self) -> u64 {
        CHECKPOINTS * self.checkpoint_size + self.weights_size
    }

    fn warn(&mut self) {
        if let (Some(peak), Some(total)) = (self.peak_memory, self.total_memory)
            && peak as f64 > MUCH_MEMORY * total as f64
        {
            self.warnings.push(Problem {
                what: format!(
                    "a step takes {} of the machine's {} of memory",
                    size(peak as f64),
                    size(total as f64)
                ),
                remedy: Remedy::Either(vec![
                    Remedy::Both(vec![
                        Remedy::Lower("training.batch_size"),
                        Remedy::Raise("training.grad_accumulation_steps"),
                    ]),
                    Remedy::Lower("data.max_seq_length"),
                ]),
            });
        }
        if let Some(free) = self.free_disk
            && self.disk() > free
        {
            self.warnings.push(Problem {
                what: format!(
                    "checkpoints and weights take up to {}, but {} are free on the disk",
                    size(self.disk() as f64),
                    size(free as f64)
                ),
                remedy: Remedy::Either(vec![Remedy::say("make room"), Remedy::Change("run.output")]),
            });
        }
    }

    /// The lines that a run prints.
    pub fn render(&self) -> String {
        let [rows, width] = self.largest_batch;
        let memory =
            self.peak_memory.map(|peak| format!(", {} of memory", size(peak as f64))).unwrap_or_default();
        let free = self.free_disk.map(|free| format!(", {} free", size(free as f64))).unwrap_or_default();
        format!(
            "parameters  {} of {} are trained ({:.3} %)\n\
             training    {} steps, {} supervised tokens, about {}\n\
             measured    {:.2} s{memory} for a step on the largest batch, {rows} texts of up to {width} tokens\n\
             disk        at most {}{free}\n",
            grouped(self.trainable_parameters),
            grouped(self.total_parameters),
            100.0 * self.trainable_parameters as f64 / self.total_parameters.max(1) as f64,
            grouped(self.steps),
            grouped(self.tokens),
            duration(self.training_seconds),
            self.largest_batch_seconds,
            size(self.disk() as f64),
        )
    }

    /// What `prepare` adds to [`Preflight::render`].
    pub fn render_more(&self) -> String {
        let tokens = self.positions.max(1);
        let total = self.total_memory.map(|total| format!("{} in all\n", size(total as f64)));
        format!(
            "positions   {} over all steps, {:.1} % of them supervised; {:.0} a second on the largest batch\n\
             files       {} a checkpoint, of which {CHECKPOINTS} may stand at once; {} of weights at the end\n{}",
            grouped(self.positions),
            100.0 * self.tokens as f64 / tokens as f64,
            self.positions as f64 / self.training_seconds.max(f64::MIN_POSITIVE),
            size(self.checkpoint_size as f64),
            size(self.weights_size as f64),
            total.map(|total| format!("memory      {total}")).unwrap_or_default(),
        )
    }
}

/// The bytes of the plain model of `total` parameters, and of its export where a run writes one.
fn plain_size(run: &RunSettings, config: &GptNeoConfig, total: u64) -> u64 {
    let merged = total
        * match run.dtype {
            Dtype::F32 => F32,
            Dtype::F16 | Dtype::Bf16 => F16,
        };
    let exported = match (run.export, run.gguf_type) {
        (None, _) => 0,
        (Some(ExportFormat::Gpt2), _) | (Some(ExportFormat::Gguf), GgufType::F32) => total * F32,
        // Matrices with rows of no whole blocks are f16 in a q8_0 file, and positions f32 in any.
        (Some(ExportFormat::Gguf), GgufType::F16 | GgufType::Q8_0) => {
            let positions = (config.max_position_embeddings * config.hidden_size) as u64;
            total * F16 + positions * (F32 - F16)
        }
    };
    merged + exported
}

/// A training run's step, measured.
struct Measure<'a> {
    settings: &'a Settings,
    base: &'a ModelFolder,
    data: &'a Dataset,
    order: &'a BatchOrder,
}

impl Job for Measure<'_> {
    type Output = Preflight;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Preflight> {
        let Self { settings, base, data, order } = self;
        backend::suit_allocator(settings.run.activations());
        let model = base
            .load_base::<B>(settings.run.base_weights, &device)?
            .with_activations(settings.run.activations());
        let tuning = Tuning::of(settings.model.tuning, settings.lora.clone());
        let parameters = tuning.count_parameters(&model)?;
        Preflight::measure::<B>(&Planned {
            settings,
            model: &model,
            tuning: &tuning,
            order,
            truncation: &data.truncation,
            parameters,
            folder: settings.run.output.as_deref().unwrap_or(Path::new(".")),
        })
    }
}

/// The warning where more answers are cut than hardly any, for a model of so many positions.
pub fn cut_answers(truncation: &Truncation, positions: usize) -> Option<Problem> {
    let cut = truncation.answers_cut_partly + truncation.answers_lost;
    let share = cut as f64 / truncation.records.max(1) as f64;
    (share > FEW_CUT).then(|| Problem {
        what: format!(
            "{:.1} % of the answers ({} of {}) are cut at {} tokens, so that the model never sees them end",
            100.0 * share,
            grouped(cut),
            grouped(truncation.records),
            truncation.max_length
        ),
        remedy: match Remedy::Set("data.overlong", "drop".into()) {
            drop if truncation.max_length < positions => {
                Remedy::Either(vec![Remedy::Raise("data.max_seq_length"), drop])
            }
            // The model holds no longer ones.
            drop => drop,
        },
    })
}

/// The warning where the learning rate rises for as long as the training takes, or longer.
fn never_warm(settings: &Settings, order: &BatchOrder) -> Option<Problem> {
    let (warmup, steps) = (settings.training.warmup_steps, order.total_steps());
    (warmup >= steps).then(|| Problem {
        what: format!(
            "the learning rate rises over {} steps, but there are {}: it never comes to its height",
            grouped(warmup),
            grouped(steps)
        ),
        remedy: Remedy::Lower("training.warmup_steps"),
    })
}

/// Seconds in the units that suit them.
fn duration(seconds: f64) -> String {
    match seconds {
        short if short < 90.0 => format!("{short:.0} s"),
        minutes if minutes < 5400.0 => format!("{:.0} min", minutes / 60.0),
        hours => format!("{:.1} h", hours / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn found() -> Preflight {
        Preflight {
            trainable_parameters: 589_824,
            total_parameters: 125_788_416,
            steps: 11_460,
            tokens: 4_000_000,
            positions: 5_000_000,
            largest_batch: [8, 256],
            largest_batch_seconds: 3.5,
            training_seconds: 8_000.0,
            peak_memory: Some(1_700_000_000),
            total_memory: Some(16_000_000_000),
            checkpoint_size: 7_077_888,
            weights_size: 505_000_000,
            free_disk: Some(48_000_000_000),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_run_that_fits_is_told_in_four_lines() {
        let mut found = found();
        found.warn();
        assert_eq!(found.warnings, Vec::new());
        let text = found.render();
        assert_eq!(text.lines().count(), 4, "{text}");
        for part in ["589,824 of 125,788,416", "0.469 %", "11,460 steps", "about 2.2 h", "1.7 GB", "526.2 MB"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn what_a_run_exports_takes_room_as_well() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/window");
        let config = GptNeoConfig::from_folder(Path::new(folder)).unwrap();
        let size = |export, gguf_type| {
            let run = RunSettings { export, gguf_type, ..RunSettings::default() };
            plain_size(&run, &config, 1_000_000)
        };
        assert_eq!(size(None, GgufType::F32), 4_000_000);
        assert_eq!(size(Some(ExportFormat::Gpt2), GgufType::F16), 8_000_000);
        assert_eq!(size(Some(ExportFormat::Gguf), GgufType::F32), 8_000_000);
        let positions = (config.max_position_embeddings * config.hidden_size) as u64;
        assert_eq!(size(Some(ExportFormat::Gguf), GgufType::F16), 6_000_000 + 2 * positions);
    }

    #[test]
    fn what_does_not_fit_is_warned_of_with_a_way_out() {
        let mut found = found();
        (found.total_memory, found.free_disk) = (Some(1_800_000_000), Some(100_000_000));
        found.warn();
        let said: Vec<String> = found.warnings.iter().map(ToString::to_string).collect();
        assert!(said[0].contains("lower training.batch_size") && said[1].contains("run.output"), "{said:?}");
        let truncation =
            |cut| Truncation { records: 1000, answers_lost: cut, max_length: 128, ..Truncation::default() };
        assert_eq!(cut_answers(&truncation(10), 256), None);
        let problem = cut_answers(&truncation(11), 256).unwrap();
        assert!(problem.what.starts_with("1.1 % of the answers (11 of 1,000)"), "{problem}");
        assert!(problem.to_string().contains("raise data.max_seq_length"), "{problem}");
        // Where the model holds no more, that is no way out.
        let problem = cut_answers(&truncation(11), 128).unwrap().to_string();
        assert!(problem.contains("overlong") && !problem.contains("max_seq_length"), "{problem}");
    }
}
