//! What a sweep file asks for: the settings of all trials, the grid of those that vary, and how the trials are halved.
//!
//! The file is a settings file with two more tables. `[grid.SECTION]` lists values for keys of that section; every
//! combination is a trial. `[sweep]` says how many trials go on.

use std::path::{Path, PathBuf};

use gptneo_files::{excerpt, in_plain_words, read_small_text};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::settings::{Layer, Origin, Settings, with_place};
use crate::{Error, Remedy, Result};

/// The sections whose settings may vary: trials share the base and the rows.
const VARYING: [&str; 2] = ["lora", "training"];
/// What a grid may not vary: where a sweep measures is its own affair, and the seed decides the split as well.
const FIXED: [&str; 2] = ["training.eval_steps", "training.seed"];

/// What a sweep does not do: its folder is named apart, and of a trial it keeps the weights alone.
const UNUSED: [&str; 4] = ["run.output", "run.export", "answers.questions", "answers.scored_questions"];

/// The most combinations: a year of trainings of ten minutes each.
const MOST_TRIALS: usize = 10_000;

/// How trials are halved, and what is measured at the end: the table `[sweep]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Halving {
    /// Of so many trials one goes on from each rung to the next, which is so many times as long; 2 by default.
    pub factor: usize,
    /// How many rungs there are, the last being a trial's whole training; 3 by default. With 1, all are trained whole.
    pub rungs: usize,
    /// The share of the records that is put aside and measured once, at the end; 0.1 by default.
    pub test_fraction: f64,
    /// A file to measure on at the end instead: another place for `test_data` under `[data]`.
    pub test_data: Option<PathBuf>,
}

impl Default for Halving {
    fn default() -> Self {
        Self { factor: 2, rungs: 3, test_fraction: 0.1, test_data: None }
    }
}

/// A sweep as its file describes it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The file's text.
    pub(super) text: String,
    /// The settings that no trial changes.
    pub(super) settings: Settings,
    pub(super) halving: Halving,
    pub(super) trials: Vec<Trial>,
    /// What a run's settings may say, and a sweep has no use for.
    pub(super) unused: Vec<&'static str>,
}

/// One combination of the grid.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    /// The keys that vary, as `section.key`, with this trial's values.
    pub(super) values: Vec<(String, Value)>,
    pub(super) settings: Settings,
}

impl Trial {
    /// The values as people read them.
    pub(super) fn shown(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
        self.values.iter().map(|(key, value)| (key.clone(), text(value))).collect()
    }
}

impl Plan {
    /// Reads a sweep file, with the settings of `layer` over it.
    ///
    /// # Errors
    /// It cannot be read or is not TOML; the grid is empty or has what cannot vary; or a combination makes no sense.
    pub(super) fn read(path: &Path, over: Layer) -> Result<Self> {
        let text = read_small_text(path).map_err(|error| {
            Error::settings(format!("cannot read the sweep file {}: {error}", path.display()), Remedy::None)
        })?;
        Self::of(text, &path.display().to_string(), over)
    }

    fn of(text: String, name: &str, over: Layer) -> Result<Self> {
        let refuse = |what: String, remedy: &str| {
            Error::settings(format!("the sweep file {name}: {what}"), Remedy::say(remedy))
        };
        let mut table: Table = toml::from_str(&text).map_err(|error| {
            let what = with_place(&text, &error);
            Error::settings(format!("the sweep file {name} is wrong: {what}"), Remedy::None)
        })?;
        // What the sweep keeps of its file must say all of it, for when it goes on.
        let text = if over.is_empty() { text } else { over.written_over(&mut table)? };
        let halving = table.remove("sweep").map_or(Ok(Halving::default()), Value::try_into);
        let plain = |error: toml::de::Error| in_plain_words(error.message());
        let halving: Halving =
            halving.map_err(|error| refuse(format!("[sweep]: {}", plain(error)), "correct it"))?;
        halving.check().map_err(|what| refuse(what, "correct it"))?;
        let grid = grid(table.remove("grid")).map_err(|what| {
            refuse(what, "list values to try, such as learning_rate = [1e-3, 3e-3] under [grid.training]")
        })?;
        let count = grid.iter().fold(1usize, |count, (_, values)| count.saturating_mul(values.len()));
        if count > MOST_TRIALS {
            let counts: Vec<String> =
                grid.iter().map(|(key, values)| format!("{} of {key}", values.len())).collect();
            let what = format!("{} make more than {MOST_TRIALS} trials", counts.join(", "));
            return Err(refuse(what, "list fewer values"));
        }
        if table.get("training").is_some_and(|training| training.get("eval_steps").is_some()) {
            return Err(refuse(
                "eval_steps is given, but a sweep measures at its rungs".into(),
                "leave it out",
            ));
        }
        let base = layer(&table, &[])?;
        let mut settings = Settings::resolve(Origin::Defaults, base)?;
        settings.data.test_data = match (settings.data.test_data.take(), &halving.test_data) {
            (Some(one), Some(other)) if one != *other => {
                return Err(refuse(
                    format!("two files to measure on at the end: {} and {}", one.display(), other.display()),
                    "give one as test_data, under [data]",
                ));
            }
            (one, other) => one.or_else(|| other.clone()),
        };
        let trials = combinations(&grid)
            .into_iter()
            .enumerate()
            .map(|(at, values)| {
                let settings =
                    Settings::resolve(Origin::Defaults, layer(&table, &values)?).map_err(|error| {
                        let shown: Vec<String> = values
                            .iter()
                            .map(|(key, value)| format!("{key} = {}", excerpt(&value.to_string())))
                            .collect();
                        refuse(
                            format!("trial {} ({}): {error}", at + 1, shown.join(", ")),
                            "change that value",
                        )
                    })?;
                Ok(Trial { values, settings })
            })
            .collect::<Result<_>>()?;
        let unused = UNUSED.into_iter().filter(|name| names(&table, name)).collect();
        Ok(Self { text, settings, halving, trials, unused })
    }
}

