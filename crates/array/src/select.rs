//! Evaluation of predicates on partitions and rows.
//!
//! The columns are the fields of the keys (`year`, `month`, …) and the variables that have the
//! partitioned dimension alone, such as the axis. A name that is both means the field.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, BooleanArray, Decimal256Array, Int64Array, RecordBatch,
    RecordBatchOptions, TimestampSecondArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, i256};
use partita_core::partition::Calendar;
use partita_core::predicate::{BoundPredicate, Bounds, Facts};
use partita_core::{Error, ErrorKind, Predicate, Result};

use crate::collection::Partition;
use crate::columns::{column_of, column_type};
use crate::dataset::{Dataset, VariableSchema};
use crate::encoded_time::EncodedTime;
use crate::layout::Config;
use crate::moments::counted;
use crate::partitioning::Partitioning;

/// Selects the partitions for which the predicate is true. Its columns are the fields of the keys.
///
/// # Errors
/// [`InvalidPredicate`](partita_core::ErrorKind::InvalidPredicate) if it names another column, or
/// compares one with a value that is not a number.
pub(crate) fn select(
    partitions: Vec<Partition>,
    partitioning: &Partitioning,
    predicate: Option<&Predicate>,
) -> Result<Vec<Partition>> {
    let Some(predicate) = predicate else { return Ok(partitions) };
    let keys = keys(&partitions, partitioning)?;
    let predicate = predicate.bind(&keys.schema())?;
    let wanted = predicate.evaluate(&keys)?;
    Ok(keep(partitions, &wanted))
}

fn keep(partitions: Vec<Partition>, wanted: &BooleanArray) -> Vec<Partition> {
    let pairs = partitions.into_iter().zip(wanted.iter());
    pairs.filter(|(_, wanted)| *wanted == Some(true)).map(|(partition, _)| partition).collect()
}

