#![allow(clippy::unwrap_used)]
use gptneo_datasets::{PromptTemplate, Record, Turn, Turns};

use super::*;

const END: &str = "<|endoftext|>";

fn template(text: &str) -> (PromptTemplate, ChatTemplate) {
    let template: PromptTemplate = text.parse().unwrap();
    let chat = ChatTemplate::new(&template.chat_template(Turns::One), END).unwrap();
    (template, chat)
}

/// What the template says of messages that it refuses.
fn refused(chat: &ChatTemplate, messages: &[Message]) -> String {
    match chat.render(messages).unwrap_err() {
        RenderError::Refused(reason) => reason,
        RenderError::Failed(reason) => panic!("{reason}"),
    }
}

fn message(role: &'static str, content: &str) -> Message {
    Message { role, content: content.into(), name: None }
}

#[test]
fn a_question_is_rendered_as_the_model_was_tuned() {
    for text in [
        PromptTemplate::default().as_str(),
        "{instruction}\\n{input} {output}",
        "It's \\{x\\n{input}\\n\\nA: {output}",
        "{% {input} %} {{ . }} {# {output}",
        "Instruction: {instruction}\nQ: {input}\n\t {output}",
    ] {
        let (template, chat) = template(text);
        for question in ["Why?", "it's {{ 1 }}\n%}\\n", "naïve 感冒 \t\n"] {
            let prompt = template.question_prompt(question, "Answer this question truthfully");
            assert_eq!(chat.render(&[Message::question(question)]).unwrap(), prompt, "{text:?}");
            let record = Record { output: "Because.".into(), ..Record::new(question, "") };
            let record = Record { instruction: "Be brief".into(), ..record };
            if template.uses_instruction() {
                let messages = [message("system", "Be brief"), message("user", question)];
                assert_eq!(chat.render(&messages).unwrap(), template.prompt(&record), "{text:?}");
                let answered = [&messages[..], &[message("assistant", "Because.")]].concat();
                assert_eq!(chat.render(&answered).unwrap(), template.text(&record) + END, "{text:?}");
            }
        }
    }
}

#[test]
fn a_conversation_is_rendered_as_the_model_was_tuned() {
    for text in [
        PromptTemplate::default().as_str(),
        "{instruction}\n\n{input} {output}",
        "{input}\n{instruction}\n\nA: {output}",
        "Q: {input}{output}",
    ] {
        let template: PromptTemplate = text.parse().unwrap();
        let chat = ChatTemplate::new(&template.chat_template(Turns::Several), END).unwrap();
        let turn = |input: &str, output: &str| Turn { input: input.into(), output: output.into() };
        let further = vec![turn("And 'flu'?", "Rest."), turn("naïve 感冒", "")];
        let record = Record { further, ..Record::new("A cold?", "Tea.") };
        let mut messages = vec![message("user", "A cold?")];
        assert_eq!(chat.render(&messages).unwrap(), template.prompts(&record)[0], "{text:?}");
        messages.extend([message("assistant", "Tea."), message("user", "\nAnd 'flu'?\n")]);
        let whole = template.turns(&record);
        let asked = |turns: usize| {
            let before: String = whole[..turns].iter().map(|turn| turn.to_string() + END).collect();
            before + &template.prompts(&record)[turns]
        };
        assert_eq!(chat.render(&messages).unwrap(), asked(1), "{text:?}");
        messages.extend([message("assistant", "Rest. "), message("user", "naïve 感冒")]);
        assert_eq!(chat.render(&messages).unwrap(), asked(2), "{text:?}");
        messages.push(message("user", "x"));
        assert!(refused(&chat, &messages).contains("in turn"));
    }
}

#[test]
fn what_the_model_was_not_tuned_for_is_refused() {
    let (_, chat) = template(PromptTemplate::default().as_str());
    let (user, assistant) = (message("user", "a"), message("assistant", "b"));
    let turns = [user.clone(), assistant.clone(), user.clone()];
    assert!(refused(&chat, &turns).contains("one question at a time"));
    assert!(refused(&chat, &[user.clone(), user.clone()]).contains("one question"));
    assert!(refused(&chat, &[]).contains("expected a question"));
    let blank = [message("system", " \n"), user.clone()];
    assert_eq!(chat.render(&blank).unwrap(), chat.render(&blank[1..]).unwrap());
    assert!(refused(&chat, &[assistant]).contains("expected a question"));
    let (_, chat) = template("Q: {input}\nA: {output}");
    let refused = refused(&chat, &[message("system", "a"), user]);
    assert!(refused.contains("without instructions"), "{refused}");
}

