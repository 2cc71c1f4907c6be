//! Removing what no version names any more.

use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use hashbrown::HashSet;
use jiff::{SignedDuration, Timestamp};
use partita_core::store::ObjectInfo;
use partita_core::{Cancel, Error, Result, Store};

use crate::Table;
use crate::format::keys;
use crate::format::snapshot::Snapshot;
use crate::history::walk;
use crate::stage::{Staged, discard, texts};
use crate::state::State;

/// What garbage collection removes.
#[derive(Debug, Clone)]
pub struct GarbageOptions {
    /// Objects younger than this are left alone, by the store's clock: a writer may be about to
    /// commit them.
    pub grace: SignedDuration,
    /// Tell what would be removed, and remove nothing.
    pub dry_run: bool,
    /// Stops the work between requests.
    pub cancel: Cancel,
}

impl Default for GarbageOptions {
    fn default() -> Self {
        Self { grace: SignedDuration::from_hours(24), dry_run: false, cancel: Cancel::default() }
    }
}

/// What garbage collection removed, or would have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Garbage {
    /// The keys, in order.
    pub keys: Vec<String>,
    /// The size of the objects together.
    pub bytes: u64,
}

/// Keys deleted in a request, and between two looks at whether to stop.
const AT_ONCE: usize = 1000;

impl Table {
    /// Removes data files, indices and snapshots that neither the newest state nor a version of
    /// the history names, once they are as old as the grace period. Safe beside writers whose
    /// work takes less than that.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for a negative grace period;
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if a snapshot cannot be read: nothing is
    /// removed then; [`ReadOnly`](partita_core::ErrorKind::ReadOnly).
    pub fn collect_garbage<'a>(
        &'a self,
        options: &'a GarbageOptions,
    ) -> BoxFuture<'a, Result<Garbage>> {
        async move {
            self.check_writable()?;
            if options.grace.is_negative() {
                return Err(Error::invalid("the grace period must not be negative"));
            }
            let now = store_time(self.store(), self.name()).await?;
            let before = now
                .checked_sub(options.grace)
                .map_err(|error| Error::invalid("that is no age").caused_by(error))?;
            // Objects first, state second: what is committed in between is seen by the state.
            let objects: Vec<ObjectInfo> =
                self.store().list(&format!("{}/", self.name())).try_collect().await?;
            let named = self.named(&options.cancel).await?;
            let mut garbage = Garbage::default();
            for object in objects {
                if object.last_modified <= before
                    && self.is_managed(&object.key)
                    && !named.contains(&object.key)
                {
                    garbage.bytes += object.size;
                    garbage.keys.push(object.key);
                }
            }
            garbage.keys.sort();
            if !options.dry_run {
                for keys in garbage.keys.chunks(AT_ONCE) {
                    options.cancel.check()?;
                    self.store().delete_many(keys.to_vec()).await?;
                }
            }
            Ok(garbage)
        }
        .boxed()
    }

    /// True for keys under which Partita and plateau write, and nobody else is expected to.
    fn is_managed(&self, key: &str) -> bool {
        let Some(rest) = key.strip_prefix(self.name()).and_then(|rest| rest.strip_prefix('/'))
        else {
            return false;
        };
        rest.starts_with("indices/") || rest.starts_with("_partita/") || rest.ends_with(".parquet")
    }

    /// Deletes staged files, but for those that were committed all the same. Where that cannot be
    /// learned they stay.
    pub(crate) async fn discard_unnamed(&self, staged: &[Staged]) {
        let keys: Vec<String> = staged.iter().flat_map(Staged::keys).collect();
        if keys.is_empty() {
            return;
        }
        match self.named(&Cancel::default()).await {
            Ok(named) => {
                let keys = keys.into_iter().filter(|key| !named.contains(key)).collect();
                discard(self.store(), keys).await;
            }
            Err(error) => tracing::warn!(%error, "staged files are left for garbage collection"),
        }
    }

    /// Every key that the newest state and the history name.
    async fn named(&self, cancel: &Cancel) -> Result<HashSet<String>> {
        let state = State::load(self.store(), self.name()).await?;
        let mut named: HashSet<String> = texts(&state.manifest, "key").map(str::to_owned).collect();
        let indices = state.header.indices.values().filter_map(|stored| stored.as_str());
        named.extend(indices.map(str::to_owned));
        for recorded in walk(self.store(), &state, |_| false).await? {
            cancel.check()?;
            let bytes = self.store().get(&recorded.key).await?;
            let snapshot = Snapshot::decode(bytes, &recorded.key)?;
            named.extend(texts(&snapshot.manifest, "key").map(str::to_owned));
            let indices = snapshot.document.indices.values().filter_map(|stored| stored.as_str());
            named.extend(indices.map(str::to_owned));
            named.insert(recorded.key);
        }
        Ok(named)
    }
}

/// The time by the clock of the store: that of an object written just now.
pub(crate) async fn store_time(store: &Store, name: &str) -> Result<Timestamp> {
    store.now(&keys::clock(name, &uuid::Uuid::new_v4().simple().to_string())).await
}
