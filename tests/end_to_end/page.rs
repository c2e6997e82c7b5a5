//! The page of `serve`, clicked through in a headless Chromium as a person would, by mouse and by keys.

use serde_json::{Value, json};

use super::browser::Browser;
use super::report::browser;
use super::server::Server;
use super::*;

/// Cards that are complete.
const DONE: &str = "asking === null && document.querySelectorAll('article').length > 0";

/// How far text and ground are apart, after WCAG 2, for the elements of a selector; the least of all.
const CONTRAST: &str = "(selector => {
    const light = color => {
        const canvas = document.createElement('canvas').getContext('2d');
        canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map(value => value / 255)
            .map(value => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b;
    };
    // What lies under an element, painted from the page upwards.
    const ground = element => {
        const layers = [];
        for (let at = element; at; at = at.parentElement) layers.unshift(getComputedStyle(at).backgroundColor);
        const canvas = document.createElement('canvas').getContext('2d');
        for (const layer of layers) { canvas.fillStyle = layer; canvas.fillRect(0, 0, 1, 1); }
        const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data;
        return `rgb(${r}, ${g}, ${b})`;
    };
    return Math.min(...[...document.querySelectorAll(selector)].map(element => {
        const pair = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
        return (pair[0] + .05) / (pair[1] + .05);
    }));
})";

fn opened(server: &Server) -> Option<Browser> {
    let mut browser = Browser::open(browser()?, &format!("http://{}/", server.address));
    browser.wait(
        "document.querySelectorAll('#models input').length > 0 || !document.querySelector('#locked').hidden",
    );
    Some(browser)
}

fn both() -> Server {
    Server::start(&["--model", &fixture("window"), "--adapter", &format!("tuned={}", fixture("adapter_qv"))])
}

#[test]
fn a_question_is_answered_side_by_side_token_by_token() {
    let server = both();
    let Some(mut browser) = opened(&server) else { return };
    browser.write("#question", "What is rest?");
    browser.click("summary");
    browser.write("#max_tokens", "24");
    browser.click("#ask");
    browser.wait(DONE);
    for (number, model) in ["window", "tuned"].into_iter().enumerate() {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "What is rest?"}],
                          "max_tokens": 24, "temperature": 0, "logprobs": true, "top_logprobs": 3});
        let expected = server.post("/v1/chat/completions", &body).json();
        let expected = &expected["choices"][0];
        let card = format!("document.querySelectorAll('article')[{number}]");
        assert_eq!(browser.look(&format!("{card}.querySelector('h2').textContent")), model);
        let answer = browser.look(&format!("{card}.querySelector('.answer').textContent"));
        assert_eq!(answer, expected["message"]["content"]);
        let tokens = expected["logprobs"]["content"].as_array().unwrap();
        let rows = browser
            .look(&format!("[...{card}.querySelectorAll('tbody tr')].map(row => row.cells[1].textContent)"));
        let shown = |token: &Value| format!("{:.1} %", 100.0 * token["logprob"].as_f64().unwrap().exp());
        assert_eq!(rows, json!(tokens.iter().map(shown).collect::<Vec<_>>()));
        let shades = browser.look(&format!(
            "[...{card}.querySelectorAll('.answer span')].map(span => Number(span.style.getPropertyValue('--unlikely')))"
        ));
        let shades: Vec<f64> = serde_json::from_value(shades).unwrap();
        assert!(shades.len() > 5 && shades.iter().all(|shade| (0.0..=1.0).contains(shade)), "{shades:?}");
        assert!(shades.iter().any(|shade| *shade != shades[0]), "the shade is the likelihood's: {shades:?}");
        let facts = browser.look(&format!("{card}.querySelector('.facts').textContent"));
        assert!(facts.as_str().unwrap().starts_with(&format!("{} tokens in ", tokens.len())), "{facts}");
    }
    let said = browser.look("document.querySelector('#status').textContent");
    assert!(
        said.as_str().unwrap().contains("window: 24 tokens") && said.as_str().unwrap().contains("tuned: "),
        "{said}"
    );
    browser.picture("answers.png");
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[test]
fn a_refusal_is_shown_where_the_answer_would_be() {
    let server = both();
    let Some(mut browser) = opened(&server) else { return };
    browser.click("summary");
    browser.write("#max_tokens", "500");
    browser.click("#ask");
    browser.wait(DONE);
    let alerts = browser
        .look("[...document.querySelectorAll('.bad')].map(alert => alert.hidden ? '' : alert.textContent)");
    for alert in alerts.as_array().unwrap() {
        assert!(alert.as_str().unwrap().contains("128 positions"), "{alerts}");
    }
    browser.write("#question", " ");
    browser.click("#ask");
    browser.wait("document.querySelector('#status').textContent === 'Write a question first.'");
    assert_eq!(browser.look("document.activeElement.id"), "question");
}

