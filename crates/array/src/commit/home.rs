//! Where a collection is kept, and with it how changes of it become visible.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use partita_core::store::repository_url;
use partita_core::{Error, ErrorKind, Result, Store, StoreOptions};

use super::draft::{Draft, Staged};
use super::log;
use super::paths::SCRATCH;
use super::record::Record;
use super::snapshot::Snapshot;
use crate::layout::{Config, read_view};
use crate::repository::Repository;

/// A place with a collection.
#[derive(Debug, Clone)]
pub(crate) enum Home {
    /// A store, with records of commits beside the collection.
    Plain(Store),
    /// A store with what a commit left, for reading.
    Past(PastHome),
    /// An Icechunk repository.
    Repository(Repository),
}

/// A store, and the number of a commit whose state is looked at.
#[derive(Debug, Clone)]
pub(crate) struct PastHome {
    store: Store,
    number: u64,
    url: Arc<str>,
}

impl PastHome {
    pub fn new(store: Store, number: u64) -> Self {
        let url = format!("{}{AT}{number}", store.url()).into();
        Self { store, number, url }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }
}

/// What the URL of an earlier state ends in, before the number of the commit.
const AT: &str = "?at=";

impl Home {
    /// The place that a URL names, with a branch or a state of the repository if it names one, or
    /// the number of a commit to a plain store.
    pub fn open<'a>(url: &'a str, options: &'a StoreOptions) -> BoxFuture<'a, Result<Self>> {
        async move {
            match repository_url(url) {
                Some(place) => Repository::open_url(place, options).await.map(Self::Repository),
                None => {
                    let past = url.rsplit_once(AT);
                    let past = past.and_then(|(place, at)| Some((place, at.parse().ok()?)));
                    match past {
                        Some((place, number)) => {
                            let store = Store::open(place, options)?;
                            Ok(Self::Past(PastHome::new(store, number)))
                        }
                        None => Store::open(url, options).map(Self::Plain),
                    }
                }
            }
        }
        .boxed()
    }

    /// The store that it is in.
    pub fn store(&self) -> &Store {
        match self {
            Self::Plain(store) => store,
            Self::Past(past) => past.store(),
            Self::Repository(repository) => repository.store(),
        }
    }

    /// The URL under which the collection can be opened again.
    pub fn url(&self) -> &str {
        match self {
            Self::Plain(store) => store.url(),
            Self::Past(past) => &past.url,
            Self::Repository(repository) => repository.url(),
        }
    }

    /// Refuses if nothing can be committed.
    pub fn check_writable(&self) -> Result<()> {
        match self {
            Self::Plain(store) => store.check_writable(),
            Self::Past(past) => Err(Error::new(
                ErrorKind::ReadOnly,
                "an earlier state is for reading; open the collection itself to change it",
            )
            .with("commit", past.number)
            .with("store", past.store.url())),
            Self::Repository(repository) => repository.check_writable(),
        }
    }

    /// The repository, for what plain stores do not have.
    pub fn repository(&self) -> Result<&Repository> {
        match self {
            Self::Repository(repository) => Ok(repository),
            Self::Plain(_) | Self::Past(_) => Err(Error::invalid(
                "a collection in plain Zarr has no branches and tags; they are those of collections \
                 in Icechunk repositories (icechunk+ URLs)",
            )
            .with("store", self.url())),
        }
    }

    /// The newest state; of a view, over that of its base.
    pub fn snapshot(&self, under: Option<Snapshot>) -> BoxFuture<'_, Result<Snapshot>> {
        async move {
            match self {
                Self::Plain(store) => Snapshot::take(store, under).await,
                Self::Past(past) => Snapshot::past(&past.store, past.number, under).await,
                Self::Repository(repository) => {
                    Snapshot::of(repository.state().await?, under).await
                }
            }
        }
        .boxed()
    }

    /// What the view is that is here.
    pub async fn view(&self) -> Result<Config> {
        match self {
            Self::Plain(_) | Self::Past(_) => read_view(self.store(), None).await,
            Self::Repository(repository) => read_view(repository.state().await?.view(), None).await,
        }
    }

    /// Has everything that is committed lie where it belongs.
    pub fn publish(&self) -> BoxFuture<'_, Result<()>> {
        async move {
            match self {
                Self::Plain(store) => super::publish(store).await.map(drop),
                Self::Past(_) | Self::Repository(_) => Ok(()),
            }
        }
        .boxed()
    }

    /// The commits that are kept, the oldest first.
    pub fn records(&self) -> BoxFuture<'_, Result<Vec<Record>>> {
        async move {
            match self {
                Self::Plain(store) => log::records(store).await,
                Self::Past(past) => {
                    let mut records = log::records(&past.store).await?;
                    records.retain(|record| record.sequence <= past.number);
                    Ok(records)
                }
                Self::Repository(repository) => repository.records().await,
            }
        }
        .boxed()
    }

    /// The changes of a draft in a form that may travel.
    pub fn send(&self, draft: Draft) -> Vec<Staged> {
        let mut staged = draft.into_staged();
        if let Self::Repository(repository) = self {
            for one in &mut staged {
                if let Some(directory) = one.change.staged_directory() {
                    one.objects = repository.staging().under(&directory);
                    repository.staging().remove(&directory);
                }
            }
        }
        staged
    }

    /// Takes in what another process sent.
    pub fn receive(&self, staged: &mut Staged) {
        let objects = std::mem::take(&mut staged.objects);
        if let (Self::Repository(repository), Some(directory)) =
            (self, staged.change.staged_directory())
        {
            for (key, object) in objects {
                repository.staging().put(format!("{directory}/{key}"), object);
            }
        }
    }

    /// Forgets what was staged in these directories, once that is committed, or kept elsewhere.
    pub fn forget(&self, directories: Vec<String>) {
        if let Self::Repository(repository) = self {
            directories.iter().for_each(|directory| repository.staging().remove(directory));
        }
    }

    /// Removes everything that one writer staged, by its directory. If that fails it is garbage,
    /// and collected as such; so are the chunks in a repository.
    pub async fn discard(&self, directory: &str) -> Result<()> {
        match self {
            Self::Plain(store) => store.delete_directory(directory, SCRATCH).await,
            Self::Past(_) => Ok(()),
            Self::Repository(repository) => {
                repository.staging().remove(directory);
                Ok(())
            }
        }
    }
}
