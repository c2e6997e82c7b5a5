//! The learning rate as Burn's learner asks for it: step by step.

use burn::lr_scheduler::LrScheduler;
use burn::tensor::backend::Backend;

use crate::schedule::LearningRate;

/// A [`LearningRate`] and the step it is at. Its record is the step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scheduler {
    rate: LearningRate,
    step: usize,
}

impl Scheduler {
    /// Before `step`, counted from 0: the number of steps already taken.
    pub(crate) fn new(rate: LearningRate, step: usize) -> Self {
        Self { rate, step }
    }
}

impl LrScheduler for Scheduler {
    type Record<B: Backend> = usize;

    fn step(&mut self) -> f64 {
        let rate = self.rate.at(self.step);
        self.step += 1;
        rate
    }

    fn to_record<B: Backend>(&self) -> usize {
        self.step
    }

    fn load_record<B: Backend>(mut self, record: usize) -> Self {
        self.step = record;
        self
    }
}

#[cfg(test)]
mod tests {
    use burn_flex::Flex;

    use super::*;
    use crate::Schedule;

    #[test]
    fn a_resumed_scheduler_goes_on_where_it_was() {
        let rate = LearningRate { base: 1.0, schedule: Schedule::Cosine, warmup_steps: 2, total_steps: 9 };
        let mut whole = Scheduler::new(rate, 0);
        let first: Vec<f64> = (0..4).map(|_| whole.step()).collect();
        assert_eq!(first, [0, 1, 2, 3].map(|step| rate.at(step)));
        let mut resumed = Scheduler::new(rate, 0).load_record::<Flex>(whole.to_record::<Flex>());
        assert_eq!(resumed.step, 4);
        for _ in 4..12 {
            assert_eq!(resumed.step(), whole.step());
        }
    }
}
