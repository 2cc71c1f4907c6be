//! The schema of a table: the stored schema, the schema that readers see, and compatibility checks.
//!
//! A type has four forms: the *given* type of the data, which scans return (see
//! [`given`](super::given)); the *file* type, close to it; the *stored* type of `_common_metadata`,
//! in which plateau widens numbers and drops dictionaries; and the *table* type, in which
//! predicates, statistics and indices compare values. That is the stored one with large strings, and
//! with naive timestamps in nanoseconds, as plateau reads them, unless they were given in a coarser
//! unit, which reaches further.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::ipc::convert::try_schema_from_ipc_buffer;
use arrow::util::display::FormatOptions;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowWriter};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use partita_core::convert::{convert_column, fill_fields};
use partita_core::{Error, ErrorKind, Result, guarded, type_name};
use partita_parquet::load;

use super::columns::{comment_of, given_of, id_of, plain, with_comment, with_id};
use super::pandas::{self, ExtensionTypes};

/// The entry of a field's metadata that names an extension type of Arrow.
pub const EXTENSION_NAME: &str = "ARROW:extension:name";

/// The entry of a stored field's metadata that marks zoned timestamps in nanoseconds. plateau
/// stores microseconds, and most of its tables have no others.
const UNIT: &str = "partita.unit";

/// The type in which a column is written to data files.
///
/// Only dictionaries of text and bytes are kept, with indices of 32 bits: a row group may hold
/// more values than the index type of any of its batches counts, and a reader takes the index type
/// from the file's schema.
#[must_use]
pub fn file_type(given: &DataType) -> DataType {
    match given {
        DataType::Utf8View => DataType::LargeUtf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Float16 => DataType::Float32,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => given.clone(),
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => {
            DataType::List(element(nested_file_type(item.data_type())))
        }
        DataType::FixedSizeList(item, size) => {
            let item = item.as_ref().clone().with_data_type(nested_file_type(item.data_type()));
            DataType::FixedSizeList(Arc::new(item.with_nullable(true)), *size)
        }
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(nested_field).collect()),
        DataType::Map(entries, sorted) => {
            let DataType::Struct(parts) = entries.data_type() else { return given.clone() };
            let parts = parts.iter().enumerate().map(|(place, field)| match place {
                // The key of a map is not nullable.
                0 => nested_field(field).as_ref().clone().with_nullable(false).into(),
                _ => nested_field(field),
            });
            let parts = DataType::Struct(parts.collect());
            DataType::Map(Arc::new(entries.as_ref().clone().with_data_type(parts)), *sorted)
        }
        DataType::Dictionary(_, values) => match file_type(values) {
            values if values.is_string() || values.is_binary() => {
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(values))
            }
            values => values,
        },
        DataType::RunEndEncoded(_, values) => file_type(values.data_type()),
        other => other.clone(),
    }
}

/// Like [`file_type`], for a type within another one: without dictionaries and nanoseconds.
fn nested_file_type(given: &DataType) -> DataType {
    match file_type(given) {
        DataType::Dictionary(_, values) => *values,
        // Reads return nested timestamps in this unit.
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone),
        other => other,
    }
}

fn nested_field(field: &FieldRef) -> FieldRef {
    let data_type = nested_file_type(field.data_type());
    Arc::new(field.as_ref().clone().with_data_type(data_type).with_nullable(true))
}

/// The type as which a reader must decode a column of a data file, if that differs from the
/// declared type: dictionaries may have more values than their index type can count, or values
/// other than text.
fn readable_type(named: &DataType) -> DataType {
    match named {
        DataType::Dictionary(_, _) => file_type(named),
        other => other.clone(),
    }
}

/// The schema to decode a data file with; `None` if it is the declared one.
#[must_use]
pub fn readable_schema(named: &Schema) -> Option<SchemaRef> {
    let types = named.fields().iter().map(|field| readable_type(field.data_type()));
    let fields = named.fields().iter().zip(types);
    let fields: Vec<Field> =
        fields.map(|(field, readable)| field.as_ref().clone().with_data_type(readable)).collect();
    let readable = Schema::new_with_metadata(fields, named.metadata().clone());
    (readable != *named).then(|| Arc::new(readable))
}

