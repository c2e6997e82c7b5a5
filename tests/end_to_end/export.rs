//! `export`, and `run --export`: what is written, and what is refused.

use std::path::Path;

use super::folders::{copy, write};
use super::*;

fn export(more: &[&str]) -> Vec<String> {
    let model = fixture("window");
    [&["export", "--model", &model][..], more].concat().into_iter().map(String::from).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_model_with_its_adapter_is_written_in_both_forms_with_proof() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (adapter, records) = (fixture("adapter_qv"), fixture("records.json"));
    let gguf = ["--format", "gguf", "--output", &path("qv.gguf"), "--modelfile", "--data", &records];
    let report = good(&borrowed(&export(&[&gguf[..], &["--adapter", &adapter, "--json"]].concat())));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["holds"], &report["positions"]), (&true.into(), &8.into()), "{report}");
    assert_eq!(report["made_from"], "window with the adapter adapter_qv");
    assert!(
        report["logits"]["largest_difference"].as_f64() < report["logits"]["tolerance"].as_f64(),
        "{report}"
    );
    assert_eq!(report["perplexity"]["text"], records);
    assert_eq!(names(folder.path()), ["Modelfile", "qv.gguf"]);
    let modelfile = std::fs::read_to_string(path("Modelfile")).unwrap();
    assert!(modelfile.contains("FROM ./qv.gguf\n") && modelfile.contains("num_ctx 8\n"), "{modelfile}");

    // More positions than are exact: the page says what differs.
    let gpt2 = ["--format", "gpt2", "--output", &path("gpt2"), "--max-positions", "40", "--name", "Cards"];
    let said = good(&borrowed(&export(&gpt2)));
    assert!(said.contains("From there to 40 it is not"), "{said}");
    let expected = [
        "README.md",
        "chat_template.jinja",
        "config.json",
        "export_proof.json",
        "generation_config.json",
        "merges.txt",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    ];
    assert_eq!(names(Path::new(&path("gpt2"))), expected);
    let page = std::fs::read_to_string(path("gpt2/README.md")).unwrap();
    assert!(page.contains("# Cards\n") && page.contains("From there to 40 it is not"), "{page}");
    let proof = json(path("gpt2/export_proof.json"));
    assert!(proof["beyond"]["largest_difference"].as_f64().unwrap() > 0.01, "{proof}");
    assert!(proof["beyond"]["perplexity"]["tokens"].as_u64().unwrap() > 1000, "{proof}");
    assert_eq!(json(path("gpt2/config.json"))["n_positions"], 40);
}

#[test]
fn what_cannot_be_exported_is_refused_in_one_line_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let taken = path("taken.gguf");
    std::fs::write(&taken, "mine").unwrap();
    let other = path("other");
    std::fs::create_dir(&other).unwrap();
    for name in ["tokenizer.json", "model.safetensors"] {
        std::fs::copy(Path::new(&fixture("window")).join(name), Path::new(&other).join(name)).unwrap();
    }
    let (out, nowhere, wide) = (path("new.gguf"), path("none/new.gguf"), fixture("adapter_wide"));
    let to = |more: &[&'static str]| -> Vec<String> {
        export(&[&["--format", "gguf", "--output", &out][..], more].concat())
    };
    let cases = [
        (2, export(&["--format", "gguf", "--output", &taken]), "exists already"),
        (2, export(&["--format", "gpt2", "--output", &other]), "is not empty"),
        (2, export(&["--format", "gguf", "--output", &nowhere]), "there is no folder"),
        (2, to(&["--max-positions", "1"]), "--max-positions 2 to 128"),
        (2, to(&["--max-positions", "129"]), "the model has 128"),
        (2, export(&["--format", "gpt2", "--output", &out, "--modelfile"]), "--format gguf"),
        (2, to(&["--gguf-type", "q4_0"]), "q8_0"),
        (1, [to(&[]), vec!["--adapter".into(), wide]].concat(), "lora_B.weight: missing"),
    ];
    for (code, arguments, word) in &cases {
        let (found, said) = bad(&borrowed(arguments));
        assert!(found == *code && said.contains(word) && !said.contains("panicked"), "{arguments:?}: {said}");
    }
    let mut config = json(Path::new(&fixture("window")).join("config.json"));
    for activation in ["relu", "gelu"] {
        config["activation_function"] = activation.into();
        std::fs::write(path("other/config.json"), config.to_string()).unwrap();
        let (code, said) = bad(&["export", "--model", &other, "--format", "gguf", "--output", &out]);
        let named = format!("activation_function is \"{activation}\"");
        assert!(code == 1 && said.contains(&named) && said.contains("gelu_new"), "{said}");
    }
    assert_eq!(names(folder.path()), ["other", "taken.gguf"]);
    assert_eq!(std::fs::read_to_string(&taken).unwrap(), "mine");
}

