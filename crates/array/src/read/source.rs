//! Where the variables of a partition are stored.

use std::collections::HashMap;
use std::sync::Arc;

use partita_core::{Error, Result, Store};

use crate::collection::Partition;
use crate::dataset::Schema;
use crate::layout::{
    Config, KnownArrays, OpenGroup, StoredArray, immutable_group, open_group, open_known_group,
};
use crate::view::{OTHER_ROWS, out_of_sync};

/// The arrays of a group that hold the variables asked for, by their paths.
pub(crate) type Arrays = HashMap<String, Arc<StoredArray>>;

/// Where variables are read from: a collection, or a view and the collection under it.
pub(crate) struct Source<'a> {
    /// What can be read.
    pub(super) config: &'a Config,
    /// A variable is in the first that has it.
    pub(super) layers: Vec<Layer<'a>>,
}

pub(super) struct Layer<'a> {
    pub store: &'a Store,
    pub config: &'a Config,
}

impl<'a> Source<'a> {
    /// A collection; of a view, the variables that it stores itself.
    pub fn own(store: &'a Store, config: &'a Config) -> Self {
        Self { config, layers: vec![Layer { store, config }] }
    }

    pub(super) fn layer(&self, path: &str) -> Option<&Layer<'a>> {
        self.layers.iter().find(|layer| layer.config.schema.variable(path).is_some())
    }

    /// The arrays of a partition that hold the variables of `schema`, and how many rows it has.
    pub(super) async fn open(
        &self,
        schema: &Schema,
        partition: &Partition,
        known: &KnownArrays,
    ) -> Result<(Arrays, usize)> {
        let named = |error: Error| error.with("partition", &partition.path);
        let (mut arrays, mut rows) = (Arrays::new(), None);
        for layer in &self.layers {
            let is_own = |path: &str| self.layer(path).is_some_and(|own| std::ptr::eq(own, layer));
            let schema = schema.filtered(&|path, _| is_own(path));
            if schema.paths().is_empty() {
                continue;
            }
            let opened = layer.open(&schema, partition, known).await.map_err(named)?;
            let (found, length) = opened;
            if rows.is_some() && length.is_some() && rows != length {
                return Err(out_of_sync(OTHER_ROWS, partition));
            }
            rows = rows.or(length);
            arrays.extend(found);
        }
        // None of the variables asked for is there; those that partition always are.
        let rows = match (rows, self.layers.last()) {
            (None, Some(layer)) => layer.length(partition).await.map_err(named)?,
            (rows, _) => rows.unwrap_or(0),
        };
        Ok((arrays, rows))
    }

    /// The arrays that hold the variables of `schema`, which are not partitioned. Views have none.
    pub(super) async fn open_shared(&self, schema: &Schema) -> Result<Arrays> {
        let Some(layer) = self.layers.last().filter(|_| !schema.paths().is_empty()) else {
            return Ok(Arrays::new());
        };
        let path = immutable_group(layer.config.layout);
        let opened = open_group(layer.store, layer.config, path, schema).await?;
        Ok(by_path(opened.unwrap_or_default()))
    }
}

impl Layer<'_> {
    /// The arrays of a partition, and how many rows they have; none if there is no array.
    async fn open(
        &self,
        schema: &Schema,
        partition: &Partition,
        known: &KnownArrays,
    ) -> Result<(Arrays, Option<usize>)> {
        let config = self.config;
        let opened = open_known_group(self.store, config, &partition.path, schema, known).await?;
        let arrays = by_path(opened.unwrap_or_default());
        let mut rows = None;
        for (path, array) in &arrays {
            let size = array.size(&config.dimension);
            if rows.is_some() && size.is_some() && rows != size {
                return Err(Error::corrupt(
                    "the variables of the partition have different lengths",
                )
                .with("variable", path));
            }
            rows = rows.or(size);
        }
        Ok((arrays, rows))
    }

    /// How many rows a partition has, by the variables that partition.
    async fn length(&self, partition: &Partition) -> Result<usize> {
        let config = self.config;
        let keys = config.partitioning.variables();
        let keys = config.schema.filtered(&|path, _| keys.contains(&path));
        let opened = open_group(self.store, config, &partition.path, &keys).await?;
        let arrays = by_path(opened.unwrap_or_default());
        arrays.values().find_map(|array| array.size(&config.dimension)).ok_or_else(|| {
            Error::corrupt(
                "the partition is not complete: its writer died, or it was removed while it was read",
            )
        })
    }
}

fn by_path(group: OpenGroup) -> Arrays {
    let stored = |(path, array): (String, Option<StoredArray>)| Some((path, Arc::new(array?)));
    group.into_iter().filter_map(stored).collect()
}
