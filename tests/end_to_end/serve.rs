//! `serve` and `chat`: the program's answers over HTTP are those of `generate`, its refusals have OpenAI's shape, whoever
//! leaves frees their place, and a signal ends it whole.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::server::Server;
use super::*;

const QUESTION: &str = "Instruction: Answer this question truthfully\nQuestion: What is rest?\nResponse:";

/// The base and an adapter.
fn both() -> Server {
    let (model, adapter) = (fixture("window"), format!("tuned={}", fixture("adapter_qv")));
    Server::start(&["--model", &model, "--adapter", &adapter])
}

/// A model that takes its time: many positions, and no end.
pub(crate) fn slow_model() -> &'static Path {
    static MODEL: OnceLock<PathBuf> = OnceLock::new();
    MODEL.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("slow-model");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut config = json(Path::new(&fixture("window")).join("config.json"));
        config["max_position_embeddings"] = 4096.into();
        config["hidden_size"] = 64.into();
        let file = folder.join("config.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let (file, model) = (file.display().to_string(), folder.join("model"));
        let (tokenizer, output) = (fixture("window"), model.display().to_string());
        good(&["init", "--config", &file, "--tokenizer", &tokenizer, "--output", &output]);
        model
    })
}

fn slow(arguments: &[&str]) -> Server {
    let model = slow_model().display().to_string();
    Server::start(&[&["--model", model.as_str()], arguments].concat())
}

/// A request that goes on for long.
fn long() -> Value {
    json!({"prompt": "a", "max_tokens": 4000, "ignore_eos": true, "temperature": 0, "stream": true})
}

fn texts(events: &[Value], index: u64) -> String {
    let choices = events.iter().flat_map(|event| event["choices"].as_array().unwrap());
    let own = choices.filter(|choice| choice["index"] == index);
    own.map(|choice| choice["text"].as_str().unwrap().to_string()).collect()
}

