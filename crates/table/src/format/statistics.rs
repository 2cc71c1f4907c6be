//! The manifest: one row per data file with its size and the bounds of its columns.
//!
//! Columns: `label`, `key`, `rows`, `groups` (row groups), `bytes`, `footer` (its length),
//! `buckets` (the number of hash buckets that its partition key is based on), `footer_digest` and
//! `rest_digest` (see [`digests`](super::digests)), `schema_id` (the version whose schema it was written
//! in), and for each payload column `c` of an ordered type `min.c`, `max.c` and `nulls.c`. Null means
//! unknown.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, FixedSizeBinaryBuilder, LargeStringArray, RecordBatch, UInt64Array,
    new_null_array,
};
use arrow::compute::{SortOptions, cast, concat, sort_to_indices, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::ParquetMetaData;
use partita_core::{Digest, Result};

use super::digests::{self, FileDigests};

/// The column of the manifest that holds the number of the schema in which a file was written.
pub const SCHEMA_ID: &str = "schema_id";

/// Bounds of one column over some rows; each array has length one.
#[derive(Debug, Clone)]
pub struct ColumnBounds {
    /// The column.
    pub name: String,
    /// A lower bound of the values; null if unknown.
    pub min: ArrayRef,
    /// An upper bound of the values; null if unknown.
    pub max: ArrayRef,
    /// The number of null values; `None` if unknown.
    pub nulls: Option<u64>,
}

/// The metadata of one data file.
#[derive(Debug, Clone)]
pub struct FileFacts {
    /// The partition label.
    pub label: String,
    /// The key in the store.
    pub key: String,
    /// Number of rows.
    pub rows: Option<u64>,
    /// Size of the object.
    pub bytes: Option<u64>,
    /// Size of the Parquet footer.
    pub footer: Option<u64>,
    /// Number of row groups.
    pub groups: Option<u64>,
    /// The number of hash buckets that its partition key is based on; `None` if not known.
    pub buckets: Option<u64>,
    /// The digests of the file, where they are known.
    pub digests: Option<FileDigests>,
    /// Bounds per column.
    pub columns: Vec<ColumnBounds>,
}

impl FileFacts {
    /// A file of which at most the size is known.
    #[must_use]
    pub fn unknown(label: String, key: String, bytes: Option<u64>) -> Self {
        Self {
            label,
            key,
            rows: None,
            bytes,
            footer: None,
            groups: None,
            buckets: None,
            digests: None,
            columns: Vec::new(),
        }
    }
}

/// True if bounds are kept for columns of this type.
#[must_use]
pub fn has_bounds(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Date32
        | DataType::Timestamp(_, _)
        | DataType::Decimal128(_, _) => true,
        other => other.is_integer() || other.is_floating(),
    }
}

/// The schema of the manifest of a table.
#[must_use]
pub fn manifest_schema(table: &Schema, partition_by: &[String]) -> SchemaRef {
    let mut fields = vec![
        Field::new("label", DataType::LargeUtf8, false),
        Field::new("key", DataType::LargeUtf8, false),
        Field::new("rows", DataType::UInt64, true),
        Field::new("bytes", DataType::UInt64, true),
        Field::new("footer", DataType::UInt64, true),
        Field::new("groups", DataType::UInt64, true),
        Field::new("buckets", DataType::UInt64, true),
        Field::new(digests::FOOTER, digests::TYPE, true),
        Field::new(digests::REST, digests::TYPE, true),
        Field::new(SCHEMA_ID, DataType::UInt64, true),
    ];
    for field in table.fields() {
        if has_bounds(field.data_type()) && !partition_by.contains(field.name()) {
            let name = field.name();
            fields.push(Field::new(format!("min.{name}"), field.data_type().clone(), true));
            fields.push(Field::new(format!("max.{name}"), field.data_type().clone(), true));
            fields.push(Field::new(format!("nulls.{name}"), DataType::UInt64, true));
        }
    }
    Arc::new(Schema::new(fields))
}

