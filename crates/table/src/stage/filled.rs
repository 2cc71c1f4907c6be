//! Data that lack columns of the table, with nulls in their place.

use std::sync::Arc;

use arrow::array::{ArrayRef, NullArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchReader;

use crate::options::BatchSource;

/// `data` with all of `columns`. Those that a batch lacks hold nulls and have no type yet.
pub(super) fn filled(data: BatchSource, columns: impl Iterator<Item = String>) -> BatchSource {
    let given = data.schema();
    let missing = columns.filter(|name| given.index_of(name).is_err());
    let missing = missing.map(|name| Arc::new(Field::new(name, DataType::Null, true)));
    let fields: Vec<FieldRef> = given.fields().iter().cloned().chain(missing).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, given.metadata().clone()));
    Box::new(Filled { data, schema })
}

struct Filled {
    data: BatchSource,
    schema: SchemaRef,
}

impl Filled {
    fn batch(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let (rows, given) = (batch.num_rows(), batch.schema_ref());
        let lacks = |field: &&FieldRef| given.index_of(field.name()).is_err();
        let mut fields = given.fields().to_vec();
        let mut columns = batch.columns().to_vec();
        for field in self.schema.fields().iter().filter(lacks) {
            fields.push(Arc::new(Field::new(field.name(), DataType::Null, true)));
            columns.push(Arc::new(NullArray::new(rows)) as ArrayRef);
        }
        let schema = Arc::new(Schema::new_with_metadata(fields, given.metadata().clone()));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema, columns, &options)
    }
}

impl Iterator for Filled {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.data.next()?;
        Some(batch.and_then(|batch| self.batch(&batch)))
    }
}

impl RecordBatchReader for Filled {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
