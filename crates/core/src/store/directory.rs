//! Writing many objects to a staging directory and switching them into place.
//!
//! Local files are switched atomically, by exchanging two directories. Other stores have no such
//! operation: objects are copied one by one, so concurrent readers must know which copy to read.

use std::collections::HashSet;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future, stream};
use jiff::Timestamp;
use object_store::ObjectStoreExt;

use super::local::LocalFiles;
use super::{ObjectInfo, Store};
use crate::{Error, Result};

/// The maximum number of copies in flight.
const COPIES_IN_FLIGHT: usize = 32;

impl Store {
    /// Writes an object that nobody reads before a later commit names it. Like [`Store::put`], but
    /// local files are neither atomic nor durable before [`Store::sync`] was called.
    ///
    /// # Errors
    /// The errors are those of [`Store::put`].
    pub async fn put_deferred(&self, key: &str, bytes: Bytes) -> Result<()> {
        let Some(files) = &self.local else { return self.put(key, bytes).await };
        self.check_writable()?;
        let written = files.write_deferred(&self.path(key)?, bytes).await;
        written.map_err(|error| self.request("written", key).failed(error))
    }

    /// Like [`Store::put_deferred`], for an object that other processes may read before the commit:
    /// if this process is killed, the object is complete or does not exist.
    ///
    /// # Errors
    /// The errors are those of [`Store::put_deferred`].
    pub async fn put_whole_deferred(&self, key: &str, bytes: Bytes) -> Result<()> {
        let Some(files) = &self.local else { return self.put(key, bytes).await };
        self.check_writable()?;
        let written = files.write_whole_deferred(&self.path(key)?, bytes).await;
        written.map_err(|error| self.request("written", key).failed(error))
    }

    /// Makes the writes of [`Store::put_deferred`] and [`Store::switch_directory`] durable. Does
    /// nothing for object stores, whose writes are durable already.
    ///
    /// # Errors
    /// [`Store`](crate::ErrorKind::Store) if the file system fails.
    pub async fn sync(&self) -> Result<()> {
        let Some(files) = &self.local else { return Ok(()) };
        files.sync().await.map_err(|error| self.request("written", "").failed(error))
    }

