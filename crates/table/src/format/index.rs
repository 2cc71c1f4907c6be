//! Secondary indices: for each value of a column the labels of the partitions that hold it.
//!
//! Stored as plateau stores them, a Parquet file of two columns: the values, and lists of labels
//! under the name `partition`. Partita writes the values sorted, so that a reader can skip row
//! groups and pages. Nulls are not indexed.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, LargeStringArray, ListArray, RecordBatch, StringArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat, filter, is_not_null, partition, sort_to_indices, take};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use hashbrown::HashSet;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use partita_core::{Error, Result};

use super::footer::unreadable;

const LABELS: &str = "partition";

/// Values of a row group of an index file: few enough that a point lookup decodes little.
const ROW_GROUP: usize = 1 << 16;

/// An index in memory: pairs of a value and a label, sorted by value.
#[derive(Debug, Clone)]
pub struct Index {
    /// The values, repeated where several partitions hold them.
    pub values: ArrayRef,
    /// The label of each value.
    pub labels: LargeStringArray,
}

/// True if plateau can index a column of this stored type.
#[must_use]
pub fn is_index_type(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Binary
        | DataType::Date32
        | DataType::Timestamp(_, _) => true,
        other => other.is_integer() || other.is_floating(),
    }
}

/// The type of an index's values for a column of this table type: what plateau will find equal
/// when it updates the index.
#[must_use]
pub fn value_type(table: &DataType) -> DataType {
    match table {
        DataType::Timestamp(_, zone) => {
            DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, zone.clone())
        }
        other => other.clone(),
    }
}

/// The distinct values of a column that are not null, sorted.
///
/// # Errors
/// None that data can cause; Arrow's are passed on.
pub fn distinct(values: &ArrayRef) -> Result<ArrayRef> {
    let values = if values.null_count() > 0 {
        filter(values, &is_not_null(values)?)?
    } else {
        Arc::clone(values)
    };
    let sorted = take(&values, &sort_to_indices(&values, None, None)?, None)?;
    if sorted.is_empty() {
        return Ok(sorted);
    }
    let runs = partition(&[Arc::clone(&sorted)])?.ranges();
    let firsts = arrow::array::UInt64Array::from_iter_values(runs.iter().map(|r| r.start as u64));
    Ok(take(&sorted, &firsts, None)?)
}

impl Index {
    /// An index of no values.
    #[must_use]
    pub fn empty(data_type: &DataType) -> Self {
        Self {
            values: arrow::array::new_empty_array(data_type),
            labels: LargeStringArray::new_null(0),
        }
    }

    /// The pairs of one file.
    #[must_use]
    pub fn of_file(values: ArrayRef, label: &str) -> Self {
        let labels = LargeStringArray::from_iter_values(std::iter::repeat_n(label, values.len()));
        Self { values, labels }
    }

    /// The pairs of several indices over the same column, sorted by value.
    ///
    /// # Errors
    /// None that data can cause; Arrow's are passed on.
    pub fn merge(parts: &[Self]) -> Result<Self> {
        let values: Vec<&dyn Array> = parts.iter().map(|p| p.values.as_ref()).collect();
        let labels: Vec<&dyn Array> = parts.iter().map(|p| &p.labels as &dyn Array).collect();
        let values = concat(&values)?;
        let labels = concat(&labels)?;
        let order = sort_to_indices(&values, None, None)?;
        Ok(Self {
            values: take(&values, &order, None)?,
            labels: take(&labels, &order, None)?.as_string().clone(),
        })
    }

    /// The index with values of another type: of a column that was null when the values were
    /// staged.
    ///
    /// # Errors
    /// [`SchemaMismatch`](partita_core::ErrorKind::SchemaMismatch) if a value does not fit.
    pub fn cast(&self, data_type: &DataType) -> Result<Self> {
        let values = super::schema::cast_column("index", &self.values, data_type)?;
        Ok(Self { values, labels: self.labels.clone() })
    }

    /// The index without the pairs of the partitions named.
    ///
    /// # Errors
    /// None that data can cause; Arrow's are passed on.
    pub fn without(&self, removed: &HashSet<&str>) -> Result<Self> {
        if removed.is_empty() {
            return Ok(self.clone());
        }
        let keep: arrow::array::BooleanArray =
            self.labels.iter().map(|label| label.map(|label| !removed.contains(label))).collect();
        Ok(Self {
            values: filter(&self.values, &keep)?,
            labels: filter(&self.labels, &keep)?.as_string().clone(),
        })
    }

