//! A partition column that is the hash bucket of another column.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use partita_core::partition::{buckets_of, is_bucket_type};
use partita_core::{Error, Result, type_name};
use serde::{Deserialize, Serialize};

use super::derive::Derive;
use super::sort::no_such_column;

/// A partition column `<column>_bucket`: rows with equal values of `column` go to the same one of a
/// fixed number of partitions. See [`buckets_of`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketPartition {
    /// The column that is hashed: integers, text, bytes, dates or timestamps.
    pub column: String,
    /// The number of buckets.
    pub buckets: u32,
}

impl BucketPartition {
    /// The name of the partition column.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}_bucket", self.column)
    }

    /// Tests for each partition value of `buckets` whether it may contain one of `values`.
    pub(crate) fn holding(&self, buckets: &Int64Array, values: &ArrayRef) -> Result<BooleanArray> {
        let sought: BTreeSet<i64> =
            buckets_of(&self.column, values, self.buckets)?.iter().flatten().collect();
        Ok(buckets
            .iter()
            .map(|bucket| Some(bucket.is_none_or(|bucket| sought.contains(&bucket))))
            .collect())
    }
}

impl Derive for BucketPartition {
    fn schema(&self, given: &Schema) -> Result<SchemaRef> {
        let of = given.field_with_name(&self.column).map_err(|_| no_such_column(&self.column))?;
        if self.buckets == 0 {
            return Err(Error::invalid("there must be at least one bucket"));
        }
        if !is_bucket_type(of.data_type()) {
            return Err(Error::invalid(format!(
                "a column of type {} has no buckets; integers, text, bytes, dates and timestamps have",
                type_name(of.data_type())
            ))
            .with("column", &self.column));
        }
        let name = self.name();
        let kept = given.fields().iter().filter(|field| *field.name() != name).cloned();
        let derived = Arc::new(Field::new(&name, DataType::Int64, true));
        let fields: Vec<Arc<Field>> = kept.chain([derived]).collect();
        Ok(Arc::new(Schema::new_with_metadata(fields, given.metadata().clone())))
    }

    fn derive(&self, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
        let column =
            |name: &str| batch.column_by_name(name).cloned().ok_or_else(|| no_such_column(name));
        let (derived, of) = (self.name(), column(&self.column)?);
        let columns: Result<Vec<ArrayRef>> = schema
            .fields()
            .iter()
            .map(|field| match *field.name() == derived {
                true => Ok(Arc::new(buckets_of(&self.column, &of, self.buckets)?) as ArrayRef),
                false => column(field.name()),
            })
            .collect();
        Ok(RecordBatch::try_new(Arc::clone(schema), columns?)?)
    }
}
