//! The manifest: one row per data file with its size and the bounds of its columns.
//!
//! Columns: `label`, `key`, `rows`, `groups` (row groups), `bytes`, `footer` (its length),
//! `buckets` (the number of hash buckets that its partition key is based on), `footer_digest` and
//! `rest_digest` (see [`digests`](super::digests)), `schema_id` (the version whose schema it was written
//! in), and for each payload column `c` of an ordered type `min.c`, `max.c` and `nulls.c`. Null means
//! unknown. Only this file knows the names of these columns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder,
    LargeStringArray, RecordBatch, UInt64Array, new_empty_array, new_null_array,
};
use arrow::compute::{cast, concat, concat_batches, filter_record_batch, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use hashbrown::HashMap;
use partita_core::{Digest, Error, Result};

use super::digests::FileDigests;
use super::statistics::{FileFacts, has_bounds};

const LABEL: &str = "label";
const KEY: &str = "key";
const ROWS: &str = "rows";
const BYTES: &str = "bytes";
/// The length of the footer. Snapshots store it under another name.
pub(super) const FOOTER: &str = "footer";
const GROUPS: &str = "groups";
const BUCKETS: &str = "buckets";
const FOOTER_DIGEST: &str = "footer_digest";
const REST_DIGEST: &str = "rest_digest";
const SCHEMA_ID: &str = "schema_id";
const MIN: &str = "min";
const MAX: &str = "max";
const NULLS: &str = "nulls";

/// The columns that are not computed from the content of a file.
const NOT_STATISTICS: [&str; 7] =
    [FOOTER, BUCKETS, SCHEMA_ID, LABEL, KEY, FOOTER_DIGEST, REST_DIGEST];

const DIGEST: DataType = DataType::FixedSizeBinary(16);

/// Data files with what is known of them. The columns are decoded where they are used, since a
/// manifest may have very many rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest(RecordBatch);

impl Manifest {
    /// The manifest in rows that were stored.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) naming a mandatory column that is missing, has
    /// another type, or does not name each file.
    pub fn new(rows: RecordBatch) -> Result<Self> {
        let manifest = Self(rows);
        match manifest.lacking() {
            Some(column) => Err(Error::corrupt(
                "the list of data files lacks a column, or it has another type or nulls",
            )
            .with("column", column)),
            None => Ok(manifest),
        }
    }

    fn lacking(&self) -> Option<&'static str> {
        let whole = |name: &str| self.texts(name).is_some_and(|texts| texts.null_count() == 0);
        let text = [LABEL, KEY].into_iter().find(|&name| !whole(name));
        text.or_else(|| {
            [ROWS, BYTES, FOOTER].into_iter().find(|&name| self.numbers(name).is_none())
        })
    }

    /// The manifest of `files`.
    ///
    /// # Errors
    /// Data cannot cause an error; errors of Arrow are passed on.
    pub fn of(files: &[FileFacts], schema: &SchemaRef) -> Result<Self> {
        let fields = schema.fields().iter();
        let columns: Result<Vec<ArrayRef>> = fields.map(|field| column_of(files, field)).collect();
        Ok(Self(RecordBatch::try_new(Arc::clone(schema), columns?)?))
    }

    /// The manifest of a table without files.
    #[must_use]
    pub fn empty(schema: SchemaRef) -> Self {
        Self(RecordBatch::new_empty(schema))
    }

    /// The columns of the manifest of a table.
    #[must_use]
    pub fn schema_of(table: &Schema, partition_by: &[String]) -> SchemaRef {
        let mut fields = vec![
            Field::new(LABEL, DataType::LargeUtf8, false),
            Field::new(KEY, DataType::LargeUtf8, false),
            Field::new(ROWS, DataType::UInt64, true),
            Field::new(BYTES, DataType::UInt64, true),
            Field::new(FOOTER, DataType::UInt64, true),
            Field::new(GROUPS, DataType::UInt64, true),
            Field::new(BUCKETS, DataType::UInt64, true),
            Field::new(FOOTER_DIGEST, DIGEST, true),
            Field::new(REST_DIGEST, DIGEST, true),
            Field::new(SCHEMA_ID, DataType::UInt64, true),
        ];
        for field in table.fields() {
            if has_bounds(field.data_type()) && !partition_by.contains(field.name()) {
                let (name, data_type) = (field.name(), field.data_type());
                for (part, data_type) in
                    [(MIN, data_type), (MAX, data_type), (NULLS, &DataType::UInt64)]
                {
                    fields.push(Field::new(format!("{part}.{name}"), data_type.clone(), true));
                }
            }
        }
        Arc::new(Schema::new(fields))
    }

    /// The rows in stored form.
    #[must_use]
    pub fn as_batch(&self) -> &RecordBatch {
        &self.0
    }

    /// The columns.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    /// Number of files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.num_rows()
    }

    /// True if there are no files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys of the files in the store.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.texts(KEY).into_iter().flat_map(|keys| keys.iter().flatten())
    }

    /// Their partition labels.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.texts(LABEL).into_iter().flat_map(|labels| labels.iter().flatten())
    }

    /// Number of rows of each file.
    pub fn rows(&self) -> impl Iterator<Item = Option<u64>> {
        self.each(ROWS)
    }

    /// Size of each object.
    pub fn bytes(&self) -> impl Iterator<Item = Option<u64>> {
        self.each(BYTES)
    }

    /// Length of the footer of each file.
    pub fn footers(&self) -> impl Iterator<Item = Option<u64>> {
        self.each(FOOTER)
    }

    /// Number of row groups of each file.
    pub fn groups(&self) -> impl Iterator<Item = Option<u64>> {
        self.each(GROUPS)
    }

    /// The number of hash buckets that the partition key of each file is based on.
    pub fn buckets(&self) -> impl Iterator<Item = Option<u64>> {
        self.each(BUCKETS)
    }

    /// The number of the schema in which each file was written.
    pub fn schema_ids(&self) -> impl Iterator<Item = Option<u64>> {
        self.each(SCHEMA_ID)
    }

    /// The digests of each file.
    #[must_use]
    pub fn digests(&self) -> Vec<Option<FileDigests>> {
        let column = |name| -> Option<&FixedSizeBinaryArray> {
            self.0.column_by_name(name)?.as_fixed_size_binary_opt()
        };
        let (footers, rests) = (column(FOOTER_DIGEST), column(REST_DIGEST));
        let of =
            |row| Some(FileDigests { footer: digest(footers, row)?, rest: digest(rests, row)? });
        (0..self.len()).map(of).collect()
    }

    /// Number of rows of each file, as a column.
    #[must_use]
    pub fn row_counts(&self) -> Option<&UInt64Array> {
        self.numbers(ROWS)
    }

    /// A lower bound of the values of `column` in each file; `None` if no bounds are kept for it.
    #[must_use]
    pub fn min(&self, column: &str) -> Option<&ArrayRef> {
        self.0.column_by_name(&format!("{MIN}.{column}"))
    }

    /// An upper bound, see [`Manifest::min`].
    #[must_use]
    pub fn max(&self, column: &str) -> Option<&ArrayRef> {
        self.0.column_by_name(&format!("{MAX}.{column}"))
    }

    /// The number of nulls of `column` in each file, see [`Manifest::min`].
    #[must_use]
    pub fn nulls(&self, column: &str) -> Option<&UInt64Array> {
        self.numbers(&format!("{NULLS}.{column}"))
    }

    /// Number of rows of all files; unknown counts as zero.
    #[must_use]
    pub fn total_rows(&self) -> u64 {
        total(self.rows())
    }

    /// Size of all files; unknown counts as zero.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        total(self.bytes())
    }

    /// Number of nulls of `column` in all files; unknown counts as zero.
    #[must_use]
    pub fn total_nulls(&self, column: &str) -> u64 {
        self.nulls(column).map_or(0, |nulls| total(nulls.iter()))
    }

    /// True if rows, size and bounds of every file are known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.row_counts().is_some_and(|rows| rows.null_count() == 0)
    }

    /// The files that `keep` selects.
    ///
    /// # Errors
    /// Data cannot cause an error; errors of Arrow are passed on.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self> {
        Ok(Self(filter_record_batch(&self.0, keep)?))
    }

    /// The files at these positions, in their order.
    ///
    /// # Errors
    /// As [`Manifest::filter`].
    pub fn take(&self, positions: &UInt64Array) -> Result<Self> {
        Ok(Self(take_record_batch(&self.0, positions)?))
    }

    /// The files of all `parts`, which have the columns of `schema`.
    ///
    /// # Errors
    /// As [`Manifest::filter`].
    pub fn concat<'a>(
        schema: &SchemaRef,
        parts: impl IntoIterator<Item = &'a Self>,
    ) -> Result<Self> {
        Ok(Self(concat_batches(schema, parts.into_iter().map(|part| &part.0))?))
    }

    /// The same files with the columns of `schema`; missing columns become null, which means
    /// unknown.
    ///
    /// # Errors
    /// As [`Manifest::filter`].
    pub fn aligned(&self, schema: &SchemaRef) -> Result<Self> {
        if self.0.schema_ref() == schema {
            return Ok(self.clone());
        }
        let columns: Result<Vec<ArrayRef>> = schema
            .fields()
            .iter()
            .map(|field| match self.0.column_by_name(field.name()) {
                Some(column) => Ok(cast(column, field.data_type())?),
                None => Ok(new_null_array(field.data_type(), self.len())),
            })
            .collect();
        Ok(Self(RecordBatch::try_new(Arc::clone(schema), columns?)?))
    }

    /// The same files with the number `id` of the schema for all but the first `known`.
    ///
    /// # Errors
    /// As [`Manifest::filter`].
    pub fn with_schema_id(&self, known: usize, id: u64) -> Result<Self> {
        let place = self.0.schema_ref().index_of(SCHEMA_ID)?;
        let mut columns = self.0.columns().to_vec();
        if let Some(column) = columns.get_mut(place) {
            let new = vec![id; self.len().saturating_sub(known)];
            let (old, new) = (column.slice(0, known), UInt64Array::from(new));
            *column = concat(&[old.as_ref(), &new])?;
        }
        Ok(Self(RecordBatch::try_new(self.schema(), columns)?))
    }

    /// The same files under other names.
    ///
    /// # Errors
    /// As [`Manifest::filter`].
    pub fn renamed<'a>(
        &self,
        labels: impl Iterator<Item = &'a str>,
        keys: impl Iterator<Item = &'a str>,
    ) -> Result<Self> {
        self.named(labels, keys, |column| Ok(Arc::clone(column)))
    }

    /// The manifest of `files` (label and key), with what is known here of files with these keys.
    /// Data files are immutable, so that it stays valid.
    ///
    /// # Errors
    /// As [`Manifest::filter`].
    pub fn of_files(&self, files: &[(&str, &str)]) -> Result<Self> {
        let rows: HashMap<&str, u64> = self.keys().zip(0..).collect();
        let rows: UInt64Array = files.iter().map(|(_, key)| rows.get(key).copied()).collect();
        let (labels, keys) =
            (files.iter().map(|(label, _)| *label), files.iter().map(|(_, key)| *key));
        self.named(labels, keys, |column| Ok(take(column, &rows, None)?))
    }

    fn named<'a>(
        &self,
        labels: impl Iterator<Item = &'a str>,
        keys: impl Iterator<Item = &'a str>,
        other: impl Fn(&ArrayRef) -> Result<ArrayRef>,
    ) -> Result<Self> {
        let labels: ArrayRef = Arc::new(LargeStringArray::from_iter_values(labels));
        let keys: ArrayRef = Arc::new(LargeStringArray::from_iter_values(keys));
        let fields = self.0.schema_ref().fields().iter().zip(self.0.columns());
        let columns = fields.map(|(field, column)| match field.name().as_str() {
            LABEL => Ok(Arc::clone(&labels)),
            KEY => Ok(Arc::clone(&keys)),
            _ => other(column),
        });
        let columns: Result<Vec<ArrayRef>> = columns.collect();
        Ok(Self(RecordBatch::try_new(self.schema(), columns?)?))
    }

    /// The same files without the minima and maxima of their columns, which are values of rows.
    ///
    /// # Errors
    /// As [`Manifest::filter`].
    pub fn without_bounds(&self) -> Result<Self> {
        let schema = self.schema();
        let columns = schema.fields().iter().zip(self.0.columns());
        let columns = columns.map(|(field, column)| match field.name().split_once('.') {
            Some((MIN | MAX | NULLS, _)) => new_null_array(column.data_type(), column.len()),
            _ => Arc::clone(column),
        });
        let columns = columns.collect();
        Ok(Self(RecordBatch::try_new(schema, columns)?))
    }

    /// The first column that records other statistics than `found`, which has the same columns.
    /// Columns with unknown statistics are not compared.
    #[must_use]
    pub fn first_difference(&self, found: &Self) -> Option<&str> {
        let schema = self.0.schema_ref();
        let columns = schema.fields().iter().zip(self.0.columns()).zip(found.0.columns());
        columns
            .filter(|((field, recorded), _)| {
                recorded.null_count() == 0 && !NOT_STATISTICS.contains(&field.name().as_str())
            })
            .find(|((_, recorded), found)| recorded != found)
            .map(|((field, _), _)| field.name().as_str())
    }

    fn texts(&self, name: &str) -> Option<&LargeStringArray> {
        self.0.column_by_name(name)?.as_string_opt()
    }

    fn numbers(&self, name: &str) -> Option<&UInt64Array> {
        self.0.column_by_name(name)?.as_primitive_opt::<UInt64Type>()
    }

    /// The number of each file; `None` where it is not known.
    fn each(&self, name: &'static str) -> impl Iterator<Item = Option<u64>> {
        let column = self.numbers(name);
        (0..self.len()).map(move |file| {
            column.filter(|column| column.is_valid(file)).map(|column| column.value(file))
        })
    }
}