#[test]
fn answers_are_those_of_generate_for_the_base_and_for_the_adapter() {
    let server = both();
    assert!(server.line.ends_with("answers as window, tuned"), "{}", server.line);
    let (window, adapter) = (fixture("window"), fixture("adapter_qv"));
    for (model, more) in [("window", &[][..]), ("tuned", &["--adapter", adapter.as_str()])] {
        let arguments =
            ["generate", "--model", &window, "--prompt", QUESTION, "--max-new-tokens", "12", "--json"];
        let expected: Value = serde_json::from_str(&good(&[&arguments, more].concat())).unwrap();
        let body =
            json!({"model": model, "prompt": QUESTION, "max_tokens": 12, "temperature": 0, "logprobs": 2});
        let found = server.post("/v1/completions", &body).json();
        assert_eq!(found["choices"][0]["text"], expected["text"], "{model}");
        assert_eq!(found["choices"][0]["finish_reason"], expected["finish_reason"]);
        assert_eq!(found["model"], model);
        assert_eq!(found["usage"]["completion_tokens"], expected["new_ids"].as_array().unwrap().len());
        // The same prompt as tokens, and as a question.
        let ids =
            json!({"model": model, "prompt": expected["prompt_ids"], "max_tokens": 12, "temperature": 0});
        assert_eq!(server.post("/v1/completions", &ids).json()["choices"][0]["text"], expected["text"]);
        let chat = json!({"model": model, "messages": [{"role": "user", "content": "What is rest?"}],
                          "max_tokens": 12, "temperature": 0});
        let answer = server.post("/v1/chat/completions", &chat).json();
        let message = &answer["choices"][0]["message"];
        assert_eq!(message["content"], expected["text"].as_str().unwrap().trim_start(), "{model}");
    }
    let list = server.get("/v1/models").json();
    let names: Vec<&str> =
        list["data"].as_array().unwrap().iter().map(|card| card["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["window", "tuned"]);
    assert_eq!(server.get("/v1/models/tuned").json()["parent"], "window");
}

#[test]
fn a_prompt_is_scored_token_by_token() {
    let server = both();
    let body = json!({"prompt": [QUESTION, "naïve 感冒"], "max_tokens": 0, "echo": true, "logprobs": 3});
    let found = server.post("/v1/completions", &body).json();
    for (choice, prompt) in found["choices"].as_array().unwrap().iter().zip([QUESTION, "naïve 感冒"]) {
        assert_eq!(choice["text"], prompt);
        assert_eq!(choice["finish_reason"], "length");
        let of = |name: &str| choice["logprobs"][name].as_array().unwrap().clone();
        let (tokens, values, top, offsets) =
            (of("tokens"), of("token_logprobs"), of("top_logprobs"), of("text_offset"));
        assert!(values[0].is_null() && top[0].is_null());
        assert_eq!([values.len(), top.len(), offsets.len()], [tokens.len(); 3]);
        let letters: Vec<char> = prompt.chars().collect();
        for (number, token) in tokens.iter().enumerate() {
            let (token, offset) = (token.as_str().unwrap(), offsets[number].as_u64().unwrap() as usize);
            if !token.starts_with("bytes:") {
                let there: String = letters[offset..].iter().take(token.chars().count()).collect();
                assert_eq!(there, token);
            }
            if number > 0 {
                let likeliest = top[number].as_object().unwrap();
                assert!((3..=4).contains(&likeliest.len()));
                assert_eq!(likeliest[token], values[number], "the token is among them, with its own number");
                let best = likeliest.values().map(|value| value.as_f64().unwrap()).fold(f64::MIN, f64::max);
                assert!(values[number].as_f64().unwrap() <= best);
            }
        }
    }
    assert_eq!(found["usage"]["completion_tokens"], 0);
}

#[test]
fn pieces_make_the_whole_answer_and_each_answer_has_its_own_seed() {
    let server = both();
    let mut body = json!({"prompt": ["a virus", "a skin"], "n": 2, "max_tokens": 20, "seed": 5, "logprobs": 1,
                          "echo": true, "ignore_eos": true});
    let whole = server.post("/v1/completions", &body).json();
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    let events = server.post("/v1/completions", &body).events();
    let (last, pieces) = events.split_last().unwrap();
    assert_eq!(last["usage"], whole["usage"]);
    assert!(pieces.len() > 40, "{} pieces", pieces.len());
    for (index, choice) in whole["choices"].as_array().unwrap().iter().enumerate() {
        assert_eq!(choice["text"], texts(pieces, index as u64));
        let of_choice = pieces.iter().filter(|event| event["choices"][0]["index"] == index);
        let joined = |name: &str| -> Vec<Value> {
            let lists = of_choice.clone().map(|event| &event["choices"][0]["logprobs"][name]);
            lists.flat_map(|list| list.as_array().unwrap().clone()).collect()
        };
        for name in ["tokens", "token_logprobs", "text_offset"] {
            assert_eq!(choice["logprobs"][name], json!(joined(name)), "{name}");
        }
    }
    let text = |index: usize| whole["choices"][index]["text"].clone();
    assert!(text(0) != text(1) && text(2) != text(3));
    let twice = json!({"prompt": ["a virus", "a virus"], "max_tokens": 20, "ignore_eos": true});
    let choices = server.post("/v1/completions", &twice).json()["choices"].clone();
    assert_ne!(choices[0]["text"], choices[1]["text"], "without a seed, the same prompt draws apart");
}

#[test]
fn a_stop_text_ends_the_answer_wherever_tokens_are_cut() {
    let server = both();
    let body = json!({"prompt": QUESTION, "max_tokens": 40, "temperature": 0, "ignore_eos": true});
    let whole =
        server.post("/v1/completions", &body).json()["choices"][0]["text"].as_str().unwrap().to_string();
    let letters: Vec<char> = whole.chars().collect();
    for start in (1..letters.len() - 4).step_by(3) {
        let stop: String = letters[start..start + 3].iter().collect();
        let left = &whole[..whole.find(&stop).unwrap()];
        let mut body = body.clone();
        body["stop"] = json!([stop, "\u{1}never"]);
        let choice = &server.post("/v1/completions", &body).json()["choices"][0];
        assert_eq!(
            (choice["text"].as_str(), choice["finish_reason"].as_str()),
            (Some(left), Some("stop")),
            "{stop:?}"
        );
        body["stream"] = true.into();
        assert_eq!(texts(&server.post("/v1/completions", &body).events(), 0), left, "{stop:?}");
    }
}

#[test]
fn what_cannot_be_answered_is_refused_in_openais_shape() {
    let server = both();
    let completions = "/v1/completions";
    for (body, status, param, word) in [
        (json!({"model": "gpt-4", "prompt": "a"}), 404, Some("model"), "only: window, tuned"),
        (json!({"prompt": "a", "suffix": "b"}), 400, Some("suffix"), "not supported"),
        (json!({"prompt": "a", "max_tokens": 500}), 400, Some("max_tokens"), "128 positions"),
        (json!({"prompt": vec![1; 129]}), 400, Some("prompt"), "129 tokens"),
        (json!({"prompt": vec![1; 128]}), 400, Some("prompt"), "no room for an answer"),
        (json!({"prompt": [400]}), 400, Some("prompt"), "below 400"),
        (json!({"prompt": ""}), 400, Some("prompt"), "empty"),
        (json!({"prompt": ["a"], "n": 100}), 400, Some("n"), "at most 80"),
        (json!({"prompt": []}), 400, Some("prompt"), "empty"),
        (json!({"prompt": "a", "temperature": "hot"}), 400, Some("temperature"), "cannot be read"),
    ] {
        let reply = server.post(completions, &body);
        let (message, found) = reply.error();
        assert_eq!((reply.status, found.as_deref()), (status, param), "{message}");
        assert!(message.contains(word), "{word}: {message}");
    }
    let turns = json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
                                    {"role": "user", "content": "c"}]});
    let (message, param) = server.post("/v1/chat/completions", &turns).error();
    assert!(message.contains("one question at a time") && param.as_deref() == Some("messages"), "{message}");
    let many = json!({"messages": vec![json!({"role": "user", "content": "a"}); 129]});
    let (message, param) = server.post("/v1/chat/completions", &many).error();
    assert!(message.contains("129 messages") && param.as_deref() == Some("messages"), "{message}");

    let json_type = [("Content-Type", "application/json")];
    assert_eq!(server.ask("POST", completions, &json_type, "{").status, 400);
    assert_eq!(server.ask("POST", completions, &[("Content-Type", "text/plain")], "{}").status, 415);
    let wrong_method = server.get(completions);
    assert_eq!((wrong_method.status, wrong_method.header("allow")), (405, Some("POST")));
    assert_eq!(server.get("/v1/nothing").status, 404);
    assert_eq!(server.get("/v1/models/none").status, 404);
    let large = format!("{{\"prompt\": \"{}\"}}", "a".repeat(5 << 20));
    assert_eq!(server.ask("POST", completions, &json_type, &large).status, 413);
    for reply in [server.get("/v1/nothing"), wrong_method] {
        reply.error();
    }
    assert_eq!(server.get("/health").json(), json!({"status": "ok"}));
    assert!(server.get("/v1/models").header("access-control-allow-origin").is_none());
}

