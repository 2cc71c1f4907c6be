//! Collections inside an Icechunk repository: commits, branches, tags and history are Icechunk's.
//!
//! The keys of a collection are those that it has in a plain store in Zarr v3, so reading, listing
//! and planning do not know of repositories. What differs is how changes become visible: chunks are
//! stored as objects that nothing names, and one commit names them all.
//!
//! - `storage`: what Icechunk keeps, in a store of ours. `failure`: its errors, as ours.
//! - `keys`: from the keys of a collection to nodes and chunks. `view`: a state as a store.
//! - `staging`: objects of changes that are not committed. `making`: a state that is made of them;
//!   `commit`: from that to a commit.
//! - `history`: commits as those of a collection. `references`: branches, tags, older states.
//! - `backend`: all of this behind the trait `Backend`.
//! - `garbage`: expiry and removal of what nothing names; `sweep`: the account of that.

mod backend;
mod commit;
mod failure;
mod garbage;
mod history;
mod keys;
mod making;
mod references;
mod staging;
mod storage;
mod sweep;
mod view;

use std::fmt;
use std::sync::Arc;

pub(crate) use commit::WriteDocuments;
use failure::Failed;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use history::History;
use icechunk::format::SnapshotId;
use icechunk::format::snapshot::Snapshot as Stored;
use icechunk::repository::{RepositoryError, RepositoryErrorKind, VersionInfo};
use partita_core::store::url_of_repository;
use partita_core::{At, Error, ErrorKind, Result, Store, StoreOptions};
pub(crate) use staging::Object;
use staging::Staging;
use storage::Objects;
use view::View;

use crate::commit::Record;
use crate::statistics::Statistics;

/// The branch of a new repository.
const MAIN: &str = "main";

/// What the URL of another state than the newest of the main branch ends in, before its name.
const BRANCH: &str = "?branch=";
const AT: &str = "?at=";

/// The object that is changed by every commit, and what it begins with.
const REPO: &str = "repo";
const MAGIC: &[u8] = "ICE🧊CHUNK".as_bytes();

/// The object of the main branch, in the first version of the format.
const REFERENCE: &str = "refs/branch.main/ref.json";

/// True if there is an Icechunk repository in a directory of a store; at its root if that is empty.
///
/// # Errors
/// [`Store`](ErrorKind::Store).
pub async fn holds_repository(store: &Store, directory: &str) -> Result<bool> {
    let key = if directory.is_empty() { REPO.to_owned() } else { format!("{directory}/{REPO}") };
    let length = MAGIC.len() as u64;
    if store.head(&key).await?.is_none_or(|info| info.size < length) {
        // The first version of the format has no such object, but one for each branch.
        let place = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        return Ok(store.head(&format!("{place}{REFERENCE}")).await?.is_some());
    }
    Ok(store.get_range(&key, 0..length).await? == MAGIC)
}

/// What the end of a URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Branch,
    At,
}

/// Splits the end off a URL that names a branch or a state.
fn split_state(url: &str) -> (&str, Option<(Which, &str)>) {
    let ends = [(BRANCH, Which::Branch), (AT, Which::At)];
    let named = |(mark, which): (&str, Which)| {
        let (place, name) = url.rsplit_once(mark)?;
        (!name.is_empty() && !name.contains('/')).then_some((place, Some((which, name))))
    };
    ends.into_iter().find_map(named).unwrap_or((url, None))
}

/// An open repository, looked at from a branch or as it was. Clones are cheap and share caches.
#[derive(Clone)]
pub(crate) struct Repository {
    inner: Arc<icechunk::Repository>,
    store: Store,
    url: Arc<str>,
    place: Place,
    staging: Arc<Staging>,
    /// Whether the call that returned this handle created the repository.
    is_new: bool,
}

/// Which state of a repository is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// The newest of a branch, where commits go.
    Branch(String),
    /// One that does not change.
    Snapshot(SnapshotId),
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, place, .. } = self;
        f.debug_struct("Repository").field("url", url).field("place", place).finish_non_exhaustive()
    }
}

