//! Chunks that are missing from the published layout: whether a commit put them there.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use partita_core::store::Fallback;
use partita_core::{Error, Result, Store};
use tokio::sync::OnceCell;

use super::contents::Held;
use super::head::Head;
use super::note;
use super::record::Record;
use super::standing::Standing;
use crate::layout::{Config, immutable_group};

/// Tells a chunk that was never stored, which is all fill value, from one that is lost. It is asked
/// only about chunks that are missing, once for each partition: two requests, and one for each
/// manifest.
pub(super) struct Retained {
    base: Store,
    mark: u64,
    /// How many components the path of a partition has.
    depth: usize,
    immutable: &'static str,
    /// Partitions for whose objects the snapshot answers by itself.
    others: HashSet<String>,
    found: Mutex<HashMap<String, Arc<OnceCell<Standing>>>>,
}

impl Retained {
    pub fn new(base: &Store, config: &Config, head: &Head, pending: &[Record]) -> Self {
        let pending = pending.iter().flat_map(|record| &record.changes);
        let others = pending.map(|change| &change.path).chain(head.young.keys());
        Self {
            base: base.clone(),
            mark: head.published,
            depth: config.partitioning.key_fields().len(),
            immutable: immutable_group(config.layout),
            others: others.cloned().collect(),
            found: Mutex::default(),
        }
    }

    /// The path of the partition that an object is in, and the name of the object below it.
    fn split<'k>(&self, key: &'k str) -> Option<(&'k str, &'k str)> {
        let below = key.strip_prefix(self.immutable).and_then(|name| name.strip_prefix('/'));
        if let Some(name) = below {
            return Some((key.get(..self.immutable.len())?, name));
        }
        let (end, _) = key.match_indices('/').nth(self.depth.checked_sub(1)?)?;
        Some((key.get(..end)?, key.get(end + 1..)?))
    }

    async fn standing(&self, path: &str) -> Result<Arc<OnceCell<Standing>>> {
        let cell = {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(found.entry(path.to_owned()).or_default())
        };
        let find = async || match note::newest(&self.base, path, self.mark).await? {
            Some(name) => Standing::find(&self.base, path, &name).await,
            None => Ok(Standing::AsItLies),
        };
        cell.get_or_try_init(find).await?;
        Ok(cell)
    }

    async fn find_chunk(&self, key: &str) -> Result<Option<Bytes>> {
        let Some((path, name)) = self.split(key) else { return Ok(None) };
        if self.others.contains(path) {
            return Ok(None);
        }
        let standing = self.standing(path).await?;
        let Some(Standing::Managed(managed)) = standing.get() else { return Ok(None) };
        match managed.elsewhere.get(name) {
            Some(held) => self.read(key, held).await.map(Some),
            None => Ok(None),
        }
    }

    /// The retained content of a missing object.
    async fn read(&self, key: &str, held: &Held) -> Result<Bytes> {
        let lost = || {
            Error::corrupt("a chunk that a commit published is missing")
                .with("key", key)
                .with("store", self.base.url())
        };
        held.read_at(&self.base, &held.key).await?.ok_or_else(lost)
    }
}

impl Fallback for Retained {
    fn find<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>>> {
        self.find_chunk(key).boxed()
    }
}

impl fmt::Debug for Retained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retained").field("store", &self.base).finish_non_exhaustive()
    }
}
