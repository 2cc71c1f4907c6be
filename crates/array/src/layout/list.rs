//! Which partitions there are.

use std::sync::Arc;

use partita_core::{Result, Store};

use super::{Config, Layout, v3};
use crate::collection::Partition;
use crate::partitioning::{is_component, parse_as};

/// Every partition, ordered by key. One request where the collection keeps a catalog, else one per
/// directory above the partitions.
///
/// What is not named like a partition is passed over: names with a dot first, which are the
/// layouts' own, and whatever else lies in the directory.
pub(crate) async fn list_partitions(store: &Store, config: &Config) -> Result<Vec<Partition>> {
    let paths = match catalog(store, config).await? {
        Some(paths) => paths,
        None => directories(store, config).await?,
    };
    let fields = config.partitioning.key_fields();
    let found = |path: String| Some(Partition { key: parse_as(&fields, &path)?, path });
    let mut partitions: Vec<Partition> = paths.into_iter().filter_map(found).collect();
    partitions.sort();
    partitions.dedup();
    Ok(partitions)
}

async fn directories(store: &Store, config: &Config) -> Result<Vec<String>> {
    let fields = config.partitioning.key_fields();
    let depth = fields.len();
    let accept = move |name: &str, level: usize| is_component(&fields, name, level);
    store.list_directories_at(depth, Arc::new(accept)).await
}

/// The paths in the catalog; none if the collection has no catalog, or one that cannot be read,
/// which ZCollection takes as missing.
pub(super) async fn catalog(store: &Store, config: &Config) -> Result<Option<Vec<String>>> {
    if config.layout != Layout::ZarrV3 || !config.catalog {
        return Ok(None);
    }
    let Some(bytes) = store.get_opt(v3::CATALOG).await? else { return Ok(None) };
    let paths = v3::decode_catalog(&bytes);
    if paths.is_none() {
        tracing::warn!(store = store.url(), "the catalog cannot be read; listing directories");
    }
    Ok(paths)
}