/// The fields of the keys as columns.
pub(crate) fn keys(partitions: &[Partition], partitioning: &Partitioning) -> Result<RecordBatch> {
    let fields = partitioning.fields();
    let columns: Vec<ArrayRef> = (0..fields.len())
        .map(|number| {
            let value = |of: &Partition| of.key.values().get(number).copied().unwrap_or(0);
            integers(&partitions.iter().map(value).collect::<Vec<_>>())
        })
        .collect::<Result<_>>()?;
    let fields = fields.iter().zip(&columns);
    let fields = fields.map(|(name, column)| Field::new(*name, column.data_type().clone(), false));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// A column of the narrowest type that holds all values.
fn integers(values: &[i128]) -> Result<ArrayRef> {
    let signed = values.iter().map(|value| i64::try_from(*value)).collect::<Result<Vec<_>, _>>();
    if let Ok(values) = signed {
        return Ok(Arc::new(Int64Array::from(values)));
    }
    let unsigned = values.iter().map(|value| u64::try_from(*value)).collect::<Result<Vec<_>, _>>();
    if let Ok(values) = unsigned {
        return Ok(Arc::new(UInt64Array::from(values)));
    }
    let wide = Decimal256Array::from_iter_values(values.iter().map(|v| i256::from_i128(*v)));
    let wide = wide.with_data_type(DataType::Decimal256(40, 0));
    Ok(Arc::new(wide))
}

/// A predicate on fields of keys and on variables along the partitioned dimension.
pub(crate) struct RowSelection {
    predicate: BoundPredicate,
    schema: Arc<Schema>,
    /// The variables that the predicate names.
    pub variables: Vec<String>,
}

/// Refuses variables that do not have exactly one value per row.
fn check_rows(predicate: &Predicate, columns: &Schema, config: &Config) -> Result<()> {
    for name in predicate.columns() {
        let Some(variable) = config.schema.variable(&name) else { continue };
        if columns.field_with_name(&name).is_ok() {
            continue;
        }
        let why = match variable.axis(&config.dimension) {
            None => "a condition chooses rows, and this variable is the same for all of them",
            Some(_) if variable.dimensions.len() > 1 => {
                "a condition chooses rows, and each row has several values of this variable; read \
                 it and choose among the values with xarray, or add a variable along the \
                 partitioned dimension alone, such as their maximum"
            }
            Some(_) => "values of this type cannot be compared",
        };
        return Err(Error::new(ErrorKind::InvalidPredicate, why)
            .with("column", &name)
            .with("dimensions", variable.dimensions.join(", "))
            .with("dtype", variable.dtype));
    }
    Ok(())
}

/// A partition that may have matching rows.
pub(crate) struct Candidate {
    pub partition: Partition,
    /// True if the key alone shows that every row matches.
    pub whole: bool,
}

impl RowSelection {
    /// Finds the partitions that may have rows for which the predicate is true.
    ///
    /// # Errors
    /// [`InvalidPredicate`](partita_core::ErrorKind::InvalidPredicate) if it names another column,
    /// or compares a column with a value that does not fit its type.
    pub fn new(
        predicate: &Predicate,
        partitions: Vec<Partition>,
        config: &Config,
    ) -> Result<(Self, Vec<Candidate>)> {
        let keys = keys(&partitions, &config.partitioning)?;
        let fields = config.partitioning.fields();
        let mut variables = Vec::new();
        let mut columns: Vec<Field> =
            keys.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        for (path, variable) in config.schema.paths() {
            let along = variable.dimensions == [config.dimension.as_str()];
            if !along || fields.contains(&path.as_str()) {
                continue;
            }
            if let Some(data_type) = column_type(variable.dtype) {
                columns.push(Field::new(&path, data_type, true));
                variables.push((path, variable));
            }
        }
        let schema = Arc::new(Schema::new(columns));
        check_rows(predicate, &schema, config)?;
        let predicate = counted(predicate, &config.schema)?.bind(&schema)?;
        variables.retain(|(path, _)| predicate.columns().contains(path));
        let facts = KeyFacts { keys: &keys, partitions: &partitions, config };
        let variables = variables.into_iter().map(|(path, _)| path).collect();
        let selection = Self { predicate, schema, variables };
        let (may, must) = selection.decide(&facts)?;
        let candidates = partitions.iter().zip(may.iter().zip(must.iter()));
        let candidates = candidates.filter(|(_, (may, _))| *may != Some(false));
        let candidates = candidates.map(|(partition, (_, must))| Candidate {
            partition: partition.clone(),
            whole: must == Some(true),
        });
        let candidates = candidates.collect();
        Ok((selection, candidates))
    }

    /// For each partition, whether it may have matching rows, and whether all of its rows match,
    /// according to the known facts.
    pub fn decide(&self, facts: &dyn Facts) -> Result<(BooleanArray, BooleanArray)> {
        Ok((self.predicate.may_match(facts)?, self.predicate.must_match(facts)?))
    }

    /// The type of a column that the predicate may name.
    pub fn column_type(&self, column: &str) -> Option<DataType> {
        Some(self.schema.field_with_name(column).ok()?.data_type().clone())
    }

    /// The rows of each partition for which the predicate is true, as runs. `data` holds the
    /// variables of the predicate for all partitions, one partition after the other.
    pub fn rows(
        &self,
        partitions: &[Partition],
        lengths: &[usize],
        partitioning: &Partitioning,
        data: &Dataset,
    ) -> Result<Vec<Vec<Range<usize>>>> {
        let rows: usize = lengths.iter().sum();
        let keys = keys(partitions, partitioning)?;
        let partition_of = lengths.iter().enumerate();
        let partition_of = partition_of.flat_map(|(i, rows)| std::iter::repeat_n(i as u64, *rows));
        let partition_of: UInt64Array = partition_of.collect();
        let mut fields = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for field in self.schema.fields() {
            let name = field.name();
            if !self.predicate.columns().contains(name) {
                continue;
            }
            let column = match keys.column_by_name(name) {
                Some(values) => {
                    let repeated = arrow::compute::take(values, &partition_of, None)?;
                    cast(&repeated, field.data_type())?
                }
                None => column_of(data.require(name)?.data())?,
            };
            fields.push(Arc::clone(field));
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let wanted = self.predicate.evaluate(&batch)?;
        let known = wanted.nulls().map(arrow::buffer::NullBuffer::inner);
        let wanted = known.map_or_else(|| wanted.values().clone(), |known| wanted.values() & known);
        let mut start = 0;
        let runs = lengths.iter().map(|length| {
            let own = wanted.slice(start, *length);
            start += length;
            own.set_slices().map(|(start, end)| start..end).collect()
        });
        Ok(runs.collect())
    }
}

/// Facts about rows that follow from the keys of their partitions.
struct KeyFacts<'a> {
    keys: &'a RecordBatch,
    partitions: &'a [Partition],
    config: &'a Config,
}

impl KeyFacts<'_> {
    fn variable(&self, name: &str) -> Option<&VariableSchema> {
        self.config.schema.variable(name)
    }

    /// The bounds of numbers that count times.
    fn counts(&self, column: &str, time: EncodedTime) -> Option<Bounds> {
        let data_type = column_type(self.variable(column)?.dtype)?;
        let period = |partition: &Partition| time.of_fields(partition.key.values());
        let counts = |end: bool| -> Option<ArrayRef> {
            let count = |partition: &Partition| {
                let period = period(partition)?;
                let (whole, _) = time.count(if end { period.end } else { period.start });
                // Rounded floats may lie a little outside of their period.
                i64::try_from(if end { whole + 1 } else { whole - 1 }).ok()
            };
            let counts: Int64Array = self.partitions.iter().map(count).collect();
            cast(&counts, &data_type).ok()
        };
        let no_nulls = UInt64Array::from(vec![0; self.partitions.len()]);
        Some(Bounds {
            min: counts(false)?,
            max: counts(true)?,
            null_count: Some(no_nulls),
            rows: None,
        })
    }
}

