//! The engine against itself: what a sequence is told alone, and in any company.
#![allow(clippy::unwrap_used)]

mod life;

use std::cell::RefCell;
use std::rc::Rc;

use burn::tensor::{Distribution, Int, Tensor, TensorData, s};
use burn_flex::Flex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::*;
use crate::adapter::attach;
use crate::generate::{GenerationConfig, generate};
use crate::{LoraConfig, SamplingConfig, Target, WeightFormat};

const VOCABULARY: usize = 90;
const POSITIONS: usize = 260;

/// A random model whose window is shorter than most texts, wide enough for the processor's tiles to be used on blocks.
fn model() -> GptNeo<Flex> {
    let value = json!({
        "model_type": "gpt_neo", "hidden_size": 64, "num_layers": 2, "num_heads": 4, "vocab_size": VOCABULARY,
        "max_position_embeddings": POSITIONS, "attention_layers": ["global", "local"],
        "window_size": 20, "initializer_range": 0.15
    });
    let config = GptNeoConfig::from_json(value.as_object().unwrap().clone()).unwrap();
    drawn(GptNeo::init(&config, &Default::default()))
}

/// Weights are drawn when they are first used, by each clone anew: now.
fn drawn(model: GptNeo<Flex>) -> GptNeo<Flex> {
    let hidden = model.hidden(Tensor::<Flex, 2, Int>::zeros([1, 1], &Default::default()));
    let [one, _, width] = hidden.dims();
    model.logits(hidden.reshape([one, width]));
    model
}

/// The model with an adapter that does something.
fn adapted(model: &GptNeo<Flex>, targets: &[Target], r: usize) -> GptNeo<Flex> {
    let target_modules = targets.iter().map(|target| (*target).into()).collect();
    let lora = LoraConfig { target_modules, r, ..LoraConfig::default() };
    let mut model = attach(model.clone(), &lora, &Default::default()).unwrap();
    for (_, _, linear) in model.linears_mut() {
        if let Some(lora) = &mut linear.lora {
            lora.b = lora.b.clone().map(|b| b.random_like(Distribution::Normal(0.0, 0.2)));
        }
    }
    drawn(model)
}

/// Notes what it hears, and leaves when it has heard enough.
#[derive(Clone)]
struct Ear {
    heard: Rc<RefCell<Vec<Event>>>,
    leaves_after: usize,
}

impl Ear {
    fn new(leaves_after: usize) -> Self {
        Self { heard: Rc::default(), leaves_after }
    }
}

impl Listener for Ear {
    fn hear(&mut self, event: Event) {
        self.heard.borrow_mut().push(event);
    }

    fn has_left(&self) -> bool {
        self.heard.borrow().len() >= self.leaves_after
    }
}

fn limits(max_batch: usize, cache_tokens: usize, prompt_chunk: usize) -> EngineLimits {
    EngineLimits { max_batch, cache_tokens, max_queue: 0, prompt_chunk }
}

/// Steps until nobody is left; the last events are told.
fn run(model: &GptNeo<Flex>, batch: &mut Batch<Flex, Ear>) {
    while !batch.is_empty() {
        step(model, batch);
    }
}

fn step(model: &GptNeo<Flex>, batch: &mut Batch<Flex, Ear>) {
    for (mut ear, last) in batch.step(model).unwrap().ended {
        ear.hear(last);
    }
}

/// What a request is told when it is the only one.
fn alone(
    model: &GptNeo<Flex>,
    adapters: &[Adapter<Flex>],
    (request, adapter): &(Request, Option<usize>),
) -> Vec<Event> {
    let mut batch = Batch::new(model, adapters.to_vec(), limits(1, POSITIONS, POSITIONS));
    let ear = Ear::new(usize::MAX);
    batch.join(request.clone(), *adapter, ear.clone()).unwrap();
    run(model, &mut batch);
    ear.heard.take()
}

fn random_request(random: &mut ChaCha8Rng) -> (Request, Option<usize>) {
    // Prompts around a block's border and a pass's, and of several blocks.
    let length = *[1, 2, 17, 47, 49, 63, 64, 65, 66, 128, 129, 150].get(random.random_range(0..12)).unwrap();
    let id = |random: &mut ChaCha8Rng| random.random_range(0..VOCABULARY as u32);
    let config = match random.random_bool(0.6) {
        true => SamplingConfig::default(),
        false => {
            SamplingConfig { temperature: 0.9, top_k: Some(9), seed: random.random(), ..Default::default() }
        }
    };
    let score_prompt = random.random_bool(0.5);
    let request = Request {
        prompt: (0..length).map(|_| id(random)).collect(),
        adapter: None,
        max_new_tokens: random.random_range(usize::from(!score_prompt)..40),
        sampling: Sampling { presence_penalty: 0.1, stream: random.random_range(0..3), ..config.into() },
        end_tokens: vec![id(random)],
        log_probabilities: random.random_bool(0.7).then(|| random.random_range(0..4)),
        score_prompt,
    };
    (request, [None, Some(0), Some(1)][random.random_range(0..3)])
}