/// The type that `_common_metadata` stores for data of type `given` (plateau's normalisation).
#[must_use]
pub fn stored_type(given: &DataType, extension: Option<&String>) -> DataType {
    match file_type(given) {
        DataType::Int8 | DataType::Int16 | DataType::Int32 => DataType::Int64,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => DataType::UInt64,
        DataType::Float32 => DataType::Float64,
        DataType::Utf8 | DataType::LargeUtf8 => {
            if extension.is_some_and(|name| name.starts_with("string")) {
                DataType::Utf8
            } else {
                DataType::LargeUtf8
            }
        }
        DataType::Dictionary(_, values) => stored_type(&values, extension),
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone),
        DataType::List(item) => match item.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::List(element(DataType::Utf8)),
            inner => DataType::List(element(stored_type(inner, None))),
        },
        other => other,
    }
}

/// The type in which the values of a column are compared.
#[must_use]
pub fn table_type(stored: &DataType) -> DataType {
    match stored {
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Timestamp(_, Some(_)) => stored.clone(),
        other => stored_type(other, None),
    }
}

fn element(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("element", data_type, true))
}

/// Puts another field in the place of that of a schema.
pub(crate) fn put(schema: &mut Schema, place: usize, other: &Field) {
    let mut fields = schema.fields().to_vec();
    if let Some(field) = fields.get_mut(place) {
        *field = Arc::new(other.clone());
    }
    *schema = Schema::new(fields);
}

/// The fields in the order of the stored schema: partition columns first, the others by name.
#[must_use]
pub fn in_stored_order(mut fields: Vec<Field>, partition_by: &[String]) -> Schema {
    let place = |field: &Field| {
        let key = partition_by.iter().position(|name| name == field.name());
        (key.unwrap_or(partition_by.len()), field.name().clone())
    };
    fields.sort_by_key(place);
    Schema::new(fields)
}

/// The stored field of a data column. The values of an extension type are defined by its storage
/// type, so that type is kept.
#[must_use]
pub fn stored_field(given: &Field, pandas: Option<&String>) -> Field {
    let mut kept = extension(given);
    let stored = match kept.is_empty() {
        true => stored_type(given.data_type(), pandas),
        false => file_type(given.data_type()),
    };
    if matches!(given.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, Some(_))) {
        kept.insert(UNIT.to_owned(), "ns".to_owned());
    }
    Field::new(given.name(), stored, true).with_metadata(kept)
}

/// The table field of a stored column, which predicates, statistics and indices use.
#[must_use]
pub fn table_field(stored: &Field) -> Field {
    let extension = extension(stored);
    let data_type = match (extension.is_empty(), stored.data_type()) {
        (true, DataType::Timestamp(_, Some(zone))) if stored.metadata().contains_key(UNIT) => {
            DataType::Timestamp(TimeUnit::Nanosecond, Some(Arc::clone(zone)))
        }
        (true, DataType::Timestamp(_, None)) if is_coarse(stored) => file_type(stored.data_type()),
        (true, other) => table_type(other),
        (false, own) => own.clone(),
    };
    Field::new(stored.name(), data_type, true).with_metadata(extension)
}

/// True for a column of times without a zone that were given in a coarser unit than nanoseconds.
fn is_coarse(stored: &Field) -> bool {
    let given = given_of(stored).map(|given| given.data_type().clone());
    given.is_some_and(|given| match given {
        DataType::Timestamp(unit, None) => unit != TimeUnit::Nanosecond,
        _ => false,
    })
}

