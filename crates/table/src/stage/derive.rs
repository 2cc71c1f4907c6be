//! Partition columns that are derived from a column of the data: parts of a date (`year`, `month`,
//! …) and hash buckets.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{DatePart, cast, date_part};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchReader;
use partita_core::{Error, Result, type_name};
use serde::{Deserialize, Serialize};

use super::bucket::BucketPartition;
use super::sort::no_such_column;
use crate::options::BatchSource;

/// The resolution of a date partitioning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    /// By year.
    Year,
    /// By month.
    Month,
    /// By day.
    Day,
    /// By hour.
    Hour,
    /// By minute.
    Minute,
    /// By second.
    Second,
}

const PARTS: [(Resolution, &str, DatePart); 6] = [
    (Resolution::Year, "year", DatePart::Year),
    (Resolution::Month, "month", DatePart::Month),
    (Resolution::Day, "day", DatePart::Day),
    (Resolution::Hour, "hour", DatePart::Hour),
    (Resolution::Minute, "minute", DatePart::Minute),
    (Resolution::Second, "second", DatePart::Second),
];

impl FromStr for Resolution {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        PARTS
            .iter()
            .find(|(_, name, _)| *name == text)
            .map(|(resolution, _, _)| *resolution)
            .ok_or_else(|| {
                Error::invalid("a resolution is year, month, day, hour, minute or second")
                    .with("resolution", text)
            })
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = PARTS.iter().find(|(resolution, _, _)| resolution == self);
        f.write_str(name.map_or("", |(_, name, _)| name))
    }
}

/// Partition columns derived from a date or a timestamp: `year` and the finer parts down to the
/// resolution, as integers. Timestamps with a time zone are taken in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatePartition {
    /// The column of dates or timestamps.
    pub column: String,
    /// The resolution of the partitioning.
    pub resolution: Resolution,
}

impl DatePartition {
    /// The names of the partition columns, outermost first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.parts().map(|(name, _)| name)
    }

    fn parts(&self) -> impl Iterator<Item = (&'static str, DatePart)> {
        let parts = PARTS.iter().filter(|(resolution, _, _)| *resolution <= self.resolution);
        parts.map(|(_, name, part)| (*name, *part))
    }
}

impl Derive for DatePartition {
    fn schema(&self, given: &Schema) -> Result<SchemaRef> {
        let of = given.field_with_name(&self.column).map_err(|_| no_such_column(&self.column))?;
        let finest_of_dates = self.resolution <= Resolution::Day;
        match of.data_type() {
            DataType::Timestamp(_, _) => {}
            DataType::Date32 | DataType::Date64 if finest_of_dates => {}
            other => {
                return Err(Error::invalid(format!(
                    "a column of type {} has no {}",
                    type_name(other),
                    self.resolution
                ))
                .with("column", &self.column));
            }
        }
        let kept = given.fields().iter().filter(|field| !self.names().any(|n| n == field.name()));
        let derived = self.names().map(|name| Arc::new(Field::new(name, DataType::Int64, true)));
        let fields: Vec<Arc<Field>> = kept.cloned().chain(derived).collect();
        Ok(Arc::new(Schema::new_with_metadata(fields, given.metadata().clone())))
    }

    fn derive(&self, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
        let dates =
            batch.column_by_name(&self.column).ok_or_else(|| no_such_column(&self.column))?;
        // The error for a null names the source column, which the user knows.
        if dates.null_count() > 0 {
            return Err(Error::invalid("a date that partitions must not be null")
                .with("column", &self.column));
        }
        let utc = match dates.data_type() {
            DataType::Timestamp(unit, Some(_)) => cast(dates, &DataType::Timestamp(*unit, None))?,
            _ => Arc::clone(dates),
        };
        let columns: Result<Vec<ArrayRef>> = schema
            .fields()
            .iter()
            .map(|field| match self.parts().find(|(name, _)| name == field.name()) {
                Some((_, part)) => Ok(cast(&date_part(&utc, part)?, &DataType::Int64)?),
                None => batch
                    .column_by_name(field.name())
                    .cloned()
                    .ok_or_else(|| no_such_column(field.name())),
            })
            .collect();
        Ok(RecordBatch::try_new(Arc::clone(schema), columns?)?)
    }
}

/// A derivation of partition columns from others.
pub(crate) trait Derive: Clone + Send + 'static {
    /// The schema `given` with the derived columns, which replace columns of the same name.
    fn schema(&self, given: &Schema) -> Result<SchemaRef>;

    /// Computes the columns of `schema`, which is that of the batch with the derived columns.
    fn derive(&self, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch>;
}

/// Partition columns that are derived from other columns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Derivations {
    /// Parts of a date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<DatePartition>,
    /// The hash bucket of a column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketPartition>,
}

impl Derivations {
    /// The schema `given` with the derived columns.
    pub(super) fn schema(&self, given: &Schema) -> Result<SchemaRef> {
        let schema = match &self.date {
            Some(date) => date.schema(given)?,
            None => Arc::new(given.clone()),
        };
        match &self.bucket {
            Some(bucket) => bucket.schema(&schema),
            None => Ok(schema),
        }
    }

    /// The names of the derived columns.
    pub(super) fn names(&self) -> Vec<String> {
        let date = self.date.iter().flat_map(DatePartition::names).map(str::to_owned);
        date.chain(self.bucket.iter().map(|bucket| bucket.name().to_owned())).collect()
    }

    /// The source `data` with the derived columns.
    pub(super) fn apply(&self, data: BatchSource) -> Result<BatchSource> {
        derived(derived(data, self.date.as_ref())?, self.bucket.as_ref())
    }
}

fn derived<D: Derive>(data: BatchSource, derive: Option<&D>) -> Result<BatchSource> {
    let Some(derive) = derive else { return Ok(data) };
    let schema = derive.schema(&data.schema())?;
    Ok(Box::new(Derived { data, schema, derive: derive.clone() }))
}

struct Derived<D> {
    data: BatchSource,
    schema: SchemaRef,
    derive: D,
}

impl<D: Derive> Iterator for Derived<D> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        // A later batch may have other types than the first.
        let derived = |batch: RecordBatch| {
            let schema = self.derive.schema(batch.schema_ref())?;
            self.derive.derive(&batch, &schema)
        };
        Some(self.data.next()?.and_then(|batch| derived(batch).map_err(crate::feed::wrapped)))
    }
}

impl<D: Derive> RecordBatchReader for Derived<D> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
