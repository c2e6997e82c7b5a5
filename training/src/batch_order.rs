//! Which texts each optimizer step sees: a function of the settings and the step's number alone, so that a run
//! goes on from any step without having seen the earlier ones.

use std::sync::Arc;

use gptneo_datasets::{Example, Order, Padding, TokenBatch, batches_in_order};

use crate::step_input::StepInput;
use crate::{TrainingConfig, TrainingError};

/// What fills the batches up. Its value never matters: no real token looks to its right, and no padding is a target.
const PADDING_ID: u32 = 0;

/// How many texts are put in order to plan a run: enough for every usual one, and done within a second or two.
const PLANNED_TEXTS: usize = 20_000_000;
/// The fewest and the most epochs that are planned.
const PLANNED_EPOCHS: [usize; 2] = [3, 100];

/// How much a whole run works through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Supervised tokens.
    pub tokens: u64,
    /// Positions of all batches, padding included: what the time goes by.
    pub positions: u64,
    /// Texts in the batch with the most positions, of those with a supervised token: no other costs a step anything.
    pub largest_rows: usize,
    /// That batch's longest text, in tokens.
    pub largest_width: usize,
}

/// The order in which a whole run sees its examples.
#[derive(Clone, Debug)]
pub struct BatchOrder {
    examples: Arc<[Example]>,
    config: TrainingConfig,
    steps_per_epoch: usize,
    total_steps: usize,
}

impl BatchOrder {
    /// The order of a run over `examples`.
    ///
    /// # Errors
    ///
    /// Settings that cannot be, no examples, or a step without any supervised token.
    pub fn new(examples: impl Into<Arc<[Example]>>, config: &TrainingConfig) -> Result<Self, TrainingError> {
        let examples = examples.into();
        config.validate()?;
        if examples.is_empty() {
            return Err(TrainingError::Settings("there is no text to train on".into()));
        }
        let steps_per_epoch = config.steps_per_epoch(examples.len());
        let total_steps = config.total_steps(examples.len());
        let order = Self { examples, config: config.clone(), steps_per_epoch, total_steps };
        order.check_supervision()?;
        Ok(order)
    }

    /// A mean over no token is no loss; found out before the run rather than hours into it, as far as it is planned.
    fn check_supervision(&self) -> Result<(), TrainingError> {
        if self.examples.iter().all(|example| !example.targets().is_empty()) {
            return Ok(());
        }
        for epoch in 0..self.planned_epochs() {
            for (index, groups) in self.epoch(epoch).iter().enumerate() {
                let step = epoch * self.steps_per_epoch + index + 1;
                let mut members = groups.iter().flatten().map(|index| &self.examples[*index]);
                if step <= self.total_steps && members.all(|example| example.supervised_tokens() == 0) {
                    return Err(TrainingError::NothingSupervised {
                        step,
                        records: groups.iter().flatten().map(|i| self.examples[*i].record + 1).collect(),
                    });
                }
            }
            if !self.config.shuffle {
                break; // every epoch is the same
            }
        }
        Ok(())
    }

    /// The settings of the run.
    pub fn config(&self) -> &TrainingConfig {
        &self.config
    }

    /// Optimizer steps in one pass over the data.
    pub fn steps_per_epoch(&self) -> usize {
        self.steps_per_epoch
    }

    /// Optimizer steps in the whole run.
    pub fn total_steps(&self) -> usize {
        self.total_steps
    }

