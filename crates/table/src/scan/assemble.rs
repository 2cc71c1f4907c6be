//! From the columns of a file to batches of the table's schema.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{Schema, SchemaRef};
use partita_core::Result;

use crate::format::schema::{cast_column, from_file};

/// Builds batches of `schema` out of batches of one file.
#[derive(Debug, Clone)]
pub(super) struct Assemble {
    schema: SchemaRef,
    /// One row: the partition values of the file.
    partition: RecordBatch,
}

impl Assemble {
    pub fn new(schema: SchemaRef, partition: RecordBatch) -> Self {
        Self { schema, partition }
    }

    /// The columns that the file itself must give.
    pub fn file_columns(&self) -> impl Iterator<Item = &str> {
        let names = self.schema.fields().iter().map(|field| field.name().as_str());
        names.filter(|name| self.partition.column_by_name(name).is_none())
    }

    /// Casts and reorders the columns of a batch of the file, adds the partition's values, and
    /// nulls where the file lacks a column.
    pub fn batch(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let (schema, given, _) = batch.into_parts();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            let name = field.name();
            columns.push(match self.partition.column_by_name(name) {
                Some(value) => {
                    let repeated = take(value, &UInt32Array::from(vec![0; rows]), None)?;
                    cast_column(name, &repeated, field.data_type())?
                }
                None => match schema.index_of(name).ok().and_then(|i| given.get(i)) {
                    Some(column) => from_file(name, column, field.data_type())?,
                    None => new_null_array(field.data_type(), rows),
                },
            });
        }
        // What is returned may be kept; the room that decoding left over need not be. It can be
        // given back once each column is held but once.
        drop(given);
        columns.iter_mut().for_each(Array::shrink_to_fit);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// The schema of the columns named, out of the table's.
pub(super) fn project(table: &Schema, columns: impl Iterator<Item = String>) -> Result<SchemaRef> {
    let fields: Result<Vec<_>, _> =
        columns.map(|column| table.field_with_name(&column).cloned()).collect();
    Ok(Arc::new(Schema::new(fields?)))
}
