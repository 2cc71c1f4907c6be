//! The table of an index in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt64Array,
};
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use partita_core::{Error, ErrorKind, Predicate, Result};

use crate::collection::Partition;
use crate::partitioning::{Key, Partitioning};
use crate::rows::PartitionRows;
use crate::select::keys;
use crate::selection::Selection;

/// The names of the slice columns in the newer generation, which no program uses for its own
/// columns.
pub(super) const START: &str = "_start";
pub(super) const STOP: &str = "_stop";

/// Slices of rows with their values.
#[derive(Debug, Clone)]
pub(super) struct Entries {
    /// The columns `_start` and `_stop`, then those of the index; sorted by partition.
    pub rows: RecordBatch,
    /// The range of these rows for each partition, ordered by key.
    pub partitions: Vec<(Partition, Range<usize>)>,
}

/// The entries computed for partitions; none if a partition has no slices.
pub(super) type Worked = Vec<(Partition, Option<RecordBatch>)>;

impl Entries {
    /// An index without entries.
    pub fn empty() -> Self {
        let field = |name| Field::new(name, DataType::Int64, true);
        let schema = Schema::new(vec![field(START), field(STOP)]);
        Self { rows: RecordBatch::new_empty(Arc::new(schema)), partitions: Vec::new() }
    }

    /// Builds the entries from rows in any order and the partition of each row.
    pub fn of(rows: &RecordBatch, partitions: Vec<Partition>) -> Result<Self> {
        let mut order: Vec<usize> = (0..partitions.len()).collect();
        order.sort_by(|a, b| partitions.get(*a).cmp(&partitions.get(*b)));
        let taken = UInt64Array::from_iter_values(order.iter().map(|at| *at as u64));
        let columns = rows.columns().iter().map(|column| take(column, &taken, None));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let mut ranges: Vec<(Partition, Range<usize>)> = Vec::new();
        for (row, at) in order.into_iter().enumerate() {
            let Some(partition) = partitions.get(at) else { continue };
            match ranges.last_mut() {
                Some((last, range)) if last == partition => range.end = row + 1,
                _ => ranges.push((partition.clone(), row..row + 1)),
            }
        }
        let rows = RecordBatch::try_new(rows.schema(), columns)?;
        Ok(Self { rows, partitions: ranges })
    }

    /// A copy with the entries in `worked` in place of those of the same partitions, and without
    /// the partitions in `gone`.
    pub fn renewed(&self, gone: &HashSet<String>, worked: Worked) -> Result<Self> {
        let mut parts: BTreeMap<Partition, RecordBatch> = BTreeMap::new();
        for (partition, range) in &self.partitions {
            if !gone.contains(&partition.path) {
                parts.insert(partition.clone(), self.rows.slice(range.start, range.len()));
            }
        }
        let has_columns = self.rows.num_rows() > 0 || self.rows.num_columns() > 2;
        let mut schema = has_columns.then(|| self.rows.schema());
        for (partition, rows) in worked {
            let Some(rows) = rows.filter(|rows| rows.num_rows() > 0) else {
                parts.remove(&partition);
                continue;
            };
            let schema = schema.get_or_insert_with(|| rows.schema());
            let rows = fitted(&rows, schema);
            let rows = rows.map_err(|error| error.with("partition", &partition.path))?;
            parts.insert(partition, rows);
        }
        Self::joined(schema.unwrap_or_else(|| Self::empty().rows.schema()), &parts)
    }

    /// A copy for the partitions of another collection, matched by key; partitions that it does not
    /// have are left out.
    pub fn moved(&self, to: &HashMap<Key, Partition>) -> Result<Self> {
        let part = |(partition, range): &(Partition, Range<usize>)| {
            let rows = self.rows.slice(range.start, range.len());
            to.get(&partition.key).map(|found| (found.clone(), rows))
        };
        Self::joined(self.rows.schema(), &self.partitions.iter().filter_map(part).collect())
    }

    fn joined(schema: SchemaRef, parts: &BTreeMap<Partition, RecordBatch>) -> Result<Self> {
        let mut partitions = Vec::with_capacity(parts.len());
        let mut start = 0;
        for (partition, rows) in parts {
            partitions.push((partition.clone(), start..start + rows.num_rows()));
            start += rows.num_rows();
        }
        Ok(Self { rows: concat_batches(&schema, parts.values())?, partitions })
    }

