//! Batches of data as they are written to files: in the types of the table, kept narrow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchReader;
use partita_core::convert::{common_type, convert_column, settled_type};
use partita_core::{Error, ErrorKind, Result};

use crate::feed::wrapped;
use crate::format::pandas::ExtensionTypes;
use crate::format::schema::{EXTENSION_NAME, file_type, stored_field, table_field};
use crate::options::BatchSource;

/// Fits batches, which may differ in their types, to one stored schema.
///
/// A column is written in the narrow type that it comes in if that reads as the table's type, and
/// in the table's type otherwise. Where a later batch needs a wider one, so do all after it: what
/// was written before is in files of its own.
pub(super) struct Fit {
    /// The stored schema so far. A column without values yet takes the type of the first ones.
    stored: Arc<Mutex<Schema>>,
    /// The columns in the order of the first batch.
    names: Vec<String>,
    extensions: ExtensionTypes,
    /// Columns whose type is fixed: there are keys or an index of it.
    fixed: Vec<String>,
    /// Columns that are replaced by derived columns of the same name. Their values are not converted.
    replaced: Vec<String>,
    /// The types of the columns of the file that is written.
    written: HashMap<String, DataType>,
    rows: u64,
}

impl Fit {
    pub fn new(
        stored: Arc<Mutex<Schema>>,
        given: &Schema,
        extensions: ExtensionTypes,
        fixed: Vec<String>,
        replaced: Vec<String>,
    ) -> Self {
        let names = given.fields().iter().map(|field| field.name().clone()).collect();
        Self { stored, names, extensions, fixed, replaced, written: HashMap::new(), rows: 0 }
    }

    /// The batch in the types of files.
    pub fn batch(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        self.check_names(batch.schema_ref())?;
        let mut fields = Vec::with_capacity(self.names.len());
        let mut columns = Vec::with_capacity(self.names.len());
        for name in self.names.clone() {
            let place = batch.schema_ref().index_of(&name)?;
            let (field, values) = (batch.schema_ref().field(place), batch.column(place));
            if self.replaced.contains(&name) {
                fields.push(field.clone());
                columns.push(Arc::clone(values));
                continue;
            }
            let (known, to) = self.types(field, values)?;
            let values = convert_column(&name, self.rows, values, &to)?;
            if matches!(to, DataType::Timestamp(TimeUnit::Microsecond, None)) {
                in_nanoseconds(&name, self.rows, &values)?;
            }
            fields.push(known.with_data_type(to).with_nullable(true));
            columns.push(values);
        }
        self.rows += batch.num_rows() as u64;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
    }

    fn check_names(&self, given: &SchemaRef) -> Result<()> {
        let differs = |how: &str, column: &str| {
            let message = format!("the pieces of the data differ: a later one {how} {column}");
            Error::new(ErrorKind::SchemaMismatch, message).with("column", column)
        };
        if let Some(name) = self.names.iter().find(|name| given.index_of(name).is_err()) {
            return Err(differs("lacks", name));
        }
        match given.fields().iter().find(|field| !self.names.contains(field.name())) {
            Some(field) => Err(differs("adds", field.name())),
            None => Ok(()),
        }
    }

    /// The stored field of a column, and the type in which this batch of it is written.
    fn types(&mut self, field: &Field, values: &ArrayRef) -> Result<(Field, DataType)> {
        let name = field.name();
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let place = stored.index_of(name)?;
        let mut known = stored.field(place).clone();
        check_extension(&known, field)?;
        let narrow = file_type(field.data_type());
        let as_stored = stored_field(field, self.extensions.get(name));
        let empty = values.logical_null_count() == values.len();
        if !empty
            && !self.fixed.contains(name)
            && let Some(settled) = settled_type(known.data_type(), as_stored.data_type())
        {
            known = known.with_data_type(settled);
            let mut fields = stored.fields().to_vec();
            if let Some(field) = fields.get_mut(place) {
                *field = Arc::new(known.clone());
            }
            *stored = Schema::new(fields);
        }
        let table = table_field(&known);
        let reads_the_same = |file: &DataType| {
            let file = Field::new(name, file.clone(), true).with_metadata(table.metadata().clone());
            table_field(&stored_field(&file, None)).data_type() == table.data_type()
        };
        let own = [file_type(known.data_type()), file_type(table.data_type())];
        let own = own.into_iter().find(|own| reads_the_same(own));
        let to = match reads_the_same(&narrow) {
            true => narrow,
            false => own.unwrap_or_else(|| known.data_type().clone()),
        };
        let to = match self.written.get(name) {
            Some(written) => common_type(written, &to).filter(reads_the_same).unwrap_or(to),
            None => to,
        };
        self.written.insert(name.clone(), to.clone());
        Ok((known, to))
    }
}

/// Bytes of rows that are fitted at once. Columns of bytes hold less than 2 GiB in one array.
const SLICE_BYTES: usize = 512 << 20;

/// `data` fitted, in batches of at most `rows` rows, so that a source with one huge batch is gathered
/// in row groups too.
pub(super) fn fitted(data: BatchSource, fit: Fit, rows: usize) -> BatchSource {
    Box::new(Fitted { data, fit, rows, current: None })
}

struct Fitted {
    data: BatchSource,
    fit: Fit,
    rows: usize,
    /// A batch of which rows are left, and how many are taken at once.
    current: Option<(RecordBatch, usize)>,
}

impl Iterator for Fitted {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (batch, most) = match self.current.take() {
            Some(left) => left,
            None => match self.data.next()? {
                Ok(batch) => {
                    let parts = bytes_of(&batch).div_ceil(SLICE_BYTES).max(1);
                    let most = self.rows.min(batch.num_rows().div_ceil(parts)).max(1);
                    (batch, most)
                }
                Err(error) => return Some(Err(error)),
            },
        };
        let rows = most.min(batch.num_rows());
        if rows < batch.num_rows() {
            self.current = Some((batch.slice(rows, batch.num_rows() - rows), most));
        }
        Some(self.fit.batch(&batch.slice(0, rows)).map_err(wrapped))
    }
}

impl RecordBatchReader for Fitted {
    fn schema(&self) -> SchemaRef {
        self.data.schema()
    }
}

/// The memory that the rows of a batch take.
pub(super) fn bytes_of(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter();
    columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

/// Refuses data that mean something else than the column: numbers that are periods, say.
fn check_extension(known: &Field, given: &Field) -> Result<()> {
    let (Some(found), wanted) =
        (given.metadata().get(EXTENSION_NAME), known.metadata().get(EXTENSION_NAME))
    else {
        return Ok(());
    };
    // The storage of these says as much as they do.
    let plain = ["arrow.uuid", "arrow.json", "arrow.opaque"].contains(&found.as_str());
    if wanted.is_none() && plain || wanted == Some(found) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::SchemaMismatch,
        "the data are of an extension type that the table's column has not",
    )
    .with("column", known.name())
    .with("expected", wanted.map_or_else(|| known.data_type().to_string(), Clone::clone))
    .with("found", found))
}

/// Refuses times without a zone that cannot be read in nanoseconds.
fn in_nanoseconds(name: &str, first_row: u64, values: &ArrayRef) -> Result<()> {
    let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
    convert_column(name, first_row, values, &nanoseconds).map(drop).map_err(|error| {
        let far = Error::new(
            ErrorKind::SchemaMismatch,
            "a time without a zone must lie between 1677-09-21 and 2262-04-11, which nanoseconds \
             reach; give it a time zone, or store it as text",
        );
        error.context().iter().fold(far, |far, (key, value)| far.with(key, value))
    })
}
