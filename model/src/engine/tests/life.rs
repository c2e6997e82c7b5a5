//! The thread: what is refused, what waits, how it ends.

use burn::module::Param;

use super::*;

fn start(limits: EngineLimits) -> Engine {
    Engine::start(model(), Vec::new(), limits).unwrap()
}

fn narrow(max_queue: usize) -> EngineLimits {
    EngineLimits { max_queue, ..limits(1, POSITIONS, 64) }
}

/// As long as the model allows.
fn long() -> Request {
    Request::new(ids(2), POSITIONS - 2)
}

fn all(ticket: &Ticket) -> Vec<Event> {
    std::iter::from_fn(|| ticket.recv()).collect()
}

/// Every request taken has ended, and everything is free.
fn assert_adds_up(stats: EngineStats) {
    let EngineStats { ended, reached_length, cancelled, failed, .. } = stats;
    assert_eq!(stats.accepted, ended + reached_length + cancelled + failed, "{stats:?}");
    assert_eq!((stats.running, stats.queued, stats.free_cache_tokens), (0, 0, stats.cache_tokens));
}

#[test]
fn answers_are_those_of_generate() {
    let model = model();
    let config = GenerationConfig { max_new_tokens: 9, sampling: Default::default(), end_tokens: Vec::new() };
    let prompts: Vec<Vec<u32>> = [3, 70, 20].map(ids).into();
    let expected = generate(&model, &prompts, &config, |_, _| ()).unwrap();
    let engine = Engine::start(model, Vec::new(), limits(2, 2 * POSITIONS, 64)).unwrap();
    // The third waits for one of the others.
    let tickets: Vec<Ticket> = prompts
        .iter()
        .map(|prompt| {
            loop {
                match engine.submit(Request::new(prompt.clone(), 9)) {
                    Err(EngineError::QueueFull { limit: 2 }) => std::thread::yield_now(),
                    taken => break taken.unwrap(),
                }
            }
        })
        .collect();
    for (ticket, expected) in tickets.iter().zip(expected) {
        let mut events = all(ticket);
        assert_eq!(events.pop(), Some(Event::Finished(Reason::Length)));
        let tokens = events.into_iter().map(|event| match event {
            Event::Token { id, score: None } => id,
            other => panic!("{other:?}"),
        });
        assert_eq!(tokens.collect::<Vec<_>>(), expected.ids);
    }
    let stats = engine.stats();
    assert_adds_up(stats);
    assert_eq!((stats.prompt_tokens, stats.new_tokens, stats.reached_length), (93, 27, 3));
}

#[test]
fn the_queue_has_an_end_and_a_cancelled_request_leaves_it() {
    let engine = start(narrow(1));
    let running = engine.submit(long()).unwrap();
    let waiting = engine.submit(long()).unwrap();
    assert_eq!(engine.submit(long()).unwrap_err(), EngineError::QueueFull { limit: 2 });
    assert_eq!(engine.stats().refused, 1);
    drop(waiting);
    let next = engine.submit(Request::new(ids(2), 1)).unwrap();
    assert_eq!(engine.stats().cancelled, 1);
    assert!(matches!(running.recv(), Some(Event::Token { .. })));
    running.cancel();
    assert_eq!(all(&running).last(), Some(&Event::Finished(Reason::Cancelled)));
    assert_eq!(all(&next).last(), Some(&Event::Finished(Reason::Length)));
    assert_adds_up(engine.stats());
}

