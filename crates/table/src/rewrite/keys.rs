//! The keys of an upsert: collected from the incoming rows, and looked up in the stored ones.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchReader;
use arrow::row::{OwnedRow, RowConverter, SortField};
use hashbrown::HashSet;
use partita_core::convert::{as_keys, convert_column, shown};
use partita_core::predicate::{CompareOp, Facts, Literal};
use partita_core::{Error, ErrorKind, Predicate, Result};

use crate::BatchSource;
use crate::feed::wrapped;
use crate::format::index::distinct;
use crate::scan::RowTest;
use crate::stage::no_such_column;

/// Up to this many keys are looked up in indices individually; beyond it, only their range is used.
const LISTED: usize = 10_000;

/// A set of row keys, in memory.
pub(super) struct Keys {
    columns: Vec<String>,
    types: Vec<DataType>,
    converter: RowConverter,
    rows: HashSet<OwnedRow>,
    /// The number of rows added.
    added: u64,
    /// Distinct values per column, one array per batch.
    values: Vec<Vec<ArrayRef>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("columns", &self.columns)
            .field("keys", &self.rows.len())
            .finish()
    }
}

impl Keys {
    /// An empty set of keys over columns of `table`.
    pub fn new(columns: &[String], table: &Schema) -> Result<Self> {
        if columns.is_empty() {
            return Err(Error::invalid("an upsert needs at least one key column"));
        }
        let types: Result<Vec<DataType>> = columns
            .iter()
            .map(|name| {
                let field = table.field_with_name(name).map_err(|_| no_such_column(name))?;
                Ok(field.data_type().clone())
            })
            .collect();
        let types = types?;
        let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())
            .map_err(|error| {
                Error::invalid("columns of this type cannot be keys").caused_by(error)
            })?;
        Ok(Self {
            columns: columns.to_vec(),
            values: vec![Vec::new(); types.len()],
            types,
            converter,
            rows: HashSet::new(),
            added: 0,
        })
    }

    fn columns_of(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.columns
            .iter()
            .zip(&self.types)
            .map(|(name, data_type)| {
                let column = batch.column_by_name(name).ok_or_else(|| {
                    Error::new(ErrorKind::SchemaMismatch, "a key column is missing from the data")
                        .with("column", name)
                })?;
                as_keys(&convert_column(name, self.added, column, data_type)?)
            })
            .collect()
    }

    /// Adds the keys of a batch.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = self.columns_of(batch)?;
        self.added += batch.num_rows() as u64;
        for (name, column) in self.columns.iter().zip(&columns) {
            if column.null_count() > 0 {
                return Err(Error::invalid("a key must not be null").with("column", name));
            }
        }
        for row in &self.converter.convert_columns(&columns)? {
            if !self.rows.insert(row.owned()) {
                let key = self.converter.convert_rows([row])?;
                let shown: Vec<String> = key.iter().map(|value| shown(value, 0)).collect();
                return Err(Error::invalid("the data has a key twice")
                    .with("columns", self.columns.join(", "))
                    .with("key", shown.join(", ")));
            }
        }
        for (all, column) in self.values.iter_mut().zip(&columns) {
            all.push(distinct(column)?);
        }
        Ok(())
    }

    /// A predicate that is true for every row with one of the keys.
    pub fn candidates(&self) -> Result<Predicate> {
        let mut parts = Vec::new();
        for (name, values) in self.columns.iter().zip(&self.values) {
            let values: Vec<&dyn Array> = values.iter().map(|values| values.as_ref()).collect();
            if values.is_empty() {
                return Ok(Predicate::Always(false));
            }
            let Some(values) = literals(&distinct(&concat(&values)?)?) else { continue };
            let at = |op, value: &Literal| Predicate::Compare {
                column: name.clone(),
                op,
                value: value.clone(),
            };
            match (values.first(), values.last()) {
                (Some(first), Some(last)) if values.len() > LISTED => {
                    parts.push(at(CompareOp::Ge, first));
                    parts.push(at(CompareOp::Le, last));
                }
                _ => parts.push(Predicate::In { column: name.clone(), values, negated: false }),
            }
        }
        Ok(Predicate::And(parts))
    }
}

/// The values of a sorted array as literals; `None` for types that planning cannot use.
fn literals(values: &ArrayRef) -> Option<Vec<Literal>> {
    let whole = |values: &ArrayRef, of: fn(i64) -> Literal| {
        let values = cast(values, &DataType::Int64).ok()?;
        let values = values.as_primitive::<Int64Type>();
        (values.null_count() == 0).then(|| values.values().iter().map(|v| of(*v)).collect())
    };
    match values.data_type() {
        DataType::LargeUtf8 => {
            Some(values.as_string::<i64>().iter().flatten().map(Into::into).collect())
        }
        DataType::Date32 => {
            let days = cast(values, &DataType::Int32).ok()?;
            whole(&days, |day| i32::try_from(day).map_or(Literal::Null, Literal::Date))
        }
        DataType::Timestamp(_, zone) => {
            let nanos =
                cast(values, &DataType::Timestamp(TimeUnit::Nanosecond, zone.clone())).ok()?;
            whole(
                &nanos,
                match zone {
                    Some(_) => |nanos| Literal::Timestamp { nanos: i128::from(nanos), utc: true },
                    None => |nanos| Literal::Timestamp { nanos: i128::from(nanos), utc: false },
                },
            )
        }
        other if other.is_integer() => whole(values, Literal::from),
        _ => None,
    }
}

impl RowTest for Keys {
    fn columns(&self) -> Vec<String> {
        self.columns.clone()
    }

    fn test(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let rows = self.converter.convert_columns(&self.columns_of(batch)?)?;
        Ok(rows.iter().map(|row| Some(self.rows.contains(&row.owned()))).collect())
    }

    fn may_match(&self, _facts: &dyn Facts) -> Result<Option<BooleanArray>> {
        Ok(None)
    }
}

/// A source that collects the keys of the rows that pass through it.
struct Watched {
    data: BatchSource,
    keys: Arc<Mutex<Keys>>,
}

/// Wraps `data` so that its keys are collected as it is read.
pub(super) fn watched(data: BatchSource, keys: Arc<Mutex<Keys>>) -> BatchSource {
    Box::new(Watched { data, keys })
}

impl Iterator for Watched {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.data.next()?;
        Some(batch.and_then(|batch| {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            keys.add(&batch).map_err(wrapped)?;
            Ok(batch)
        }))
    }
}

impl RecordBatchReader for Watched {
    fn schema(&self) -> SchemaRef {
        self.data.schema()
    }
}
