//! Concatenation of files, with the common types of all of them.

use std::collections::HashSet;
use std::sync::Arc;

use ::parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatchReader;
use indexmap::IndexMap;
use partita::convert::{Suggestion, common_type, convert_column};
use partita::table::format::categories::CATEGORIES;
use partita::{Error, ErrorKind};

use super::folder::{Source, Values};
use super::{Arrow, InputOptions, Typed, csv, decoded, external, json, of_file, parquet};
use crate::failure::Failure;
use crate::output::Format;

/// The batches of one file.
type Rows = Box<dyn Iterator<Item = Arrow<RecordBatch>> + Send>;

/// A concatenation of files.
pub(super) struct Chain {
    schema: SchemaRef,
    /// The current file, and the number of its rows read so far.
    current: Option<(Source, Rows, u64)>,
    files: std::vec::IntoIter<Source>,
    csv: csv::CsvOptions,
    union: bool,
}

impl Chain {
    /// Reads all files to determine their common columns and types.
    pub fn new(
        sources: Vec<Source>,
        options: &InputOptions,
        like: Option<&Schema>,
    ) -> Result<Self, Failure> {
        let mut columns: IndexMap<String, Column> = IndexMap::new();
        for source in &sources {
            let found = decoded(|| look(source, options, like))
                .map_err(|error| Failure::from(of_file(error, &source.path)))?;
            let mut names = HashSet::new();
            if let Some((name, _)) = found.iter().find(|(name, _)| !names.insert(name)) {
                return Err(Error::invalid("a file has two columns of the same name")
                    .with("column", name)
                    .with("file", source.path.display())
                    .into());
            }
            for (name, typed) in found.into_iter().chain(source.values.types()) {
                columns.entry(name).or_default().see(typed);
            }
        }
        let mut fields = Vec::with_capacity(columns.len());
        for (name, column) in &columns {
            let chosen = options.types.iter().find(|chosen| chosen.name() == name);
            let known = like.and_then(|like| like.field_with_name(name).ok());
            fields.push(match (chosen, known) {
                (Some(chosen), _) => chosen.as_ref().clone(),
                (None, Some(known)) if options.merge => column.merged(known),
                (None, Some(known)) => column.as_in_table(known),
                // Where a file lacks the column, there are nulls.
                (None, None) if options.union => column.as_given(name).with_nullable(true),
                (None, None) => column.as_given(name),
            });
        }
        let mut chosen = options.types.iter().map(|chosen| chosen.name());
        if let Some(name) = chosen.find(|name| !columns.contains_key(*name)) {
            return Err(Failure::Usage(format!("--schema names {name}, which no file has")));
        }
        Ok(Self {
            schema: Arc::new(Schema::new(fields)),
            current: None,
            files: sources.into_iter(),
            csv: options.csv(),
            union: options.union,
        })
    }

    fn advance(&mut self) -> Arrow<Option<RecordBatch>> {
        loop {
            if let Some((source, rows, before)) = &mut self.current
                && let Some(batch) = decoded(|| rows.next().transpose()).transpose()
            {
                let fitted = batch.and_then(|batch| {
                    let first_row = *before;
                    *before += batch.num_rows() as u64;
                    fitted(&batch, first_row, &self.schema, &source.values, self.union)
                });
                return fitted.map(Some).map_err(|error| external(of_file(error, &source.path)));
            }
            let Some(source) = self.files.next() else { return Ok(None) };
            let rows = decoded(|| read(&source, &self.csv, &self.schema))
                .map_err(|error| external(of_file(error, &source.path)))?;
            self.current = Some((source, rows, 0));
        }
    }
}

impl Iterator for Chain {
    type Item = Arrow<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

impl RecordBatchReader for Chain {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// The types of one column in the files.
#[derive(Debug, Default)]
struct Column {
    typed: Option<DataType>,
    text: Option<Suggestion>,
    /// The different fields that files define for it.
    given: Vec<FieldRef>,
    /// True if a file says no more of it than its type.
    is_plain: bool,
}

impl Column {
    fn see(&mut self, typed: Typed) {
        let data_type = match typed {
            Typed::Text(suggestion) => {
                self.text = Some(match self.text.take() {
                    Some(known) => known.and(&suggestion),
                    None => suggestion,
                });
                return;
            }
            Typed::As(data_type) => {
                self.is_plain = true;
                data_type
            }
            Typed::Given(field) => {
                let data_type = field.data_type().clone();
                if !self.given.contains(&field) {
                    self.given.push(field);
                }
                data_type
            }
        };
        self.typed = Some(match self.typed.take() {
            // If there is no common type, values are converted to the type of the first file.
            Some(known) => common_type(&known, &data_type).unwrap_or(known),
            None => data_type,
        });
    }

    /// The column as all files define it, or else in a type that holds what they have.
    fn as_given(&self, name: &str) -> Field {
        match self.given.as_slice() {
            [one] if !self.is_plain && self.text.is_none() => one.as_ref().clone(),
            _ => self.field(name),
        }
    }

