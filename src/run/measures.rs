//! Every measure of a run that came to its end, by name: what runs are put side by side by.

use std::collections::BTreeMap;

use gptneo_report::{MeasureRow, PerplexityRow, read_measures, read_perplexities};

use super::folder::RunFolder;
use crate::Result;

/// A measure's name, and the model that it is of; the latter is empty for what is known without a model.
pub(crate) type Name = (String, String);

/// The measures of a run, in the order of its tables.
pub(crate) struct Measures(pub(crate) Vec<(Name, f64)>);

impl Measures {
    /// Those in the tables of a run's folder. A run from before what it knows was measured has the perplexities alone.
    ///
    /// # Errors
    /// A table is missing or damaged.
    pub(crate) fn read(folder: &RunFolder) -> Result<Self> {
        let mut found = Vec::new();
        let mut push =
            |measure: String, model: &str, value| found.push(((measure, model.to_string()), value));
        for PerplexityRow { model, protocol, loss, perplexity, bits_per_byte, .. } in
            read_perplexities(folder.performance_table())?
        {
            push(format!("loss, {protocol}"), &model, loss);
            push(format!("perplexity, {protocol}"), &model, perplexity);
            if let Some(bits) = bits_per_byte {
                push(format!("bits per byte, {protocol}"), &model, bits);
            }
        }
        if folder.knowledge_table().is_file() {
            for MeasureRow { measure, model, value, .. } in read_measures(folder.knowledge_table())? {
                push(measure, &model, value);
            }
        }
        Ok(Self(found))
    }

    /// The tuned model's, by measure: of the model that comes after the base.
    pub(crate) fn tuned(&self) -> BTreeMap<String, f64> {
        let models: Vec<&String> =
            self.0.iter().map(|((_, model), _)| model).filter(|m| !m.is_empty()).collect();
        let base = models.first();
        let Some(tuned) = models.iter().find(|model| Some(*model) != base) else { return BTreeMap::new() };
        let of_tuned = self.0.iter().filter(|((_, model), _)| model == *tuned);
        of_tuned.map(|((measure, _), value)| (measure.clone(), *value)).collect()
    }
}
