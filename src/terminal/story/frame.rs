//! The lines of a story for a screen of some size: what matters first, and no more than fits.

use super::blocks::{blocks, means};
use super::screen::{Line, Look, Piece, line_width, wrapped};
use super::{Facts, STAGES, Stage};

/// The room of names before what is said of them.
const NAMES: usize = 12;
/// The longest line of blocks, in columns.
const LONGEST_CURVE: usize = 72;
/// The room of the figures behind it.
const FIGURES: usize = 44;
/// The most lines that an answer gets, where there is room.
const ANSWER: usize = 3;

/// The story while it goes on.
pub(super) fn lines(facts: &Facts, width: usize, height: usize) -> Vec<Line> {
    let mut lines = vec![vec![bold(&facts.title)], Vec::new()];
    lines.extend(STAGES.into_iter().filter_map(|stage| stage_line(facts, stage)));
    lines.extend(curve(facts, width));
    let notice = facts.notice.iter().map(|notice| vec![bold(notice)]);
    let room = height.saturating_sub(lines.len() + notice.len());
    lines.extend(answers(facts, width, room));
    lines.extend(notice);
    lines
}

/// The story at its end: its parts in a line.
pub(super) fn closing(facts: &Facts, width: usize, height: usize) -> Vec<Line> {
    let mut parts = Vec::new();
    if let Some((train, held_out)) = facts.records {
        parts.push(format!("{train} records learned, {held_out} held out"));
    }
    parts.extend(facts.ending.clone());
    if facts.lora {
        parts.push("merged, with proof".into());
    }
    parts.push(clock(facts.begun.elapsed().as_secs_f64()));
    let mut lines = vec![vec![good("✔ "), bold(&facts.title)], vec![faint(&parts.join(" · "))]];
    lines.extend(curve(facts, width));
    let room = height.saturating_sub(lines.len());
    lines.extend(answers(facts, width, room));
    lines
}

/// A stage, and how far it is; none where the run has no such stage.
fn stage_line(facts: &Facts, stage: Stage) -> Option<Line> {
    if stage == Stage::Merge && !facts.lora {
        return None;
    }
    let (name, what) = match stage {
        Stage::Read => ("read", "the records"),
        Stage::MeasureBase => ("measure", "the base model, before"),
        Stage::Train => ("train", if facts.lora { "an adapter" } else { "all weights" }),
        Stage::MeasureTuned => ("measure", "the tuned model, after"),
        Stage::Merge => ("merge", "adapter and base into one model, with proof"),
        Stage::Ask => ("ask", "both models held-out questions"),
    };
    let place = |stage| STAGES.iter().position(|one| *one == stage);
    let now = facts.stage.map_or(Some(STAGES.len()), place);
    let known = match (stage, facts.records, &facts.ending) {
        (Stage::Read, Some((train, held_out)), _) => {
            Some(format!("{train} records to learn from, {held_out} held out"))
        }
        (Stage::Train, _, Some(ending)) => Some(ending.clone()),
        _ => None,
    };
    let name = format!("{name:<width$}", width = NAMES - 2);
    let what = known.unwrap_or_else(|| what.to_string());
    Some(match place(stage).cmp(&now) {
        std::cmp::Ordering::Less => vec![good("✔ "), plain(&name), plain(&what)],
        std::cmp::Ordering::Equal => vec![bold("▸ "), bold(&name), plain(&going_on(facts, stage, &what))],
        std::cmp::Ordering::Greater => vec![faint("· "), faint(&name), faint(&what)],
    })
}

/// How far the stage is that goes on.
fn going_on(facts: &Facts, stage: Stage, what: &str) -> String {
    let (done, total) = facts.done;
    match stage {
        Stage::Train if facts.ending.is_none() && total > 0 => {
            let left = facts.seconds_per_step * total.saturating_sub(done) as f64;
            let pace = match facts.seconds_per_step > 0.0 {
                true => format!(", {:.0} tokens/s, {} left", facts.tokens_per_second, clock(left)),
                false => String::new(),
            };
            format!("step {done} of {total}{pace}")
        }
        Stage::Read | Stage::Train => what.to_string(),
        _ if total > 0 => format!("{what}  {:.0} %", 100.0 * done as f64 / total as f64),
        _ => what.to_string(),
    }
}

/// The loss, once there is one: blocks, what it came from and to, and the held-out answers' last losses.
fn curve(facts: &Facts, width: usize) -> Vec<Line> {
    let columns = width.saturating_sub(NAMES + FIGURES).clamp(8, LONGEST_CURVE);
    let means = means(&facts.losses, facts.total_steps, columns);
    let [Some(first), Some(last)] = [means.first(), means.last()] else { return Vec::new() };
    let mut line = vec![
        plain(&format!("{:<NAMES$}", "loss")),
        Piece(Look::Curve, blocks(&means)),
        plain(&format!("  {first:.2} → {last:.2}")),
    ];
    let from = facts.held_out.len().saturating_sub(3);
    if !facts.held_out.is_empty() {
        let figures: Vec<String> = facts.held_out[from..].iter().map(|loss| format!("{loss:.2}")).collect();
        line.push(faint(&format!("   held out {}", figures.join(" → "))));
    }
    vec![Vec::new(), line]
}

