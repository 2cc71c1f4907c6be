//! The layers in which the variables of a partition are stored.

use std::collections::HashMap;
use std::sync::Arc;

use partita_core::{Error, Result, Store};

use crate::collection::Partition;
use crate::dataset::Schema;
use crate::layout::{
    Config, KnownArrays, OpenGroup, StoredArray, immutable_group, open_group, open_known_group,
};
use crate::view::{OTHER_ROWS, out_of_sync};

/// The open arrays of a group, by the paths of their variables.
pub(crate) type Arrays = HashMap<String, Arc<StoredArray>>;

/// The layers from which variables are read: a collection, or a view and its base.
pub(crate) struct Source<'a> {
    /// The combined configuration of the layers.
    pub(super) config: &'a Config,
    /// The first layer that has a variable provides it.
    pub(super) layers: Vec<Layer<'a>>,
}

pub(super) struct Layer<'a> {
    pub store: &'a Store,
    pub config: &'a Config,
}

impl<'a> Source<'a> {
    /// A collection; for a view, only the variables that it stores itself.
    pub fn own(store: &'a Store, config: &'a Config) -> Self {
        Self { config, layers: vec![Layer { store, config }] }
    }

    pub(super) fn layer(&self, path: &str) -> Option<&Layer<'a>> {
        self.layers.iter().find(|layer| layer.config.schema.variable(path).is_some())
    }

    /// Opens the arrays of a partition for the variables of `schema`, and returns them with the
    /// number of rows.
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
        // The partition has none of the requested variables; the variables that partition are
        // always stored.
        let rows = match (rows, self.layers.last()) {
            (None, Some(layer)) => layer.length(partition).await.map_err(named)?,
            (rows, _) => rows.unwrap_or(0),
        };
        Ok((arrays, rows))
    }

    /// Opens the arrays of the variables of `schema`, which are not partitioned. A view has none of
    /// its own.
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
    /// Opens the arrays of a partition in this layer; the number of rows is none if there is no
    /// array.
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
                    "the variables of the partition have different numbers of rows",
                )
                .with("variable", path));
            }
            rows = rows.or(size);
        }
        Ok((arrays, rows))
    }

    /// The number of rows of a partition, from the variables that partition.
    async fn length(&self, partition: &Partition) -> Result<usize> {
        let config = self.config;
        let keys = config.partitioning.variables();
        let keys = config.schema.filtered(&|path, _| keys.contains(&path));
        let opened = open_group(self.store, config, &partition.path, &keys).await?;
        let arrays = by_path(opened.unwrap_or_default());
        arrays.values().find_map(|array| array.size(&config.dimension)).ok_or_else(|| {
            Error::corrupt(
                "the partition is incomplete: its writer was killed, or it was dropped while it \
                 was read",
            )
        })
    }
}

fn by_path(group: OpenGroup) -> Arrays {
    let stored = |(path, array): (String, Option<StoredArray>)| Some((path, Arc::new(array?)));
    group.into_iter().filter_map(stored).collect()
}
