//! Splitting rows by their partition key in one pass, keeping their order.

use arrow::array::{Array, ArrayRef, LargeStringArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, SortField};
use hashbrown::HashMap;

use super::{PartitionKey, texts_of};
use crate::convert::as_keys;
use crate::{Error, Result};

/// The rows of one batch that belong to one partition.
#[derive(Debug)]
pub struct Group {
    /// The partition.
    pub key: PartitionKey,
    /// Its rows in the order of the batch, without the partition columns.
    pub rows: RecordBatch,
}

/// Splits `batch` by the columns `fields`. Groups come in the order of their first row; each keeps
/// its rows in order; the partition columns are removed. Without fields, the single group is the
/// whole batch.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for a missing column,
/// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a null or a type that
/// cannot partition (see [`texts_of`]).
pub fn split(batch: &RecordBatch, fields: &[String]) -> Result<Vec<Group>> {
    if fields.is_empty() {
        return Ok(vec![Group { key: PartitionKey::default(), rows: batch.clone() }]);
    }
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let column = batch.column_by_name(field).ok_or_else(|| {
            Error::new(crate::ErrorKind::NotFound, "a partition column is missing from the data")
                .with("column", field)
        })?;
        columns.push(as_keys(column)?);
    }
    let payload = without(batch, fields)?;
    let members = members(&columns, batch.num_rows())?;
    let firsts = UInt32Array::from_iter_values(members.iter().filter_map(|m| m.first().copied()));
    let mut texts: Vec<LargeStringArray> = Vec::with_capacity(fields.len());
    for (field, column) in fields.iter().zip(&columns) {
        // Every row is checked for nulls, but only one row per group is formatted as text.
        if column.logical_null_count() > 0 {
            texts_of(field, column)?;
        }
        texts.push(texts_of(field, &arrow::compute::take(column, &firsts, None)?)?);
    }
    let single = members.len() == 1;
    members
        .into_iter()
        .enumerate()
        .map(|(group, rows)| {
            let pairs = fields
                .iter()
                .zip(&texts)
                .map(|(field, text)| (field.clone(), text.value(group).to_owned()))
                .collect();
            let rows = if single {
                payload.clone()
            } else {
                take_record_batch(&payload, &UInt32Array::from(rows))?
            };
            Ok(Group { key: PartitionKey::new(pairs), rows })
        })
        .collect()
}

fn without(batch: &RecordBatch, fields: &[String]) -> Result<RecordBatch> {
    let kept: Vec<usize> = (0..batch.num_columns())
        .filter(|i| !fields.contains(batch.schema_ref().field(*i).name()))
        .collect();
    Ok(batch.project(&kept)?)
}

/// The row numbers of each group, groups in order of first appearance.
fn members(columns: &[ArrayRef], rows: usize) -> Result<Vec<Vec<u32>>> {
    let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    let encoded = RowConverter::new(fields)?.convert_columns(columns)?;
    let mut groups: Vec<Vec<u32>> = Vec::new();
    let mut seen: HashMap<&[u8], usize> = HashMap::new();
    let mut last: Option<(&[u8], usize)> = None;
    for row in 0..rows {
        let bytes = encoded.row(row).data();
        let group = match last {
            // Fast path: in sorted input, equal keys are adjacent.
            Some((key, group)) if key == bytes => group,
            _ => *seen.entry(bytes).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            }),
        };
        last = Some((bytes, group));
        let row = u32::try_from(row)
            .map_err(|_| Error::invalid("a batch holds more rows than can be split"))?;
        if let Some(members) = groups.get_mut(group) {
            members.push(row);
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    #[test]
    fn rows_keep_their_order_and_every_row_is_somewhere() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("city", DataType::Utf8, true),
            Field::new("v", DataType::Int64, true),
        ]));
        let city: ArrayRef = Arc::new(StringArray::from(vec!["b", "a", "b", "b", "a"]));
        let v: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 2, 3, 4]));
        let batch = RecordBatch::try_new(schema, vec![city, v]).unwrap();
        let groups = split(&batch, &["city".to_owned()]).unwrap();
        let found: Vec<(String, Vec<i64>)> = groups
            .iter()
            .map(|g| {
                let v = g.rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
                (g.key.to_string(), v.values().to_vec())
            })
            .collect();
        assert_eq!(found, [("city=b".into(), vec![0, 2, 3]), ("city=a".into(), vec![1, 4])]);
    }
}