    /// Replaces the objects under `live` by those under the directory `staged`. With `replaced`,
    /// only the objects named there (keys of objects or directories, relative to `live`) are
    /// replaced or removed, and the rest stays.
    ///
    /// Idempotent. On Linux, local files are switched atomically, through temporaries under
    /// `scratch`; other stores copy object by object. The staged objects stay, except that local
    /// files may be moved if `moves` is set and `live` does not exist: an empty `staged` then means
    /// that the switch was done before. Durable after [`Store::sync`]. Replaced local files are
    /// removed [in the background](super::removed).
    ///
    /// # Errors
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), or [`Store`](crate::ErrorKind::Store) if the store
    /// fails; a store that copies may then have switched some of the objects already.
    pub async fn switch_directory(
        &self,
        staged: &str,
        live: &str,
        replaced: Option<&[String]>,
        moves: bool,
        scratch: &str,
    ) -> Result<()> {
        self.check_writable()?;
        if let Some(files) = &self.local {
            let (from, to, scratch) = (self.path(staged)?, self.path(live)?, self.path(scratch)?);
            let replaced = replaced.map(<[String]>::to_vec);
            let switched = files.switch_directory(&from, &to, replaced, moves, &scratch).await;
            return switched.map_err(|error| self.request("written", live).failed(error));
        }
        let (new, old) = (self.names_under(staged), self.names_under(live));
        let (new, old) = futures::try_join!(new, old)?;
        let copy = async |name: String| {
            self.copy(&format!("{staged}/{name}"), &format!("{live}/{name}")).await
        };
        let copies = stream::iter(new.clone()).map(copy).buffer_unordered(COPIES_IN_FLIGHT);
        copies.try_for_each(|()| async { Ok(()) }).await?;
        let stays = |name: &String| replaced.is_some_and(|replaced| !is_under(name, replaced));
        let gone = old.into_iter().filter(|name| !new.contains(name) && !stays(name));
        self.delete_many(gone.map(|name| format!("{live}/{name}")).collect()).await
    }

    /// Makes objects of this store those of the directory `live`: for each pair `(name, key)` the
    /// object `key`, which stays unchanged, becomes the object `live/name`. Without `removed`,
    /// everything else under `live` is removed; with it, only the objects [under](is_under) one of
    /// these names.
    ///
    /// For local files only. The directory is atomically exchanged for one that is built of hard
    /// links under `scratch`, if the file system supports that, is not
    /// [shared](Store::is_shared_files), and no symbolic link leads to a directory. Otherwise the
    /// new objects are put into place one at a time, each atomically, and then the others are
    /// removed; if that is interrupted, the same call completes it. On file systems without links,
    /// files are copied. Durable after [`Store::sync`]. Replaced files are removed [in the
    /// background](super::removed).
    ///
    /// A lease of this store that is held when the call begins is kept until all of its work has
    /// ended, even if the caller drops the future; the abandoned work then ends after the current
    /// file.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if one of the keys does not exist;
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), or [`Store`](crate::ErrorKind::Store) if the file
    /// system fails; [`InvalidArgument`](crate::ErrorKind::InvalidArgument) in other stores.
    pub async fn place_directory(
        &self,
        live: &str,
        new: &[(String, String)],
        removed: Option<&[String]>,
        scratch: &str,
    ) -> Result<()> {
        self.check_writable()?;
        let files = self.files("place_directory")?;
        // Names may come from metadata that another program wrote: none may lead out of the
        // directory.
        let check = |name: &String| self.path(&format!("{live}/{name}")).map(drop);
        let source = |(name, key): &(String, String)| {
            check(name)?;
            Ok((name.clone(), self.path(key)?))
        };
        let new = new.iter().map(source).collect::<Result<Vec<_>>>()?;
        removed.into_iter().flatten().try_for_each(check)?;
        let removed = removed.map(|names| names.iter().cloned().collect());
        let (path, scratch) = (self.path(live)?, self.path(scratch)?);
        let placed = files.place_directory(&path, new, removed, &scratch).await;
        placed.map_err(|error| self.request("written", live).failed(error))
    }

    /// Makes `to` a hard link to the object `from` if there is no object `to`, or a copy if the
    /// file system has no links. Returns whether the object `from` exists. For local files only;
    /// durable after [`Store::sync`].
    ///
    /// # Errors
    /// The errors are those of [`Store::place_directory`].
    pub async fn link(&self, from: &str, to: &str) -> Result<bool> {
        self.check_writable()?;
        let linked = self.files("link")?.link(&self.path(from)?, &self.path(to)?).await;
        linked.map_err(|error| self.request("written", to).failed(error))
    }

    /// Copies an object, replacing the target. Atomic and idempotent. One request; local files are
    /// durable after [`Store::sync`].
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if `from` does not exist;
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), or [`Store`](crate::ErrorKind::Store) if the store
    /// fails.
    pub async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.check_writable()?;
        let copied = self.inner.copy(&self.path(from)?, &self.path(to)?).await;
        copied.map_err(|error| self.request("copied", from).failed(error))
    }

    fn files(&self, what: &str) -> Result<&LocalFiles> {
        self.local.as_deref().ok_or_else(|| {
            Error::invalid(format!("`{what}` is only supported for local files"))
                .with("store", self.url())
        })
    }

    /// Deletes all objects under a directory and the parent directories that become empty. Local
    /// files are deleted atomically, through a temporary under `scratch`. Idempotent.
    ///
    /// # Errors
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), or [`Store`](crate::ErrorKind::Store) if the store
    /// fails.
    pub async fn delete_directory(&self, directory: &str, scratch: &str) -> Result<()> {
        self.take_away(directory, scratch, true).await
    }

    /// Like [`Store::delete_directory`], but local files are only moved away, and removed [in the
    /// background](super::removed).
    ///
    /// # Errors
    /// The errors are those of [`Store::delete_directory`].
    pub async fn discard_directory(&self, directory: &str, scratch: &str) -> Result<()> {
        self.take_away(directory, scratch, false).await
    }

    async fn take_away(&self, directory: &str, scratch: &str, waits: bool) -> Result<()> {
        self.check_writable()?;
        if let Some(files) = &self.local {
            let (path, scratch) = (self.path(directory)?, self.path(scratch)?);
            let deleted = files.delete_directory(&path, &scratch, waits).await;
            return deleted.map_err(|error| self.request("deleted", directory).failed(error));
        }
        let names = self.names_under(directory).await?.into_iter();
        self.delete_many(names.map(|name| format!("{directory}/{name}")).collect()).await
    }

    /// The time of the last change under a directory, by the clock of the store; `None` if there is
    /// nothing. Linking or moving a local file to a place counts as a change, however old its
    /// content is. One request per 1,000 objects.
    ///
    /// # Errors
    /// [`Store`](crate::ErrorKind::Store) if the store fails.
    pub async fn changed_at(&self, directory: &str) -> Result<Option<Timestamp>> {
        if let Some(files) = &self.local {
            let changed = files.changed_at(&self.path(directory)?).await;
            return changed.map_err(|error| self.request("listed", directory).failed(error));
        }
        let objects = self.list(&format!("{directory}/"));
        let latest = |latest: Option<Timestamp>, info: ObjectInfo| {
            future::ready(Ok(latest.max(Some(info.last_modified))))
        };
        objects.try_fold(None, latest).await
    }

    /// The keys under a directory, relative to it.
    async fn names_under(&self, directory: &str) -> Result<HashSet<String>> {
        let prefix = format!("{directory}/");
        let objects = self.list(&prefix);
        let name = |info: ObjectInfo| info.key.strip_prefix(&prefix).map(str::to_owned);
        objects.try_filter_map(|info| future::ready(Ok(name(info)))).try_collect().await
    }
}

