//! How data become examples: every setting in one place, with its default.

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::example::{Overlong, Supervise};
use crate::form::{DataFormat, Form, OnBadRecord};
use crate::prompt::PromptTemplate;
use crate::record::Columns;
use crate::size::DataSize;

/// The longest text where no length is given, in tokens.
pub const DEFAULT_LENGTH: usize = 256;

/// How records or documents are read, written out, cut and split. The defaults are the recipe's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataOptions {
    /// The form of the records; by default it is recognised by the names of the fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<DataFormat>,
    /// The column of the instructions; `instruction` by default.
    pub instruction_column: String,
    /// The column of the questions; `input` by default.
    pub question_column: String,
    /// The column of the answers; `output` by default.
    pub answer_column: String,
    /// The text of a record; by default instruction, question and response, a line each.
    pub prompt_template: PromptTemplate,
    /// The longest text in tokens, end-of-text included; [`DEFAULT_LENGTH`] by default.
    pub max_seq_length: Option<usize>,
    /// The share of the records to measure on instead of to learn from; 0.1 by default.
    pub validation_fraction: f64,
    /// The most examples to measure on; by default all that were put aside.
    pub validation_limit: Option<usize>,
    /// Which tokens are learned; by default the whole text.
    pub supervise: Supervise,
    /// What happens to a text that is too long; by default it is cut.
    pub overlong: Overlong,
    /// What happens to records that cannot be used; by default they are refused, all of them named.
    #[serde(skip_serializing_if = "is_default")]
    pub bad_records: OnBadRecord,
    /// The most that is read of all files together, as unpacked; [`DataSize::DEFAULT`] by default.
    #[serde(skip_serializing_if = "is_default")]
    pub max_data_size: DataSize,
    /// Whether questions that stand both in the training data and in what is measured on are refused; by default they
    /// are counted.
    #[serde(skip_serializing_if = "is_default")]
    pub deny_leaks: bool,
    /// The seed of the split; 42 by default. It is no key of a settings file, whose one seed is that of the training.
    #[serde(skip)]
    pub seed: u64,
}

impl Default for DataOptions {
    fn default() -> Self {
        let Columns { instruction, input, output } = Columns::default();
        Self {
            format: None,
            instruction_column: instruction,
            question_column: input,
            answer_column: output,
            prompt_template: PromptTemplate::default(),
            max_seq_length: None,
            validation_fraction: 0.1,
            validation_limit: None,
            supervise: Supervise::default(),
            overlong: Overlong::default(),
            bad_records: OnBadRecord::default(),
            max_data_size: DataSize::DEFAULT,
            deny_leaks: false,
            seed: 42,
        }
    }
}

impl DataOptions {
    /// The columns of a record.
    pub fn columns(&self) -> Columns {
        Columns {
            instruction: self.instruction_column.clone(),
            input: self.question_column.clone(),
            output: self.answer_column.clone(),
        }
    }

    /// How the fields of records are read; none where that is to be found out.
    pub(crate) fn form(&self) -> Option<Form> {
        let instruction = self.prompt_template.uses_instruction();
        match (self.format, self.columns()) {
            (Some(format), _) => Some(Form::Known { format, instruction }),
            (None, columns) if columns != Columns::default() => Some(Form::Columns { columns, instruction }),
            (None, _) => None,
        }
    }

    /// The longest text in tokens.
    pub fn max_length(&self) -> usize {
        self.max_seq_length.unwrap_or(DEFAULT_LENGTH)
    }

    /// Checks every setting before anything is read.
    ///
    /// # Errors
    /// The first setting that is outside its range, by its name.
    pub fn validate(&self) -> Result<(), DataError> {
        let fraction = self.validation_fraction;
        if !(0.0..1.0).contains(&fraction) {
            return Err(DataError::setting("validation_fraction", fraction, "0 or more and less than 1"));
        }
        if self.validation_limit == Some(0) {
            return Err(DataError::setting("validation_limit", 0, "at least 1"));
        }
        if let Some(format) = self.format
            && self.columns() != Columns::default()
        {
            return Err(DataError::setting("format", format, "none, because the columns are named"));
        }
        if let Some(length @ 0..2) = self.max_seq_length {
            return Err(DataError::setting("max_seq_length", length, "at least 2 tokens"));
        }
        Ok(())
    }
}

/// Whether a setting needs no mention: files that never heard of it stay as they are.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_outside_its_range_is_refused_by_name() {
        let usual = DataOptions::default;
        assert!(usual().validate().is_ok());
        for (name, options) in [
            ("validation_fraction", DataOptions { validation_fraction: f64::NAN, ..usual() }),
            ("validation_fraction", DataOptions { validation_fraction: 1.0, ..usual() }),
            ("validation_limit", DataOptions { validation_limit: Some(0), ..usual() }),
            ("max_seq_length", DataOptions { max_seq_length: Some(1), ..usual() }),
            (
                "format",
                DataOptions { format: Some(DataFormat::Text), question_column: "q".into(), ..usual() },
            ),
        ] {
            let fault = options.validate().map_err(|error| error.to_string());
            assert!(fault.is_err_and(|message| message.starts_with(name)), "{name}");
        }
    }
}
