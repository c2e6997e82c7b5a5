//! What the models answer: base and tuned side by side, and how the answers changed while the model learned.

use super::Findings;
use crate::decoding::Decoding;
use crate::markup::escape;

/// An answer of the model while it learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleAnswer {
    /// The step after which the question was asked.
    pub step: usize,
    /// The question.
    pub question: String,
    /// The answer, without white space around.
    pub answer: String,
}

/// The section of the answers before and after.
pub(super) fn side_by_side(findings: &Findings, decoding: Decoding) -> String {
    if findings.answers.is_empty() {
        return String::new();
    }
    let mut section = format!(
        "<section>\n<h2>Answers before and after</h2>\n<p>To held-out questions, which the training did not see; {}.</p>\n",
        decoding.reading()
    );
    for (index, row) in findings.answers.iter().enumerate() {
        section += &format!("<article>\n<h3>{}</h3>\n<div class=\"pair\">\n", escape(row.question.trim()));
        section += &quote("before", &row.base);
        section += &quote("after", &row.tuned);
        if let Some(expected) = findings.expected.get(index) {
            section += &quote("expected", expected);
        }
        section += "</div>\n</article>\n";
    }
    section + "</section>\n"
}

fn quote(label: &str, text: &str) -> String {
    let shown = match text.trim() {
        "" => "<em>nothing</em>".to_string(),
        text => escape(text),
    };
    format!("<div class=\"{label}\"><h4>{label}</h4><p class=\"text\">{shown}</p></div>\n")
}

/// The section of the answers during training: a question at a time, a line where the answer changed.
pub(super) fn samples(rows: &[SampleAnswer], decoding: Decoding) -> String {
    let mut questions: Vec<&str> = Vec::new();
    for row in rows {
        if !questions.contains(&row.question.as_str()) {
            questions.push(&row.question);
        }
    }
    if questions.is_empty() {
        return String::new();
    }
    let mut section = format!(
        "<section>\n<h2>Answers while it learned</h2>\n<p>The same held-out questions after every evaluation; {}. An \
         answer that stayed the same is shown once.</p>\n",
        decoding.reading()
    );
    for question in questions {
        let mut lines: Vec<(usize, usize, &str)> = Vec::new();
        for row in rows.iter().filter(|row| row.question == question) {
            match lines.last_mut() {
                Some(line) if line.2 == row.answer => line.1 = row.step,
                _ => lines.push((row.step, row.step, &row.answer)),
            }
        }
        section += &format!("<article>\n<h3>{}</h3>\n<dl class=\"samples\">\n", escape(question.trim()));
        for (from, to, answer) in lines {
            let steps = if from == to { format!("step {from}") } else { format!("steps {from} to {to}") };
            let answer = if answer.is_empty() { "<em>nothing</em>".to_string() } else { escape(answer) };
            section += &format!("<dt>{steps}</dt><dd class=\"text\">{answer}</dd>\n");
        }
        section += "</dl>\n</article>\n";
    }
    section + "</section>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_stayed_is_shown_once_with_its_steps() {
        let row = |step, answer: &str| SampleAnswer { step, question: "<b>?".into(), answer: answer.into() };
        let section = samples(&[row(5, "x"), row(10, "x"), row(15, "y <i>")], Decoding::default());
        assert!(section.contains("<dt>steps 5 to 10</dt><dd class=\"text\">x</dd>"), "{section}");
        assert!(section.contains("<dt>step 15</dt><dd class=\"text\">y &lt;i&gt;</dd>"), "{section}");
        assert!(section.contains("<h3>&lt;b&gt;?</h3>"), "{section}");
        assert_eq!(samples(&[], Decoding::default()), "");
    }
}
