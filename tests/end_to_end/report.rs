//! `report.html`: its figures are those of the tables, its texts are text, and a browser has nothing to complain of.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::pipeline::{table, whole_way};
use super::*;

/// Set, a missing browser is an error instead of a skipped test.
const REQUIRED: &str = "GPTNEO_LORA_REQUIRE_CHROMIUM";
/// What stands in every question.
const HOSTILE: &str = "<script>alert('1')</script>";

/// A run on questions that would be markup if they could, with every output; one for all tests.
pub(crate) fn hostile_run() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        // Under the target folder: what a static holds is never dropped, and would stay in the system's folder.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile-run");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut records = json(fixture("records.json"));
        for record in records.as_array_mut().unwrap() {
            let question = record["input"].as_str().unwrap();
            record["input"] = format!("{question} {HOSTILE}").into();
        }
        let data = folder.join("records.json");
        std::fs::write(&data, records.to_string()).unwrap();
        let run = folder.join("run");
        let more = ["--eval-steps", "4", "--samples", "2", "--tensorboard"];
        let mut arguments = whole_way(&run, &more);
        let mut set = |flag: &str, value: String| {
            let at = arguments.iter().position(|argument| argument == flag).unwrap();
            arguments[at + 1] = value;
        };
        set("--data", data.display().to_string());
        set("--max-seq-length", "128".into());
        good(&borrowed(&arguments));
        run
    })
}

/// The figures of a table's row: what is shown, and the number beside it.
fn figures(html: &str, row: &str) -> Vec<(String, f64)> {
    let start = html.find(row).unwrap_or_else(|| panic!("{row}"));
    let row = &html[start..start + html[start..].find("</tr>").unwrap()];
    row.split("<data value=\"")
        .skip(1)
        .map(|rest| {
            let (value, rest) = rest.split_once("\">").unwrap();
            (rest.split_once("</data>").unwrap().0.to_string(), value.parse().unwrap())
        })
        .collect()
}

/// Checks that each figure's digits are the cell's and that what is shown is their rounding, in percent or not.
fn assert_figures(found: &[(String, f64)], cells: &[&str], what: &str) {
    let cells: Vec<f64> =
        cells.iter().filter(|cell| !cell.is_empty()).map(|cell| cell.parse().unwrap()).collect();
    assert_eq!(found.iter().map(|figure| figure.1).collect::<Vec<_>>(), cells, "{what}");
    for (shown, value) in found {
        let number: f64 = shown.replace(',', "").parse().unwrap();
        let decimals = shown.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        let half = 0.5000001 * 10f64.powi(-(decimals as i32));
        let close = |scale: f64| (number - scale * value).abs() <= half;
        assert!(close(1.0) || close(100.0), "{what}: {shown} is shown for {value}");
    }
}

/// Compares the page's tables with the CSV files beside it.
fn assert_tables(html: &str, run: &Path) {
    let performance = table(&run.join("model_performance_comparison.csv"));
    assert_eq!(performance.len(), 10);
    for row in &performance[1..] {
        let [model, loss, perplexity, protocol, tokens, error, bits] = &row[..] else { panic!("{row:?}") };
        let name = format!("data-model=\"{model}\" data-protocol=\"{protocol}\"");
        assert_figures(&figures(html, &name), &[perplexity, loss, error, tokens, bits], &name);
    }
    let metrics = table(&run.join("answer_metrics.csv"));
    assert_eq!(metrics.len(), 3);
    for row in &metrics[1..] {
        let name = format!("<tr data-model=\"{}\">", row[0]);
        let cells: Vec<&str> = row[1..].iter().map(String::as_str).collect();
        assert_figures(&figures(html, &name), &cells, &name);
    }
}