    /// The batches of the whole run, step by step: indices of the examples.
    fn batches(&self) -> impl Iterator<Item = Vec<usize>> + '_ {
        let epochs = 0..self.total_steps.div_ceil(self.steps_per_epoch);
        epochs.flat_map(|epoch| self.epoch(epoch)).take(self.total_steps).flatten()
    }

    /// The longest text of a batch, in tokens.
    fn width(&self, group: &[usize]) -> usize {
        group.iter().map(|index| self.examples[*index].ids.len()).max().unwrap_or(0)
    }

    /// The epochs that are looked through before the run: all of a usual one.
    fn planned_epochs(&self) -> usize {
        let [fewest, most] = PLANNED_EPOCHS;
        let quick = (PLANNED_TEXTS / self.examples.len().max(1)).clamp(fewest, most);
        self.total_steps.div_ceil(self.steps_per_epoch).min(quick)
    }

    /// The batches of the planned epochs.
    fn planned_batches(&self) -> impl Iterator<Item = Vec<usize>> + '_ {
        let steps = self.total_steps.min(self.planned_epochs().saturating_mul(self.steps_per_epoch));
        (0..self.planned_epochs()).flat_map(|epoch| self.epoch(epoch)).take(steps).flatten()
    }

    /// How much the run works through: counted over the planned epochs, and multiplied where there are more.
    pub fn workload(&self) -> Workload {
        let mut work = Workload::default();
        for group in self.planned_batches() {
            let width = self.width(&group);
            work.positions += (group.len() * width) as u64;
            let tokens = group.iter().map(|i| self.examples[*i].supervised_tokens() as u64).sum::<u64>();
            work.tokens += tokens;
            if tokens > 0 && group.len() * width > work.largest_rows * work.largest_width {
                (work.largest_rows, work.largest_width) = (group.len(), width);
            }
        }
        let planned = self.planned_epochs().saturating_mul(self.steps_per_epoch);
        if planned < self.total_steps {
            let times = self.total_steps as f64 / planned as f64;
            for sum in [&mut work.tokens, &mut work.positions] {
                *sum = (*sum as f64 * times) as u64;
            }
        }
        work
    }

    /// The first of the batches with the most positions, of those with a supervised token: answers that were cut away
    /// may leave a batch without one.
    ///
    /// # Errors
    ///
    /// A batch that cannot be put together.
    pub fn largest_batch(&self) -> Result<TokenBatch, TrainingError> {
        let size = |group: &[usize]| group.len() * self.width(group);
        let larger = |a: Vec<usize>, b: Vec<usize>| if size(&b) > size(&a) { b } else { a };
        let learns = |group: &Vec<usize>| group.iter().any(|i| self.examples[*i].supervised_tokens() > 0);
        collate(&self.examples, &self.planned_batches().filter(learns).reduce(larger).unwrap_or_default())
    }

    /// The examples of the first `count` batches of the run.
    pub fn first_batches(&self, count: usize) -> Vec<Vec<&Example>> {
        let batches = self.batches().take(count);
        batches.map(|group| group.iter().map(|index| &self.examples[*index]).collect()).collect()
    }

    /// The steps of one epoch: batches of example indices.
    fn epoch(&self, epoch: usize) -> Vec<Vec<Vec<usize>>> {
        let lengths: Vec<usize> = self.examples.iter().map(|example| example.ids.len()).collect();
        let order = match self.config.shuffle {
            true => Order::Shuffled { seed: self.config.seed, epoch },
            false => Order::File,
        };
        let batches = batches_in_order(&lengths, self.config.batch_size, order);
        batches.chunks(self.config.grad_accumulation_steps).map(<[_]>::to_vec).collect()
    }

    /// The steps after the first `done`, to the end of the run.
    pub(crate) fn steps_after(
        &self,
        done: usize,
    ) -> impl Iterator<Item = Result<StepInput, TrainingError>> + '_ {
        (done / self.steps_per_epoch..)
            .flat_map(move |epoch| {
                let first = epoch * self.steps_per_epoch;
                self.epoch(epoch).into_iter().enumerate().map(move |(index, step)| (first + index, step))
            })
            .skip_while(move |(step, _)| *step < done)
            .take_while(move |(step, _)| *step < self.total_steps)
            .map(move |(step, groups)| {
                let micro_batches = groups.iter().map(|group| collate(&self.examples, group));
                Ok(StepInput {
                    number: step + 1,
                    micro_batches: micro_batches.collect::<Result<_, _>>()?,
                    seed: step_seed(self.config.seed, step),
                    loss_scale: 1.0,
                })
            })
    }
}

/// A batch of the examples at `indices`.
///
/// # Errors
///
/// There are none, or they hold no tokens.
pub(crate) fn collate(examples: &[Example], indices: &[usize]) -> Result<TokenBatch, TrainingError> {
    let members: Vec<&Example> = indices.iter().map(|index| &examples[*index]).collect();
    Ok(TokenBatch::collate(&members, PADDING_ID, Padding::Longest)?)
}

