//! Listing objects.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, future, stream};
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta};

use super::Store;
use super::probe::is_probe_key;
use crate::{Error, Result};

/// Interprets a directory, given the interpretation of its parent and its name; `None` if it is not
/// to be descended into.
pub type Meaning<T> = dyn Fn(&T, &str) -> Option<T> + Send + Sync;

/// The maximum number of listings in flight.
const LISTINGS_IN_FLIGHT: usize = 32;

/// An object as a listing reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The key, relative to the store.
    pub key: String,
    /// The size in bytes.
    pub size: u64,
    /// When the object was written, by the clock of the store.
    pub last_modified: Timestamp,
}

impl Store {
    /// The objects whose keys begin with the string `prefix`, in no particular order: `trips.`
    /// finds `trips.json` and `trips.x/y`. The empty prefix finds everything.
    ///
    /// Costs a request per 1,000 objects in the directory that the prefix ends in and below;
    /// locks, temporary files and probes are not shown.
    #[must_use]
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectInfo>> {
        let (parent, start) = match prefix.rsplit_once('/') {
            Some((parent, start)) => (parent, start),
            None => ("", prefix),
        };
        let parent = match parse_parent(parent) {
            Ok(parent) => parent,
            Err(error) => return stream::once(future::err(error)).boxed(),
        };
        let store = self.clone();
        if start.is_empty() {
            return store.finish_list(store.inner.list(parent.as_ref()));
        }
        // Clients list whole directories, which could hold millions of objects beside the few that
        // match. So this level is listed first.
        let prefix = prefix.to_owned();
        let nested = async move {
            let level = store.inner.list_with_delimiter(parent.as_ref()).await;
            let ListResult { objects, common_prefixes, .. } =
                level.map_err(|error| store.request("listed", &prefix).failed(error))?;
            let mut found = objects;
            found.retain(|object| object.location.as_ref().starts_with(&prefix));
            let below = common_prefixes.iter().filter(|path| path.as_ref().starts_with(&prefix));
            let below = below.map(|path| store.inner.list(Some(path))).collect::<Vec<_>>();
            let all = stream::iter(found.into_iter().map(Ok)).chain(stream::iter(below).flatten());
            Ok::<_, Error>(store.finish_list(all.boxed()))
        };
        stream::once(nested).try_flatten().boxed()
    }

    /// The objects directly under the root of the store, without those in directories, ordered by
    /// key. One request per 1,000 objects and directories.
    ///
    /// # Errors
    /// [`Store`](crate::ErrorKind::Store) if the store fails.
    pub async fn list_shallow(&self) -> Result<Vec<ObjectInfo>> {
        let level = self.inner.list_with_delimiter(None).await;
        let objects = match level {
            Ok(level) => level.objects,
            Err(error) => return Err(self.request("listed", "").failed(error)),
        };
        let mut objects = objects
            .into_iter()
            .filter(|object| !is_probe_key(object.location.as_ref()))
            .map(|object| self.info(object))
            .collect::<Result<Vec<_>>>()?;
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(objects)
    }

    /// The names of the directories directly under the directory `parent` (the root of the store if
    /// it is empty), ordered; empty if there is no such directory. One request per 1,000 objects
    /// and directories.
    ///
    /// # Errors
    /// [`Store`](crate::ErrorKind::Store) if the store fails.
    pub async fn list_directories(&self, parent: &str) -> Result<Vec<String>> {
        let prefix = parse_parent(parent)?;
        let level = match self.inner.list_with_delimiter(prefix.as_ref()).await {
            Ok(level) => level,
            Err(error) if super::read::is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(self.request("listed", parent).failed(error)),
        };
        let name = |path: &Path| path.filename().map(str::to_owned);
        let mut names: Vec<String> = level.common_prefixes.iter().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    /// The directories at a given depth below the root, with their interpretations; those without
    /// one are skipped. One request for each directory that is descended into. `known` are
    /// directories of which it is known that they are descended into: those of a distant store are
    /// listed together with the root, and not after it.
    ///
    /// # Errors
    /// [`Store`](crate::ErrorKind::Store) if the store fails.
    pub async fn list_directories_at<T: Send + Sync + 'static>(
        &self,
        depth: usize,
        root: T,
        meaning: Arc<Meaning<T>>,
        known: BTreeSet<String>,
    ) -> Result<Vec<(String, T)>> {
        let mut found = vec![(String::new(), root)];
        let Some(files) = &self.local else {
            let ahead = stream::iter(known)
                .map(async |parent: String| {
                    let names = self.list_directories(&parent).await?;
                    Ok::<_, Error>((parent, names))
                })
                .buffer_unordered(LISTINGS_IN_FLIGHT)
                .try_collect::<HashMap<_, _>>();
            let none = HashMap::new();
            let first = async {
                match depth {
                    0 => Ok(found),
                    _ => self.directories_below(found, meaning.as_ref(), &none).await,
                }
            };
            let (ahead, mut found) = future::try_join(ahead, first).await?;
            for _ in 1..depth {
                found = self.directories_below(found, meaning.as_ref(), &ahead).await?;
            }
            return Ok(found);
        };
        for _ in 0..depth {
            let below = files.directories_below(found, &meaning).await;
            found = below.map_err(|error| self.request("listed", "").failed(error))?;
        }
        Ok(found)
    }

    /// The directories below others; `ahead` has the names in those that were listed before.
    async fn directories_below<T>(
        &self,
        above: Vec<(String, T)>,
        meaning: &Meaning<T>,
        ahead: &HashMap<String, Vec<String>>,
    ) -> Result<Vec<(String, T)>> {
        let below = async |(parent, meant): (String, T)| {
            let names = match ahead.get(&parent) {
                Some(names) => names.clone(),
                None => self.list_directories(&parent).await?,
            };
            let below = names.into_iter().filter_map(|name| {
                let own = meaning(&meant, &name)?;
                Some((join(&parent, &name), own))
            });
            Ok::<_, Error>(below.collect::<Vec<_>>())
        };
        let found = stream::iter(above).map(below).buffered(LISTINGS_IN_FLIGHT);
        found.try_collect::<Vec<_>>().await.map(|found| found.into_iter().flatten().collect())
    }

    fn finish_list(
        &self,
        objects: BoxStream<'static, object_store::Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectInfo>> {
        let store = self.clone();
        let finish = move |object: object_store::Result<ObjectMeta>| {
            let result = match object {
                Ok(object) if is_probe_key(object.location.as_ref()) => None,
                Ok(object) => Some(store.info(object)),
                Err(error) => Some(Err(store.request("listed", "").failed(error))),
            };
            future::ready(result)
        };
        objects.filter_map(finish).boxed()
    }
}

/// The path of a directory within another, or within the root.
pub(super) fn join(parent: &str, name: &str) -> String {
    match parent {
        "" => name.to_owned(),
        parent => [parent, "/", name].concat(),
    }
}

fn parse_parent(parent: &str) -> Result<Option<Path>> {
    match parent {
        "" => Ok(None),
        parent => super::key::parse_key(parent).map(Some),
    }
}
