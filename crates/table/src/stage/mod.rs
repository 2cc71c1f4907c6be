//! Staging: writing rows to data files that are not visible yet.
//!
//! Batches are read on one thread, split by partition key, and buffered until a row group is full;
//! row groups are encoded in parallel, and files are written as they fill up. Statistics and index
//! values are collected in the same pass.

mod bucket;
mod derive;
mod encode;
mod filled;
mod fit;
mod gather;
mod sort;
mod staged;

pub use bucket::BucketPartition;
pub use derive::{DatePartition, Derivations, Resolution};
pub(crate) use encode::CREATED_BY;
pub(crate) use sort::no_such_column;
pub use staged::Staged;
pub(crate) use staged::{Begun, Columns};

use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{DataType, Schema};
use partita_core::partition::is_partition_type;
use partita_core::{Error, ErrorKind, Result, Store, type_name};

use crate::change::Layout;
use crate::format::columns::with_ids;
use crate::format::given::{nullable, settled, stored_schema, taking_nulls};
use crate::format::index::{is_index_type, value_type};
use crate::format::pandas::{self, ExtensionTypes};
use crate::format::schema::{check_columns, in_stored_order, missing, table_schema};
use crate::options::{BatchSource, SchemaMode, WriteOptions};
use crate::state::State;
use filled::filled;
use fit::{Fit, fitted};
use gather::Gather;

/// The destination of staged files, and the requirements on their data.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub store: Store,
    pub name: String,
    pub table_name: String,
    pub partition_by: Vec<String>,
    pub index: Vec<String>,
    /// Partition columns that are derived from another.
    pub derived: Derivations,
    /// The columns that get bloom filters by default.
    pub bloom_filters: Vec<String>,
    /// The stored schema that data must fit; `None` for a table that does not exist yet.
    pub schema: Option<Schema>,
    /// The largest id that a column of the table has ever had.
    pub last_column_id: i32,
    /// Pandas extension types by column.
    pub extensions: ExtensionTypes,
    /// The version of the table; zero for one that does not exist yet.
    pub version: u64,
}

impl Target {
    /// The target for the table of `state`.
    pub fn of(store: &Store, name: &str, state: &State) -> Self {
        Self::laid_out(store, name, Layout::of(state), state.own.version)
    }

    /// The table as it is once it is laid out so.
    pub fn laid_out(store: &Store, name: &str, layout: Layout, version: u64) -> Self {
        Self {
            store: store.clone(),
            name: name.to_owned(),
            table_name: layout.table_name,
            partition_by: layout.partition_by,
            index: layout.index,
            derived: layout.derived,
            bloom_filters: layout.bloom_filters,
            schema: Some(layout.schema),
            last_column_id: layout.last_column_id,
            extensions: layout.extensions,
            version,
        }
    }

    /// The pandas types of data; for columns that they lack, those of the table.
    fn extensions_of(&self, given: &Schema) -> ExtensionTypes {
        let lacks = |name: &String| {
            given.field_with_name(name).is_ok_and(|field| *field.data_type() == DataType::Null)
        };
        let known = self.extensions.iter().filter(|(name, _)| lacks(name));
        let known = known.map(|(name, extension)| (name.clone(), extension.clone()));
        known.chain(pandas::extension_types(given)).collect()
    }

    /// The columns whose type is fixed, since partition keys or an index depend on it.
    fn fixed(&self) -> Vec<String> {
        let bucket = self.derived.bucket.iter().map(|bucket| &bucket.column);
        self.partition_by.iter().chain(&self.index).chain(bucket).cloned().collect()
    }

    /// The columns that data lack which are merged: nulls go in their place. Keys cannot be null.
    fn fillable(&self) -> impl Iterator<Item = String> {
        let fields = self.schema.iter().flat_map(|schema| schema.fields().iter());
        let names = fields.map(|field| field.name());
        names.filter(|name| !self.partition_by.contains(name)).cloned()
    }

