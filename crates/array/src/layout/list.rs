//! Which partitions there are.

use futures::{StreamExt, TryStreamExt, stream};
use partita_core::{Result, Store};

use super::{Config, Layout, v3};
use crate::collection::Partition;

/// Directories listed at once.
const AT_ONCE: usize = 32;

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
    let found = |path: String| Some(Partition { key: config.partitioning.parse(&path)?, path });
    let mut partitions: Vec<Partition> = paths.into_iter().filter_map(found).collect();
    partitions.sort();
    partitions.dedup();
    Ok(partitions)
}

async fn directories(store: &Store, config: &Config) -> Result<Vec<String>> {
    let depth = config.partitioning.fields().len();
    let mut level = vec![String::new()];
    for depth in 0..depth {
        let below = async |parent: String| {
            let names = store.list_directories(&parent).await?.into_iter();
            let names = names.filter(|name| config.partitioning.is_component(name, depth));
            let join = |name: String| match parent.as_str() {
                "" => name,
                parent => format!("{parent}/{name}"),
            };
            Ok::<_, partita_core::Error>(names.map(join).collect::<Vec<_>>())
        };
        let found: Vec<Vec<String>> =
            stream::iter(level).map(below).buffered(AT_ONCE).try_collect().await?;
        level = found.into_iter().flatten().collect();
    }
    Ok(level)
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