    /// The pairs as a batch of two columns, for transport.
    ///
    /// # Errors
    /// None that data can cause; Arrow's are passed on.
    pub fn to_batch(&self) -> Result<RecordBatch> {
        let labels: ArrayRef = Arc::new(self.labels.clone());
        let columns = [("value", Arc::clone(&self.values)), ("label", labels)];
        Ok(RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true)))?)
    }

    /// The reverse of [`Index::to_batch`].
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if the columns are others.
    pub fn from_batch(batch: &RecordBatch) -> Result<Self> {
        let labels = batch.column_by_name("label").and_then(|c| c.as_string_opt::<i64>());
        match (batch.column_by_name("value"), labels) {
            (Some(values), Some(labels)) => {
                Ok(Self { values: Arc::clone(values), labels: labels.clone() })
            }
            _ => Err(Error::corrupt("a staged index cannot be read")),
        }
    }

    /// The stored form.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if there are more than 2^31
    /// pairs, which the format cannot hold.
    pub fn encode(&self, column: &str) -> Result<Bytes> {
        let (values, lists) = self.grouped(column)?;
        let schema = Arc::new(Schema::new(vec![
            Field::new(column, values.data_type().clone(), true),
            Field::new(LABELS, lists.data_type().clone(), true),
        ]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![values, lists])?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .build();
        let write = || {
            let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
            writer.write(&batch)?;
            writer.into_inner()
        };
        write().map(Bytes::from).map_err(|error| {
            Error::invalid("the index cannot be written").with("column", column).caused_by(error)
        })
    }

    fn grouped(&self, column: &str) -> Result<(ArrayRef, ArrayRef)> {
        let labels = cast(&self.labels, &DataType::Utf8).map_err(|error| {
            Error::invalid("the index has grown beyond what its format holds")
                .with("column", column)
                .caused_by(error)
        })?;
        let mut firsts: Vec<u64> = Vec::new();
        let mut lengths: Vec<usize> = Vec::new();
        if !self.values.is_empty() {
            for run in partition(&[Arc::clone(&self.values)])?.ranges() {
                firsts.push(run.start as u64);
                lengths.push(run.len());
            }
        }
        let values = take(&self.values, &arrow::array::UInt64Array::from(firsts), None)?;
        let item = Arc::new(Field::new("element", DataType::Utf8, true));
        let lists = ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), labels, None)?;
        Ok((values, Arc::new(lists)))
    }

    /// Reads a stored index; values come in `data_type`.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if the bytes are no index of the column.
    pub fn decode(bytes: Bytes, key: &str, column: &str, data_type: &DataType) -> Result<Self> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .map_err(|error| unreadable(key, error))?;
        let reader = builder.with_batch_size(ROW_GROUP).build().map_err(|e| unreadable(key, e))?;
        let mut parts = vec![Self::empty(data_type)];
        for batch in reader {
            let batch = batch.map_err(|error| {
                Error::corrupt("an index file cannot be read").with("key", key).caused_by(error)
            })?;
            parts.push(pairs(&batch, key, column, data_type)?);
        }
        let values: Vec<&dyn Array> = parts.iter().map(|p| p.values.as_ref()).collect();
        let labels: Vec<&dyn Array> = parts.iter().map(|p| &p.labels as &dyn Array).collect();
        Ok(Self { values: concat(&values)?, labels: concat(&labels)?.as_string().clone() })
    }
}

/// Flattens lists of labels into pairs. Other list and text widths are read too.
fn pairs(batch: &RecordBatch, key: &str, column: &str, data_type: &DataType) -> Result<Index> {
    let wrong = |what: &str| {
        Error::corrupt(format!("an index file {what}")).with("key", key).with("column", column)
    };
    let values = batch.column_by_name(column).ok_or_else(|| wrong("lacks its column"))?;
    let lists = batch.column_by_name(LABELS).ok_or_else(|| wrong("lacks its labels"))?;
    let item = Arc::new(Field::new("element", DataType::Utf8, true));
    let lists =
        cast(lists, &DataType::List(item)).map_err(|_| wrong("has labels of a wrong type"))?;
    let lists = lists.as_list::<i32>();
    let values = cast(values, data_type).map_err(|_| wrong("has values of a wrong type"))?;
    let repeat: arrow::array::UInt32Array = lists
        .offsets()
        .lengths()
        .enumerate()
        .flat_map(|(row, n)| std::iter::repeat_n(u32::try_from(row).ok(), n))
        .collect();
    let (first, last) = (lists.offsets().first(), lists.offsets().last());
    let (first, last) = (first.unsigned_abs() as usize, last.unsigned_abs() as usize);
    let labels = lists.values().slice(first, last - first);
    let labels: &StringArray = labels.as_string::<i32>();
    Ok(Index {
        values: take(&values, &repeat, None)?,
        labels: cast(labels, &DataType::LargeUtf8)?.as_string().clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;

    #[test]
    fn comes_back_grouped_by_value() {
        let of = |values: Vec<i64>, label: &str| {
            let values: ArrayRef = Arc::new(Int64Array::from(values));
            Index::of_file(distinct(&values).unwrap(), label)
        };
        let merged = Index::merge(&[of(vec![3, 1, 3], "a"), of(vec![3, 2], "b")]).unwrap();
        let bytes = merged.encode("k").unwrap();
        let read = Index::decode(bytes, "key", "k", &DataType::Int64).unwrap();
        let mut found: Vec<(i64, &str)> = read
            .values
            .as_primitive::<arrow::datatypes::Int64Type>()
            .values()
            .iter()
            .copied()
            .zip(read.labels.iter().flatten())
            .collect();
        found.sort_unstable();
        assert_eq!(found, [(1, "a"), (2, "b"), (3, "a"), (3, "b")]);
        let left = read.without(&HashSet::from(["a"])).unwrap();
        assert_eq!(left.values.len(), 2);
    }

    #[test]
    fn damage_is_an_error() {
        let error =
            Index::decode(Bytes::from_static(b"PAR1"), "key", "k", &DataType::Int64).unwrap_err();
        assert_eq!(error.kind(), partita_core::ErrorKind::Corrupt);
    }
}
