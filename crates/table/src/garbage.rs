//! Removing what no version names any more.

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use hashbrown::{HashMap, HashSet};
use jiff::{SignedDuration, Timestamp};
use partita_core::store::ObjectInfo;
use partita_core::{Cancel, Error, Result, Store};

use crate::Table;
use crate::change::index_keys;
use crate::format::keys;
use crate::format::marks::Expiry;
use crate::format::snapshot::Snapshot;
use crate::history::{Recorded, ends_well, gap, lost, walk};
use crate::stage::{Staged, discard, texts};
use crate::state::State;

/// The grace period of garbage collection where nothing else is said.
pub(crate) const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// What garbage collection removes.
#[derive(Debug, Clone)]
pub struct GarbageOptions {
    /// Objects are left alone that were written, or dropped from the table, less than this ago by the
    /// store's clock: a writer may be about to commit them, or a reader still read them.
    pub grace: SignedDuration,
    /// Tell what would be removed, and remove nothing.
    pub dry_run: bool,
    /// Stops the work between requests.
    pub cancel: Cancel,
}

impl Default for GarbageOptions {
    fn default() -> Self {
        Self { grace: GRACE, dry_run: false, cancel: Cancel::default() }
    }
}

/// What garbage collection removed, or would have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Garbage {
    /// The keys, in order.
    pub keys: Vec<String>,
    /// The size of the objects together.
    pub bytes: u64,
    /// Objects that versions of the history name and that are not in the store, in order: another
    /// program, as plateau's own garbage collection, has removed them.
    pub missing: Vec<String>,
}

/// Keys deleted in a request, and between two looks at whether to stop.
const AT_ONCE: usize = 1000;

/// Snapshots read at a time.
const SNAPSHOTS: usize = 4;

/// The time for which a pin protects files if its writer died before removing it.
const PINNED: SignedDuration = SignedDuration::from_hours(24);