    /// The selection of the collection's rows for which the predicate is true, in the state of
    /// `commit`.
    pub fn select(
        &self,
        predicate: Option<&Predicate>,
        partitioning: &Partitioning,
        commit: u64,
    ) -> Result<Selection> {
        let slices = slices(self.rows.column(0).as_ref(), self.rows.column(1).as_ref())?;
        let wanted =
            predicate.map(|predicate| self.matches(predicate, partitioning)).transpose()?;
        let is_wanted = |row: usize| {
            wanted.as_ref().is_none_or(|wanted| wanted.is_valid(row) && wanted.value(row))
        };
        let found = self.partitions.iter().map(|(partition, range)| {
            let rows = range.clone().filter(|row| is_wanted(*row));
            let rows = rows.filter_map(|row| slices.get(row).cloned()).collect();
            PartitionRows { partition: partition.clone(), rows }
        });
        Ok(Selection::new(commit, found))
    }

    /// Whether the predicate is true, for each row. A name that is both a column and a field of the
    /// keys means the column.
    fn matches(&self, predicate: &Predicate, partitioning: &Partitioning) -> Result<BooleanArray> {
        let mut fields: Vec<Field> = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        let own = self.rows.schema();
        let mut add = |field: Field, column: ArrayRef| {
            if !fields.iter().any(|known| known.name() == field.name()) {
                fields.push(field);
                columns.push(column);
            }
        };
        for (field, column) in own.fields().iter().zip(self.rows.columns()).skip(2) {
            add(field.as_ref().clone(), Arc::clone(column));
        }
        let partitions: Vec<Partition> = self.partitions.iter().map(|(p, _)| p.clone()).collect();
        let keys = keys(&partitions, partitioning)?;
        let of_row = self.partitions.iter().enumerate();
        let of_row = of_row.flat_map(|(at, (_, range))| range.clone().map(move |_| at as u64));
        let of_row = UInt64Array::from_iter_values(of_row);
        for (field, column) in keys.schema().fields().iter().zip(keys.columns()) {
            add(field.as_ref().clone(), take(column, &of_row, None)?);
        }
        for (name, column) in ["start", "stop", START, STOP].iter().zip([0, 1, 0, 1]) {
            let field = Field::new(*name, DataType::Int64, true);
            add(field, Arc::clone(self.rows.column(column)));
        }
        let schema = Arc::new(Schema::new(fields));
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?;
        predicate.bind(&schema)?.evaluate(&batch)
    }
}

/// Converts the slice columns to ranges of rows.
///
/// # Errors
/// [`InvalidArgument`](ErrorKind::InvalidArgument) if a slice is negative, or ends before it
/// begins.
pub(super) fn slices(
    starts: &dyn arrow::array::Array,
    stops: &dyn arrow::array::Array,
) -> Result<Vec<Range<usize>>> {
    let numbers = |column: &dyn arrow::array::Array| -> Result<Int64Array> {
        let column = cast(column, &DataType::Int64)?;
        Ok(column
            .as_any()
            .downcast_ref::<Int64Array>()
            .cloned()
            .unwrap_or_else(|| Int64Array::new_null(column.len())))
    };
    let (starts, stops) = (numbers(starts)?, numbers(stops)?);
    let slice = |(start, stop): (Option<i64>, Option<i64>)| {
        let bound = |value: Option<i64>| value.and_then(|value| usize::try_from(value).ok());
        let slice = bound(start).zip(bound(stop)).filter(|(start, stop)| start <= stop);
        slice.map(|(start, stop)| start..stop).ok_or_else(|| {
            Error::invalid("a slice of rows must not be negative, or end before it begins")
                .with("start", start.unwrap_or_default())
                .with("stop", stop.unwrap_or_default())
        })
    };
    starts.iter().zip(stops.iter()).map(slice).collect()
}

/// Returns rows with exactly the columns of a schema, matched by name.
fn fitted(rows: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch> {
    let mismatch = |what: &str, name: &str| {
        Error::new(
            ErrorKind::SchemaMismatch,
            format!("the tables of two partitions differ: {what}"),
        )
        .with("column", name)
    };
    if let Some(extra) = rows.schema().fields().iter().find(|f| schema.index_of(f.name()).is_err())
    {
        return Err(mismatch("one has a column that another lacks", extra.name()));
    }
    let column = |field: &Arc<Field>| {
        let name = field.name();
        let column = rows.column_by_name(name);
        let column = column.ok_or_else(|| mismatch("one lacks a column", name))?;
        let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
        arrow::compute::cast_with_options(column, field.data_type(), &options)
            .map_err(|error| mismatch("a column is of another type", name).caused_by(error))
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
