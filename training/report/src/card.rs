//! The `README.md` of a run: what was trained, how, and what it measured, as the Hub shows model cards.
//!
//! Only what the run knows stands in it; who publishes adds the licence and what the data allow.

mod front_matter;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use gptneo_files::write_file;

use self::front_matter::{FrontMatter, quoted};
use crate::answers::{AnswerScores, GenerationRow};
use crate::decoding::Decoding;
use crate::error::ReportError;
use crate::knowledge::{DiscriminationFacts, knowledge_reading};
use crate::perplexities::{PROTOCOLS_NOTE, PerplexityRow, perplexity_cells};
use crate::run_facts::RunFacts;

/// What a card tells.
#[derive(Clone, Debug)]
pub struct ModelCard<'a> {
    /// The run's counts.
    pub run: &'a RunFacts,
    /// The base model.
    pub base: Provenance,
    /// What transformers loads the base by: its repository, its folder within the run's, or another path.
    pub base_place: String,
    /// The data.
    pub data: Provenance,
    /// Whether an adapter was trained, rather than all weights.
    pub lora: bool,
    /// The program and what it ran on, as the end of a sentence.
    pub made_by: String,
    /// How it was trained, an item each: where base and data are from, adapter, optimizer, batches.
    pub details: Vec<String>,
    /// Each model under each protocol, the base first.
    pub perplexities: &'a [PerplexityRow],
    /// How each model tells true answers from others.
    pub discrimination: Option<&'a DiscriminationFacts>,
    /// How good each model's answers are.
    pub scores: &'a [AnswerScores],
    /// Both models' answers.
    pub answers: &'a [GenerationRow],
    /// How all answers were chosen.
    pub decoding: Decoding,
    /// The question that the examples of use ask.
    pub question: String,
    /// That question as the model is asked it.
    pub prompt: String,
}

/// What a model or a data set is called, and where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Its name: the repository's where there is one, else the file's or folder's.
    pub name: String,
    /// Its repository on the Hub, where it came from there.
    pub repository: Option<String>,
}