#[test]
fn the_template_that_the_weights_were_tuned_with_is_written_unless_another_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let model = copy("window", &folder.path().join("model"));
    let adapter = copy("adapter_qv", &folder.path().join("run/adapter"));
    write(&model, "prompt_template.txt", "Q: {input}\nA: {output}");
    write(&adapter, "prompt_template.txt", "Ask: {input}\nSay: {output}\n");
    let (run, data) = (path("run"), path("cards.json"));
    std::fs::write(&data, r#"[{"input": "Why?", "output": "For rest."}]"#).unwrap();
    let given = ["--prompt-template", "{input} = {output}"];
    let with_adapter = ["--adapter", &run];
    let cases = [(&[][..], "Q: "), (&with_adapter, "Ask: "), (&[&with_adapter[..], &given].concat(), " =")];
    for (number, (flags, word)) in cases.into_iter().enumerate() {
        let (file, gpt2) = (path(&format!("{number}/model.gguf")), path(&format!("{number}/gpt2")));
        std::fs::create_dir(path(&number.to_string())).unwrap();
        let export = ["export", "--model", &model, "--format"];
        good(&[&export[..], &["gguf", "--modelfile", "--output", &file], flags].concat());
        good(&[&export[..], &["gpt2", "--output", &gpt2], flags].concat());
        let modelfile = std::fs::read_to_string(path(&format!("{number}/Modelfile"))).unwrap();
        let jinja = std::fs::read_to_string(Path::new(&gpt2).join("chat_template.jinja")).unwrap();
        let gguf = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        for text in [modelfile, jinja.clone()] {
            assert!(text.contains(word) && !text.contains("Response:"), "{flags:?}: {text}");
        }
        assert!(gguf.contains(&jinja), "{flags:?}");
        let ask = ["generate", "--model", &model, "--question", "Why?", "--max-new-tokens", "1", "--json"];
        let said: Value = serde_json::from_str(&good(&[&ask[..], flags].concat())).unwrap();
        let prompt = match number {
            0 => "Q: Why?\nA:",
            1 => "Ask: Why?\nSay:",
            _ => "Why? =",
        };
        let plain = ["generate", "--model", &model, "--prompt", prompt, "--max-new-tokens", "1", "--json"];
        let expected: Value = serde_json::from_str(&good(&plain)).unwrap();
        assert_eq!(said["prompt_ids"], expected["prompt_ids"], "{flags:?}");
        let evaluate = |more: &[&str]| -> Value {
            let plain = ["evaluate", "--model", &model, "--data", &data, "--max-seq-length", "64", "--json"];
            serde_json::from_str::<Value>(&good(&[&plain[..], more].concat())).unwrap()["protocols"].clone()
        };
        let whole = format!("{}{{output}}", prompt.replace("Why?", "{input}") + " ");
        let adapter = if number == 0 { &[][..] } else { &with_adapter };
        let named = evaluate(&[adapter, &["--prompt-template", &whole]].concat());
        assert_eq!(evaluate(flags), named, "{flags:?}");
    }
}

/// A limit on the size of files stands in for a full disk: the system refuses the write in the same place.
#[cfg(unix)]
#[test]
fn a_full_disk_is_told_in_one_line_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for (format, name) in [("gguf", "new.gguf"), ("gpt2", "gpt2")] {
        let output = folder.path().join(name).display().to_string();
        let arguments = export(&["--format", format, "--output", &output]);
        let program = program(&[]).get_program().to_os_string();
        let output = std::process::Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
            .arg(program)
            .args(&arguments)
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("error: cannot write ") && said.trim().lines().count() == 1, "{said}");
    }
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

#[test]
fn a_run_exports_into_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let short = ["--export", "gguf", "--gguf-type", "q8_0"];
    let said = good(&borrowed(&pipeline::whole_way(&run, &short)));
    assert!(said.contains("run/export"), "{said}");
    assert_eq!(names(&run.join("export")), ["Modelfile", "README.md", "export_proof.json", "model.gguf"]);
    let proof = json(run.join("export/export_proof.json"));
    assert_eq!((&proof["gguf_type"], &proof["holds"]), (&"q8_0".into(), &true.into()), "{proof}");
    assert_eq!(proof["made_from"], "merged of the run run");
    let page = std::fs::read_to_string(run.join("export/README.md")).unwrap();
    assert!(!page.contains(&folder.path().display().to_string()), "no path of this machine: {page}");

    let unfit = folder.path().join("unfit");
    let (code, said) =
        bad(&borrowed(&pipeline::whole_way(&unfit, &["--export", "gguf", "--max-positions", "500"])));
    assert!(code == 2 && said.contains("the model has 128"), "{said}");
    assert!(!unfit.exists(), "before anything is trained");
}