    fn field(&self, name: &str) -> Field {
        let suggested = self.text.as_ref().map(Suggestion::data_type);
        let data_type = match (&self.typed, suggested) {
            (Some(typed), Some(suggested)) => {
                common_type(typed, &suggested).unwrap_or_else(|| typed.clone())
            }
            (Some(typed), None) => typed.clone(),
            (None, suggested) => suggested.unwrap_or(DataType::Null),
        };
        Field::new(name, data_type, true)
    }

    /// The column with the type of the table, or the type of the files if the table's type includes
    /// it.
    fn as_in_table(&self, known: &Field) -> Field {
        let narrow = self.typed.as_ref().filter(|typed| {
            self.text.is_none()
                && common_type(typed, known.data_type()).as_ref() == Some(known.data_type())
        });
        let data_type = narrow.unwrap_or(known.data_type()).clone();
        Field::new(known.name(), data_type, true)
    }

    /// The column in a type that holds what the files have, if the table may take it.
    fn merged(&self, known: &Field) -> Field {
        let found = self.field(known.name());
        let (own, table) = (found.data_type(), known.data_type());
        if own.is_null() || own.is_string() || table.is_string() {
            return self.as_in_table(known);
        }
        match self.text {
            // Text says less than a type: what no type holds beside the table's is read as that.
            Some(_) => {
                let common = common_type(own, table).unwrap_or_else(|| table.clone());
                found.with_data_type(common)
            }
            None => found,
        }
    }
}

/// The columns of a file.
fn look(
    source: &Source,
    options: &InputOptions,
    like: Option<&Schema>,
) -> Arrow<Vec<(String, Typed)>> {
    match (source.format, like) {
        (Format::Parquet, _) => {
            let schema = parquet::look(&source.input()?)?;
            let fields = schema.fields().iter();
            Ok(fields.map(|field| (field.name().clone(), Typed::Given(own(field)))).collect())
        }
        (Format::Csv, like) => {
            let guess = like.is_none() || options.merge;
            csv::look(source.input()?.text()?, &options.csv(), guess)
        }
        // A missing key is null, so any column of the table may occur.
        (_, Some(like)) if !options.merge => {
            let fields = like.fields().iter();
            Ok(fields.map(|f| (f.name().clone(), Typed::As(f.data_type().clone()))).collect())
        }
        (_, _) => {
            let found = json::look(source.input()?.text()?)?;
            Ok(found.into_iter().map(|(name, data_type)| (name, Typed::As(data_type))).collect())
        }
    }
}

/// The field of a Parquet file as a column of a table. The id is one of the file; and a file has
/// its categories in the order in which they occur, unless it says otherwise.
fn own(field: &Field) -> FieldRef {
    let mut metadata = field.metadata().clone();
    metadata.remove(PARQUET_FIELD_ID_META_KEY);
    let is_ordered = metadata.contains_key(CATEGORIES) && field.dict_is_ordered() == Some(true);
    Arc::new(field.clone().with_metadata(metadata).with_dict_is_ordered(is_ordered))
}

fn read(source: &Source, options: &csv::CsvOptions, schema: &SchemaRef) -> Arrow<Rows> {
    let input = source.input()?;
    Ok(match source.format {
        Format::Parquet => parquet::read(&input)?,
        Format::Csv => Box::new(csv::read(input.text()?, options.clone(), schema)?),
        _ => Box::new(json::read(input.text()?, Arc::clone(schema))?),
    })
}

/// A batch of a file, with the columns of its folder names added, in the types of `schema`.
fn fitted(
    batch: &RecordBatch,
    first_row: u64,
    schema: &SchemaRef,
    values: &Values,
    union: bool,
) -> Arrow<RecordBatch> {
    let rows = batch.num_rows();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let own = match batch.column_by_name(field.name()) {
            Some(column) => {
                let column = convert_column(field.name(), first_row, column, field.data_type());
                Some(column.map_err(external)?)
            }
            None => None,
        };
        columns.push(match (values.column(field, rows)?, own) {
            (Some(named), Some(own)) => both(field, named, own)?,
            (Some(column), None) | (None, Some(column)) => column,
            (None, None) if union => new_null_array(field.data_type(), rows),
            (None, None) => {
                return Err(external(
                    Error::new(
                        ErrorKind::SchemaMismatch,
                        "a file lacks a column that another has; --union makes it null there",
                    )
                    .with("column", field.name()),
                ));
            }
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// A column of both the folder name and the file; both must agree.
fn both(field: &Field, named: ArrayRef, own: ArrayRef) -> Arrow<ArrayRef> {
    if own.logical_null_count() == own.len() {
        return Ok(named);
    }
    let same = arrow::compute::kernels::cmp::not_distinct(&named, &own)?;
    match (0..same.len()).find(|row| !same.value(*row)) {
        None => Ok(own),
        Some(row) => Err(external(
            Error::new(
                ErrorKind::SchemaMismatch,
                "a column has another value in the file than in the folder name",
            )
            .with("column", field.name())
            .with("row", row),
        )),
    }
}