impl Facts for KeyFacts<'_> {
    fn len(&self) -> usize {
        self.partitions.len()
    }

    fn exact(&self, column: &str) -> Option<ArrayRef> {
        self.keys.column_by_name(column).cloned()
    }

    fn bounds(&self, column: &str) -> Option<Bounds> {
        let Partitioning::Date { variable, .. } = &self.config.partitioning else { return None };
        if variable != column {
            return None;
        }
        if let Some(time) = EncodedTime::of(self.variable(column)?) {
            return self.counts(column, time);
        }
        let data_type = column_type(self.variable(column)?.dtype)?;
        let period = |partition: &Partition| Calendar::period(partition.key.values());
        let seconds = |end: bool| -> Option<ArrayRef> {
            let second = |partition: &Partition| {
                let (start, next) = period(partition)?;
                i64::try_from(if end { next } else { start }).ok()
            };
            let seconds: TimestampSecondArray = self.partitions.iter().map(second).collect();
            // A value outside the range of the variable's unit becomes null, which means not known.
            cast(&seconds, &data_type).ok()
        };
        // The exclusive end of the period serves as the maximum, which may be larger than any
        // value.
        let no_nulls = UInt64Array::from(vec![0; self.partitions.len()]);
        Some(Bounds {
            min: seconds(false)?,
            max: seconds(true)?,
            null_count: Some(no_nulls),
            rows: None,
        })
    }
}

/// True if the predicate names columns that are not fields of the keys.
pub(crate) fn needs_rows(predicate: &Predicate, partitioning: &Partitioning) -> bool {
    let fields = partitioning.fields();
    predicate.columns().iter().any(|column| !fields.contains(&column.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partitioning::Key;

    #[test]
    fn every_key_can_be_compared() {
        let partitioning = Partitioning::sequence(&["p"]);
        let keys = [i128::from(i64::MIN) - 3, -1, 0, 7, i128::from(u64::MAX)];
        let found = |value: &i128| {
            let key = Key::new(vec!["p".to_owned()].into(), vec![*value]);
            Partition { path: partitioning.path(&key, crate::partitioning::Digits::Two), key }
        };
        let selected = |keys: &[i128], text: &str| -> Vec<i128> {
            let predicate = Predicate::parse(text).unwrap();
            let found = keys.iter().map(found).collect();
            let selected = select(found, &partitioning, Some(&predicate)).unwrap();
            selected.iter().map(|found| found.key.values()[0]).collect()
        };
        assert_eq!(selected(&keys, "p < 0"), keys[..2]);
        assert_eq!(selected(&keys, "p > 6"), keys[3..]);
        assert_eq!(selected(&keys[2..], "p in (0, 7, 8)"), keys[2..4]);
        assert_eq!(selected(&keys[1..4], "p >= 0"), keys[2..4]);
        let other = Predicate::parse("q == 1").unwrap();
        assert!(select(Vec::new(), &partitioning, Some(&other)).is_err());
    }
}
