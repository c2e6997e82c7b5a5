//! A run as a terminal shows it, which util-linux's `script` plays; and what stays plain.

use super::pipeline::whole_way;
use super::*;

/// What a run says in a terminal of so many rows and columns, with these variables set.
fn in_a_terminal(output: &Path, size: &str, variables: &str) -> String {
    let quoted: Vec<String> = whole_way(output, &[])
        .iter()
        .map(|argument| format!("'{}'", argument.replace('\'', "'\\''")))
        .collect();
    let command =
        format!("stty {size}; {variables} '{}' {}", env!("CARGO_BIN_EXE_gptneo-lora"), quoted.join(" "));
    let ran = Command::new("script")
        .args(["--quiet", "--flush", "--return", "--command", &command, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = text(&ran.stdout);
    assert!(ran.status.success(), "{said}");
    said
}

#[test]
fn a_terminal_is_told_a_story_and_the_run_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (shown, plain) = (folder.path().join("shown"), folder.path().join("plain"));
    let said = in_a_terminal(&shown, "rows 24 cols 80", "");
    // The last of what was drawn in place, and what stands under it.
    let last = said.rsplit("\u{1b}[?2026h").next().unwrap();
    for part in
        ["merged, with proof", "loss", "held out", "at first", "step ", "LoRA Model", "ends by itself"]
    {
        assert!(last.contains(part), "{part}: {last}");
    }
    let page = format!("file://{}/report.html", shown.display());
    assert!(last.contains(&page), "{last}");
    assert!(last.contains(&format!("ask   gptneo-lora serve --run {}", shown.display())), "{last}");
    assert!(last.lines().count() <= 24, "{last}");
    assert!(said.contains("▸ \u{1b}[0m\u{1b}[1mtrain") && !said.contains("length in tokens"), "{said}");

    let arguments = whole_way(&plain, &[]);
    let ran = super::run(&borrowed(&arguments));
    let (out, err) = (text(&ran.stdout), text(&ran.stderr));
    assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}'), "{out}{err}");
    for part in ["length in tokens", "perplexity", "to ask: gptneo-lora serve --run", "The likeliest token"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert_eq!(adapter_bytes(&shown), adapter_bytes(&plain));
    assert_eq!(timeless(&shown), timeless(&plain));
}

#[test]
fn who_wants_no_colour_gets_plain_lines_in_a_terminal_too() {
    let folder = tempfile::tempdir().unwrap();
    let said = in_a_terminal(&folder.path().join("run"), "rows 24 cols 80", "NO_COLOR=1");
    assert!(said.contains("length in tokens") && said.contains("everything is in"), "{said}");
    assert!(!said.contains("\u{1b}[?2026h") && !said.contains("\u{1b}[1m"), "{said}");
}