/// The manifest rows of `files`.
///
/// # Errors
/// Data cannot cause an error; errors of Arrow are passed on.
pub fn manifest(files: &[FileFacts], schema: &SchemaRef) -> Result<RecordBatch> {
    let numbers = |of: fn(&FileFacts) -> Option<u64>| -> ArrayRef {
        Arc::new(files.iter().map(of).collect::<UInt64Array>())
    };
    let texts = |of: fn(&FileFacts) -> &str| -> ArrayRef {
        Arc::new(LargeStringArray::from_iter_values(files.iter().map(of)))
    };
    let digests = |of: fn(&FileDigests) -> Digest| -> Result<ArrayRef> {
        let mut column = FixedSizeBinaryBuilder::with_capacity(files.len(), 16);
        for file in files {
            match &file.digests {
                Some(own) => column.append_value(of(own).to_bytes())?,
                None => column.append_null(),
            }
        }
        Ok(Arc::new(column.finish()))
    };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        columns.push(match field.name().as_str() {
            "label" => texts(|f| &f.label),
            "key" => texts(|f| &f.key),
            "rows" => numbers(|f| f.rows),
            "bytes" => numbers(|f| f.bytes),
            "footer" => numbers(|f| f.footer),
            "groups" => numbers(|f| f.groups),
            "buckets" => numbers(|f| f.buckets),
            digests::FOOTER => digests(|own| own.footer)?,
            digests::REST => digests(|own| own.rest)?,
            // Known once the file is committed.
            SCHEMA_ID => numbers(|_| None),
            name => bounds_column(files, name, field.data_type())?,
        });
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn bounds_column(files: &[FileFacts], name: &str, data_type: &DataType) -> Result<ArrayRef> {
    let (part, column) = name.split_once('.').unwrap_or(("", name));
    let find = |file: &FileFacts| file.columns.iter().position(|c| c.name == column);
    if part == "nulls" {
        let counts = files.iter().map(|f| f.columns.get(find(f)?)?.nulls);
        return Ok(Arc::new(counts.collect::<UInt64Array>()));
    }
    let unknown = new_null_array(data_type, 1);
    if files.is_empty() {
        return Ok(arrow::array::new_empty_array(data_type));
    }
    let mut values: Vec<ArrayRef> = Vec::with_capacity(files.len());
    for file in files {
        let bounds = find(file).and_then(|i| file.columns.get(i));
        let value = bounds.map(|b| if part == "min" { &b.min } else { &b.max });
        values.push(match value {
            Some(value) if value.data_type() == data_type => Arc::clone(value),
            Some(value) => cast(value, data_type).unwrap_or_else(|_| Arc::clone(&unknown)),
            None => Arc::clone(&unknown),
        });
    }
    let values: Vec<&dyn Array> = values.iter().map(|v| v.as_ref()).collect();
    Ok(concat(&values)?)
}

/// The manifest with the number `id` of the schema for all files but the first `known`.
///
/// # Errors
/// None that data can cause; Arrow's are passed on.
pub fn with_schema_id(manifest: &RecordBatch, known: usize, id: u64) -> Result<RecordBatch> {
    let place = manifest.schema_ref().index_of(SCHEMA_ID)?;
    let mut columns = manifest.columns().to_vec();
    if let Some(column) = columns.get_mut(place) {
        let new = vec![id; manifest.num_rows().saturating_sub(known)];
        let (old, new) = (column.slice(0, known), UInt64Array::from(new));
        *column = concat(&[old.as_ref(), &new])?;
    }
    Ok(RecordBatch::try_new(manifest.schema(), columns)?)
}

/// Converts a manifest to another schema; missing columns become null, which means unknown.
///
/// # Errors
/// Data cannot cause an error; errors of Arrow are passed on.
pub fn align(manifest: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if manifest.schema_ref() == schema {
        return Ok(manifest.clone());
    }
    let columns: Result<Vec<ArrayRef>> = schema
        .fields()
        .iter()
        .map(|field| match manifest.column_by_name(field.name()) {
            Some(column) => Ok(cast(column, field.data_type())?),
            None => Ok(new_null_array(field.data_type(), manifest.num_rows())),
        })
        .collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns?)?)
}

/// The bounds of the columns of a file, taken from its footer, in the types of `table`.
#[must_use]
pub fn of_file(metadata: &ParquetMetaData, file: &Schema, table: &Schema) -> Vec<ColumnBounds> {
    let groups = metadata.row_groups();
    table
        .fields()
        .iter()
        .filter(|field| has_bounds(field.data_type()))
        .filter_map(|field| {
            let converter = StatisticsConverter::try_new(
                field.name(),
                file,
                metadata.file_metadata().schema_descr(),
            )
            .ok()?
            .with_missing_null_counts_as_zero(false);
            let rows: Vec<u64> =
                groups.iter().map(|g| u64::try_from(g.num_rows()).unwrap_or(0)).collect();
            let nulls = converter.row_group_null_counts(groups).ok()?;
            let reduce = |values: ArrayRef, descending: bool| {
                let values = cast(&values, field.data_type()).ok()?;
                extreme(&values, &nulls, &rows, descending)
            };
            let unknown = || new_null_array(field.data_type(), 1);
            let min = converter.row_group_mins(groups).ok().and_then(|v| reduce(v, false));
            let max = converter.row_group_maxes(groups).ok().and_then(|v| reduce(v, true));
            Some(ColumnBounds {
                name: field.name().clone(),
                min: min.unwrap_or_else(unknown),
                max: max.unwrap_or_else(unknown),
                nulls: (nulls.null_count() == 0).then(|| nulls.values().iter().sum()),
            })
        })
        .collect()
}

/// The least (or greatest) bound over groups of rows, in an array of length one that is null if there
/// are no values; `None` if a group with values has no bound.
#[must_use]
pub fn extreme(
    bounds: &ArrayRef,
    nulls: &UInt64Array,
    rows: &[u64],
    descending: bool,
) -> Option<ArrayRef> {
    for (group, rows) in rows.iter().enumerate() {
        let all_null = nulls.is_valid(group) && nulls.value(group) == *rows;
        if bounds.is_null(group) && !all_null {
            return None;
        }
    }
    let options = SortOptions { descending, nulls_first: false };
    let first = sort_to_indices(bounds, Some(options), Some(1)).ok()?;
    (!first.is_empty()).then(|| take(bounds, &first, None).ok()).flatten()
}