#[test]
fn the_page_shows_the_tables_figures_and_stands_alone() {
    let run = hostile_run();
    let html = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert_tables(&html, run);
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"));
    for reference in ["src=", "href=", "url(", "@import"] {
        assert!(!html.contains(reference), "{reference} would need the network");
    }
    let headings: Vec<&str> =
        html.split("<h2>").skip(1).map(|rest| rest.split_once("</h2>").unwrap().0).collect();
    assert_eq!(
        headings,
        [
            "Before and after",
            "What it knows",
            "Loss",
            "Steps",
            "Answers before and after",
            "Answers while it learned",
            "Data",
            "Settings",
            "Manifest"
        ]
    );
    let knowledge = table(&run.join("what_it_knows.csv"));
    let value = |measure: &str, model: &str| {
        let row = knowledge.iter().find(|row| row[0] == measure && row[1] == model).unwrap();
        row[2].parse::<f64>().unwrap()
    };
    assert_eq!(value("discrimination by chance", ""), 0.25);
    let scores = table(&run.join("held_out_scores.csv"));
    let found: Vec<f64> =
        scores.iter().filter(|row| row[0] == "discrimination").map(|row| row[3].parse().unwrap()).collect();
    let share = found.iter().sum::<f64>() / found.len() as f64;
    assert!((share - value("discrimination", "LoRA Model")).abs() < 1e-12, "{share}");
    assert!(html.contains("guessing finds 25.0"), "{html}");

    let validation = rows(run).into_iter().filter(|row| row["split"] == "validation");
    let best = validation
        .min_by(|a, b| a["loss"].as_f64().unwrap().total_cmp(&b["loss"].as_f64().unwrap()))
        .unwrap();
    let best = format!("{:.4} at step {}", best["loss"].as_f64().unwrap(), best["step"]);
    assert!(html.contains(&format!("best {best}")), "{best}");

    // The held-out losses are what the table's loss on the answers is the mean of.
    let performance = table(&run.join("model_performance_comparison.csv"));
    let losses = table(&run.join("held_out_losses.csv"));
    let sum = |column: usize| losses[1..].iter().map(|row| row[column].parse::<f64>().unwrap()).sum::<f64>();
    for (column, row) in [(2, 3), (3, 6)] {
        let loss: f64 = performance[row][1].parse().unwrap();
        assert_eq!(performance[row][3], "response");
        assert!((sum(column) / sum(1) - loss).abs() < 1e-9, "{loss}");
    }
}

#[test]
fn samples_are_kept_and_shown_and_tensorboard_has_a_file() {
    let run = hostile_run();
    let text = std::fs::read_to_string(run.join("samples.jsonl")).unwrap();
    let samples: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<u64> = samples.iter().map(|row| row["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [4, 4, 7, 7, 8, 8, 12, 12], "every evaluation, two questions each");
    let html = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(html.contains("<dt>step 4</dt>") || html.contains("<dt>steps 4 to"), "{html}");
    assert_eq!(std::fs::read_dir(run.join("tensorboard")).unwrap().count(), 1);
}

/// The name of a browser that runs here; none is an error where one is required.
pub(crate) fn browser() -> Option<&'static str> {
    let runs = |name: &&str| {
        let mut command = Command::new(name);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(runs);
    if found.is_none() {
        assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set, but no Chromium is installed");
        eprintln!("skipped: no Chromium is installed; {REQUIRED}=1 makes that an error");
    }
    found
}

/// The page as the browser has it after loading, and what the browser says meanwhile.
fn loaded(browser: &str, page: &Path) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let (dom, log) = (folder.path().join("dom"), folder.path().join("log"));
    let mut child = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .args(["--dump-dom", &format!("file://{}", page.display())])
        .stdin(Stdio::null())
        .stdout(File::create(&dom).unwrap())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(120) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{browser} did not load {} within two minutes", page.display());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    (read(dom), read(log))
}

#[test]
fn a_browser_loads_the_page_without_an_error_and_sees_the_same_figures() {
    let Some(browser) = browser() else { return };
    // The ear is tested first: a page that does what the report must not do.
    let folder = tempfile::tempdir().unwrap();
    let faulty = folder.path().join("faulty.html");
    std::fs::write(&faulty, "<!doctype html><script>nothing.here()</script>").unwrap();
    assert!(loaded(browser, &faulty).1.contains("CONSOLE"), "an error of a page is not heard");

    let run = hostile_run();
    let (dom, log) = loaded(browser, &run.join("report.html"));
    assert!(!log.contains("CONSOLE"), "{log}");
    assert_tables(&dom, run);
    assert_eq!(dom.matches("<svg").count(), 6, "perplexity, knowledge, loss, rate, norm and speed");
    assert!(!dom.contains("<script"));
}
