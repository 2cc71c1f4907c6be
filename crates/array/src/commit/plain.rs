//! The backend of plain stores: commits are records beside the published layout.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use partita_core::upkeep::{Garbage, GarbageOptions};
use partita_core::{At, Error, ErrorKind, Result, Store, StoreOptions};

use super::collector::collect_garbage;
use super::creation::{create_document, has_commits};
use super::draft::{Draft, Outcome, Staged};
use super::head::{Head, Retention};
use super::log;
use super::past::History;
use super::paths::{DIRECTORY, LEASE, SCRATCH, STAGE, TURN};
use super::publish::{publish, under_lease};
use super::record::Record;
use super::snapshot::Snapshot;
use super::uncommitted::{change_retention, end_history, uncommitted};
use crate::activity::{Activity, HeldLease, LeasedTask, StagedWork};
use crate::backend::Backend;
use crate::history::{Expiry, Retained};
use crate::layout::{Config, encode_config, read_view, rebuild_catalog};
use crate::repository::Repository;
use crate::statistics::{Statistics, replace_documents};

/// A store with records of commits beside the collection.
#[derive(Debug, Clone)]
pub(crate) struct Plain {
    store: Store,
    /// The state that is read, if it is that of an earlier commit.
    past: Option<Past>,
    /// The number up to which commits were published when that was looked at last.
    published: Arc<Mutex<Option<u64>>>,
}

/// The number of a commit whose state is read.
#[derive(Debug, Clone)]
struct Past {
    number: u64,
    url: Arc<str>,
}

/// The separator between the URL of a collection and the number of the commit of an earlier state.
const AT: &str = "?at=";

impl Plain {
    /// The collection at the root of a store.
    pub fn in_store(store: Store) -> Arc<dyn Backend> {
        Arc::new(Self { store, past: None, published: Arc::default() })
    }

    /// The collection as the commit of this number left it.
    fn past(store: Store, number: u64) -> Arc<dyn Backend> {
        let url = format!("{}{AT}{number}", store.url()).into();
        Arc::new(Self { store, past: Some(Past { number, url }), published: Arc::default() })
    }

    fn published(&self) -> MutexGuard<'_, Option<u64>> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The collection at a URL, which may name an earlier state.
    pub fn open(url: &str, options: &StoreOptions) -> Result<Arc<dyn Backend>> {
        let past = url.rsplit_once(AT).and_then(|(place, at)| Some((place, at.parse().ok()?)));
        match past {
            Some((place, number)) => Ok(Self::past(Store::open(place, options)?, number)),
            None => Ok(Self::in_store(Store::open(url, options)?)),
        }
    }

    /// The number of the commit that is named.
    async fn number_of(&self, at: &At) -> Result<u64> {
        let unknown = |name: &str| {
            Error::new(
                ErrorKind::NotFound,
                "commits of a collection in plain Zarr are named by their numbers, or by a time in \
                 ISO 8601",
            )
            .with("name", name)
            .with("store", self.url())
        };
        let at = match at {
            At::Name(name) => At::number_or_time(name).ok_or_else(|| unknown(name))?,
            at => at.clone(),
        };
        match at {
            At::Number(number) => Ok(number),
            At::Time(time) => History::read(&self.store).await?.number_at(time, &self.store),
            At::Name(name) => Err(unknown(&name)),
        }
    }

    async fn end_history(
        &self,
        before: Option<Timestamp>,
        last: Option<u64>,
    ) -> Result<Vec<String>> {
        publish(&self.store).await?;
        let history = History::read(&self.store).await?;
        let end = history.end(before, last);
        let gone = history.expiring(end);
        if !gone.is_empty() {
            end_history(&self.store, end).await?;
        }
        Ok(gone)
    }
}

impl Backend for Plain {
    fn store(&self) -> &Store {
        &self.store
    }

    fn url(&self) -> &str {
        self.past.as_ref().map_or(self.store.url(), |past| &past.url)
    }

    fn check_writable(&self) -> Result<()> {
        let Some(past) = &self.past else { return self.store.check_writable() };
        Err(Error::new(
            ErrorKind::ReadOnly,
            "an earlier state is for reading; open the collection itself to change it",
        )
        .with("commit", past.number)
        .with("store", self.store.url()))
    }

