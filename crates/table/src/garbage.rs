//! Garbage collection: removing objects that no version names.

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use hashbrown::{HashMap, HashSet};
use jiff::{SignedDuration, Timestamp};
use partita_core::store::ObjectInfo;
use partita_core::upkeep::{Garbage, GarbageOptions};
use partita_core::{Cancel, Error, ErrorKind, Result, Store};
use tracing::Instrument;

use crate::Table;
use crate::change::index_keys;
use crate::format::keys;
use crate::format::marks::Expiry;
use crate::format::snapshot::Snapshot;
use crate::history::{Recorded, ends_well, gap, lost, walk};
use crate::protocol::{is_garbage, unused_since};
use crate::stage::Staged;
use crate::state::State;

/// The number of keys per delete request; cancellation is checked in between.
const KEYS_PER_DELETE: usize = 1000;

/// The maximum number of snapshot reads in flight.
const SNAPSHOTS: usize = 4;

/// How long a pin protects files if its writer died before removing it.
const PINNED: SignedDuration = SignedDuration::from_hours(24);

impl Table {
    /// Removes data files, indices and snapshots that neither the newest state nor a version of the
    /// history names, and leftovers of killed writers, once they are older than the grace period.
    /// The age of a file counts from the commit or the expiry that dropped it. Safe beside readers
    /// and writers whose work takes less than the grace period.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for a negative grace period;
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if a snapshot of the history cannot be read or
    /// is missing: nothing is removed then; [`ReadOnly`](partita_core::ErrorKind::ReadOnly).
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
                .map_err(|error| Error::invalid("the age is out of range").caused_by(error))?;
            // Objects are listed before the state is loaded, so that the state includes every
            // commit in between.
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
                let is_named = known.named.contains(&object.key);
                if is_garbage(object.last_modified, dropped, before, is_named)
                    && self.is_managed(&object.key)
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
        .instrument(tracing::debug_span!("collect_garbage", dataset = %self.place()))
        .boxed()
    }

    async fn objects(&self) -> Result<HashMap<String, ObjectInfo>> {
        let listed = self.store().list_removable(self.name()).await?;
        Ok(listed.into_iter().map(|found| (found.object.key.clone(), found.object)).collect())
    }

    /// Fails if a snapshot of the history is missing although it has not expired: the files that it
    /// named are unknown, so they cannot be distinguished from garbage.
    async fn check_history(&self, state: &State, history: &[Recorded]) -> Result<()> {
        match gap(state, history) {
            Some(missing) if !ends_well(self.store(), state, history).await? => {
                Err(lost(missing).with("dataset", self.name()))
            }
            _ => Ok(()),
        }
    }

    /// True if an object of this dataset is missing in the store.
    fn lost(&self, key: &str, objects: &HashMap<String, ObjectInfo>) -> bool {
        let inside = key.strip_prefix(self.name()).is_some_and(|rest| rest.starts_with('/'));
        // Most commits had no idempotency key, or its object was removed by an expiry.
        inside && !objects.contains_key(key) && !key.starts_with(&keys::claims(self.name()))
    }

    /// Determines when files were dropped, from the history and the marks of expiries.
    async fn learn_drops(
        &self,
        known: &mut Known,
        history: &[Recorded],
        objects: &HashMap<String, ObjectInfo>,
        cancel: &Cancel,
    ) -> Result<()> {
        // All other snapshots have a parent, which names the files that they dropped.
        if let Some(oldest) = history.last()
            && let Some(object) = objects.get(&oldest.key)
        {
            let snapshot = self.snapshot_at(&oldest.key).await?;
            let removed = snapshot.delta.iter().flat_map(|delta| delta.removed.keys());
            let indices = snapshot.document.removed_indices.iter().map(String::as_str);
            known.drop_at(removed.chain(indices), object.last_modified);
        }
        // They are listed now: an expiry may have ended since the objects were, and the files that it
        // dropped would be as old as they are.
        let marks: Vec<ObjectInfo> =
            self.store().list(&keys::expiries(self.name())).try_collect().await?;
        let mut newest: Option<(u64, &ObjectInfo)> = None;
        for object in &marks {
            cancel.check()?;
            let bytes = self.store().get_within(&object.key, object.size).await?;
            let bytes = bytes.ok_or_else(|| self.store().missing(&object.key))?;
            let mark = Expiry::decode(&bytes, &object.key)?;
            known.drop_at(mark.dropped.iter().map(String::as_str), object.last_modified);
            if newest.is_none_or(|(oldest, _)| oldest < mark.oldest) {
                newest = Some((mark.oldest, object));
            }
        }
        // The newest mark is kept: it records where the history begins.
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
            // The pin may have been removed in the meantime.
            let found = self.store().get_within(&object.key, object.size).await?;
            let Some(bytes) = found else { continue };
            named.extend(names(&Snapshot::decode(bytes, &object.key)?));
            named.insert(object.key);
        }
        Ok(named)
    }

    /// Deletes objects, except those that were named in the meantime.
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
        for keys in keys.chunks(KEYS_PER_DELETE) {
            cancel.check()?;
            self.store().delete_many(keys.to_vec()).await?;
        }
        for object in leftovers {
            cancel.check()?;
            self.store().remove_leftover(&object.key).await?;
        }
        Ok(())
    }

    /// True for keys of the kinds that Partita and plateau write once: data and index files, and
    /// Partita's own objects. Another dataset may share the directory.
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

    /// True for keys in the folders of the dataset's files.
    pub(crate) fn is_in_own_folder(&self, key: &str) -> bool {
        let rest = key.strip_prefix(self.name()).and_then(|rest| rest.strip_prefix('/'));
        rest.and_then(|rest| rest.split_once('/')).is_some_and(|(folder, _)| {
            ["indices", "_partita"].contains(&folder) || self.is_data_folder(folder)
        })
    }

    fn is_data_folder(&self, folder: &str) -> bool {
        folder == keys::DEFAULT_TABLE_NAME || folder == self.state().table_name
    }

    /// Deletes staged files that are not going to be committed. Files that a version of the history
    /// names stay.
    ///
    /// # Errors
    /// [`Store`](ErrorKind::Store), and [`Corrupt`](ErrorKind::Corrupt) if a version of the history
    /// cannot be read: what is left then is garbage.
    pub async fn discard(&self, staged: &[Staged]) -> Result<()> {
        let keys: Vec<String> = staged.iter().flat_map(Staged::keys).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let named = match State::load(self.store(), self.name()).await {
            // The table was dropped.
            Err(error) if error.kind() == ErrorKind::NotFound => HashSet::new(),
            state => {
                let state = state?;
                let history = walk(self.store(), &state, |_| false).await?;
                self.check_history(&state, &history).await?;
                self.names_of(&state, &history).await?
            }
        };
        let keys = keys.into_iter().filter(|key| !named.contains(key)).collect();
        self.store().delete_many(keys).await
    }

    /// All keys that a state and some versions name.
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

    /// The keys that a version names.
    pub(crate) async fn names_in(&self, recorded: &Recorded) -> Result<HashSet<String>> {
        Ok(names(&self.snapshot_at(&recorded.key).await?))
    }

    pub(crate) async fn snapshot_at(&self, key: &str) -> Result<Snapshot> {
        Snapshot::fetch(self.store(), key).await
    }
}