/// The stored schema of another library, completed from `before` for unchanged columns, since the
/// schema file does not contain everything.
#[must_use]
pub fn remembering(stored: &Schema, before: &Schema) -> Schema {
    let fields = stored.fields().iter().map(|field| {
        let Ok(known) = before.field_with_name(field.name()) else { return field.as_ref().clone() };
        if same(known.data_type(), field.data_type()) {
            return field.as_ref().clone().with_metadata(known.metadata().clone());
        }
        let field = with_comment(field, comment_of(known));
        id_of(known).map_or(field.clone(), |id| with_id(&field, id))
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// The entries of a field's metadata that name an extension type, such as UUIDs or periods.
fn extension(field: &Field) -> HashMap<String, String> {
    let kept = [EXTENSION_NAME, "ARROW:extension:metadata"];
    let entries = field.metadata().iter().filter(|(key, _)| kept.contains(&key.as_str()));
    entries.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The schema of the table types of a stored one, with columns in the order of `columns` if that
/// names all of them.
#[must_use]
pub fn table_schema(stored: &Schema, columns: &[String], extensions: &ExtensionTypes) -> SchemaRef {
    in_order(stored, columns, extensions, table_field)
}

/// A schema of what `form` makes of the stored fields, with columns in the order of `columns` if
/// that names all of them.
pub(super) fn in_order(
    stored: &Schema,
    columns: &[String],
    extensions: &ExtensionTypes,
    form: fn(&Field) -> Field,
) -> SchemaRef {
    let fields: Vec<Field> = stored.fields().iter().map(|field| form(field)).collect();
    let ordered = Schema::new(fields);
    let picked: Option<Vec<Field>> =
        columns.iter().map(|name| ordered.field_with_name(name).ok().cloned()).collect();
    let schema = match picked {
        Some(fields) if fields.len() == ordered.fields().len() => Schema::new(fields),
        _ => ordered,
    };
    Arc::new(with_pandas(schema, extensions))
}

/// Adds a `pandas` entry for the fields.
#[must_use]
pub fn with_pandas(schema: Schema, extensions: &ExtensionTypes) -> Schema {
    let entry = pandas::describe(&schema, extensions);
    schema.with_metadata(HashMap::from([(pandas::KEY.to_owned(), entry)]))
}

/// The `pandas` entry of a schema, as Parquet metadata. pyarrow reads it from the Arrow schema
/// embedded in a file, other readers from the file's own metadata.
#[must_use]
pub fn pandas_entry(schema: &Schema) -> Option<Vec<KeyValue>> {
    let entry = schema.metadata().get(pandas::KEY)?;
    Some(vec![KeyValue::new(pandas::KEY.to_owned(), entry.clone())])
}

/// Checks that the data has exactly the columns of the table's schema `current`.
///
/// # Errors
/// [`SchemaMismatch`](ErrorKind::SchemaMismatch) naming the column.
pub fn check_columns(current: &Schema, given: &Schema) -> Result<()> {
    if let Some(field) = current.fields().iter().find(|f| given.index_of(f.name()).is_err()) {
        return Err(missing(field.name()));
    }
    match given.fields().iter().find(|field| current.index_of(field.name()).is_err()) {
        Some(field) => Err(surplus(field.name())),
        None => Ok(()),
    }
}

/// The error of a column of the data that the table lacks.
pub(crate) fn surplus(column: &str) -> Error {
    Error::new(ErrorKind::SchemaMismatch, "the data has a column that the table has not")
        .with("column", column)
}

/// The error for a column of the table that the data lacks.
pub(crate) fn missing(column: &str) -> Error {
    Error::new(ErrorKind::SchemaMismatch, "a column of the table is missing from the data")
        .with("column", column)
}

/// True if a file may store a column of the table type `table` with the type `file`.
#[must_use]
pub fn fits_table(file: &DataType, table: &DataType) -> bool {
    table_type(&stored_type(file, None)) == *table
}

/// True if the types represent the same data: string widths, timestamp units and list item names do
/// not matter.
pub(crate) fn same(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::Utf8 | DataType::LargeUtf8, DataType::Utf8 | DataType::LargeUtf8) => true,
        (DataType::Timestamp(_, a), DataType::Timestamp(_, b)) => a == b,
        (DataType::Duration(_), DataType::Duration(_)) => true,
        (DataType::List(a), DataType::List(b)) => same(a.data_type(), b.data_type()),
        _ => a == b,
    }
}

/// Casts a column, and fails if a value does not fit.
///
/// # Errors
/// [`SchemaMismatch`](ErrorKind::SchemaMismatch) naming the column and both types.
pub fn cast_column(name: &str, values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if values.data_type() == to {
        return Ok(Arc::clone(values));
    }
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    cast_with_options(values, to, &options).map_err(|error| {
        Error::new(ErrorKind::SchemaMismatch, "values do not fit the column's type")
            .with("column", name)
            .with("expected", type_name(to))
            .with("found", type_name(values.data_type()))
            .caused_by(error)
    })
}

/// Converts values of a data file to the type that a scan returns. Values that are wider than this
/// type are truncated, since the file was written so.
///
/// # Errors
/// As [`cast_column`].
pub fn from_file(name: &str, values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    match values.data_type().is_nested() && values.data_type() != to {
        // Fields that structs have got since are null in older files.
        true => convert_column(name, 0, &fill_fields(values, to)?, to),
        false => cast_column(name, values, to),
    }
}

/// Encodes `_common_metadata`: a Parquet file without rows, ids and comments.
///
/// # Errors
/// [`InvalidArgument`](ErrorKind::InvalidArgument) if Parquet does not support a type.
pub fn encode_common_metadata(stored: &Schema) -> Result<Bytes> {
    let cannot = |error| Error::invalid("Parquet cannot hold this schema").caused_by(error);
    // The narrow string type is stored only for pandas' own strings, and plateau reads it as the
    // wide one unless the entry says otherwise.
    let strings = stored.fields().iter().filter(|field| *field.data_type() == DataType::Utf8);
    let extensions = strings.map(|field| (field.name().clone(), "string".to_owned())).collect();
    let schema = with_pandas(plain(stored), &extensions);
    let properties =
        WriterProperties::builder().set_key_value_metadata(pandas_entry(&schema)).build();
    let writer = ArrowWriter::try_new(Vec::new(), Arc::new(schema), Some(properties))
        .map_err(|error: parquet::errors::ParquetError| cannot(error))?;
    writer.into_inner().map(Bytes::from).map_err(cannot)
}

/// Decodes `_common_metadata`.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) if the bytes are not a Parquet file.
pub fn decode_common_metadata(bytes: &Bytes) -> Result<Schema> {
    let metadata = load(bytes, ArrowReaderOptions::new())
        .map_err(|error| Error::corrupt("the schema file cannot be read").caused_by(error))?;
    let schema = metadata.schema();
    let index = index_columns(schema);
    let zones = time_zones(&metadata);
    let kept = schema.fields().iter().filter(|field| !index.contains(field.name()));
    let fields: Vec<FieldRef> = kept
        .map(|field| match (field.data_type(), zones.get(field.name())) {
            (DataType::Timestamp(unit, Some(_)), Some(zone)) => {
                let zoned = DataType::Timestamp(*unit, Some(Arc::clone(zone)));
                Arc::new(field.as_ref().clone().with_data_type(zoned))
            }
            _ => Arc::clone(field),
        })
        .collect();
    Ok(Schema::new(fields))
}

/// The time zones of the Arrow schema embedded in a file. The decoder returns UTC if the unit was
/// coerced on writing, as plateau does with nanoseconds.
fn time_zones(metadata: &ArrowReaderMetadata) -> HashMap<String, Arc<str>> {
    let entries = metadata.metadata().file_metadata().key_value_metadata();
    let entry = entries.into_iter().flatten().find(|entry| entry.key == ARROW_SCHEMA_META_KEY);
    let carried = entry
        .and_then(|entry| STANDARD.decode(entry.value.as_ref()?).ok())
        .and_then(|bytes| guarded(|| Ok(try_schema_from_ipc_buffer(&bytes)?)).ok())
        .unwrap_or_else(Schema::empty);
    let zone = |field: &FieldRef| match field.data_type() {
        DataType::Timestamp(_, Some(zone)) => Some((field.name().clone(), Arc::clone(zone))),
        _ => None,
    };
    carried.fields().iter().filter_map(zone).collect()
}

/// The columns that store the index of a pandas frame; they are not columns of the table.
#[must_use]
pub fn index_columns(schema: &Schema) -> Vec<String> {
    let document = schema
        .metadata()
        .get(pandas::KEY)
        .and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    let columns = document.as_ref().and_then(|d| d.get("index_columns")).and_then(|c| c.as_array());
    columns.into_iter().flatten().filter_map(|column| column.as_str().map(str::to_owned)).collect()
}