/// Most often one that takes the likeliest tokens and asks for nothing else, and ends early.
fn mostly_greedy_request(random: &mut ChaCha8Rng) -> (Request, Option<usize>) {
    let (request, adapter) = random_request(random);
    if random.random_bool(0.1) {
        return (request, adapter);
    }
    let end_tokens = (0..4).map(|_| random.random_range(0..VOCABULARY as u32)).collect();
    (Request { end_tokens, ..Request::new(request.prompt, request.max_new_tokens.max(1)) }, adapter)
}

/// Requests that join and leave at random, in batches, caches and chunks of random sizes: each hears the very events that
/// it hears alone, up to where it leaves. `as_asked` settles how the batches work. Gives how many steps left tokens behind
/// that were chosen and not heard.
fn assert_company_changes_nothing(
    model: &GptNeo<Flex>,
    seed: u64,
    rounds: usize,
    request: impl Fn(&mut ChaCha8Rng) -> (Request, Option<usize>),
    as_asked: impl Fn(Batch<Flex, Ear>) -> Batch<Flex, Ear>,
) -> usize {
    let adapters = [
        Adapter::of(adapted(model, &[Target::QProj, Target::VProj], 3)),
        Adapter::of(adapted(model, &Target::ALL, 5)),
    ];
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut whole, mut left, mut late) = (0, 0, 0);
    for _ in 0..rounds {
        let requests: Vec<_> = (0..12).map(|_| request(&mut random)).collect();
        let ears: Vec<Ear> = requests
            .iter()
            .map(|_| Ear::new(if random.random_bool(0.3) { random.random_range(0..12) } else { usize::MAX }))
            .collect();
        let limits = limits(
            random.random_range(2..=10),
            random.random_range(POSITIONS..4 * POSITIONS),
            [1, 64, 70, 128, 500][random.random_range(0..5)],
        );
        let mut batch = as_asked(Batch::new(model, adapters.to_vec(), limits));
        let mut waiting = requests.iter().zip(&ears).peekable();
        while waiting.peek().is_some() || !batch.is_empty() {
            while let Some(((request, adapter), ear)) =
                waiting.next_if(|((request, _), _)| batch.has_room(request) && random.random_bool(0.6))
            {
                batch.join(request.clone(), *adapter, ear.clone()).unwrap();
            }
            step(model, &mut batch);
            late += usize::from(batch.is_ahead());
        }
        assert_eq!(batch.free_tokens(), limits.cache_tokens);
        for (request, ear) in requests.iter().zip(ears) {
            let (expected, mut found) = (alone(model, &adapters, request), ear.heard.take());
            if found.last() == Some(&Event::Finished(Reason::Cancelled)) {
                found.pop();
                left += 1;
            } else {
                whole += 1;
                assert_eq!(found.len(), expected.len(), "{request:?}");
            }
            assert_eq!(found, expected[..found.len()], "{request:?}, {limits:?}");
        }
    }
    assert!(whole > rounds && left > 0, "{whole} whole, {left} left");
    late
}

#[test]
fn company_changes_no_bit() {
    let late = assert_company_changes_nothing(&model(), 1, 4, random_request, |batch| batch);
    assert_eq!(late, 0, "a processor has nothing to do ahead");
}

/// The first token of a prompt is not kept back for a pass that is launched before it is heard.
#[test]
fn a_first_token_is_heard_in_its_step_where_others_are_late() {
    let model = model();
    let mut batch = Batch::new(&model, Vec::new(), limits(1, POSITIONS, 64)).working_ahead();
    let ear = Ear::new(usize::MAX);
    batch.join(Request::new(ids(40), 10), None, ear.clone()).unwrap();
    let heard: Vec<usize> = (0..4)
        .map(|_| {
            step(&model, &mut batch);
            ear.heard.borrow().len()
        })
        .collect();
    assert_eq!(heard, [1, 1, 2, 3]);
}

/// As a GPU decodes: the pass behind a token is launched before the token is heard.
#[test]
fn tokens_that_are_heard_late_are_the_same() {
    let late = assert_company_changes_nothing(&model(), 4, 8, mostly_greedy_request, Batch::working_ahead);
    assert!(late > 100, "{late} steps");
}

