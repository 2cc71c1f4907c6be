//! The source of an index: runs of equal values of variables, or a function.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use partita_core::{Error, ErrorKind, Result};

use super::entries::{Entries, START, STOP};
use crate::collection::Partition;
use crate::columns::column_of;
use crate::commit::Snapshot;
use crate::cores::Cores;
use crate::dataset::{Array, DType, VariableSchema};
use crate::layout::{Config, Layout};
use crate::map::MapFunction;
use crate::options::{PartitionData, ReadOptions, Work};
use crate::partitioning::Partitioning;
use crate::read::{Wanted, read};

/// Computes the slices of a partition: a table with the columns `start` and `stop` (or `_start` and
/// `_stop`), which are rows of the partition, and others of its own. None if there are no slices.
pub type IndexFunction = MapFunction<Option<RecordBatch>>;

/// The source of an index.
#[derive(Clone)]
pub enum IndexSource {
    /// Runs of rows in which each of these variables keeps its value. They must have the
    /// partitioned dimension alone.
    Variables(Vec<String>),
    /// The table that a function returns for each partition.
    Function {
        /// The function.
        function: IndexFunction,
        /// The paths of the variables that it is given; all if there are none. The index does not
        /// become stale when only other variables are changed.
        variables: Option<Vec<String>>,
    },
}

impl std::fmt::Debug for IndexSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variables(names) => f.debug_tuple("Variables").field(names).finish(),
            Self::Function { .. } => f.debug_tuple("Function").finish_non_exhaustive(),
        }
    }
}

impl IndexSource {
    /// The variables on which the index depends; none if it depends on all.
    pub(super) fn inputs(&self) -> Option<&[String]> {
        match self {
            Self::Variables(names) => Some(names),
            Self::Function { variables, .. } => variables.as_deref(),
        }
    }

    /// Checks that the collection has the variables of the index.
    pub(super) fn check(&self, config: &Config) -> Result<()> {
        for name in self.inputs().unwrap_or_default() {
            let own = config.schema.variable(name).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "the collection has no such variable")
                    .with("variable", name)
            })?;
            if let Self::Variables(_) = self {
                check_column(name, own, config)?;
            }
        }
        if let Self::Variables(names) = self
            && names.is_empty()
        {
            return Err(Error::invalid("an index needs a variable, or a function"));
        }
        Ok(())
    }

    /// An index without entries, with its columns as far as they are known.
    pub(super) fn entries(&self, config: &Config) -> Result<Entries> {
        let Self::Variables(names) = self else { return Ok(Entries::empty()) };
        let known = names.iter().filter_map(|name| Some((name, config.schema.variable(name)?)));
        let none = known.map(|(name, own)| Ok((name, Array::full(own.dtype, vec![0], None)?)));
        let none = none.collect::<Result<Vec<_>>>()?;
        Ok(Entries { rows: runs(&none, config)?, ..Entries::empty() })
    }

    /// Computes the entries of a partition.
    pub(super) async fn rows(
        &self,
        snapshot: &Snapshot,
        partition: &Partition,
        work: &Work,
        cores: &Cores,
    ) -> Result<Option<RecordBatch>> {
        let config = &snapshot.config;
        let options = ReadOptions {
            variables: self.inputs().map(<[String]>::to_vec),
            work: work.quiet(),
            ..ReadOptions::default()
        };
        let data = read(&snapshot.store, config, &[Wanted::whole(partition)], &options).await?;
        match self {
            Self::Variables(names) => {
                let arrays =
                    names.iter().map(|name| Ok((name, data.require(name)?.data().clone())));
                runs(&arrays.collect::<Result<Vec<_>>>()?, config).map(Some)
            }
            Self::Function { function, .. } => {
                let rows = match data.size(&config.dimension) {
                    Some(rows) => rows,
                    None => snapshot.length(partition).await?,
                };
                let data = PartitionData { key: partition.key.clone(), data, own: 0..rows };
                let found = crate::map::call(function, data, cores).await?;
                found.map(|table| checked(&table, rows, config)).transpose()
            }
        }
    }
}

fn check_column(name: &str, own: &VariableSchema, config: &Config) -> Result<()> {
    if own.dimensions != [config.dimension.as_str()] {
        return Err(Error::invalid(
            "only variables that have the partitioned dimension alone can be indexed",
        )
        .with("variable", name)
        .with("dimensions", own.dimensions.join(", ")));
    }
    if stored_type(own.dtype).is_none() {
        return Err(Error::invalid("values of this type cannot be indexed")
            .with("variable", name)
            .with("dtype", own.dtype));
    }
    Ok(())
}

