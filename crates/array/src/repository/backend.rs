//! The backend of Icechunk repositories.

use std::collections::HashSet;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::SignedDuration;
use partita_core::upkeep::{Garbage, GarbageOptions};
use partita_core::{At, Error, Result, Store};
use uuid::Uuid;

use super::{Repository, State, WriteDocuments};
use crate::activity::Activity;
use crate::backend::Backend;
use crate::commit::{
    Draft, Outcome, Record, Retention, Snapshot, Staged, has_commits, refuse_existing,
};
use crate::history::{Expiry, Retained};
use crate::layout::{
    Config, encode_config, parent_groups, read_config, read_view, rebuild_catalog,
};
use crate::statistics::Statistics;

impl Repository {
    /// Refuses what only collections in plain Zarr have; `instead` says what to do.
    fn only_plain(&self, instead: &str) -> Error {
        Error::invalid(format!("this is for collections in plain Zarr; {instead}"))
            .with("store", self.url())
    }

    fn record(operation: &str) -> Record {
        Record::new(operation, Uuid::new_v4().simple().to_string(), None, Vec::new())
    }
}

/// The state of the repository that a snapshot is of.
fn state_of(snapshot: &Snapshot) -> Result<&State> {
    snapshot
        .state()
        .ok_or_else(|| Error::invalid("the state is that of a collection in a plain store"))
}

impl Backend for Repository {
    fn store(&self) -> &Store {
        self.store()
    }

    fn url(&self) -> &str {
        self.url()
    }

    fn check_writable(&self) -> Result<()> {
        self.check_writable()
    }