/// The objects in use, and the times at which others were dropped.
#[derive(Debug, Default)]
struct Known {
    named: HashSet<String>,
    /// When each object was dropped, by the store's clock.
    dropped: HashMap<String, Timestamp>,
}

impl Known {
    fn drop_at<'a>(&mut self, keys: impl Iterator<Item = &'a str>, at: Timestamp) {
        for key in keys {
            let dropped = self.dropped.entry_ref(key).or_insert(at);
            *dropped = unused_since(*dropped, Some(at));
        }
    }
}

pub(crate) fn names(snapshot: &Snapshot) -> HashSet<String> {
    let files = snapshot.manifest.keys();
    files.chain(index_keys(&snapshot.document.indices)).map(str::to_owned).collect()
}

pub(crate) fn names_of_state(state: &State) -> HashSet<String> {
    let files = state.manifest.keys().chain(index_keys(&state.header.indices));
    let snapshot = Some(state.own.snapshot.as_str()).filter(|key| !key.is_empty());
    files.chain(snapshot).map(str::to_owned).collect()
}

/// The current time of the store: the time of an object that is written now.
pub(crate) async fn store_time(store: &Store, name: &str) -> Result<Timestamp> {
    store.now(&keys::clock(name, &uuid::Uuid::new_v4().simple().to_string())).await
}