/// The type of the column for values of this type; none if they cannot be indexed.
fn stored_type(dtype: DType) -> Option<DataType> {
    Some(match dtype {
        DType::Int8 => DataType::Int8,
        DType::Int16 => DataType::Int16,
        DType::Int32 => DataType::Int32,
        DType::UInt8 => DataType::UInt8,
        DType::UInt16 => DataType::UInt16,
        DType::UInt32 => DataType::UInt32,
        DType::Float16 | DType::Float32 => DataType::Float32,
        dtype => match crate::columns::column_type(dtype)? {
            // Parquet has no timestamps in seconds.
            DataType::Timestamp(TimeUnit::Second, zone) => {
                DataType::Timestamp(TimeUnit::Millisecond, zone)
            }
            other => other,
        },
    })
}

/// The runs of rows in which all variables keep their values. Variables that are fields of the key
/// are constant in a partition, and get no column.
fn runs(arrays: &[(&String, Array)], config: &Config) -> Result<RecordBatch> {
    let rows = arrays.first().map_or(0, |(_, array)| array.len());
    let changes = |row: &usize| {
        *row == 0 || arrays.iter().any(|(_, array)| array.item(*row) != array.item(*row - 1))
    };
    let firsts: Vec<usize> = (0..rows).filter(changes).collect();
    let number = |row: usize| i64::try_from(row).unwrap_or(i64::MAX);
    let starts: Int64Array = firsts.iter().map(|row| Some(number(*row))).collect();
    let ends = firsts.iter().skip(1).copied().chain((rows > 0).then_some(rows));
    let stops: Int64Array = ends.map(|row| Some(number(row))).collect();
    // Columns are always nullable, since partitions must not differ in their schemas.
    let mut fields =
        vec![Field::new(START, DataType::Int64, true), Field::new(STOP, DataType::Int64, true)];
    let mut columns: Vec<ArrayRef> = vec![Arc::new(starts), Arc::new(stops)];
    for (name, array) in arrays {
        if is_key(name, config) {
            continue;
        }
        let taken = column_of(&array.take(0, &firsts)?)?;
        let data_type = stored_type(array.dtype()).unwrap_or_else(|| taken.data_type().clone());
        let column = cast(&taken, &data_type)?;
        fields.push(Field::new(name.as_str(), data_type, true));
        columns.push(column);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// True for a variable whose values are those of a field of the keys.
fn is_key(name: &str, config: &Config) -> bool {
    match &config.partitioning {
        Partitioning::Sequence { variables } => variables.iter().any(|own| own == name),
        _ => false,
    }
}

/// Checks the table of a function, and returns it with the slice columns first.
fn checked(table: &RecordBatch, rows: usize, config: &Config) -> Result<RecordBatch> {
    let slice_of = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| table.column_by_name(name));
        let column = found.ok_or_else(|| {
            Error::new(
                ErrorKind::SchemaMismatch,
                "the table that the function returned lacks a column",
            )
            .with("column", names[0])
        })?;
        let cast = cast(column, &DataType::Int64);
        let column = cast.map_err(|error| {
            Error::new(
                ErrorKind::SchemaMismatch,
                "the start and stop of a slice must be integers and not null",
            )
            .with("column", names[0])
            .caused_by(error)
        })?;
        if column.null_count() > 0 || !column_is_integer(found) {
            return Err(Error::new(
                ErrorKind::SchemaMismatch,
                "the start and stop of a slice must be integers and not null",
            )
            .with("column", names[0]));
        }
        Ok(column)
    };
    let (starts, stops) = (slice_of(["start", START])?, slice_of(["stop", STOP])?);
    check_slices(&starts, &stops, rows)?;
    let mut fields =
        vec![Field::new(START, DataType::Int64, true), Field::new(STOP, DataType::Int64, true)];
    let mut columns = vec![starts, stops];
    let keys = config.partitioning.fields();
    for (field, column) in table.schema().fields().iter().zip(table.columns()) {
        let name = field.name().as_str();
        if ["start", "stop", START, STOP].contains(&name) {
            continue;
        }
        let is_taken = name == super::file::PARTITION
            || config.layout == Layout::ZarrV2 && keys.contains(&name);
        if is_taken {
            return Err(Error::invalid("the name of a column is reserved for the index")
                .with("column", name));
        }
        fields.push(field.as_ref().clone().with_nullable(true));
        columns.push(Arc::clone(column));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn column_is_integer(column: Option<&ArrayRef>) -> bool {
    column.is_some_and(|column| column.data_type().is_integer())
}

fn check_slices(starts: &ArrayRef, stops: &ArrayRef, rows: usize) -> Result<()> {
    let slices = super::entries::slices(starts.as_ref(), stops.as_ref())?;
    let outside = |run: &&Range<usize>| run.end > rows;
    match slices.iter().find(outside) {
        None => Ok(()),
        Some(run) => Err(Error::invalid("a slice reaches beyond the rows of its partition")
            .with("slice", format!("{}..{}", run.start, run.end))
            .with("rows", rows)),
    }
}
