//! Converting batches to the types of data files: compatible with the table, but narrow.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, max, min};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchReader;
use partita_core::convert::{common_type, convert_column, fill_fields};
use partita_core::{Error, ErrorKind, Result, type_name};

use crate::feed::wrapped;
use crate::format::categories::with_categories;
use crate::format::columns::{given_of, with_comment, with_given};
use crate::format::given::{as_given, finer, given_field, settled, to_file, widened};
use crate::format::pandas::ExtensionTypes;
use crate::format::schema::{EXTENSION_NAME, file_type, put, stored_field, table_field};
use crate::format::widen::{Widening, common_stored, widening};
use crate::options::BatchSource;

/// Converts batches, which may differ in their types, to one stored schema.
///
/// A column is written in the narrow type of the data if that reads as the table's type, and
/// otherwise in the table's type. If a later batch needs a wider type, so do all batches after it;
/// the earlier ones are in files of their own.
pub(super) struct Fit {
    /// The stored schema so far. A column without values yet takes the type of its first values.
    stored: Arc<Mutex<Schema>>,
    /// The columns in the order of the first batch.
    names: Vec<String>,
    pub extensions: ExtensionTypes,
    /// Columns with a fixed type, since partition keys or an index depend on it.
    pub fixed: Vec<String>,
    /// Columns that are replaced by derived columns of the same name. Their values are not
    /// converted.
    pub replaced: Vec<String>,
    /// True if columns get wider types where a value needs it.
    pub merges: bool,
    /// True for data of which a table is made, whose types may still become wider.
    pub creates: bool,
    /// Columns with values that a wider type may not hold, see [`Fit::reaches_far`].
    beyond: HashSet<String>,
    /// The types of the columns of the current file.
    written: HashMap<String, DataType>,
    rows: u64,
}

/// A column in the forms of its type, see [`schema`](crate::format::schema).
struct Form {
    stored: Field,
    /// The given field, if it differs from the table's.
    given: Option<Field>,
    /// The type in which the values are written.
    file: DataType,
}

impl Fit {
    /// Fits data of schema `given`, of which no column is fixed or replaced.
    pub fn new(stored: Arc<Mutex<Schema>>, given: &Schema) -> Self {
        Self {
            stored,
            names: given.fields().iter().map(|field| field.name().clone()).collect(),
            extensions: ExtensionTypes::new(),
            fixed: Vec::new(),
            replaced: Vec::new(),
            merges: false,
            creates: false,
            beyond: HashSet::new(),
            written: HashMap::new(),
            rows: 0,
        }
    }

    /// Converts a batch to the types of files.
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
            let (known, values) = self.column(field, values)?;
            let reads_nanoseconds = *table_field(&known).data_type() == NANOSECONDS;
            if reads_nanoseconds && *values.data_type() != NANOSECONDS {
                in_nanoseconds(&name, self.rows, &values)?;
            }
            let field = known.with_data_type(values.data_type().clone()).with_nullable(true);
            fields.push(with_given(&with_comment(&field, None), None));
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

    /// The stored field of a column, and the values of this batch as they are written.
    fn column(&mut self, field: &Field, values: &ArrayRef) -> Result<(Field, ArrayRef)> {
        let mut form = self.form(field, values)?;
        let converted = match self.converted(&form, values) {
            Err(error) if self.merges || self.creates => {
                self.widen(field, error)?;
                form = self.form(field, values)?;
                self.converted(&form, values)?
            }
            converted => converted?,
        };
        if !self.beyond.contains(field.name()) && self.reaches_far(&converted)? {
            self.beyond.insert(field.name().clone());
        }
        Ok((form.stored, converted))
    }

    /// The values as they are written. If wider types are merged, the fields of structs that the
    /// values lack are null.
    fn converted(&self, form: &Form, values: &ArrayRef) -> Result<ArrayRef> {
        let Form { stored, given, file } = form;
        let filled = match self.merges {
            true => fill_fields(values, given.as_ref().map_or(file, Field::data_type))?,
            false => Arc::clone(values),
        };
        match given {
            Some(given) => to_file(given, self.rows, &filled),
            None => convert_column(stored.name(), self.rows, &filled, file),
        }
    }

    /// Gives a column the type that its values need which did not fit; else returns the error.
    fn widen(&self, given: &Field, error: Error) -> Result<()> {
        let name = given.name();
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let place = stored.index_of(name)?;
        let known = stored.field(place).clone();
        if self.fixed.contains(name) || known.metadata().contains_key(EXTENSION_NAME) {
            return Err(error);
        }
        let found = as_given(given, self.extensions.get(name));
        let refused = |why: &str| {
            Error::new(ErrorKind::SchemaMismatch, why.to_owned())
                .with("column", name)
                .with("expected", type_name(given_field(&known).data_type()))
                .with("found", type_name(given_field(&found).data_type()))
        };
        if self.creates
            && let Some(next) = finer(&known, &found)
        {
            if self.beyond.contains(name) {
                return Err(refused(
                    "earlier rows of the data hold times that the finer unit of a later piece may \
                     not reach; give all pieces one unit",
                ));
            }
            put(&mut stored, place, &next);
            return Ok(());
        }
        let wider = match self.merges {
            true => common_stored(known.data_type(), found.data_type()),
            false => common_type(known.data_type(), found.data_type()),
        };
        let Some(wider) = wider else { return Err(error) };
        let next = widened(&known, &found, &wider);
        match widening(known.data_type(), &wider) {
            None if next == known || wider != *known.data_type() => return Err(error),
            None | Some(Widening::AsItIs) => {}
            // A column of whole numbers stays one, unless the caller asks for wider types.
            Some(_) if self.creates => return Err(error),
            Some(Widening::IfExact) if !self.beyond.contains(name) => {}
            Some(Widening::IfExact) => {
                return Err(refused(
                    "earlier rows of the data hold integers that doubles would round",
                ));
            }
            Some(Widening::Rewritten) => {
                return Err(refused(
                    "the column needs a wider type, for which its files must be written again; \
                     use widen_column first",
                )
                .caused_by(error));
            }
        }
        put(&mut stored, place, &next);
        Ok(())
    }