#[test]
fn tokens_are_those_of_the_tokenizer() {
    let server = both();
    let found = server.post("/tokenize", &json!({"prompt": "a virus", "add_special_tokens": false})).json();
    assert_eq!(found["count"], found["tokens"].as_array().unwrap().len());
    assert_eq!(found["max_model_len"], 128);
    let back = server.post("/detokenize", &json!({"tokens": found["tokens"]})).json();
    assert_eq!(back["prompt"], "a virus");
    let info = server.get("/tokenizer_info").json();
    assert_eq!((&info["eos_token"], &info["eos_token_id"]), (&json!("<|endoftext|>"), &json!(399)));
    assert_eq!(server.post("/detokenize", &json!({"tokens": [400]})).status, 400);
}

#[test]
fn a_key_opens_all_but_the_page_and_is_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "a-secret-key\n").unwrap();
    let server =
        Server::start(&["--model", &fixture("window"), "--api-key-file", &file.display().to_string()]);
    let ask = |key: &str| server.ask("GET", "/v1/models", &[("Authorization", key)], "").status;
    assert_eq!((ask("Bearer a-secret-key"), ask("Bearer a-secret-kez"), ask("")), (200, 401, 401));
    let refused = server.post("/v1/completions", &json!({"prompt": "a"}));
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    for open in ["/", "/health", "/ready", "/openapi.json"] {
        assert_eq!(server.get(open).status, 200, "{open}");
    }
    server.signal("-TERM");
    let (code, said) = server.ended();
    assert_eq!(code, Some(0));
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn other_sites_pages_may_ask_where_that_is_asked_for() {
    let server = Server::start(&["--model", &fixture("window"), "--cors", "https://example.org"]);
    let allowed = |origin: &str| {
        let reply = server.ask("GET", "/v1/models", &[("Origin", origin)], "");
        reply.header("access-control-allow-origin").map(String::from)
    };
    assert_eq!(allowed("https://example.org").as_deref(), Some("https://example.org"));
    assert_eq!(allowed("https://example.com"), None);
}