impl Halving {
    fn check(&self) -> Result<(), String> {
        let Self { factor, rungs, test_fraction, .. } = self;
        match () {
            () if *factor < 2 => Err(format!("factor is {factor}, expected 2 or more")),
            () if !(1..=20).contains(rungs) => Err(format!("rungs is {rungs}, expected 1 to 20")),
            () if !(*test_fraction > 0.0 && *test_fraction < 1.0) => {
                Err(format!("test_fraction is {test_fraction}, expected more than 0 and less than 1"))
            }
            () => Ok(()),
        }
    }

    /// The steps after which each rung ends, of a training of `total` steps: all but the last are multiples of the first.
    pub(super) fn steps(&self, total: usize) -> Vec<usize> {
        let shares = (1..self.rungs).fold(1usize, |product, _| product.saturating_mul(self.factor));
        let first = total.div_ceil(shares).max(1);
        let multiple = |rung: u32| first.saturating_mul(self.factor.saturating_pow(rung)).min(total);
        (0..self.rungs as u32)
            .map(|rung| if rung as usize + 1 == self.rungs { total } else { multiple(rung) })
            .collect()
    }

    /// How many of `alive` trials go on to the next rung.
    pub(super) fn survivors(&self, alive: usize) -> usize {
        alive.div_ceil(self.factor)
    }
}

/// The grid's keys with their values, in the order of their names.
fn grid(grid: Option<Value>) -> Result<Vec<(String, Vec<Value>)>, String> {
    let Some(Value::Table(sections)) = grid else { return Err("it has no table [grid.SECTION]".into()) };
    let mut found = Vec::new();
    for (section, keys) in sections {
        let shown = excerpt(&section);
        let Value::Table(keys) = keys else { return Err(format!("grid.{shown} is no table")) };
        if !VARYING.contains(&section.as_str()) {
            return Err(format!(
                "[grid.{shown}] cannot vary; what can are the keys of {}",
                VARYING.join(" and ")
            ));
        }
        for (key, values) in keys {
            let name = format!("{section}.{}", excerpt(&key));
            if FIXED.contains(&name.as_str()) {
                return Err(format!("{name} cannot vary: it is the same for all trials"));
            }
            match values {
                Value::Array(values) if !values.is_empty() => found.push((name, values)),
                _ => return Err(format!("{name} is no list of values")),
            }
        }
    }
    if found.is_empty() { Err("its grid has no key".into()) } else { Ok(found) }
}

/// Every way to take one value of each key, the last key's values changing fastest.
fn combinations(grid: &[(String, Vec<Value>)]) -> Vec<Vec<(String, Value)>> {
    grid.iter().fold(vec![Vec::new()], |begun, (key, values)| {
        let extend = |one: &Vec<(String, Value)>| {
            let one = one.clone();
            values.iter().map(move |value| [one.clone(), vec![(key.clone(), value.clone())]].concat())
        };
        begun.iter().flat_map(extend).collect()
    })
}

/// The file's settings as a layer, with a combination over them.
fn layer(table: &Table, values: &[(String, Value)]) -> Result<Layer> {
    let mut layer = Layer::default();
    for (section, keys) in table {
        layer = layer.with(section, keys)?;
    }
    for (name, value) in values {
        if let Some((section, key)) = name.split_once('.') {
            layer = layer.with(section, &Table::from_iter([(key.to_string(), value.clone())]))?;
        }
    }
    Ok(layer)
}

/// Whether a file has a setting, which is named by section and key.
fn names(table: &Table, setting: &str) -> bool {
    let found = setting.split_once('.').and_then(|(section, key)| table.get(section)?.get(key));
    found.is_some()
}