    /// The stored schema that `given` data is converted to, after a check of its columns. Whether
    /// the values fit is checked as they are read.
    fn check(&self, given: &Schema, mode: SchemaMode) -> Result<Schema> {
        if given.fields().iter().any(|field| field.name().is_empty()) {
            return Err(Error::invalid("a column has no name, and could not be asked for"));
        }
        let Some(current) = &self.schema else {
            let stored = stored_schema(given, &self.partition_by)?;
            check_layout(&stored, &self.partition_by, &self.index)?;
            return Ok(with_ids(&stored, 0).0);
        };
        if let Some(key) = self.partition_by.iter().find(|key| given.index_of(key).is_err()) {
            return Err(missing(key));
        }
        let stored = stored_schema(given, &self.partition_by)?;
        let current = match mode {
            SchemaMode::Fixed => current.clone(),
            SchemaMode::Merge => {
                let new = stored_schema(&nullable(given), &self.partition_by)?;
                without_strictness(&self.with_new(current, &new), &stored)
            }
        };
        check_columns(&current, given)?;
        // Columns of partition keys and indices must have their types before any value is read.
        let fixed = self.fixed();
        let settled = current.fields().iter().map(|field| {
            let found = stored.field_with_name(field.name());
            let found = found.ok().filter(|_| fixed.contains(field.name()));
            let settled = found.and_then(|found| settled(field, found));
            settled.unwrap_or_else(|| field.as_ref().clone())
        });
        let current = Schema::new(settled.collect::<Vec<_>>());
        check_layout(&current, &self.partition_by, &self.index)?;
        Ok(current)
    }

    /// The schema with the columns of `given` that it has not.
    fn with_new(&self, current: &Schema, given: &Schema) -> Schema {
        let new = given.fields().iter().filter(|field| current.index_of(field.name()).is_err());
        let fields = current.fields().iter().chain(new).map(|field| field.as_ref().clone());
        let (numbered, _) = with_ids(&Schema::new(fields.collect::<Vec<_>>()), self.last_column_id);
        let fields = numbered.fields().iter().map(|field| field.as_ref().clone());
        in_stored_order(fields.collect(), &self.partition_by)
    }
}