/// The question and its answers, the first and the last ones where there is not room for all.
fn answers(facts: &Facts, width: usize, room: usize) -> Vec<Line> {
    let Some(question) = &facts.question else { return Vec::new() };
    let (asked, chosen) = (bold(question), faint(&facts.decoding));
    let gap = plain("   ");
    let one_line = vec![asked.clone(), gap, chosen.clone()];
    let header = match line_width(&one_line) <= width {
        true => vec![Vec::new(), one_line],
        false => vec![Vec::new(), vec![asked], vec![chosen]],
    };
    let room = room.saturating_sub(header.len());
    if room == 0 {
        return Vec::new();
    }
    let count = facts.answers.len();
    let shown: Vec<&(usize, String)> = match count > room {
        true => facts.answers.iter().take(1).chain(&facts.answers[count - (room - 1)..]).collect(),
        false => facts.answers.iter().collect(),
    };
    let each = (room / shown.len().max(1)).clamp(1, ANSWER);
    let mut lines = header;
    for (step, answer) in shown {
        let name = if *step == 0 { "  at first".to_string() } else { format!("  step {step}") };
        let answer = if answer.is_empty() { "(nothing)" } else { answer };
        let mut texts = wrapped(answer, width.saturating_sub(NAMES));
        // The last line takes the rest, which is cut where it does not fit.
        if texts.len() > each {
            let rest = texts.split_off(each - 1).join(" ");
            texts.push(rest);
        }
        for (number, text) in texts.iter().enumerate() {
            let name = if number == 0 { name.as_str() } else { "" };
            lines.push(vec![faint(&format!("{name:<NAMES$}")), plain(text)]);
        }
    }
    lines
}

/// Minutes and seconds.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds / 60 {
        0 => format!("{seconds} s"),
        minutes if minutes < 60 => format!("{minutes} min {:02} s", seconds % 60),
        minutes => format!("{} h {:02} min", minutes / 60, minutes % 60),
    }
}

fn plain(text: &str) -> Piece {
    Piece(Look::Plain, text.into())
}

fn bold(text: &str) -> Piece {
    Piece(Look::Bold, text.into())
}

fn faint(text: &str) -> Piece {
    Piece(Look::Faint, text.into())
}

fn good(text: &str) -> Piece {
    Piece(Look::Good, text.into())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn facts() -> Facts {
        Facts {
            title: "base learns from cards.json".into(),
            decoding: "the likeliest token".into(),
            stage: Some(Stage::Train),
            done: (40, 80),
            records: Some((1080, 120)),
            lora: true,
            losses: (1..=40).map(|step| (step, 4.0 - step as f64 / 40.0)).collect(),
            total_steps: 80,
            held_out: vec![3.5, 3.25],
            tokens_per_second: 1234.4,
            seconds_per_step: 1.88,
            ending: None,
            question: Some("Why?".into()),
            answers: (0..9)
                .map(|number| (number * 10, format!("answer {number} {}", "word ".repeat(40))))
                .collect(),
            notice: None,
            begun: Instant::now(),
        }
    }

    fn shown(lines: &[Line]) -> String {
        let line = |line: &Line| line.iter().map(|Piece(_, text)| text.as_str()).collect::<String>();
        lines.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_screen_tells_stages_loss_and_answers_and_is_never_overfull() {
        let mut facts = facts();
        let text = shown(&lines(&facts, 79, 23));
        for part in [
            "✔ read      1080 records to learn from, 120 held out",
            "▸ train     step 40 of 80, 1234 tokens/s, 1 min 15 s left",
            "· merge     adapter and base",
            "   held out 3.50 → 3.25",
            "Why?   the likeliest token\n  at first  answer 0",
            "  step 80   answer 8",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        for (width, height) in [(79, 23), (119, 39), (19, 3), (19, 12), (300, 100)] {
            let lines = lines(&facts, width, height);
            let fixed = 10;
            assert!(lines.len() <= height.max(fixed), "{width} x {height}: {}", shown(&lines));
            assert!(closing(&facts, width, height).len() <= height.max(4), "{width} x {height}");
        }
        facts.question = Some("Why is that so, ".repeat(5));
        assert!(shown(&lines(&facts, 79, 23)).contains("\nthe likeliest token\n  at first"));
        facts.lora = false;
        facts.notice = Some("finishing".into());
        let text = shown(&lines(&facts, 79, 23));
        assert!(
            !text.contains("merge") && text.ends_with("finishing") && text.lines().count() <= 23,
            "{text}"
        );
    }

    #[test]
    fn where_nothing_is_known_yet_nothing_is_made_up() {
        let facts = Facts {
            stage: Some(Stage::Read),
            done: (0, 0),
            records: None,
            losses: Vec::new(),
            total_steps: 0,
            held_out: Vec::new(),
            question: None,
            answers: Vec::new(),
            ..facts()
        };
        let text = shown(&lines(&facts, 79, 23));
        assert!(text.contains("▸ read      the records") && !text.contains("loss"), "{text}");
        assert!(!shown(&closing(&facts, 79, 23)).contains("→"));
    }
}
