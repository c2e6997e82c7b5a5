//! Who answers in `serve`: runs and folders, each with the template and the end that its model was tuned with.

use serde_json::json;

use super::folders::{copy, write};
use super::pipeline::whole_way;
use super::server::Server;
use super::*;

#[test]
fn a_finished_run_answers_and_its_template_goes_with_its_weights() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("first");
    let template = "Q: {input}\\nA: {output}";
    good(&borrowed(&whole_way(&run, &["--prompt-template", template])));
    for weights in ["adapter", "merged"] {
        let read = |name: &str| std::fs::read_to_string(run.join(weights).join(name)).unwrap();
        assert_eq!(read("prompt_template.txt"), "Q: {input}\nA: {output}", "{weights}");
        assert!(read("chat_template.jinja").contains("'\\nA:'"), "{weights}");
    }
    let adapter = format!("first={}", run.display());
    let of_run = Server::start(&["--run", &run.display().to_string()]);
    let by_adapter = Server::start(&["--model", &fixture("window"), "--adapter", &adapter]);
    let both = [&of_run, &by_adapter].map(|server| ["window", "first"].map(|model| (server, model)));
    for (server, model) in both.into_iter().flatten() {
        assert!(server.line.ends_with("answers as window, first"), "{}", server.line);
        let chat = json!({"model": model, "messages": [{"role": "user", "content": "Why?"}], "max_tokens": 8,
                          "temperature": 0, "ignore_eos": true});
        let plain = json!({"model": model, "prompt": "Q: Why?\nA:", "max_tokens": 8, "temperature": 0,
                           "ignore_eos": true});
        let answer =
            server.post("/v1/chat/completions", &chat).json()["choices"][0]["message"]["content"].clone();
        let text = server.post("/v1/completions", &plain).json()["choices"][0]["text"].clone();
        assert_eq!(answer.as_str().unwrap(), text.as_str().unwrap().trim_start(), "{model}");
    }
    // A run that is called as its base.
    let renamed = folder.path().join("window");
    std::fs::rename(&run, &renamed).unwrap();
    let server = Server::start(&["--run", &renamed.display().to_string()]);
    assert!(server.line.ends_with("answers as window-base, window"), "{}", server.line);
}

#[test]
fn an_answer_ends_where_its_model_says() {
    let folder = tempfile::tempdir().unwrap();
    let model = copy("window", folder.path());
    let start = || Server::start(&["--model", &model]);
    let body = json!({"prompt": [5, 6], "max_tokens": 5, "temperature": 0, "logprobs": 0});
    let first = start().post("/v1/completions", &body).json()["choices"][0]["logprobs"]["tokens"][0].clone();
    let token = start().post("/tokenize", &json!({"prompt": first})).json()["tokens"][0].clone();
    let ends = json!({"eos_token_id": [0, token]});
    write(&model, "generation_config.json", ends);
    let found = start().post("/v1/completions", &body).json();
    assert_eq!(found["choices"][0]["finish_reason"], "stop");
    assert_eq!(found["choices"][0]["text"], "");
}