fn total(counts: impl Iterator<Item = Option<u64>>) -> u64 {
    counts.flatten().fold(0, u64::saturating_add)
}

fn digest(column: Option<&FixedSizeBinaryArray>, row: usize) -> Option<Digest> {
    let column = column.filter(|column| column.is_valid(row))?;
    Digest::from_bytes(column.value(row))
}

/// A column of the manifest of `files`.
fn column_of(files: &[FileFacts], field: &Field) -> Result<ArrayRef> {
    let numbers = |of: fn(&FileFacts) -> Option<u64>| -> ArrayRef {
        Arc::new(files.iter().map(of).collect::<UInt64Array>())
    };
    let texts = |of: fn(&FileFacts) -> &str| -> ArrayRef {
        Arc::new(LargeStringArray::from_iter_values(files.iter().map(of)))
    };
    Ok(match field.name().as_str() {
        LABEL => texts(|f| &f.label),
        KEY => texts(|f| &f.key),
        ROWS => numbers(|f| f.rows),
        BYTES => numbers(|f| f.bytes),
        FOOTER => numbers(|f| f.footer),
        GROUPS => numbers(|f| f.groups),
        BUCKETS => numbers(|f| f.buckets),
        FOOTER_DIGEST => digests_column(files, |own| own.footer)?,
        REST_DIGEST => digests_column(files, |own| own.rest)?,
        // Known once the file is committed.
        SCHEMA_ID => numbers(|_| None),
        name => bounds_column(files, name, field.data_type())?,
    })
}