impl Table {
    /// Removes data files, indices and snapshots that neither the newest state nor a version of
    /// the history names, and what killed writers left, once all of that is as old as the grace
    /// period. A file is as old as the commit or the expiry that dropped it. Safe beside readers and
    /// writers whose work takes less than the grace period.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for a negative grace period;
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if a snapshot of the history cannot be read or
    /// is lost: nothing is removed then; [`ReadOnly`](partita_core::ErrorKind::ReadOnly).
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
            let objects = self.objects().await?;
            let leftovers = self.store().leftovers(self.name()).await?;
            let state = State::load(self.store(), self.name()).await?;
            let history = walk(self.store(), &state, |_| false).await?;
            self.check_history(&state, &history).await?;
            let mut known =
                Known { named: self.names_of(&state, &history).await?, ..Known::default() };
            let missing = known.named.iter().filter(|key| self.lost(key, &objects)).cloned();
            let mut garbage = Garbage { missing: missing.collect(), ..Garbage::default() };
            garbage.missing.sort_unstable();
            self.learn_drops(&mut known, &history, &objects, &options.cancel).await?;
            known.named.extend(self.names_of_pins(now).await?);
            for object in objects.values() {
                let dropped = known.dropped.get(&object.key).copied();
                if dropped.map_or(object.last_modified, |at| at.max(object.last_modified)) <= before
                    && self.is_managed(&object.key)
                    && !known.named.contains(&object.key)
                {
                    garbage.bytes += object.size;
                    garbage.keys.push(object.key.clone());
                }
            }
            let old = leftovers.into_iter().filter(|object| object.last_modified <= before);
            let old: Vec<ObjectInfo> = old.collect();
            if !options.dry_run {
                self.remove(&mut garbage.keys, &old, now, &options.cancel).await?;
            }
            garbage.bytes += old.iter().map(|object| object.size).sum::<u64>();
            garbage.keys.extend(old.into_iter().map(|object| object.key));
            garbage.keys.sort_unstable();
            Ok(garbage)
        }
        .boxed()
    }

    async fn objects(&self) -> Result<HashMap<String, ObjectInfo>> {
        let listed = self.store().list_removable(self.name()).await?;
        Ok(listed.into_iter().map(|found| (found.object.key.clone(), found.object)).collect())
    }

    /// Refuses a history in which a snapshot is missing although it has not expired: what it named
    /// is not known, so it cannot be told from garbage.
    async fn check_history(&self, state: &State, history: &[Recorded]) -> Result<()> {
        match gap(state, history) {
            Some(missing) if !ends_well(self.store(), state, history).await? => {
                Err(lost(missing).with("dataset", self.name()))
            }
            _ => Ok(()),
        }
    }

    /// True for an object of this dataset that is not stored.
    fn lost(&self, key: &str, objects: &HashMap<String, ObjectInfo>) -> bool {
        let inside = key.strip_prefix(self.name()).is_some_and(|rest| rest.starts_with('/'));
        // Most commits had no idempotency key, or lost it to an expiry.
        inside && !objects.contains_key(key) && !key.starts_with(&keys::claims(self.name()))
    }

    /// Adds to `known` when files were dropped, from the history and the marks of expiries.
    async fn learn_drops(
        &self,
        known: &mut Known,
        history: &[Recorded],
        objects: &HashMap<String, ObjectInfo>,
        cancel: &Cancel,
    ) -> Result<()> {
        // Each of the others has a parent, which names what it dropped.
        if let Some(oldest) = history.last()
            && let Some(object) = objects.get(&oldest.key)
        {
            let snapshot = self.snapshot_at(&oldest.key).await?;
            let removed = snapshot.delta.iter().flat_map(|delta| texts(&delta.removed, "key"));
            let indices = snapshot.document.removed_indices.iter().map(String::as_str);
            known.drop_at(removed.chain(indices), object.last_modified);
        }
        let prefix = keys::expiries(self.name());
        let mut marks = Vec::new();
        marks.extend(objects.values().filter(|object| object.key.starts_with(&prefix)));
        let mut newest: Option<(u64, &ObjectInfo)> = None;
        for object in marks {
            cancel.check()?;
            let mark = Expiry::decode(&self.store().get(&object.key).await?, &object.key)?;
            known.drop_at(mark.dropped.iter().map(String::as_str), object.last_modified);
            if newest.is_none_or(|(oldest, _)| oldest < mark.oldest) {
                newest = Some((mark.oldest, object));
            }
        }
        // The newest mark is kept: it tells where the history begins.
        known.named.extend(newest.map(|(_, object)| object.key.clone()));
        Ok(())
    }

    /// The keys of all pins and of the files that they protect.
    async fn names_of_pins(&self, now: Timestamp) -> Result<HashSet<String>> {
        let mut named = HashSet::new();
        let mut pins = self.store().list(&keys::pins(self.name()));
        while let Some(object) = pins.try_next().await? {
            if now.duration_since(object.last_modified) >= PINNED {
                continue;
            }
            // It may be removed by now.
            let Some(bytes) = self.store().get_opt(&object.key).await? else { continue };
            named.extend(names(&Snapshot::decode(bytes, &object.key)?));
            named.insert(object.key);
        }
        Ok(named)
    }

    /// Deletes objects, but for those that were named since.
    async fn remove(
        &self,
        keys: &mut Vec<String>,
        leftovers: &[ObjectInfo],
        now: Timestamp,
        cancel: &Cancel,
    ) -> Result<()> {
        let state = State::load(self.store(), self.name()).await?;
        let mut named = names_of_state(&state);
        named.extend(self.names_of_pins(now).await?);
        keys.retain(|key| !named.contains(key));
        for keys in keys.chunks(AT_ONCE) {
            cancel.check()?;
            self.store().delete_many(keys.to_vec()).await?;
        }
        for object in leftovers {
            cancel.check()?;
            self.store().remove_leftover(&object.key).await?;
        }
        Ok(())
    }

    /// True for keys of the kinds under which Partita and plateau write each object once: data and
    /// index files, and what Partita keeps. Another dataset may lie in the same directory.
    pub(crate) fn is_managed(&self, key: &str) -> bool {
        let Some(rest) = key.strip_prefix(self.name()).and_then(|rest| rest.strip_prefix('/'))
        else {
            return false;
        };
        let Some((folder, path)) = rest.split_once('/') else { return false };
        match folder {
            "indices" => path.ends_with(".parquet"),
            "_partita" => key != keys::form(self.name()),
            _ => {
                self.is_data_folder(folder)
                    && [".parquet", ".csv", ".csv.gz"].iter().any(|end| path.ends_with(end))
            }
        }
    }

    /// True for keys in the folders in which the dataset has its files.
    pub(crate) fn is_in_own_folder(&self, key: &str) -> bool {
        let rest = key.strip_prefix(self.name()).and_then(|rest| rest.strip_prefix('/'));
        rest.and_then(|rest| rest.split_once('/')).is_some_and(|(folder, _)| {
            ["indices", "_partita"].contains(&folder) || self.is_data_folder(folder)
        })
    }

    fn is_data_folder(&self, folder: &str) -> bool {
        folder == keys::DEFAULT_TABLE_NAME || folder == self.state().table_name
    }

    /// Deletes staged files, but for those that were committed all the same. Where that cannot be
    /// learned they stay.
    pub(crate) async fn discard_unnamed(&self, staged: &[Staged]) {
        let keys: Vec<String> = staged.iter().flat_map(Staged::keys).collect();
        if keys.is_empty() {
            return;
        }
        let named = async {
            let state = State::load(self.store(), self.name()).await?;
            let history = walk(self.store(), &state, |_| false).await?;
            self.check_history(&state, &history).await?;
            self.names_of(&state, &history).await
        };
        match named.await {
            Ok(named) => {
                let keys = keys.into_iter().filter(|key| !named.contains(key)).collect();
                discard(self.store(), keys).await;
            }
            Err(error) => tracing::warn!(%error, "staged files are left for garbage collection"),
        }
    }

    /// Every key that a state and some versions name.
    pub(crate) async fn names_of(
        &self,
        state: &State,
        history: &[Recorded],
    ) -> Result<HashSet<String>> {
        let mut named = names_of_state(state);
        let keys: Vec<String> = history.iter().map(|recorded| recorded.key.clone()).collect();
        let mut snapshots = stream::iter(keys)
            .map(|key| async move { Ok::<_, Error>(names(&self.snapshot_at(&key).await?)) })
            .buffered(SNAPSHOTS);
        while let Some(names) = snapshots.try_next().await? {
            named.extend(names);
        }
        for recorded in history {
            named.insert(keys::claim(self.name(), &recorded.document.commit));
            named.insert(recorded.key.clone());
        }
        Ok(named)
    }

    /// The files that a version names.
    pub(crate) async fn names_in(&self, recorded: &Recorded) -> Result<HashSet<String>> {
        Ok(names(&self.snapshot_at(&recorded.key).await?))
    }

    pub(crate) async fn snapshot_at(&self, key: &str) -> Result<Snapshot> {
        Snapshot::decode(self.store().get(key).await?, key)
    }
}

