//! Updating the catalog of partitions.

use std::collections::BTreeSet;

use partita_core::{Result, Store};

use super::list::{catalog, directories};
use super::{Config, Layout, v3};
use crate::commit::{Action, Change};

/// Applies changes to the catalog. If it is missing or damaged, it is rebuilt from the directories.
/// Does nothing for a collection without a catalog.
pub(crate) async fn edit_catalog(store: &Store, config: &Config, changes: &[Change]) -> Result<()> {
    if config.layout != Layout::ZarrV3 || !config.catalog {
        return Ok(());
    }
    let known = match catalog(store, config).await? {
        Some(paths) => paths,
        None => {
            let found = directories(store, &config.partitioning.key_fields()).await?;
            found.into_iter().map(|found| found.path).collect()
        }
    };
    let mut paths: BTreeSet<String> = known.into_iter().collect();
    for change in changes.iter().filter(|c| config.partitioning.parse(&c.path).is_some()) {
        if change.action == Action::Drop {
            paths.remove(&change.path);
        } else {
            paths.insert(change.path.clone());
        }
    }
    store.put(v3::CATALOG, v3::encode_catalog(paths.into_iter().collect()).into()).await
}

/// Compares the catalog with the directories. Returns its key and the reason if it is wrong; with
/// `repair` it is also rebuilt.
pub(crate) async fn rebuild_catalog(
    store: &Store,
    config: &Config,
    repair: bool,
) -> Result<Option<(&'static str, String)>> {
    if config.layout != Layout::ZarrV3 || !config.catalog {
        return Ok(None);
    }
    let known = catalog(store, config).await?;
    let found = directories(store, &config.partitioning.key_fields()).await?;
    let found: BTreeSet<String> = found.into_iter().map(|found| found.path).collect();
    let message = match known {
        Some(known) => {
            let known: BTreeSet<String> = known.into_iter().collect();
            let (gone, unlisted) = (known.difference(&found), found.difference(&known));
            match (gone.count(), unlisted.count()) {
                (0, 0) => return Ok(None),
                (gone, unlisted) => format!(
                    "it names {gone} partitions that do not exist, and lacks {unlisted} that do"
                ),
            }
        }
        // The catalog is created with the first partition.
        None if found.is_empty() => return Ok(None),
        None => "it is missing, or cannot be read".to_owned(),
    };
    if repair {
        store.put(v3::CATALOG, v3::encode_catalog(found.into_iter().collect()).into()).await?;
    }
    Ok(Some((v3::CATALOG, message)))
}