impl ModelCard<'_> {
    /// Writes the card, whole or not at all.
    ///
    /// # Errors
    /// [`ReportError::Write`] where the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), ReportError> {
        let text = self.render();
        Ok(write_file(path.as_ref(), |file| file.write_all(text.as_bytes()))?)
    }

    /// The card's Markdown.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.render_to(&mut text);
        text
    }

    fn render_to(&self, text: &mut String) -> std::fmt::Result {
        let title = format!("{} tuned on {}", self.base.name, self.data.name);
        // Each model has a row a protocol; the tuned one comes after the base.
        let tuned = self.perplexities.iter().find(|row| row.model != self.perplexities[0].model);
        let results: Vec<&PerplexityRow> = self
            .perplexities
            .iter()
            .filter(|row| tuned.is_some_and(|tuned| tuned.model == row.model))
            .collect();
        let matter = FrontMatter {
            title: &title,
            base: &self.base,
            data: &self.data,
            lora: self.lora,
            results: &results,
        };
        matter.render(text)?;
        writeln!(text, "# {}\n", shown(&title))?;
        render_limits(text)?;
        self.render_results(text)?;
        self.render_knowledge(text)?;
        self.render_training(text)?;
        self.render_answers(text)?;
        self.render_use(text)
    }

    fn render_results(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "## Results\n\nPerplexity on {} held-out examples.\n{PROTOCOLS_NOTE}\n",
            self.run.held_out_examples
        )?;
        writeln!(text, "| | notebook | text | response |\n|---|---:|---:|---:|")?;
        for [model, notebook, all, response] in perplexity_cells(self.perplexities) {
            writeln!(text, "| {model} | {notebook} | {all} | {response} |")?;
        }
        Ok(())
    }

    fn render_knowledge(&self, text: &mut String) -> std::fmt::Result {
        if self.discrimination.is_none() && self.scores.is_empty() {
            return Ok(());
        }
        writeln!(text, "\n## What it knows\n")?;
        if let Some(found) = self.discrimination {
            writeln!(text, "{}\n", knowledge_reading(found))?;
        }
        if self.scores.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "Its own answers to held-out questions, by their overlap with the expected ones, which says nothing of \
             their truth; {}:\n\n| | questions | token F1 | ROUGE-L | chrF | ended by itself | repeats itself |\n\
             |---|---:|---:|---:|---:|---:|---:|",
            self.decoding.reading()
        )?;
        let number = |value: Option<f64>| value.map_or("–".to_string(), |value| format!("{value:.3}"));
        let share = |value: f64| format!("{:.1} %", 100.0 * value);
        self.scores.iter().try_for_each(|row| {
            let (f1, rouge, chrf) = (number(row.token_f1), number(row.rouge_l), row.chrf);
            let chrf = chrf.map_or("–".to_string(), |value| format!("{value:.1}"));
            let (ended, repeating) = (share(row.ended), share(row.repeating));
            writeln!(
                text,
                "| {} | {} | {f1} | {rouge} | {chrf} | {ended} | {repeating} |",
                row.model, row.questions
            )
        })
    }

    fn render_training(&self, text: &mut String) -> std::fmt::Result {
        let RunFacts { steps, model_step, train_examples, trainable_parameters, total_parameters, .. } =
            self.run;
        let what = if self.lora { "an adapter" } else { "all weights" };
        writeln!(text, "\n## Training\n")?;
        writeln!(
            text,
            "{steps} steps on {train_examples} examples, {what}: {trainable_parameters} of {total_parameters} \
             parameters. The saved weights are of step {model_step}. {}.\n",
            self.made_by
        )?;
        self.details.iter().try_for_each(|detail| writeln!(text, "- {detail}"))
    }

    fn render_answers(&self, text: &mut String) -> std::fmt::Result {
        if self.answers.is_empty() {
            return Ok(());
        }
        writeln!(text, "\n## Answers to held-out questions\n\n{}\n", self.decoding.sentence())?;
        writeln!(text, "| Question | Before | After |\n|---|---|---|")?;
        for row in self.answers {
            let cells = [&row.question, &row.base, &row.tuned].map(|cell| shown(cell));
            writeln!(text, "| {} |", cells.join(" | "))?;
        }
        Ok(())
    }

    fn render_use(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\n## Use\n")?;
        writeln!(
            text,
            "`merged` and `adapter` are folders of the run. On the Hub the files stand at the top: put the repository's \
             name in the folder's place.\n"
        )?;
        writeln!(text, "With transformers:\n\n```python")?;
        writeln!(text, "from transformers import AutoModelForCausalLM, AutoTokenizer\n")?;
        writeln!(text, "tokenizer = AutoTokenizer.from_pretrained(\"merged\")")?;
        writeln!(text, "model = AutoModelForCausalLM.from_pretrained(\"merged\")")?;
        writeln!(text, "inputs = tokenizer({}, return_tensors=\"pt\")", quoted(&self.prompt))?;
        writeln!(text, "answer = model.generate(**inputs, max_new_tokens=100)")?;
        writeln!(text, "print(tokenizer.decode(answer[0], skip_special_tokens=True))\n```\n")?;
        if self.lora {
            writeln!(text, "With PEFT, the adapter over its base:\n\n```python")?;
            writeln!(text, "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n")?;
            writeln!(text, "base = AutoModelForCausalLM.from_pretrained({})", quoted(&self.base_place))?;
            writeln!(text, "model = PeftModel.from_pretrained(base, \"adapter\")\n```\n")?;
        }
        writeln!(text, "With the library that made it:\n\n```rust")?;
        writeln!(text, "let model = gptneo_lora::Base::folder(\"merged\").load()?;")?;
        writeln!(text, "println!(\"{{}}\", model.answer({})?);\n```", quoted(&self.question))
    }
}

fn render_limits(text: &mut String) -> std::fmt::Result {
    writeln!(text, "## Intended use and limits\n")?;
    writeln!(
        text,
        "For research and education: to study how a small language model learns to answer questions. It is not for \
         clinical use. It makes up facts, cites nothing and knows nothing newer than its data; nobody should decide \
         about health by its answers. What its base and its data may not be used for, it may not either.\n"
    )
}