#[test]
fn company_changes_no_bit_of_small_weights() {
    for (seed, format) in [(2, WeightFormat::Bf16), (3, WeightFormat::Int8)] {
        assert_company_changes_nothing(&model().with_weights(format), seed, 1, random_request, |batch| batch);
    }
}

fn scored(prompt: Vec<u32>, max_new_tokens: usize) -> Request {
    Request { score_prompt: true, log_probabilities: Some(2), ..Request::new(prompt, max_new_tokens) }
}

fn ids(count: usize) -> Vec<u32> {
    (0..count as u32).map(|id| (id * 31 + id * id) % VOCABULARY as u32).collect()
}

/// The negative log-likelihoods that training and evaluation work out, for prompts in blocks and in none.
#[test]
fn scores_are_those_of_the_losses() {
    let model = model();
    for length in [2, 40, 65, 200] {
        let input: Vec<i32> = ids(length).into_iter().map(|id| id as i32).collect();
        let input =
            Tensor::<Flex, 2, Int>::from_data(TensorData::new(input, [1, length]), &Default::default());
        let hidden = model.hidden(input.clone().slice([0..1, 0..length - 1])).reshape([length - 1, 64]);
        let targets = input.slice([0..1, 1..length]).reshape([length - 1]);
        let losses: Vec<f32> = model.token_nll(hidden, targets).into_data().to_vec().unwrap();
        for max_new_tokens in [0, 1] {
            let events = alone(&model, &[], &(scored(ids(length), max_new_tokens), None));
            assert_eq!(events.len(), 2 + max_new_tokens);
            let Event::Prompt(scores) = &events[0] else { panic!("{events:?}") };
            assert_eq!((scores.len(), &scores[0]), (length, &None));
            for (score, loss) in scores[1..].iter().flatten().zip(&losses) {
                // The sums of logits in another order.
                assert!(
                    (score.log_probability + loss).abs() < 1e-5 * loss.abs().max(1.0),
                    "{score:?} {loss}"
                );
                assert!(score.top[0].1 >= score.log_probability && score.top[1].1 <= score.top[0].1);
            }
        }
    }
    let events = alone(&model, &[], &(scored(vec![3], 0), None));
    assert_eq!(events, [Event::Prompt(vec![None]), Event::Finished(Reason::Length)]);
}

#[test]
fn the_likeliest_tokens_number_is_the_maximum_itself() {
    let model = model();
    let events = alone(&model, &[], &(scored(ids(70), 30), None));
    let mut tokens = 0;
    for event in events {
        if let Event::Token { id, score: Some(TokenScore { log_probability, top }) } = event {
            assert_eq!(top[0], (id, log_probability));
            assert!(top[1].1 <= log_probability);
            tokens += 1;
        }
    }
    assert_eq!(tokens, 30);
}

/// By name over the base, beside others, an adapter is what it is attached to a model.
#[test]
fn an_adapter_over_the_base_is_the_adapter_of_a_model() {
    let model = model();
    let attached = adapted(&model, &[Target::KProj, Target::CFc, Target::OutProj], 4);
    let adapters = [Adapter::of(attached.clone())];
    let config =
        GenerationConfig { max_new_tokens: 20, sampling: Default::default(), end_tokens: Vec::new() };
    let expected: Vec<Vec<u32>> = [&model, &attached]
        .map(|model| generate(model, &[ids(80)], &config, |_, _| ()).unwrap().remove(0).ids)
        .into();
    assert_ne!(expected[0], expected[1]);
    let mut batch = Batch::new(&model, adapters.to_vec(), limits(4, 4 * POSITIONS, 64));
    let ears: Vec<Ear> = (0..4).map(|_| Ear::new(usize::MAX)).collect();
    for (index, ear) in ears.iter().enumerate() {
        batch.join(Request::new(ids(80), 20), [None, Some(0)][index % 2], ear.clone()).unwrap();
    }
    run(&model, &mut batch);
    for (index, ear) in ears.iter().enumerate() {
        let heard = ear.heard.take();
        let tokens = heard.iter().filter_map(|event| match event {
            Event::Token { id, .. } => Some(*id),
            _ => None,
        });
        assert_eq!(tokens.collect::<Vec<_>>(), expected[index % 2]);
    }
}

