//! Converting columns of a file to batches of the table's schema.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{Schema, SchemaRef};
use partita_core::Result;

use crate::format::categories::{categories_of, in_categories};
use crate::format::schema::{cast_column, from_file};

/// Builds batches of `schema` from batches of one file.
#[derive(Debug, Clone)]
pub(super) struct Assemble {
    schema: SchemaRef,
    /// The partition values of the file, as a batch of one row.
    partition: RecordBatch,
    /// For each column of the schema, its categories, if they are ordered.
    categories: Vec<Option<ArrayRef>>,
}

impl Assemble {
    pub fn new(schema: SchemaRef, partition: RecordBatch) -> Self {
        let categories = schema.fields().iter().map(|field| categories_of(field)).collect();
        Self { schema, partition, categories }
    }

    /// The columns to read from the file itself.
    pub fn file_columns(&self) -> impl Iterator<Item = &str> {
        let names = self.schema.fields().iter().map(|field| field.name().as_str());
        names.filter(|name| self.partition.column_by_name(name).is_none())
    }

    /// Casts and reorders the columns of a batch of the file, and adds the partition's values, and
    /// nulls for columns that the file lacks.
    pub fn batch(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let (schema, given, _) = batch.into_parts();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for (field, categories) in self.schema.fields().iter().zip(&self.categories) {
            let name = field.name();
            let values = match self.partition.column_by_name(name) {
                Some(value) => {
                    let repeated = take(value, &UInt32Array::from(vec![0; rows]), None)?;
                    cast_column(name, &repeated, field.data_type())?
                }
                None => match schema.index_of(name).ok().and_then(|i| given.get(i)) {
                    Some(column) => from_file(name, column, field.data_type())?,
                    None => new_null_array(field.data_type(), rows),
                },
            };
            columns.push(match categories {
                Some(categories) => in_categories(field, categories, 0, values)?,
                None => values,
            });
        }
        // The caller may keep the batch, so spare capacity from decoding is freed, which is
        // possible once each column has a single owner.
        drop(given);
        columns.iter_mut().for_each(Array::shrink_to_fit);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// The schema of the named columns of the table.
pub(super) fn project(table: &Schema, columns: impl Iterator<Item = String>) -> Result<SchemaRef> {
    let fields: Result<Vec<_>, _> =
        columns.map(|column| table.field_with_name(&column).cloned()).collect();
    Ok(Arc::new(Schema::new(fields?)))
}