/// The schema, of which the columns that data lack may hold nulls.
fn without_strictness(current: &Schema, given: &Schema) -> Schema {
    let lacks = |name: &str| {
        given.field_with_name(name).is_ok_and(|field| *field.data_type() == DataType::Null)
    };
    let fields = current.fields().iter().map(|field| match lacks(field.name()) {
        true => taking_nulls(field),
        false => field.as_ref().clone(),
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// Fails for partition and index columns that the schema does not support.
pub(crate) fn check_layout(
    stored: &Schema,
    partition_by: &[String],
    index: &[String],
) -> Result<()> {
    let field = |name: &String| {
        stored.field_with_name(name).map_err(|_| {
            Error::new(ErrorKind::NotFound, "a named column is missing from the data")
                .with("column", name)
        })
    };
    for (i, name) in partition_by.iter().enumerate() {
        let data_type = field(name)?.data_type();
        if !is_partition_type(data_type) {
            return Err(Error::invalid(format!(
                "a column of type {} cannot partition",
                type_name(data_type)
            ))
            .with("column", name));
        }
        if partition_by.iter().take(i).any(|other| other == name) {
            return Err(Error::invalid("a partition column is named twice").with("column", name));
        }
    }
    for name in index {
        let data_type = field(name)?.data_type();
        if partition_by.contains(name) {
            return Err(Error::invalid("a partition column needs no index").with("column", name));
        }
        if name == "partition" {
            return Err(Error::invalid("a column named 'partition' cannot be indexed"));
        }
        if !is_index_type(data_type) && *data_type != DataType::Null {
            return Err(Error::invalid(format!(
                "a column of type {} cannot be indexed",
                type_name(data_type)
            ))
            .with("column", name));
        }
    }
    if stored.fields().len() == partition_by.len() {
        return Err(Error::invalid("there is no column besides the partition columns"));
    }
    Ok(())
}

/// Fails for columns that cannot have a bloom filter.
fn check_filters(stored: &Schema, partition_by: &[String], columns: &[String]) -> Result<()> {
    for name in columns {
        let field = stored.field_with_name(name).map_err(|_| no_such_column(name))?;
        if partition_by.contains(name) {
            return Err(
                Error::invalid("a partition column needs no bloom filter").with("column", name)
            );
        }
        let data_type = field.data_type();
        let filtered = data_type.is_integer()
            || data_type.is_floating()
            || data_type.is_string()
            || data_type.is_binary()
            || matches!(data_type, DataType::Null | DataType::Date32 | DataType::Timestamp(_, _));
        if !filtered {
            return Err(Error::invalid(format!(
                "a column of type {} cannot have bloom filters",
                type_name(data_type)
            ))
            .with("column", name));
        }
    }
    Ok(())
}

/// Writes `data` to new files under `target`. On failure the written files are deleted.
pub(crate) async fn stage(
    target: &Target,
    data: BatchSource,
    options: &WriteOptions,
) -> Result<Staged> {
    target.store.check_writable()?;
    let begun = Begun::now();
    let mode = match &target.schema {
        Some(_) => options.schema_mode,
        None => SchemaMode::Fixed,
    };
    let (data, columns_are) = match mode {
        SchemaMode::Fixed => (data, Columns::All),
        SchemaMode::Merge => (filled(data, target.fillable()), Columns::Merged),
    };
    let given = target.derived.schema(&data.schema())?;
    options.check(&given)?;
    let stored = target.check(&given, mode)?;
    let blooms = options.bloom_filters.as_ref().unwrap_or(&target.bloom_filters);
    check_filters(&stored, &target.partition_by, blooms)?;
    let extensions = target.extensions_of(&given);
    let table = table_schema(&stored, &[], &extensions);
    let columns = given.fields().iter().map(|field| field.name().clone()).collect();
    let index = target
        .index
        .iter()
        .filter_map(|name| {
            let field = table.field_with_name(name).ok()?;
            Some((name.clone(), value_type(field.data_type())))
        })
        .collect();
    let written = Written::default();
    let settled = Arc::new(Mutex::new(stored));
    let gather = Gather {
        target: target.clone(),
        settled: Arc::clone(&settled),
        extensions: extensions.clone(),
        index,
        options: WriteOptions { bloom_filters: Some(blooms.clone()), ..options.clone() },
        written: written.clone(),
    };
    let mut fit = Fit::new(Arc::clone(&settled), &data.schema());
    fit.extensions.clone_from(&extensions);
    (fit.fixed, fit.replaced) = (target.fixed(), target.derived.names());
    fit.merges = mode == SchemaMode::Merge;
    fit.creates = target.schema.is_none();
    let data = target.derived.apply(fitted(data, fit, options.row_group_rows))?;
    match gather.run(data).await {
        Ok(files) => {
            let stored = settled.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let table = table_schema(&stored, &[], &extensions);
            let staged = Staged::new(target, stored, columns, extensions, &table, files, begun)?;
            Ok(Staged { columns_are, ..staged })
        }
        Err(error) => {
            discard(&target.store, written.take()).await;
            Err(error)
        }
    }
}

/// Deletes files that no commit will name. A failure leaves garbage, which is collected later.
pub(crate) async fn discard(store: &Store, keys: Vec<String>) {
    if let Err(error) = store.delete_many(keys).await {
        tracing::warn!(%error, "files that were not committed could not be deleted");
    }
}

/// The keys of the files written so far, shared with the tasks that write them.
#[derive(Debug, Clone, Default)]
struct Written(Arc<Mutex<Vec<String>>>);

impl Written {
    fn add(&self, key: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(key);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