fn digests_column(files: &[FileFacts], of: fn(&FileDigests) -> Digest) -> Result<ArrayRef> {
    let mut column = FixedSizeBinaryBuilder::with_capacity(files.len(), 16);
    for file in files {
        match &file.digests {
            Some(own) => column.append_value(of(own).to_bytes())?,
            None => column.append_null(),
        }
    }
    Ok(Arc::new(column.finish()))
}

fn bounds_column(files: &[FileFacts], name: &str, data_type: &DataType) -> Result<ArrayRef> {
    let (part, column) = name.split_once('.').unwrap_or(("", name));
    let find = |file: &FileFacts| file.columns.iter().position(|c| c.name == column);
    if part == NULLS {
        let counts = files.iter().map(|f| f.columns.get(find(f)?)?.nulls);
        return Ok(Arc::new(counts.collect::<UInt64Array>()));
    }
    let unknown = new_null_array(data_type, 1);
    if files.is_empty() {
        return Ok(new_empty_array(data_type));
    }
    let mut values: Vec<ArrayRef> = Vec::with_capacity(files.len());
    for file in files {
        let bounds = find(file).and_then(|i| file.columns.get(i));
        let value = bounds.map(|b| if part == MIN { &b.min } else { &b.max });
        values.push(match value {
            Some(value) if value.data_type() == data_type => Arc::clone(value),
            Some(value) => cast(value, data_type).unwrap_or_else(|_| Arc::clone(&unknown)),
            None => Arc::clone(&unknown),
        });
    }
    let values: Vec<&dyn Array> = values.iter().map(|v| v.as_ref()).collect();
    Ok(concat(&values)?)
}
