//! Listing partitions.

use std::collections::BTreeSet;
use std::sync::Arc;

use partita_core::{Result, Store, masked};

use super::{Config, Layout, v3};
use crate::collection::Partition;
use crate::partitioning::{Key, parse_as, parse_component};

/// Lists all partitions, ordered by key. It costs one request if the collection keeps a catalog,
/// else one per directory above the partitions.
///
/// Entries that do not have the name of a partition are skipped, such as names with a leading dot,
/// which the layouts use for themselves.
pub(crate) async fn list_partitions(store: &Store, config: &Config) -> Result<Vec<Partition>> {
    list_partitions_below(store, config, BTreeSet::new()).await
}

/// As [`list_partitions`]; `known` are directories above partitions, which are listed at once.
pub(crate) async fn list_partitions_below(
    store: &Store,
    config: &Config,
    known: BTreeSet<String>,
) -> Result<Vec<Partition>> {
    let fields = config.partitioning.key_fields();
    let found = |path: String| Some(Partition { key: parse_as(&fields, &path)?, path });
    let mut partitions: Vec<Partition> = match catalog(store, config).await? {
        Some(mut paths) => {
            paths.sort();
            paths.dedup();
            paths.into_iter().filter_map(found).collect()
        }
        None => directories_below(store, &fields, known).await?,
    };
    partitions.sort();
    Ok(partitions)
}

/// All partitions that have a directory, in no order.
pub(super) async fn directories(store: &Store, fields: &Arc<[String]>) -> Result<Vec<Partition>> {
    directories_below(store, fields, BTreeSet::new()).await
}

async fn directories_below(
    store: &Store,
    fields: &Arc<[String]>,
    known: BTreeSet<String>,
) -> Result<Vec<Partition>> {
    let own = Arc::clone(fields);
    let values = move |above: &Vec<i128>, name: &str| {
        let value = parse_component(name, own.get(above.len())?)?;
        let mut values = Vec::with_capacity(own.len());
        values.extend_from_slice(above);
        values.push(value);
        Some(values)
    };
    let values = Arc::new(values);
    let found = store.list_directories_at(fields.len(), Vec::new(), values, known).await?;
    let partition = |(path, values)| Partition { key: Key::new(Arc::clone(fields), values), path };
    Ok(found.into_iter().map(partition).collect())
}

/// The paths in the catalog; none if the collection has no catalog, or one that cannot be read,
/// which ZCollection also treats as missing.
pub(super) async fn catalog(store: &Store, config: &Config) -> Result<Option<Vec<String>>> {
    if config.layout != Layout::ZarrV3 || !config.catalog {
        return Ok(None);
    }
    let Some(bytes) = store.get_opt(v3::CATALOG).await? else { return Ok(None) };
    let paths = v3::decode_catalog(&bytes);
    if paths.is_none() {
        let store = masked(store.url());
        tracing::warn!(%store, "the catalog cannot be read; listing directories");
    }
    Ok(paths)
}
