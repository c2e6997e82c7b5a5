//! A [`DataReport`] as text: aligned, without colour, every number with its unit.

use std::fmt;

use super::{Bin, DataReport};

/// The longest bar, in characters.
const BAR: usize = 50;
/// How much of a repeated question is shown, in characters.
const QUESTION: usize = 70;

impl fmt::Display for DataReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reading) = &self.reading {
            line(f, "format", &reading.to_string())?;
        }
        let mut sides = format!("{} train, {} validation", grouped(self.train), grouped(self.validation));
        if self.test > 0 {
            sides += &format!(", {} test", grouped(self.test));
        }
        line(f, "records", &format!("{} ({sides})", grouped(self.records)))?;
        let supervised = percent(self.supervised_tokens, self.tokens);
        let supervised = format!("{} supervised, {supervised}", grouped(self.supervised_tokens));
        line(f, "tokens", &format!("{} ({supervised})", grouped(self.tokens)))?;
        let l = &self.lengths;
        let lengths = format!(
            "min {}, mean {:.1}, median {}, p90 {}, p99 {}, max {} tokens, before any cut",
            l.min, l.mean, l.median, l.p90, l.p99, l.max
        );
        line(f, "lengths", &lengths)?;
        self.left_out(f)?;
        self.truncations(f)?;
        self.repetitions(f)?;
        if let Some(leaks) = &self.leaks {
            line(f, "leaks", &leaks.to_string())?;
        }
        let padding = format!(
            "{:.1} % of a training epoch in batches of {}",
            100.0 * self.padding_share,
            self.batch_size
        );
        line(f, "padding", &padding)?;
        f.write_str("\nlength in tokens\n")?;
        bars(f, &self.histogram)
    }
}

impl DataReport {
    fn left_out(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(reading) = self.reading.as_ref().filter(|reading| reading.skipped > 0) else {
            return Ok(());
        };
        line(f, "left out", &format!("{} records that cannot be used", grouped(reading.skipped)))?;
        reading.reasons.iter().try_for_each(|reason| line(f, "", reason))
    }

    fn truncations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = &self.truncation;
        let over = format!(
            "{} over {} tokens ({})",
            grouped(t.over_long),
            grouped(t.max_length),
            percent(t.over_long, t.records)
        );
        let what = match (t.over_long, t.dropped) {
            (0, _) => String::new(),
            (_, 0) => format!(
                ": {} answers cut, {} lost whole; {} of {} tokens kept",
                grouped(t.answers_cut_partly),
                grouped(t.answers_lost),
                grouped(t.tokens_kept),
                grouped(t.tokens)
            ),
            (_, dropped) => format!(
                ": {} dropped; {} of {} tokens kept",
                grouped(dropped),
                grouped(t.tokens_kept),
                grouped(t.tokens)
            ),
        };
        line(f, "too long", &format!("{over}{what}"))
    }

    fn repetitions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(duplicates) = &self.duplicates else {
            return Ok(());
        };
        let repeated = format!(
            "{} exact copies, {} records repeat a question",
            grouped(duplicates.exact),
            grouped(duplicates.repeated_questions)
        );
        line(f, "duplicates", &repeated)?;
        for example in &duplicates.examples {
            let question = example.question.split_whitespace().collect::<Vec<_>>().join(" ");
            let shown: String = match question.chars().count() > QUESTION {
                true => question.chars().take(QUESTION - 1).chain(['…']).collect(),
                false => question,
            };
            line(f, "", &format!("{}x {shown}", example.records.len()))?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(f, "{name:<12}{text}")
}

fn bars(f: &mut fmt::Formatter<'_>, bins: &[Bin]) -> fmt::Result {
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(0);
    let digits = bins.last().map_or(1, |bin| bin.to.to_string().len());
    let width = grouped(most).len();
    for bin in bins {
        // Rounded up: a bar that is there is seen.
        let bar = "█".repeat((bin.count * BAR).div_ceil(most.max(1)));
        let text =
            format!("{:>digits$} - {:>digits$}  {:>width$}  {bar}", bin.from, bin.to, grouped(bin.count));
        writeln!(f, "{}", text.trim_end())?;
    }
    Ok(())
}

fn percent(part: usize, whole: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// A whole number with a comma at each third digit from its end: 33,955.
pub fn grouped(number: impl fmt::Display) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
