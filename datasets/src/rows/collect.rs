//! The rows of a file become records or documents: the form found out from the first of them, each row turned and let
//! go, and all that cannot be used told at once.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use super::{Row, read_rows};
use crate::error::{BadRecord, BadRecords, DataError};
use crate::form::{DataFormat, FROM_ONE, Form, Item, OnBadRecord, counts_from_one, instructed};
use crate::record::Record;
use crate::source::{Budget, FileFormat, RECORD_COST};
use crate::value::{Fields, Names};

/// Rows that are looked at before the form is settled.
const LOOKED_AT: usize = 64;

/// What a file holds.
pub(crate) struct FileContent {
    pub(crate) format: DataFormat,
    pub(crate) content: Content,
    /// What was left out.
    pub(crate) skipped: Option<BadRecords>,
}

/// Records or documents.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) records: Vec<Record>,
    pub(crate) documents: Vec<String>,
}

/// Reads a file of records: in the form given, or in the one that its fields have, where `instruction` says whether
/// the instruction is needed.
///
/// # Errors
/// As [`super::read_records`].
pub(crate) fn read_file(
    path: &Path,
    form: Option<Form>,
    instruction: bool,
    on_bad: OnBadRecord,
    budget: &Budget,
) -> Result<FileContent, DataError> {
    let mut names = match &form {
        Some(Form::Columns { columns, .. }) => Names::new(columns.names()),
        _ => Names::new(DataFormat::fields()),
    };
    let named = matches!(form, Some(Form::Columns { .. }));
    let mut collector = Collector::new(form, instruction);
    read_rows(path, budget, &mut names, &mut |row, names| {
        budget.spend(RECORD_COST, path)?;
        collector.take(row, names);
        Ok(())
    })?;
    collector.finish(path, &names.seen, named, on_bad)
}

/// Takes rows and keeps what comes of them.
struct Collector {
    form: Option<Form>,
    instruction: bool,
    /// Rows that wait until the form is settled.
    waiting: Vec<Row>,
    count: usize,
    /// Whether the rows are lines, and not elements of one array.
    lines: bool,
    /// Rows that could be read, whatever they hold.
    readable: usize,
    /// The first of them that shows that all are read wrongly, by its number.
    misread: Option<usize>,
    content: Content,
    bad: Vec<BadRecord>,
    /// Records whose input is blank, by their places among the good ones, with number and line.
    without_input: Vec<(usize, usize, Option<u64>)>,
    /// Hashes of the instructions.
    instructions: HashSet<u64>,
    hasher: RandomState,
}

impl Collector {
    fn new(form: Option<Form>, instruction: bool) -> Self {
        Self {
            form,
            instruction,
            waiting: Vec::new(),
            count: 0,
            lines: false,
            readable: 0,
            misread: None,
            content: Content::default(),
            bad: Vec::new(),
            without_input: Vec::new(),
            instructions: HashSet::new(),
            hasher: RandomState::new(),
        }
    }

    fn take(&mut self, row: Row, names: &Names) {
        match self.form {
            Some(_) => self.turn(row),
            None => {
                self.waiting.push(row);
                if self.waiting.len() == LOOKED_AT {
                    self.settle(&names.seen);
                }
            }
        }
    }

    /// Settles the form and turns the rows that waited for it.
    fn settle(&mut self, names: &[String]) {
        if self.form.is_none() {
            let fields = self.waiting.iter().filter_map(|row| row.fields.as_ref().ok());
            let records: Vec<Vec<String>> = fields.map(Fields::names).collect();
            self.form = Some(Form::of(names, &records, self.instruction));
        }
        std::mem::take(&mut self.waiting).into_iter().for_each(|row| self.turn(row));
    }

    fn turn(&mut self, Row { line, fields }: Row) {
        self.count += 1;
        self.lines = line.is_some();
        let Some(form) = &self.form else { return };
        let item = fields.and_then(|mut fields| {
            self.readable += 1;
            if form.format() == DataFormat::Medmcqa && counts_from_one(&fields) {
                self.misread.get_or_insert(self.count);
            }
            form.read(&mut fields)
        });
        let record = match item {
            Ok(Item::Document(text)) => return self.content.documents.push(text),
            Ok(Item::Record(record)) => record,
            Ok(Item::WithoutInput(record)) => {
                self.without_input.push((self.content.records.len(), self.count, line));
                record
            }
            Err(reason) => return self.bad.push(BadRecord { record: self.count, line, reason }),
        };
        if form.format() == DataFormat::Instruction {
            self.instructions.insert(self.hasher.hash_one(&record.instruction));
        }
        self.content.records.push(record);
    }

    fn finish(
        mut self,
        path: &Path,
        names: &[String],
        named: bool,
        on_bad: OnBadRecord,
    ) -> Result<FileContent, DataError> {
        self.settle(names);
        if self.count == 0 {
            return Err(DataError::Empty { path: path.to_path_buf(), what: "records" });
        }
        let Some(form) = self.form.take() else {
            return Err(DataError::Empty { path: path.to_path_buf(), what: "records" });
        };
        // Without a single readable row there are no columns to speak of: the rows' own faults say more.
        let missing = form.missing(names);
        if !missing.is_empty() && self.readable > 0 {
            return Err(self.without_columns(path, missing, names));
        }
        if let Some(record) = self.misread {
            return Err(DataError::misread(path, form.format().name(), record, FROM_ONE));
        }
        let format = self.settle_inputs(form.format());
        let Self { count, content, mut bad, .. } = self;
        bad.sort_by_key(|bad| bad.record);
        let bad = (!bad.is_empty()).then(|| BadRecords::of(count, bad));
        let nothing = content.records.is_empty() && content.documents.is_empty();
        match bad {
            Some(bad) if on_bad == OnBadRecord::Refuse || nothing => {
                let format = (!named).then(|| format.to_string());
                Err(DataError::BadRecords { path: path.to_path_buf(), format, bad })
            }
            skipped => Ok(FileContent { format, content, skipped }),
        }
    }

    /// A lone object under `.json` is most likely no record at all.
    fn without_columns(&self, path: &Path, missing: Vec<String>, names: &[String]) -> DataError {
        let path = path.to_path_buf();
        match (self.count, FileFormat::of(&path)) {
            (1, Some(FileFormat::Json)) if self.lines => {
                let reason =
                    format!("one object with the fields {}", crate::excerpt::names(names, "of no name"));
                DataError::Json { path, line: 1, column: 1, reason }
            }
            _ => DataError::MissingColumns { path, missing, found: names.to_vec() },
        }
    }

    /// Records without an input are whole where the instructions are the questions: where most of them differ. Where
    /// one instruction stands over many records, the question is what is missing.
    fn settle_inputs(&mut self, format: DataFormat) -> DataFormat {
        if format != DataFormat::Instruction || self.without_input.is_empty() {
            return format;
        }
        let without = std::mem::take(&mut self.without_input);
        if 2 * self.instructions.len() > self.content.records.len() {
            for (place, ..) in without {
                let record = std::mem::take(&mut self.content.records[place]);
                self.content.records[place] = instructed(record);
            }
            return DataFormat::Alpaca;
        }
        let mut places = without.iter().map(|(place, ..)| *place).peekable();
        let mut place = 0;
        self.content.records.retain(|_| {
            place += 1;
            places.next_if_eq(&(place - 1)).is_none()
        });
        let reason = || "`input` is empty".to_string();
        let bad = without.iter().map(|&(_, record, line)| BadRecord { record, line, reason: reason() });
        self.bad.extend(bad);
        format
    }
}