    fn snapshot(&self, under: Option<Snapshot>) -> BoxFuture<'_, Result<Snapshot>> {
        async move { Snapshot::of(self.state().await?, under).await }.boxed()
    }

    fn view(&self) -> BoxFuture<'_, Result<Config>> {
        async move { read_view(self.state().await?.view(), None).await }.boxed()
    }

    fn at<'a>(&'a self, at: &'a At) -> BoxFuture<'a, Result<Arc<dyn Backend>>> {
        async move {
            let earlier: Arc<dyn Backend> = Arc::new(self.at(at).await?);
            Ok(earlier)
        }
        .boxed()
    }

    fn number_to_restore<'a>(&'a self, _: &'a At) -> BoxFuture<'a, Result<u64>> {
        async { Err(self.only_plain("make a branch of the state to go on from it")) }.boxed()
    }

    fn records(&self) -> BoxFuture<'_, Result<Vec<Record>>> {
        self.records().boxed()
    }

    fn committed<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Record>>> {
        self.committed(name).boxed()
    }

    fn create<'a>(&'a self, config: &'a Config, commit: String) -> BoxFuture<'a, Result<()>> {
        async move {
            let record = Record::new("create", commit, None, Vec::new());
            self.write_documents(record, &Creation(config)).await
        }
        .boxed()
    }

    fn undo_creation<'a>(&'a self, config: &'a Config) -> BoxFuture<'a, Result<()>> {
        async move {
            if !self.is_new() {
                return self.write_documents(Self::record("undo"), &Removal(config)).await;
            }
            // The creation is the first commit of a repository that was made for it.
            match self.state().await?.latest() {
                0 | 1 => self.remove().await,
                _ => Err(has_commits(self.url())),
            }
        }
        .boxed()
    }

    fn commit<'a>(
        &'a self,
        draft: &'a Draft,
        snapshot: &'a Snapshot,
    ) -> BoxFuture<'a, Result<Outcome>> {
        async move { draft.commit_checked(self, state_of(snapshot)?, None).await }.boxed()
    }

    fn publish(&self) -> BoxFuture<'_, Result<()>> {
        async { Ok(()) }.boxed()
    }

    fn send(&self, draft: Draft) -> Vec<Staged> {
        let mut staged = draft.into_staged();
        for one in &mut staged {
            if let Some(directory) = one.change.staged_directory() {
                one.objects = self.staging().under(&directory);
                self.staging().remove(&directory);
            }
        }
        staged
    }

    fn receive(&self, staged: &mut Staged) {
        let objects = std::mem::take(&mut staged.objects);
        let Some(directory) = staged.change.staged_directory() else { return };
        for (key, object) in objects {
            self.staging().put(format!("{directory}/{key}"), object);
        }
    }

    fn forget(&self, directories: Vec<String>) {
        directories.iter().for_each(|directory| self.staging().remove(directory));
    }

    fn discard<'a>(&'a self, directory: &'a str) -> BoxFuture<'a, Result<()>> {
        self.staging().remove(directory);
        async { Ok(()) }.boxed()
    }

    fn note_statistics<'a>(
        &'a self,
        made: Statistics,
        snapshot: &'a Snapshot,
        _: &'a HashSet<&str>,
    ) -> BoxFuture<'a, Result<()>> {
        async move { self.note(made, state_of(snapshot)?).await }.boxed()
    }

    fn check_catalog<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        repair: bool,
    ) -> BoxFuture<'a, Result<Option<(&'static str, String)>>> {
        async move {
            let found = rebuild_catalog(snapshot.base(), &snapshot.config, false).await?;
            if repair && found.is_some() {
                self.write_documents(Self::record("verify"), &Relisting).await?;
            }
            Ok(found)
        }
        .boxed()
    }

    fn collect_garbage<'a>(
        &'a self,
        options: &'a GarbageOptions,
    ) -> BoxFuture<'a, Result<Garbage>> {
        self.collect_garbage(options)
    }

    fn expire(&self, older_than: SignedDuration) -> BoxFuture<'_, Result<Vec<String>>> {
        self.expire(older_than)
    }

    fn expire_all_but(&self, _: u64) -> BoxFuture<'_, Result<Vec<String>>> {
        async { Err(self.only_plain("expire commits by their age")) }.boxed()
    }

    fn expirable(&self, _: Expiry) -> BoxFuture<'_, Result<Vec<String>>> {
        async { Err(self.only_plain("look at `history` for the ages of its commits")) }.boxed()
    }

    fn set_retention(&self, _: Retention, _: Option<u64>) -> BoxFuture<'_, Result<()>> {
        async { Err(self.only_plain("expire states of the repository instead")) }.boxed()
    }

    fn retained(&self) -> BoxFuture<'_, Result<Option<Retained>>> {
        async { Ok(None) }.boxed()
    }

    fn activity(&self) -> BoxFuture<'_, Result<Activity>> {
        async { Ok(Activity::default()) }.boxed()
    }

    fn repository(&self) -> Result<&Repository> {
        Ok(self)
    }
}

/// The documents of what is new in a repository.
struct Creation<'c>(&'c Config);

impl WriteDocuments for Creation<'_> {
    fn write<'a>(&'a self, target: &'a Store) -> BoxFuture<'a, Result<bool>> {
        async move {
            refuse_existing(target).await?;
            for (key, text) in parent_groups(self.0.layout, "") {
                target.put(&key, text.into()).await?;
            }
            let (key, bytes) = encode_config(self.0)?;
            target.put(key, bytes).await.map(|()| true)
        }
        .boxed()
    }
}

/// The documents of a collection, removed from a repository.
struct Removal<'c>(&'c Config);

impl WriteDocuments for Removal<'_> {
    fn write<'a>(&'a self, target: &'a Store) -> BoxFuture<'a, Result<bool>> {
        async move {
            let (key, _) = encode_config(self.0)?;
            target.delete(key).await?;
            for (key, _) in parent_groups(self.0.layout, "") {
                target.delete(&key).await?;
            }
            Ok(true)
        }
        .boxed()
    }
}

/// The list of partitions of a collection in a repository, written anew.
struct Relisting;

impl WriteDocuments for Relisting {
    fn write<'a>(&'a self, target: &'a Store) -> BoxFuture<'a, Result<bool>> {
        let rebuild = async move {
            Ok(rebuild_catalog(target, &read_config(target).await?, true).await?.is_some())
        };
        rebuild.boxed()
    }
}