/// A seed for each step of a run (SplitMix64's mixing), so that resuming needs no state of a generator.
fn step_seed(seed: u64, step: usize) -> u64 {
    let mut z = seed.wrapping_add((step as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn examples(count: usize) -> Vec<Example> {
        (0..count)
            .map(|record| Example {
                ids: vec![1; 2 + record % 5],
                response_from: 1,
                supervised_from: 1,
                later_prompts: Vec::new(),
                record,
            })
            .collect()
    }

    fn config() -> TrainingConfig {
        TrainingConfig { batch_size: 2, grad_accumulation_steps: 2, epochs: 2, ..Default::default() }
    }

    #[test]
    fn a_later_start_sees_the_same_steps() {
        let order = BatchOrder::new(examples(11), &config()).unwrap();
        assert_eq!((order.steps_per_epoch(), order.total_steps()), (3, 6));
        let records = |done| -> Vec<(u64, Vec<usize>)> {
            order
                .steps_after(done)
                .map(|step| step.unwrap())
                .map(|step| (step.seed, step.records().collect()))
                .collect()
        };
        let all = records(0);
        assert_eq!(all.len(), 6);
        for done in 0..6 {
            assert_eq!(records(done), all[done..], "from step {done}");
        }
        // Each epoch holds every record once, the short last step included.
        let mut first: Vec<usize> = all[..3].iter().flat_map(|(_, records)| records.clone()).collect();
        first.sort();
        assert_eq!(first, (0..11).collect::<Vec<_>>());
        assert_ne!(all[..3], all[3..], "each epoch has its own order");
    }

    #[test]
    fn the_workload_is_that_of_all_steps() {
        let config = TrainingConfig { max_steps: Some(4), ..config() };
        let order = BatchOrder::new(examples(11), &config).unwrap();
        let steps: Vec<StepInput> = order.steps_after(0).map(|step| step.unwrap()).collect();
        let batches = || steps.iter().flat_map(|step| &step.micro_batches);
        let work = order.workload();
        assert_eq!(work.positions, batches().map(|batch| batch.ids.len() as u64).sum::<u64>());
        assert_eq!(work.tokens, steps.iter().map(|step| step.supervised_tokens() as u64).sum::<u64>());
        let largest = order.largest_batch().unwrap();
        assert_eq!(Some(largest.ids.len()), batches().map(|batch| batch.ids.len()).max());
        assert_eq!((largest.rows(), largest.width), (work.largest_rows, work.largest_width));
        let first: Vec<usize> =
            order.first_batches(2).concat().iter().map(|example| example.record).collect();
        assert_eq!(first, steps[0].records().collect::<Vec<_>>());
    }

    #[test]
    fn the_largest_batch_has_something_to_learn() {
        // Two long texts whose answers were cut away, in one micro-batch; the other of the step has targets.
        let config = TrainingConfig { shuffle: false, epochs: 1, ..config() };
        let mut examples = examples(4);
        for example in &mut examples[..2] {
            (example.ids, example.supervised_from) = (vec![1; 50], 99);
        }
        let order = BatchOrder::new(examples, &config).unwrap();
        let (largest, work) = (order.largest_batch().unwrap(), order.workload());
        assert_eq!((largest.records, largest.width), (vec![2, 3], 5));
        assert_eq!((work.largest_rows, work.largest_width, work.positions), (2, 5, 110));
    }

    #[test]
    fn a_run_of_countless_epochs_is_planned_at_once() {
        let config = TrainingConfig { epochs: 1_000_000_000, ..config() };
        config.validate().unwrap();
        let mut examples = examples(11);
        examples[3].supervised_from = 99;
        let order = BatchOrder::new(examples, &config).unwrap();
        let work = order.workload();
        // Three steps an epoch, each with the same tokens.
        assert_eq!(order.total_steps(), 3_000_000_000);
        let once = BatchOrder::new(order.examples.clone(), &TrainingConfig { epochs: 1, ..config }).unwrap();
        assert_eq!(work.tokens, once.workload().tokens * 1_000_000_000);
        assert_eq!((work.largest_rows, work.largest_width), (2, 6));
    }

    #[test]
    fn counts_beyond_all_bounds_are_refused_by_name() {
        for (name, config) in [
            ("epochs", TrainingConfig { epochs: usize::MAX, ..config() }),
            ("max_steps", TrainingConfig { max_steps: Some(usize::MAX), ..config() }),
            ("batch_size", TrainingConfig { batch_size: usize::MAX, ..config() }),
            ("warmup_steps", TrainingConfig { warmup_steps: usize::MAX, ..config() }),
        ] {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("at most 1000000000"), "{message}");
        }
        let none = TrainingConfig { batch_size: 0, ..config() };
        assert!(BatchOrder::new(examples(3), &none).unwrap_err().to_string().contains("batch_size is 0"));
        assert_eq!(none.total_steps(3), 0);
    }

    #[test]
    fn file_order_drops_nothing() {
        let config = TrainingConfig { shuffle: false, grad_accumulation_steps: 1, ..config() };
        let order = BatchOrder::new(examples(5), &config).unwrap();
        let records: Vec<_> =
            order.steps_after(0).map(|step| step.unwrap().records().collect::<Vec<_>>()).collect();
        assert_eq!(records[..3], [vec![0, 1], vec![2, 3], vec![4]]);
    }

    #[test]
    fn a_step_without_supervised_tokens_is_refused_before_the_run() {
        let mut examples = examples(4);
        for example in &mut examples[2..] {
            example.supervised_from = 99;
        }
        let config = TrainingConfig { shuffle: false, grad_accumulation_steps: 1, ..config() };
        let message = BatchOrder::new(examples, &config).unwrap_err().to_string();
        assert!(message.contains("step 2") && message.contains('3') && message.contains('4'), "{message}");
    }
}