/// A text of data or models as it is to be shown: on one line, what Markdown and HTML would take for their own escaped.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (at, word) in text.split_whitespace().enumerate() {
        if at > 0 {
            shown.push(' ');
        }
        for c in word.chars() {
            match c {
                '<' => shown.push_str("&lt;"),
                '>' => shown.push_str("&gt;"),
                '&' => shown.push_str("&amp;"),
                // The last two are struck-out text and formulas, as GitHub and the Hub read them.
                '\\' | '`' | '*' | '_' | '[' | ']' | '!' | '|' | '~' | '$' => shown.extend(['\\', c]),
                c => shown.push(c),
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_is_shown_and_nothing_of_it_is_markup() {
        assert_eq!(shown("a | b\nc"), r"a \| b c");
        assert_eq!(shown("<b>1 & 2</b> &lt;"), "&lt;b&gt;1 &amp; 2&lt;/b&gt; &amp;lt;");
        assert_eq!(
            shown("![x](y) *a* __b__ `c` \\| ~~d~~ $e$"),
            r"\!\[x\](y) \*a\* \_\_b\_\_ \`c\` \\\| \~\~d\~\~ \$e\$"
        );
        assert_eq!(
            shown("Take 0.5 mg (twice), say: \"no\" – 25 °C."),
            "Take 0.5 mg (twice), say: \"no\" – 25 °C."
        );
    }

    #[test]
    fn a_card_without_an_adapter_does_not_speak_of_one() {
        let run = RunFacts { steps: 12, held_out_examples: 3, ..RunFacts::default() };
        let named = |name: &str| Provenance { name: name.into(), repository: None };
        let mut card = ModelCard {
            run: &run,
            base: named("gpt"),
            base_place: "base/gpt".into(),
            data: named("cards.json"),
            lora: false,
            made_by: "gptneo-lora 1 on Burn 2, seed 3".into(),
            details: vec!["AdamW".into()],
            perplexities: &[],
            discrimination: None,
            scores: &[],
            answers: &[],
            decoding: Decoding::default(),
            question: "Why?".into(),
            prompt: "Question: Why?\nResponse: ".into(),
        };
        let text = card.render();
        for part in [
            "library_name: transformers\n",
            "# gpt tuned on cards.json\n",
            "Perplexity on 3 held-out examples.",
            "12 steps on 0 examples, all weights: 0 of 0 parameters. The saved weights are of step 0. \
             gptneo-lora 1 on Burn 2, seed 3.\n\n- AdamW\n",
            "tokenizer(\"Question: Why?\\nResponse: \", return_tensors",
            "model.answer(\"Why?\")?",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("peft") && !text.contains("Answers to held-out"), "{text}");
        assert!(!text.contains("What it knows"), "{text}");
        let scores = [AnswerScores {
            model: "LoRA Model".into(),
            questions: 40,
            token_f1: Some(0.25),
            standard_error: None,
            exact_match: None,
            mean_tokens: 9.0,
            ended: 1.0,
            rouge_l: Some(0.2),
            chrf: Some(31.25),
            repeating: 0.125,
            distinct_2: None,
        }];
        card.scores = &scores;
        let row = "| LoRA Model | 40 | 0.250 | 0.200 | 31.2 | 100.0 % | 12.5 % |\n";
        assert!(card.render().contains(row), "{}", card.render());
        card.lora = true;
        assert!(card.render().contains("from_pretrained(\"base/gpt\")"), "{}", card.render());
        let answers = [GenerationRow { question: "Why?".into(), base: "<br>".into(), tuned: "*a*".into() }];
        card.answers = &answers;
        assert!(card.render().contains("| Why? | &lt;br&gt; | \\*a\\* |\n"), "{}", card.render());
        card.data = named("<i>_cards");
        assert!(card.render().contains("# gpt tuned on &lt;i&gt;\\_cards\n"), "{}", card.render());
    }
}
