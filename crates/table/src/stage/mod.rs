//! Staging: rows become data files that nobody can see yet.
//!
//! Batches are pulled on one thread, split by partition key, and gathered until a row group is
//! full; row groups are encoded in parallel, files are written as they fill up. Statistics and
//! index values come out of the same pass.

mod bucket;
mod derive;
mod encode;
mod fit;
mod gather;
mod sort;
mod staged;

pub use bucket::BucketPartition;
pub use derive::{DatePartition, Derivations, Resolution};
pub(crate) use sort::no_such_column;
pub use staged::Staged;
pub(crate) use staged::{Begun, numbers, texts, total};

use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{DataType, Field, Schema};
use partita_core::convert::settled_type;
use partita_core::partition::is_partition_type;
use partita_core::{Error, ErrorKind, Result, Store};

use crate::format::index::{is_index_type, value_type};
use crate::format::pandas;
use crate::format::schema::{check_columns, stored_schema, table_schema};
use crate::options::{BatchSource, WriteOptions};
use crate::state::State;
use fit::{Fit, fitted};
use gather::Gather;

/// Where staged files go, and what they must fit.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub store: Store,
    pub name: String,
    pub table_name: String,
    pub partition_by: Vec<String>,
    pub index: Vec<String>,
    /// Partition columns that are derived from another.
    pub derived: Derivations,
    /// The columns that get bloom filters where a write says nothing else.
    pub bloom_filters: Vec<String>,
    /// The stored schema that data must fit; none for a table not yet made.
    pub schema: Option<Schema>,
    /// The version of the table; zero for one not yet made.
    pub version: u64,
}

impl Target {
    /// The table that `state` is of.
    pub fn of(store: &Store, name: &str, state: &State) -> Self {
        Self {
            store: store.clone(),
            name: name.to_owned(),
            table_name: state.table_name.clone(),
            partition_by: state.partition_by.clone(),
            index: state.header.indices.keys().cloned().collect(),
            derived: state.own.derived.clone(),
            bloom_filters: state.own.bloom_filters.clone(),
            schema: Some(state.stored.clone()),
            version: state.own.version,
        }
    }

    /// The columns that keep their type, since keys or an index are made of it.
    fn fixed(&self) -> Vec<String> {
        let bucket = self.derived.bucket.iter().map(|bucket| &bucket.column);
        self.partition_by.iter().chain(&self.index).chain(bucket).cloned().collect()
    }

    /// The stored schema that `given` data are fitted to, once it is known that they have the
    /// columns for it. Whether their values fit is seen as they are read.
    fn check(&self, given: &Schema) -> Result<Schema> {
        let Some(current) = &self.schema else {
            let stored = stored_schema(given, &self.partition_by)?;
            if given.fields().iter().any(|field| field.name().is_empty()) {
                return Err(Error::invalid("a column has no name, and could not be asked for"));
            }
            check_layout(&stored, &self.partition_by, &self.index)?;
            return Ok(stored);
        };
        check_columns(current, given)?;
        let stored = stored_schema(given, &self.partition_by)?;
        // Columns of partition keys and indices take their types before any value is seen.
        let fixed = self.fixed();
        let settled = current.fields().iter().map(|field| {
            let found = stored.field_with_name(field.name()).map(Field::data_type);
            let found = found.ok().filter(|_| fixed.contains(field.name()));
            match found.and_then(|found| settled_type(field.data_type(), found)) {
                Some(settled) => field.as_ref().clone().with_data_type(settled),
                None => field.as_ref().clone(),
            }
        });
        let current = Schema::new(settled.collect::<Vec<_>>());
        check_layout(&current, &self.partition_by, &self.index)?;
        Ok(current)
    }
}

/// Refuses partition and index columns that the schema cannot carry.
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
            return Err(Error::invalid(format!("a column of type {data_type} cannot partition"))
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
            return Err(Error::invalid(format!("a column of type {data_type} cannot be indexed"))
                .with("column", name));
        }
    }
    if stored.fields().len() == partition_by.len() {
        return Err(Error::invalid("there is no column besides the partition columns"));
    }
    Ok(())
}

/// Refuses columns of which there can be no bloom filter.
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
                "a column of type {data_type} cannot have bloom filters"
            ))
            .with("column", name));
        }
    }
    Ok(())
}

/// Writes `data` to new files under `target`. On failure the files written are deleted again.
pub(crate) async fn stage(
    target: &Target,
    data: BatchSource,
    options: &WriteOptions,
) -> Result<Staged> {
    target.store.check_writable()?;
    let begun = Begun::now();
    let given = target.derived.schema(&data.schema())?;
    options.check(&given)?;
    let stored = target.check(&given)?;
    let blooms = options.bloom_filters.as_ref().unwrap_or(&target.bloom_filters);
    check_filters(&stored, &target.partition_by, blooms)?;
    let extensions = pandas::extension_types(&given);
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
        table: Arc::clone(&table),
        extensions: extensions.clone(),
        index,
        options: WriteOptions { bloom_filters: Some(blooms.clone()), ..options.clone() },
        written: written.clone(),
    };
    let (fixed, replaced) = (target.fixed(), target.derived.names());
    let fit = Fit::new(Arc::clone(&settled), &data.schema(), extensions.clone(), fixed, replaced);
    let data = target.derived.apply(fitted(data, fit, options.row_group_rows))?;
    match gather.run(data).await {
        Ok(files) => {
            let stored = settled.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let table = table_schema(&stored, &[], &extensions);
            Staged::new(target, stored, columns, extensions, &table, files, begun)
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