/// The folder of trial `number`, from 1.
pub(super) fn trial_folder(sweep: &Path, number: usize) -> PathBuf {
    sweep.join(format!("trial-{number:02}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plan(text: &str) -> Result<Plan> {
        Plan::of(text.into(), "a.toml", Layer::default())
    }

    #[test]
    fn every_combination_is_a_trial_with_the_files_settings_under_it() {
        let found = plan(
            "[model]\npath = \"base\"\n[training]\nepochs = 5\nseed = 9\n[lora]\nalpha = 4.0\n[sweep]\nrungs = 2\n\
             [grid.training]\nlearning_rate = [1e-3, 3e-3]\n[grid.lora]\nr = [2, 4]\ntarget_modules = [[\"q_proj\"]]\n",
        )
        .unwrap();
        let tried: Vec<(usize, f64)> = found
            .trials
            .iter()
            .map(|one| (one.settings.lora.r, one.settings.training.learning_rate))
            .collect();
        assert_eq!(tried, [(2, 1e-3), (2, 3e-3), (4, 1e-3), (4, 3e-3)]);
        assert!(
            found
                .trials
                .iter()
                .all(|one| one.settings.training.epochs == 5 && one.settings.lora.alpha == 4.0)
        );
        let shown = found.trials[1].shown();
        assert_eq!(shown[1], ("lora.target_modules".to_string(), "[\"q_proj\"]".to_string()));
        assert_eq!((found.halving.rungs, found.halving.factor), (2, 2));
    }

    #[test]
    fn what_is_laid_over_the_file_is_kept_with_it() {
        let text = "[data]\ntest_data = \"a\"\n[grid.training]\nlearning_rate = [1e-3]\n";
        let over = Layer::default().with("data", &serde_json::json!({"test_data": "b"})).unwrap();
        let found = Plan::of(text.into(), "a.toml", over).unwrap();
        let again = plan(&found.text).unwrap();
        for one in [found, again] {
            assert_eq!(one.settings.data.test_data.as_deref(), Some(Path::new("b")));
        }
        // What a run alone does is noted.
        assert_eq!(plan(&format!("{text}[run]\noutput = \"x\"\n")).unwrap().unused, ["run.output"]);
        assert!(plan(text).unwrap().unused.is_empty());
        // The older place for it.
        let found = plan("[sweep]\ntest_data = \"a\"\n[grid.training]\nlearning_rate = [1e-3]\n").unwrap();
        assert_eq!(found.settings.data.test_data.as_deref(), Some(Path::new("a")));
        assert_eq!(plan(text).unwrap().text, text);
    }

    #[test]
    fn rungs_are_multiples_and_end_with_the_whole() {
        let halving = Halving::default();
        assert_eq!(halving.steps(405), [102, 204, 405]);
        assert_eq!(halving.steps(400), [100, 200, 400]);
        assert_eq!(halving.steps(1), [1, 1, 1]);
        assert_eq!(Halving { rungs: 1, ..halving.clone() }.steps(7), [7]);
        assert_eq!([9, 8, 2, 1].map(|alive| halving.survivors(alive)), [5, 4, 1, 1]);
    }

    #[test]
    fn what_cannot_be_swept_is_refused_by_name() {
        let grid = "[grid.training]\nlearning_rate = [1e-3]\n";
        for (text, words) in [
            ("[model]\npath = \"base\"\n".to_string(), "no table [grid.SECTION]"),
            ("[grid.data]\nsupervise = [\"text\"]\n".into(), "[grid.data] cannot vary"),
            ("[grid.training]\nseed = [1, 2]\n".into(), "training.seed cannot vary"),
            ("[grid.training]\nlearning_rate = 1e-3\n".into(), "training.learning_rate is no list"),
            ("[grid.training]\nlearning_rat = [1e-3]\n".into(), "learning_rat"),
            ("[grid.lora]\nr = [4, 0]\n".into(), "trial 2 (lora.r = 0)"),
            (format!("{grid}[sweep]\nfactor = 1\n"), "factor is 1"),
            (format!("{grid}[sweep]\ntest_fraction = 1.0\n"), "test_fraction is 1"),
            (format!("{grid}[sweep]\nkeep = 1\n"), "keep"),
            (format!("{grid}[training]\neval_steps = 5\n"), "measures at its rungs"),
            (
                format!(
                    "{grid}beta1 = {many}\nbeta2 = {many}\n[grid.lora]\nalpha = {many}\n",
                    many = "[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17, 0.18, 0.19, 0.21, 0.22]"
                ),
                "more than 10000 trials",
            ),
            (format!("[grid.training]\nlearning_rate = [\"{}\"]\n", "x".repeat(500)), "xxx..."),
            (format!("{grid}[sweep]\nfactor = \"a\"\n"), "expected a whole number"),
            (format!("{grid}[modle]\npath = \"x\"\n"), "modle"),
            (
                format!("{grid}[data]\ntest_data = \"a\"\n[sweep]\ntest_data = \"b\"\n"),
                "two files to measure on at the end: a and b",
            ),
            ("nonsense".into(), "is wrong"),
        ] {
            let said = plan(&text).unwrap_err().to_string();
            assert!(said.contains(words), "{words}: {said}");
            assert!(said.len() < 600 && !said.contains("usize"), "{said}");
        }
    }
}