/// Who leaves takes part in no further step, and his place is free.
#[test]
fn who_leaves_is_gone_with_the_next_step() {
    let model = model();
    let mut batch = Batch::new(&model, Vec::new(), limits(2, 2 * POSITIONS, 64));
    let (gone, stays) = (Ear::new(3), Ear::new(usize::MAX));
    for ear in [&gone, &stays] {
        batch.join(Request::new(ids(5), 100), None, ear.clone()).unwrap();
    }
    for _ in 0..3 {
        step(&model, &mut batch);
    }
    assert!(!batch.has_room(&Request::new(ids(5), 100)));
    step(&model, &mut batch);
    assert_eq!((batch.len(), batch.free_tokens()), (1, 2 * POSITIONS - 104));
    assert_eq!(gone.heard.borrow().len(), 4);
    assert_eq!(gone.heard.borrow().last(), Some(&Event::Finished(Reason::Cancelled)));
    assert!(batch.has_room(&Request::new(ids(5), 100)));
    assert_eq!(stays.heard.borrow().len(), 4);
}

/// A short prompt joins eight that go on: its first token comes with the next step, and theirs do not wait.
#[test]
fn a_short_prompt_gets_its_first_token_in_the_step_that_it_joins() {
    let model = model();
    let mut batch = Batch::new(&model, Vec::new(), limits(9, 9 * POSITIONS, 64));
    let ears: Vec<Ear> = (0..9).map(|_| Ear::new(usize::MAX)).collect();
    for ear in &ears[..8] {
        batch.join(Request::new(ids(3), 100), None, ear.clone()).unwrap();
    }
    step(&model, &mut batch);
    batch.join(Request::new(ids(40), 100), None, ears[8].clone()).unwrap();
    step(&model, &mut batch);
    assert_eq!(ears[8].heard.borrow().len(), 1);
    assert!(ears[..8].iter().all(|ear| ear.heard.borrow().len() == 2));
}

/// Of two greedy texts one breaks in the midst: the token that could not be chosen is read as another, which nobody hears.
#[test]
fn a_sequence_that_breaks_ahead_is_told_so_and_the_others_go_on() {
    let model = model();
    let whole = alone(&model, &[], &(Request::new(ids(5), 12), None));
    let mut broken = model.clone();
    // The position of the breaking text's third new token has no number; the other text ends before it.
    let nan = Tensor::<Flex, 2>::full([1, 64], f32::NAN, &Default::default());
    broken.transformer.wpe.weight =
        broken.transformer.wpe.weight.map(|table| table.slice_assign(s![22..23, ..], nan));
    let mut batch = Batch::new(&broken, Vec::new(), limits(2, 2 * POSITIONS, 64)).working_ahead();
    let (breaks, goes_on) = (Ear::new(usize::MAX), Ear::new(usize::MAX));
    batch.join(Request::new(ids(20), 12), None, breaks.clone()).unwrap();
    batch.join(Request::new(ids(5), 12), None, goes_on.clone()).unwrap();
    run(&broken, &mut batch);
    let heard = breaks.heard.take();
    assert_eq!(heard.len(), 4, "{heard:?}");
    assert!(matches!(&heard[3], Event::Failed(why) if why.contains("not a number after 3")), "{heard:?}");
    assert_eq!(goes_on.heard.take(), whole);
}

#[test]
fn a_sequence_that_breaks_is_told_so_and_the_others_go_on() {
    let mut model = model();
    // Token 7 has no number.
    let table = model.transformer.wte.weight.val();
    let broken = Tensor::<Flex, 2>::full([1, 64], f32::NAN, &Default::default());
    model.lm_head = Some(crate::LoraLinear::of(burn::module::Param::from_tensor(table.clone())));
    model.transformer.wte.weight =
        model.transformer.wte.weight.map(|table| table.slice_assign(s![7..8, ..], broken));
    let mut batch = Batch::new(&model, Vec::new(), limits(2, 2 * POSITIONS, 64));
    let (breaks, goes_on) = (Ear::new(usize::MAX), Ear::new(usize::MAX));
    batch.join(Request::new(vec![1, 7, 2], 3), None, breaks.clone()).unwrap();
    let avoids = Sampling { logit_bias: vec![(7, f32::NEG_INFINITY)], ..Sampling::default() };
    let request = Request { sampling: avoids, ..Request::new(vec![1, 2], 3) };
    batch.join(request, None, goes_on.clone()).unwrap();
    run(&model, &mut batch);
    let heard = breaks.heard.take();
    assert!(matches!(&heard[..], [Event::Failed(why)] if why.contains("not a number after 0")), "{heard:?}");
    assert_eq!(goes_on.heard.borrow().len(), 4);
    assert_eq!(goes_on.heard.borrow().last(), Some(&Event::Finished(Reason::Length)));
}