impl Repository {
    /// Opens the repository that a URL names: with `?branch=name` at its end on that branch, with
    /// `?at=name` as it was.
    pub fn open_url<'a>(url: &'a str, options: &'a StoreOptions) -> BoxFuture<'a, Result<Self>> {
        async move {
            let (place, state) = split_state(url);
            let repository = Self::open(Store::open(place, options)?).await?;
            match state {
                None => Ok(repository),
                Some((Which::Branch, name)) => repository.on_branch(name).await,
                Some((Which::At, name)) => repository.at(&At::from(name)).await,
            }
        }
        .boxed()
    }

    /// Opens the repository at the root of a store, on its main branch.
    pub fn open(store: Store) -> BoxFuture<'static, Result<Self>> {
        async move {
            let url = url_of_repository(store.url());
            let objects = Arc::new(Objects::new(store.clone()));
            match icechunk::Repository::open(objects).execute().await {
                Ok(inner) => Ok(Self::of(store, inner)),
                Err(error) if matches!(error.kind, RepositoryErrorKind::RepositoryDoesntExist) => {
                    Err(Error::new(ErrorKind::NotFound, "there is no Icechunk repository here")
                        .with("store", url))
                }
                Err(error) => Err(error.failed(&url)),
            }
        }
        .boxed()
    }

    /// Opens the repository at the root of a store, or makes one where there is nothing.
    pub fn open_or_create(store: Store) -> BoxFuture<'static, Result<Self>> {
        async move {
            store.check_writable()?;
            match Self::open(store.clone()).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                opened => return opened,
            }
            let url = url_of_repository(store.url());
            let create = |only_if_empty: bool| {
                let objects = Arc::new(Objects::new(store.clone()));
                icechunk::Repository::create(objects).check_clean_root(only_if_empty).execute()
            };
            let mut created = create(true).await;
            let is_unclean = |error: &RepositoryError| {
                matches!(error.kind, RepositoryErrorKind::ParentDirectoryNotClean)
            };
            if created.as_ref().is_err_and(is_unclean) && is_begun(&store).await? {
                created = create(false).await;
            }
            match created {
                Ok(inner) => Ok(Self { is_new: true, ..Self::of(store, inner) }),
                // Another process may have been faster.
                Err(error) => match Self::open(store).await {
                    Ok(opened) => Ok(opened),
                    Err(_) => Err(error.failed(&url)),
                },
            }
        }
        .boxed()
    }

    fn of(store: Store, inner: icechunk::Repository) -> Self {
        let url = url_of_repository(store.url()).into();
        let place = Place::Branch(MAIN.to_owned());
        Self { inner: Arc::new(inner), store, url, place, staging: Arc::default(), is_new: false }
    }

    /// True if the repository was made when it was opened.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Removes the repository: first what makes it one, then what lies beside.
    pub fn remove(&self) -> BoxFuture<'_, Result<()>> {
        async move {
            self.store.delete(REPO).await?;
            for directory in storage::WRITTEN_ONCE {
                self.store.delete_removable(directory.trim_end_matches('/')).await?;
            }
            Ok(())
        }
        .boxed()
    }

    /// The same repository, looked at from elsewhere.
    fn with_place(&self, place: Place) -> Self {
        let url = url_of_repository(self.store.url());
        let url = match &place {
            Place::Branch(name) if name == MAIN => url,
            Place::Branch(name) => format!("{url}{BRANCH}{name}"),
            Place::Snapshot(id) => format!("{url}{AT}{id}"),
        };
        Self { place, url: url.into(), ..self.clone() }
    }

    /// Where the repository is.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The URL of the collection in it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What is staged.
    pub fn staging(&self) -> &Staging {
        &self.staging
    }

    /// Refuses if commits cannot be made here.
    pub fn check_writable(&self) -> Result<()> {
        match &self.place {
            Place::Branch(_) => self.store.check_writable(),
            Place::Snapshot(id) => Err(Error::new(
                ErrorKind::ReadOnly,
                "the collection was opened as one commit left it; open a branch to change it",
            )
            .with("commit", id)
            .with("store", &self.url)),
        }
    }

    fn version(&self) -> VersionInfo {
        match &self.place {
            Place::Branch(name) => VersionInfo::BranchTipRef(name.clone()),
            Place::Snapshot(id) => VersionInfo::SnapshotId(id.clone()),
        }
    }

    /// The newest state of the branch, or the one that was opened. Two small requests, and one for
    /// the list of nodes if it is a new one.
    pub async fn state(&self) -> Result<State> {
        self.state_at(&self.version()).await
    }

    fn state_at<'a>(&'a self, version: &'a VersionInfo) -> BoxFuture<'a, Result<State>> {
        async move {
            let session = self.inner.readonly_session(version).await;
            let session = session.map_err(|error| error.failed(&self.url))?;
            let id = session.snapshot_id().clone();
            let history = self.history(&VersionInfo::SnapshotId(id.clone())).await?;
            let time =
                history.tip().map(|tip| storage::time_of(tip.record.time)).unwrap_or_default();
            let url = Arc::clone(&self.url);
            let view = View::reading(session, Arc::clone(&self.staging), url, time);
            // Chunks that are staged are written through the repository's own store, which refuses.
            let view = Store::from_object_store(Arc::new(view), &self.url, &StoreOptions::new());
            Ok(State { repository: self.clone(), id, history, view })
        }
        .boxed()
    }

    fn history<'a>(&'a self, version: &'a VersionInfo) -> BoxFuture<'a, Result<History>> {
        async move { History::read(&self.inner, version, &self.url).await }.boxed()
    }

    /// The commits that led to what is looked at, the oldest first.
    pub async fn records(&self) -> Result<Vec<Record>> {
        Ok(self.history(&self.version()).await?.into_records())
    }

    /// The commit with this id, ours or Icechunk's, or with this key.
    pub async fn committed(&self, name: &str) -> Result<Option<Record>> {
        Ok(self.history(&self.version()).await?.named(name))
    }
}