    /// True if a type that the column may get does not hold all of the values: doubles round large
    /// integers, and nanoseconds reach fewer years than coarser units.
    fn reaches_far(&self, values: &ArrayRef) -> Result<bool> {
        let limit: u64 = match values.data_type() {
            DataType::Int64 | DataType::UInt64 if self.merges => 1 << 53,
            DataType::Timestamp(unit, _) | DataType::Duration(unit) if self.creates => {
                let nanoseconds = match unit {
                    TimeUnit::Second => 1_000_000_000,
                    TimeUnit::Millisecond => 1_000_000,
                    TimeUnit::Microsecond => 1_000,
                    TimeUnit::Nanosecond => return Ok(false),
                };
                i64::MAX.unsigned_abs() / nanoseconds + 1
            }
            _ => return Ok(false),
        };
        let numbers = cast(values, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>();
        // The cast makes a null of an unsigned integer that no signed one equals.
        let lost = numbers.null_count() > values.null_count();
        let extremes = [min(numbers), max(numbers)].into_iter().flatten();
        Ok(lost || extremes.map(i64::unsigned_abs).any(|value| value >= limit))
    }

    /// The forms of a column in which this batch of it is written.
    fn form(&mut self, field: &Field, values: &ArrayRef) -> Result<Form> {
        let name = field.name();
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let place = stored.index_of(name)?;
        let mut known = stored.field(place).clone();
        check_extension(&known, field)?;
        let narrow = file_type(field.data_type());
        let as_stored = as_given(field, self.extensions.get(name));
        let empty = values.logical_null_count() == values.len();
        if !empty
            && !self.fixed.contains(name)
            && let Some(settled) = settled(&known, &as_stored)
        {
            known = settled;
            put(&mut stored, place, &known);
        }
        if let Some(mut given) = given_of(&known) {
            if let Some(next) = with_categories(&given, field, values)? {
                known = with_given(&known, Some(&next));
                put(&mut stored, place, &known);
                given = next;
            }
            let file = file_type(given.data_type());
            return Ok(Form { stored: known, given: Some(given), file });
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
        Ok(Form { stored: known, given: None, file: to })
    }
}

/// The size in bytes of the rows converted together. Columns of bytes hold less than 2 GiB in one
/// array.
const SLICE_BYTES: usize = 512 << 20;

/// Converts `data` into batches of at most `rows` rows, so that a source with one huge batch is
/// divided into row groups too.
pub(super) fn fitted(data: BatchSource, fit: Fit, rows: usize) -> BatchSource {
    Box::new(Fitted { data, fit, rows, current: None })
}

struct Fitted {
    data: BatchSource,
    fit: Fit,
    rows: usize,
    /// A partly consumed batch, and the number of rows to take from it at a time.
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

/// The memory size of the rows of a batch in bytes.
pub(super) fn bytes_of(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter();
    columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

/// Fails for data whose extension type has another meaning than the column, such as periods for
/// numbers.
fn check_extension(known: &Field, given: &Field) -> Result<()> {
    let (Some(found), wanted) =
        (given.metadata().get(EXTENSION_NAME), known.metadata().get(EXTENSION_NAME))
    else {
        return Ok(());
    };
    // The storage type of these has the same meaning as the extension type.
    let plain = ["arrow.uuid", "arrow.json", "arrow.opaque"].contains(&found.as_str());
    if wanted.is_none() && plain || wanted == Some(found) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::SchemaMismatch,
        "the data are of an extension type that the table's column has not",
    )
    .with("column", known.name())
    .with("expected", wanted.map_or_else(|| type_name(known.data_type()), Clone::clone))
    .with("found", found))
}

/// The type in which plateau reads times without a zone.
const NANOSECONDS: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

/// Fails for times without a zone that do not fit nanoseconds.
fn in_nanoseconds(name: &str, first_row: u64, values: &ArrayRef) -> Result<()> {
    convert_column(name, first_row, values, &NANOSECONDS).map(drop).map_err(|error| {
        let far = Error::new(
            ErrorKind::SchemaMismatch,
            "a time without a zone must lie between 1677-09-21 and 2262-04-11, which nanoseconds \
             reach; give it a time zone, or store it as text",
        );
        error.context().iter().fold(far, |far, (key, value)| far.with(key, value))
    })
}