/// True if `name` is one of the keys, or lies under one that is a directory.
#[must_use]
pub fn is_under(name: &str, keys: &[String]) -> bool {
    keys.iter().any(|key| {
        let below = name.strip_prefix(key.as_str());
        below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::StoreOptions;

    async fn all(store: &Store) -> BTreeMap<String, String> {
        crate::store::removed().await;
        let objects: Vec<_> = store.list("").try_collect().await.unwrap();
        let mut found = BTreeMap::new();
        for object in objects {
            let bytes = store.get(&object.key).await.unwrap();
            found.insert(object.key, String::from_utf8(bytes.to_vec()).unwrap());
        }
        found
    }

    async fn put(store: &Store, keys: &[&str], text: &'static str) {
        for key in keys {
            store.put_deferred(key, Bytes::from_static(text.as_bytes())).await.unwrap();
        }
        store.sync().await.unwrap();
    }

    async fn switches(store: Store) {
        put(&store, &["p/a/0", "p/a/1", "p/b/0", "p/m", "q/m"], "old").await;
        put(&store, &["s/p/a/1", "s/p/c/0", "s/p/m"], "new").await;
        let replaced = ["a/1".to_owned(), "b".to_owned(), "c".to_owned(), "m".to_owned()];
        let names = |map: &BTreeMap<String, String>, text: &str| -> Vec<String> {
            let live = map.iter().filter(|(key, value)| !key.starts_with("s/") && *value == text);
            live.map(|(key, _)| key.clone()).collect()
        };
        // The switch is repeated, as by a process that finds it unfinished.
        for _ in 0..2 {
            store.switch_directory("s/p", "p", Some(&replaced), false, "scratch").await.unwrap();
            let found = all(&store).await;
            assert_eq!(names(&found, "old"), ["p/a/0", "q/m"]);
            assert_eq!(names(&found, "new"), ["p/a/1", "p/c/0", "p/m"]);
        }
        for _ in 0..2 {
            store.switch_directory("s/p", "p", None, false, "scratch").await.unwrap();
            store.switch_directory("s/p", "deep/er/p", None, false, "scratch").await.unwrap();
            let found = all(&store).await;
            assert_eq!(names(&found, "old"), ["q/m"]);
            assert_eq!(names(&found, "new").len(), 6);
        }
        for _ in 0..2 {
            store.switch_directory("s/p", "moved", None, true, "scratch").await.unwrap();
            assert_eq!(names(&all(&store).await, "new").len(), 9);
        }
        store.discard_directory("moved", "scratch").await.unwrap();
        for _ in 0..2 {
            store.delete_directory("deep/er/p", "scratch").await.unwrap();
            assert_eq!(names(&all(&store).await, "new"), ["p/a/1", "p/c/0", "p/m"]);
        }
    }

    #[tokio::test]
    async fn directories_are_switched() {
        switches(Store::open("memory://directories", &StoreOptions::default()).unwrap()).await;
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_str().unwrap();
        switches(Store::open(root, &StoreOptions::default()).unwrap()).await;
        let unsynced = StoreOptions::default().with("sync", "false");
        let root = directory.path().join("unsynced");
        switches(Store::open(root.to_str().unwrap(), &unsynced).unwrap()).await;
        assert!(!directory.path().join("deep").exists());
        assert_eq!(std::fs::read_dir(directory.path().join("scratch")).unwrap().count(), 0);
    }
}