/// What one commit left.
#[derive(Debug, Clone)]
pub(crate) struct State {
    repository: Repository,
    id: SnapshotId,
    history: History,
    view: Store,
}

impl State {
    /// The state as a store.
    pub fn view(&self) -> &Store {
        &self.view
    }

    /// The number of the commit.
    pub fn latest(&self) -> u64 {
        self.history.latest()
    }

    /// The newest record with this idempotency key, of those after the number `after`.
    pub fn find_key(&self, key: &str, after: u64) -> Option<Record> {
        self.history.find_key(key, after)
    }

    /// When a partition was written last, as far as is known: never later than that.
    pub fn written(&self, path: &str) -> Option<jiff::Timestamp> {
        self.history.written(path)
    }

    /// The id of the commit of a number.
    pub fn id_of(&self, number: u64) -> Option<String> {
        self.history.numbered(number).map(|entry| entry.record.id.clone())
    }

    /// What is known of the values in partitions.
    pub fn statistics(&self) -> Statistics {
        self.history.statistics()
    }

    /// The newest state, by now.
    pub async fn newest(&self) -> Result<Self> {
        self.repository.state().await
    }

    /// What was committed after the number `base`, by now.
    pub async fn since(&self, base: u64) -> Result<crate::commit::Since> {
        let history = self.repository.history(&self.repository.version()).await?;
        Ok(history.since(base, &self.id))
    }

    /// The state that an earlier commit left.
    pub async fn earlier(&self, number: u64) -> Result<Option<Self>> {
        let Some(entry) = self.history.numbered(number) else { return Ok(None) };
        self.repository.state_at(&VersionInfo::SnapshotId(entry.id.clone())).await.map(Some)
    }
}

/// Whether a place holds nothing but what the creation of a repository leaves that stopped before it
/// wrote the object which makes the repository.
async fn is_begun(store: &Store) -> Result<bool> {
    let initial = Stored::INITIAL_SNAPSHOT_ID;
    let left = [format!("snapshots/{initial}"), format!("transactions/{initial}")];
    let mut objects = store.list("");
    while let Some(object) = objects.try_next().await? {
        if !left.contains(&object.key) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_states() {
        assert_eq!(split_state("s3://lake/a"), ("s3://lake/a", None));
        assert_eq!(split_state("a?at=v1"), ("a", Some((Which::At, "v1"))));
        assert_eq!(split_state("/a?b/c?branch=x"), ("/a?b/c", Some((Which::Branch, "x"))));
        for plain in ["a?at=", "a?at=b/c", "a?b=c"] {
            assert_eq!(split_state(plain), (plain, None));
        }
    }
}