#[test]
fn whoever_leaves_frees_their_place_and_the_numbers_add_up() {
    let server = slow(&["--max-batch", "2", "--max-queue", "2"]);
    let mut leaving: Vec<_> = (0..2).map(|_| server.stream(&long())).collect();
    // Two run; two more wait, and leave before their turn.
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let headers = [("Content-Type", "application/json")];
            server.open("POST", "/v1/completions", &headers, &long().to_string())
        })
        .collect();
    server.wait("gptneo_sequences_queued", 2.0);
    let refused = server.post("/v1/completions", &json!({"prompt": "a"}));
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{}", refused.body);
    drop(waiting);
    server.wait("gptneo_sequences_queued", 0.0);
    leaving[0].line(|line| line.starts_with("data: "));
    drop(leaving);
    server.wait("gptneo_sequences_running", 0.0);
    server.wait("gptneo_http_requests_in_flight", 1.0); // the one that asks
    assert_eq!(server.metric("gptneo_cache_tokens_free"), server.metric("gptneo_cache_tokens"));
    let ended = |reason: &str| server.metric(&format!("gptneo_sequences_ended_total{{reason=\"{reason}\"}}"));
    assert_eq!((ended("cancelled"), ended("length"), ended("end"), ended("failed")), (4.0, 0.0, 0.0, 0.0));
    assert_eq!(server.metric("gptneo_sequences_accepted_total"), 4.0);
    assert_eq!(server.metric("gptneo_sequences_refused_total"), 1.0);
    // The places are free again.
    assert_eq!(server.post("/v1/completions", &json!({"prompt": "a", "n": 2})).status, 200);
}

#[test]
fn a_signal_lets_what_was_begun_end_and_takes_nothing_new() {
    let mut server = slow(&[]);
    let mut body = long();
    body["max_tokens"] = 1500.into();
    let begun = server.stream(&body);
    let idle = std::net::TcpStream::connect(&server.address).unwrap();
    server.signal("-TERM");
    std::thread::sleep(Duration::from_millis(100));
    assert!(server.runs(), "it waits for what was begun");
    assert!(std::net::TcpStream::connect(&server.address).is_err(), "it takes nothing new");
    let mut begun = begun;
    begun.line(|line| line.contains("\"finish_reason\":\"length\""));
    begun.line(|line| line == "data: [DONE]\n");
    let (code, said) = server.ended();
    assert_eq!((code, said.trim()), (Some(0), "finishing what was begun; interrupt again to stop at once"));
    drop(idle);
}

#[test]
fn what_cannot_be_served_is_told_in_a_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let model = fixture("window");
    let (code, said) = bad(&["serve", "--model", &model, "--port", &port]);
    assert_eq!(code, 1);
    assert!(said.contains(&format!("port {port}")) && said.contains("--port"), "{said}");
    let (code, said) = bad(&["serve", "--model", &model, "--port", "0", "--adapter", "a=/nowhere"]);
    assert_eq!(code, 1);
    assert!(said.contains("/nowhere"), "{said}");
    for (arguments, word) in [
        (&["--adapter", "window=/nowhere"][..], "called \"window\""),
        (&["--adapter", "/nowhere"], "NAME=DIR"),
        (&["--cors", "example.org"], "no origin"),
        (&["--weights", "f16"], "f16"),
        (&["--run", "runs/none"], "--run"),
    ] {
        let (code, said) = bad(&[&["serve", "--model", &model, "--port", "0"], arguments].concat());
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(word), "{word}: {said}");
        if code == 1 {
            assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        }
    }
    let (code, said) = bad(&["serve", "--run", "runs/none"]);
    assert_eq!(code, 2);
    assert!(said.contains("no run in runs/none"), "{said}");
}

#[test]
fn a_chat_answers_line_by_line() {
    let (model, adapter) = (fixture("window"), format!("tuned={}", fixture("adapter_qv")));
    let mut command = program(&["chat", "--model", &model, "--adapter", &adapter, "--max-new-tokens", "12"]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let lines = "What is rest?\n/adapter window\nWhat is rest?\n/adapter none\n/seed 3\n\n/history\n/quit\nnever asked\n";
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let ask = |more: &[&str]| {
        let question =
            ["generate", "--model", &model, "--question", "What is rest?", "--max-new-tokens", "12"];
        good(&[&question, more].concat()).trim_start().to_string()
    };
    let expected = ask(&["--adapter", &fixture("adapter_qv")]) + &ask(&[]);
    assert_eq!(text(&output.stdout), expected);
    let said = text(&output.stderr);
    for word in [
        "tuned answers",
        "window answers",
        "no \"none\" here, only: window, tuned",
        "the seed is 3",
        "  2  What is rest?",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
}