    fn snapshot(&self, under: Option<Snapshot>) -> BoxFuture<'_, Result<Snapshot>> {
        match &self.past {
            None => async move {
                let known = *self.published();
                let snapshot = Snapshot::take(&self.store, under, known).await?;
                *self.published() = Some(snapshot.head.published);
                Ok(snapshot)
            }
            .boxed(),
            Some(past) => Snapshot::past(&self.store, past.number, under).boxed(),
        }
    }

    fn view(&self) -> BoxFuture<'_, Result<Config>> {
        read_view(&self.store, None).boxed()
    }

    fn at<'a>(&'a self, at: &'a At) -> BoxFuture<'a, Result<Arc<dyn Backend>>> {
        async move { Ok(Self::past(self.store.clone(), self.number_of(at).await?)) }.boxed()
    }

    fn number_to_restore<'a>(&'a self, at: &'a At) -> BoxFuture<'a, Result<u64>> {
        self.number_of(at).boxed()
    }

    fn records(&self) -> BoxFuture<'_, Result<Vec<Record>>> {
        async move {
            let mut records = log::records(&self.store).await?;
            if let Some(past) = &self.past {
                records.retain(|record| record.sequence <= past.number);
            }
            Ok(records)
        }
        .boxed()
    }

    fn committed<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Record>>> {
        let named = move |record: &Record| record.id == name || record.key.as_deref() == Some(name);
        async move { Ok(self.records().await?.into_iter().rev().find(named)) }.boxed()
    }

    fn create<'a>(&'a self, config: &'a Config, commit: String) -> BoxFuture<'a, Result<()>> {
        async move {
            create_document(&self.store, config, &commit).await?;
            *self.published() = Some(0);
            Ok(())
        }
        .boxed()
    }

    fn undo_creation<'a>(&'a self, config: &'a Config) -> BoxFuture<'a, Result<()>> {
        async move {
            if self.past.is_some()
                || Head::read(&self.store).await?.published > 0
                || !log::withdraw(&self.store).await?
            {
                return Err(has_commits(self.store.url()));
            }
            let (key, _) = encode_config(config)?;
            self.store.delete(key).await?;
            self.store.delete_removable(DIRECTORY).await
        }
        .boxed()
    }

    fn commit<'a>(
        &'a self,
        draft: &'a Draft,
        snapshot: &'a Snapshot,
    ) -> BoxFuture<'a, Result<Outcome>> {
        async move {
            let outcome = draft.commit_to_log(&self.store, snapshot).await?;
            if let Outcome::Done(number) = outcome {
                *self.published() = Some(number);
            }
            Ok(outcome)
        }
        .boxed()
    }

    fn publish(&self) -> BoxFuture<'_, Result<()>> {
        async move {
            match self.past {
                None => publish(&self.store).await.map(drop),
                Some(_) => Ok(()),
            }
        }
        .boxed()
    }

    fn send(&self, draft: Draft) -> Vec<Staged> {
        draft.into_staged()
    }

    fn receive(&self, _: &mut Staged) {}

    fn forget(&self, _: Vec<String>) {}

    fn discard<'a>(&'a self, directory: &'a str) -> BoxFuture<'a, Result<()>> {
        self.store.delete_directory(directory, SCRATCH).boxed()
    }

    fn note_statistics<'a>(
        &'a self,
        made: Statistics,
        snapshot: &'a Snapshot,
        paths: &'a HashSet<&str>,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            under_lease(&self.store, async |_| {
                replace_documents(&self.store, snapshot.latest, made, paths).await
            })
            .await
        }
        .boxed()
    }

    fn check_catalog<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        repair: bool,
    ) -> BoxFuture<'a, Result<Option<(&'static str, String)>>> {
        rebuild_catalog(&self.store, &snapshot.config, repair).boxed()
    }

    fn collect_garbage<'a>(
        &'a self,
        options: &'a GarbageOptions,
    ) -> BoxFuture<'a, Result<Garbage>> {
        collect_garbage(&self.store, options).boxed()
    }

    fn expire(&self, older_than: SignedDuration) -> BoxFuture<'_, Result<Vec<String>>> {
        async move { self.end_history(Some(before(older_than)?), None).await }.boxed()
    }

    fn expire_all_but(&self, last: u64) -> BoxFuture<'_, Result<Vec<String>>> {
        self.end_history(None, Some(last)).boxed()
    }

    fn expirable(&self, expiry: Expiry) -> BoxFuture<'_, Result<Vec<String>>> {
        async move {
            let (before, last) = match expiry {
                Expiry::OlderThan(age) => (Some(before(age)?), None),
                Expiry::AllBut(last) => (None, Some(last)),
            };
            let history = History::read(&self.store).await?;
            Ok(history.expiring(history.end(before, last)))
        }
        .boxed()
    }

    fn set_retention(&self, retention: Retention, grace: Option<u64>) -> BoxFuture<'_, Result<()>> {
        change_retention(&self.store, retention, grace).boxed()
    }

    fn retained(&self) -> BoxFuture<'_, Result<Option<Retained>>> {
        async move {
            let listed = self.store.list_removable(STAGE).await?;
            let own = listed.iter().filter(|found| !found.is_shared);
            let bytes = own.map(|found| found.object.size).sum();
            Ok(Some(Retained { objects: listed.len() as u64, bytes }))
        }
        .boxed()
    }

    fn activity(&self) -> BoxFuture<'_, Result<Activity>> {
        async move {
            let mut leases = Vec::new();
            for (key, task) in [(LEASE, LeasedTask::Publish), (TURN, LeasedTask::Commit)] {
                let renewed = self.store.lease_renewed_at(key).await?;
                leases.extend(renewed.map(|renewed| HeldLease { task, renewed }));
            }
            let mut staged: Vec<StagedWork> = uncommitted(&self.store, Timestamp::MAX, &[])
                .await?
                .into_iter()
                .filter(|left| !left.objects.is_empty())
                .map(|left| StagedWork {
                    bytes: left.objects.iter().map(|object| object.size).sum(),
                    objects: left.objects.len() as u64,
                    writer: left.writer,
                    changed: left.changed,
                })
                .collect();
            staged.sort_by_key(|work| work.changed);
            Ok(Activity { leases, staged })
        }
        .boxed()
    }

    fn repository(&self) -> Result<&Repository> {
        Err(Error::invalid(
            "a collection in plain Zarr has no branches and tags; they are those of collections in \
             Icechunk repositories (icechunk+ URLs)",
        )
        .with("store", self.url()))
    }
}

/// The time so long ago, by the clock of this machine.
fn before(age: SignedDuration) -> Result<Timestamp> {
    if age.is_negative() {
        return Err(Error::invalid("the age must not be negative"));
    }
    Timestamp::now()
        .checked_sub(age)
        .map_err(|error| Error::invalid("that is no age").caused_by(error))
}