#[test]
fn a_template_that_nests_or_runs_on_is_an_error() {
    let half = LONGEST / 2 - 10;
    for nested in [
        format!("{{{{ {} 1 }}}}", "-".repeat(2 * half)),
        format!("{{{{ a{} }}}}", ".a".repeat(half)),
        format!("{{{{ {} a }}}}", "a~".repeat(half / 8)),
        format!("{{{{ {} a }}}}", "not ".repeat(half / 2)),
        format!("{{{{ {}a }}}}", "a if a else ".repeat(half / 6)),
        format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(half / 6 - 10)),
    ] {
        if let Ok(template) = ChatTemplate::new(&nested, END) {
            let _ = template.render(&[Message::question("a")]);
        }
    }
    let said = |source: &str| match ChatTemplate::new(source, END) {
        Ok(template) => refused(&template, &[Message::question("a")]),
        Err(error) => error.to_string(),
    };
    let thousand = "{% for i in range(1000) %}";
    let endless = format!("{}{}", thousand.repeat(3), "{% endfor %}".repeat(3));
    assert!(said(&endless).contains("more than 1000000 steps"), "{}", said(&endless));
    let wide = format!("{thousand}{{{{ 'x' * 100000 }}}}{{% endfor %}}");
    assert!(said(&wide).contains("more than 1048576 bytes"), "{}", said(&wide));
    let nest = format!("{{% set n = namespace(v=[]) %}}{thousand}{thousand}{{% set n.v = [n.v] %}}");
    assert!(said(&format!("{nest}{{% endfor %}}{{% endfor %}}")).contains("steps"));
    assert!(said(&"x".repeat(LONGEST + 1)).contains("at most 32768"));
    let unknown = format!("{{% {} %}}", "x".repeat(5000));
    assert!(said(&unknown).starts_with("line 1: syntax error: ") && said(&unknown).len() < 200);
    assert!(said("{{ [1] * 100000000 }}").contains("more than 2 s"));
    assert!(said("{{ messages | tojson(indent=99999999) }}").contains("an indentation of 99999999"));
    for wide in ["{{ '%0999999999d' | format(1) }}", "{{ '{:0999999999}'.format(1) }}"] {
        assert!(said(wide).contains("has 10 digits"), "{}", said(wide));
    }
    let plain = ChatTemplate::new("{{ 'Call 8005550123: %05.1f' | format(2) }}", END).unwrap();
    assert_eq!(plain.render(&[]).unwrap(), "Call 8005550123: 002.0");
    assert!(said("{{ raise_exception('a\\u001b[2J') }}").contains("a\\u{1b}[2J"));
}

#[test]
fn a_folder_has_its_template_in_a_file_or_in_its_settings() {
    let folder = tempfile::tempdir().unwrap();
    let find = || ChatTemplate::of_folder(folder.path(), END);
    assert!(find().unwrap().is_none());
    let settings = r#"{"chat_template": "{% for m in messages %}{{ m.role.upper() }}{% endfor %}"}"#;
    std::fs::write(folder.path().join("tokenizer_config.json"), settings).unwrap();
    let asked = [message("user", "a"), message("assistant", "b"), message("user", "c")];
    assert_eq!(find().unwrap().unwrap().render(&asked).unwrap(), "USERASSISTANTUSER");
    std::fs::write(folder.path().join(CHAT_TEMPLATE_FILE), "{{ messages[0].content }}").unwrap();
    assert_eq!(find().unwrap().unwrap().render(&asked).unwrap(), "a");
    std::fs::write(folder.path().join(CHAT_TEMPLATE_FILE), "{{ messages[").unwrap();
    assert!(format!("{:#}", find().unwrap_err()).contains("is no chat template"));
}