#[test]
fn keys_alone_do_everything_and_each_field_has_a_name() {
    let server = both();
    let Some(mut browser) = opened(&server) else { return };
    let mut reached = Vec::new();
    for _ in 0..6 {
        browser.press("Tab", 9, 0);
        reached.push(browser.look(
            "document.activeElement.id || document.activeElement.value || document.activeElement.tagName",
        ));
    }
    assert_eq!(
        json!(reached),
        json!(["question", "window", "tuned", "SUMMARY", "ask", "BODY"]),
        "Stop can do nothing yet"
    );
    browser.look("document.querySelector('#models input').focus()");
    browser.press(" ", 32, 0);
    browser.look("document.querySelector('#question').focus()");
    browser.press("Enter", 13, 2);
    browser.wait(DONE);
    assert_eq!(
        browser.look("[...document.querySelectorAll('article h2')].map(title => title.textContent)"),
        json!(["tuned"])
    );
    browser.look("document.querySelector('article summary').focus()");
    browser.press("Enter", 13, 0);
    browser.wait("document.querySelector('article details').open");

    browser.look("document.querySelector('form details').open = true");
    let tree = browser.call("Accessibility.getFullAXTree", json!({}));
    let nodes = tree["nodes"].as_array().unwrap();
    let role = |node: &Value| node["role"]["value"].as_str().unwrap_or_default().to_string();
    let controls =
        ["textbox", "checkbox", "button", "spinbutton", "article", "status", "note", "group", "region"];
    let found: Vec<String> =
        nodes.iter().map(role).filter(|role| controls.contains(&role.as_str())).collect();
    for expected in ["textbox", "checkbox", "button", "spinbutton", "article", "status", "note"] {
        assert!(found.iter().any(|role| role == expected), "{expected}: {found:?}");
    }
    for node in nodes {
        let named = ["textbox", "checkbox", "button", "spinbutton", "article"].contains(&role(node).as_str());
        assert!(!named || node["name"]["value"].as_str().is_some_and(|name| !name.is_empty()), "{node}");
    }
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[test]
fn it_is_readable_in_light_and_dark_and_on_a_phone() {
    let server = both();
    let Some(mut browser) = opened(&server) else { return };
    browser.click("#ask");
    browser.wait(DONE);
    browser.look("document.querySelectorAll('details').forEach(part => part.open = true)");
    for scheme in ["light", "dark"] {
        browser.scheme(scheme);
        for selector in
            ["h1", "h2", ".hint", ".facts", ".answer span", ".shade", "[role=note]", "button", "td", "label"]
        {
            let contrast = browser.look(&format!("{CONTRAST}({selector:?})")).as_f64().unwrap();
            assert!(contrast >= 4.5, "{scheme} {selector}: {contrast}");
        }
        browser.size(1200, 900);
        browser.picture(&format!("{scheme}.png"));
        browser.size(360, 740);
        assert!(browser.look("document.documentElement.scrollWidth").as_u64().unwrap() <= 360, "{scheme}");
        browser.picture(&format!("phone-{scheme}.png"));
    }
}

#[test]
fn stop_stops_and_frees_the_places() {
    let model = super::serve::slow_model().display().to_string();
    let server = Server::start(&["--model", &model]);
    let Some(mut browser) = opened(&server) else { return };
    browser.click("summary");
    browser.write("#max_tokens", "4000");
    // Without its end the answer goes on.
    browser.look("window.request = (real => question => ({ ...real(question), ignore_eos: true }))(request)");
    browser.click("#ask");
    browser.wait("document.querySelectorAll('.answer span').length > 3");
    assert_eq!(browser.look("document.querySelector('article').getAttribute('aria-busy')"), "true");
    browser.click("#stop");
    browser.wait(DONE);
    assert_eq!(browser.look("document.querySelector('.facts').textContent.endsWith('stopped')"), true);
    assert_eq!(browser.look("document.activeElement.id"), "ask");
    server.wait("gptneo_sequences_running", 0.0);
}

#[test]
fn a_server_with_a_key_asks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "a-secret-key").unwrap();
    let server =
        Server::start(&["--model", &fixture("window"), "--api-key-file", &file.display().to_string()]);
    let Some(mut browser) = opened(&server) else { return };
    assert_eq!(browser.look("document.activeElement.id"), "key");
    browser.write("#key", "a-secret-key");
    browser.press("Tab", 9, 0);
    browser.wait("document.querySelectorAll('#models input').length === 1");
    browser.click("#ask");
    browser.wait(DONE);
    assert_eq!(browser.look("document.querySelector('.bad').hidden"), true);
}
