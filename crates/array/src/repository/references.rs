//! Branches, tags, and the states that commits left.

use futures::FutureExt;
use futures::future::BoxFuture;
use icechunk::format::SnapshotId;
use icechunk::repository::VersionInfo;
use partita_core::{At, Error, ErrorKind, Result};

use super::failure::Failed;
use super::storage::time_of;
use super::{Place, Repository};

impl Repository {
    /// The branch that is looked at, and gets commits.
    pub fn branch(&self) -> Option<&str> {
        match &self.place {
            Place::Branch(name) => Some(name),
            Place::Snapshot(_) => None,
        }
    }

    /// The same repository, looked at from a branch.
    pub fn on_branch<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Self>> {
        async move {
            self.inner
                .lookup_branch(name)
                .await
                .map_err(|error| self.named(error, "branch", name))?;
            Ok(self.with_place(Place::Branch(name.to_owned())))
        }
        .boxed()
    }

    /// The same repository as it was.
    pub async fn at(&self, at: &At) -> Result<Self> {
        let id = self.snapshot_id(at).await?;
        Ok(self.with_place(Place::Snapshot(id)))
    }

    pub fn branches(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        async move {
            let found =
                self.inner.list_branches().await.map_err(|error| error.failed(&self.url))?;
            Ok(found.into_iter().collect())
        }
        .boxed()
    }

    pub fn tags(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        async move {
            let found = self.inner.list_tags().await.map_err(|error| error.failed(&self.url))?;
            Ok(found.into_iter().collect())
        }
        .boxed()
    }

    pub fn create_branch<'a>(
        &'a self,
        name: &'a str,
        at: Option<&'a At>,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            let id = self.start(name, at).await?;
            let made = self.inner.create_branch(name, &id).await;
            made.map_err(|error| self.named(error, "branch", name))
        }
        .boxed()
    }

    pub fn create_tag<'a>(
        &'a self,
        name: &'a str,
        at: Option<&'a At>,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            let id = self.start(name, at).await?;
            let made = self.inner.create_tag(name, &id).await;
            made.map_err(|error| self.named(error, "tag", name))
        }
        .boxed()
    }

    pub fn delete_branch<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        async move {
            self.store.check_writable()?;
            let gone = self.inner.delete_branch(name).await;
            gone.map_err(|error| self.named(error, "branch", name))
        }
        .boxed()
    }

    pub fn delete_tag<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        async move {
            self.store.check_writable()?;
            let gone = self.inner.delete_tag(name).await;
            gone.map_err(|error| self.named(error, "tag", name))
        }
        .boxed()
    }

    async fn start(&self, name: &str, at: Option<&At>) -> Result<SnapshotId> {
        self.store.check_writable()?;
        if name.is_empty() || name.contains('/') {
            return Err(Error::invalid("a branch or tag has a name without slashes")
                .with("name", name.escape_debug()));
        }
        match at {
            Some(at) => self.snapshot_id(at).await,
            None => {
                let found = self.inner.resolve_version(&self.version()).await;
                found.map_err(|error| error.failed(&self.url))
            }
        }
    }

    fn snapshot_id<'a>(&'a self, at: &'a At) -> BoxFuture<'a, Result<SnapshotId>> {
        async move {
            let none = || {
                let message =
                    "the repository has no such commit, tag or branch; it may have expired";
                Error::new(ErrorKind::NotFound, message).with("at", at).with("store", &self.url)
            };
            let resolve = async |version: &VersionInfo| {
                let found = self.inner.resolve_version(version).await;
                match found.map_err(|error| error.failed(&self.url)) {
                    Ok(id) => Ok(Some(id)),
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            };
            match at {
                At::Number(number) => {
                    let history = self.history(&self.version()).await?;
                    let found = history.numbered(*number).filter(|entry| !entry.id.is_initial());
                    found.map(|entry| entry.id.clone()).ok_or_else(none)
                }
                At::Time(time) => {
                    let history = self.history(&self.version()).await?;
                    let version = match &self.place {
                        Place::Branch(branch) => {
                            VersionInfo::AsOf { branch: branch.clone(), at: time_of(*time) }
                        }
                        Place::Snapshot(_) => self.version(),
                    };
                    let found = resolve(&version).await?;
                    // Before the first commit there was no collection.
                    found.filter(|id| history.is_commit(id)).ok_or_else(none)
                }
                At::Name(name) => {
                    let tag = VersionInfo::TagRef(name.clone());
                    if let Some(id) = resolve(&tag).await? {
                        return Ok(id);
                    }
                    if let Some(id) = resolve(&VersionInfo::BranchTipRef(name.clone())).await? {
                        return Ok(id);
                    }
                    if let Ok(id) = SnapshotId::try_from(name.as_str())
                        && let Some(id) = resolve(&VersionInfo::SnapshotId(id)).await?
                    {
                        return Ok(id);
                    }
                    match At::number_or_time(name) {
                        Some(at) => Box::pin(self.snapshot_id(&at)).await,
                        None => Err(none()),
                    }
                }
            }
        }
        .boxed()
    }

    fn named(&self, error: impl Failed, what: &'static str, name: &str) -> Error {
        error.failed(&self.url).with(what, name)
    }
}