/// Which objects are in use, and when the others were dropped.
#[derive(Debug, Default)]
struct Known {
    named: HashSet<String>,
    /// When they were dropped, by the store's clock.
    dropped: HashMap<String, Timestamp>,
}

impl Known {
    fn drop_at<'a>(&mut self, keys: impl Iterator<Item = &'a str>, at: Timestamp) {
        for key in keys {
            let dropped = self.dropped.entry_ref(key).or_insert(at);
            *dropped = (*dropped).max(at);
        }
    }
}

pub(crate) fn names(snapshot: &Snapshot) -> HashSet<String> {
    let files = texts(&snapshot.manifest, "key");
    files.chain(index_keys(&snapshot.document.indices)).map(str::to_owned).collect()
}

pub(crate) fn names_of_state(state: &State) -> HashSet<String> {
    let files = texts(&state.manifest, "key").chain(index_keys(&state.header.indices));
    let snapshot = Some(state.own.snapshot.as_str()).filter(|key| !key.is_empty());
    files.chain(snapshot).map(str::to_owned).collect()
}

/// The time by the clock of the store: that of an object written just now.
pub(crate) async fn store_time(store: &Store, name: &str) -> Result<Timestamp> {
    store.now(&keys::clock(name, &uuid::Uuid::new_v4().simple().to_string())).await
}