#[test]
fn what_can_never_fit_or_makes_no_sense_is_refused_at_once() {
    let engine = start(limits(2, 50, 64));
    let taken = engine.submit(Request::new(ids(20), 31)).unwrap();
    let refused = engine.submit(Request::new(ids(20), 32)).unwrap_err();
    assert_eq!(refused, EngineError::CacheTooSmall { needed: 51, limit: 50 });
    let named = Request { adapter: Some("x".into()), ..Request::new(ids(2), 1) };
    let known = "none".to_string();
    assert_eq!(engine.submit(named).unwrap_err(), EngineError::UnknownAdapter { name: "x".into(), known });
    let sampling = Sampling {
        logit_bias: vec![(1000, f32::NAN)],
        presence_penalty: f32::INFINITY,
        ..Default::default()
    };
    for (request, words) in [
        (Request::new(vec![], 1), vec!["the prompt is empty"]),
        (Request::new(vec![90], 1), vec!["token 90", "90 tokens"]),
        (Request::new(ids(2), 0), vec!["nothing is asked for"]),
        (Request::new(ids(2), POSITIONS), vec!["260 positions"]),
        (
            Request { sampling, ..Request::new(ids(2), 1) },
            vec!["token 1000", "NaN", "presence_penalty is inf"],
        ),
    ] {
        let message = engine.submit(request).unwrap_err().to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    assert_eq!(all(&taken).len(), 32);
    assert_eq!(engine.stats().accepted, 1);
    assert!(
        Engine::start(model(), Vec::new(), limits(0, 5, 0)).unwrap_err().to_string().contains("max_batch")
    );
    let adapter = Adapter::of(model());
    let twice = vec![("a".to_string(), adapter.clone()), ("a".to_string(), adapter)];
    assert!(Engine::start(model(), twice, narrow(0)).unwrap_err().to_string().contains("\"a\""));
    let value = json!({
        "model_type": "gpt_neo", "hidden_size": 8, "num_layers": 2, "num_heads": 2, "vocab_size": 5,
        "max_position_embeddings": 9, "attention_layers": ["global", "local"],
    });
    let config = GptNeoConfig::from_json(value.as_object().unwrap().clone()).unwrap();
    let of_another = Adapter::of(adapted(&GptNeo::init(&config, &Default::default()), &[Target::VProj], 2));
    let error =
        Engine::start(model(), vec![("b".to_string(), of_another)], narrow(0)).unwrap_err().to_string();
    assert!(error.contains("\"b\"") && error.contains("v_proj"), "{error}");
}

/// Two long texts do not fit into the cache together: the second waits though the batch has room.
#[test]
fn a_request_waits_for_room_in_the_cache() {
    let engine = start(limits(2, POSITIONS, 64));
    let [first, second] = [(); 2].map(|()| engine.submit(long()).unwrap());
    assert!(matches!(first.recv(), Some(Event::Token { .. })));
    let stats = engine.stats();
    assert_eq!((stats.running, stats.queued, stats.free_cache_tokens), (1, 1, 1));
    drop(first);
    assert_eq!(all(&second).len(), POSITIONS - 1);
    assert_adds_up(engine.stats());
}

#[test]
fn draining_answers_what_was_taken_and_nothing_more() {
    let engine = start(EngineLimits { max_queue: 5, ..limits(1, POSITIONS, 64) });
    let tickets: Vec<Ticket> = (0..4).map(|_| engine.submit(Request::new(ids(3), 20)).unwrap()).collect();
    engine.drain();
    assert_eq!(engine.submit(long()).unwrap_err(), EngineError::Closed);
    assert_adds_up(engine.stats());
    assert!(tickets.iter().all(|ticket| all(ticket).len() == 21));
}

#[test]
fn dropping_the_engine_cancels_what_runs_and_waits() {
    let engine = start(narrow(1));
    let tickets = [(); 2].map(|()| engine.submit(long()).unwrap());
    assert!(matches!(tickets[0].recv(), Some(Event::Token { .. })));
    drop(engine);
    for ticket in tickets {
        assert_eq!(all(&ticket).last(), Some(&Event::Finished(Reason::Cancelled)));
    }
}

#[test]
fn a_panic_reaches_all_who_asked_as_an_error() {
    let mut model = model();
    model.transformer.ln_f.bias = Param::from_tensor(Tensor::zeros([3], &Default::default()));
    let engine = Engine::start(model, Vec::new(), narrow(3)).unwrap();
    let tickets: Vec<Ticket> = (0..3).filter_map(|_| engine.submit(long()).ok()).collect();
    for ticket in &tickets {
        let events = all(ticket);
        assert!(matches!(&events[..], [Event::Failed(why)] if why.contains("panicked")), "{events:?}");
    }
    assert!(engine.has_failed());
    assert!(matches!(engine.submit(long()), Err(EngineError::Failed(_))));
    engine.drain();
    assert_adds_up(engine.stats());
    assert_eq!(engine.stats().failed, tickets.len() as u64);
}

#[test]
fn many_who_come_and_go_at_random_leave_nothing_behind() {
    let engine = start(EngineLimits { max_queue: 100, ..limits(4, 3 * POSITIONS, 64) });
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut tickets = Vec::new();
    for _ in 0..60 {
        let request = Request::new(ids(random.random_range(1..90)), random.random_range(1..30));
        let wanted = request.max_new_tokens;
        let ticket = engine.submit(request).unwrap();
        match random.random_range(0..3) {
            0 => drop(ticket),
            1 => {
                ticket.recv();
                drop(ticket);
            }
            _ => tickets.push((ticket, wanted)),
        }
    }
    for (ticket, wanted) in tickets {
        assert_eq!(all(&ticket).len(), wanted + 1);
    }
    engine.drain();
    assert_adds_up(engine.stats());
}
