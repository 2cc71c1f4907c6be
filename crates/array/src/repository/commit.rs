//! From staged changes to one commit of the repository.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use icechunk::format::Path;
use icechunk::format::snapshot::NodeType;
use icechunk::repository::VersionInfo;
use icechunk::session::{Session, SessionErrorKind};
use partita_core::store::is_under;
use partita_core::{Error, ErrorKind, Result, Store, StoreOptions};
use tokio::sync::RwLock;

use super::failure::Failed;
use super::history::{History, message, properties};
use super::keys::{Target, path_of};
use super::staging::Object;
use super::view::View;
use super::{Place, Repository, State};
use crate::commit::{Action, Change, Draft, Outcome, Record};
use crate::layout::{Config, edit_catalog, encode_config, parent_groups, read_either};
use crate::statistics::Statistics;

/// How often a commit is tried because another writer was faster.
const ATTEMPTS: u32 = 1000;

/// Puts documents into a state in the making.
pub(crate) trait WriteDocuments: Sync {
    /// Says whether there was anything to put.
    fn write<'a>(&'a self, target: &'a Store) -> BoxFuture<'a, Result<bool>>;
}

/// Objects of a change, by their keys.
type Staged = BTreeMap<String, Object>;

impl Repository {
    /// Commits the changes of a draft, which were made from `state` or what came before it.
    pub fn commit<'a>(
        &'a self,
        draft: &'a Draft,
        mut record: Record,
        base: u64,
        state: &'a State,
        check: Option<&'a dyn WriteDocuments>,
    ) -> BoxFuture<'a, Result<Outcome>> {
        async move {
            for attempt in 0..ATTEMPTS {
                let session = self.begin().await?;
                let history = self.history_of(&session).await?;
                // An answer may have been lost, or be one that came late.
                if attempt > 0
                    && let Some(done) = history.own(&record.id)
                {
                    return Ok(Outcome::Done(done.record.sequence));
                }
                let since = history.since(base, &state.id);
                if let Some(stale) = draft.stale(&since) {
                    return Ok(stale);
                }
                record.sequence = history.latest().saturating_add(1);
                let making = self.making(session);
                making.carry_statistics(&mut record.changes, draft, &history);
                let config = making.config(draft.config()).await?;
                making.apply(&record.changes, &config).await?;
                edit_catalog(&making.store, &config, &record.changes).await?;
                if let Some(check) = check {
                    check.write(&making.store).await?;
                }
                if self.try_commit(making, &record).await? {
                    return Ok(Outcome::Done(record.sequence));
                }
            }
            Err(self.overtaken())
        }
        .boxed()
    }

    /// Makes one commit of documents, if any are put into the state. They are written
    /// again where others were faster.
    pub fn write_documents<'a>(
        &'a self,
        mut record: Record,
        documents: &'a dyn WriteDocuments,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            for attempt in 0..ATTEMPTS {
                let session = self.begin().await?;
                let history = self.history_of(&session).await?;
                if attempt > 0 && history.own(&record.id).is_some() {
                    return Ok(());
                }
                record.sequence = history.latest().saturating_add(1);
                let making = self.making(session);
                if !documents.write(&making.store).await?
                    || self.try_commit(making, &record).await?
                {
                    return Ok(());
                }
            }
            Err(self.overtaken())
        }
        .boxed()
    }

    /// Commits what is known of the values of partitions, as `state` has them, but for those that
    /// others have changed since.
    pub fn note<'a>(
        &'a self,
        mut known: Statistics,
        state: &'a State,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            let id = uuid::Uuid::new_v4().simple().to_string();
            let mut record = Record::new("statistics", id, None, Vec::new());
            for attempt in 0..ATTEMPTS {
                let session = self.begin().await?;
                let history = self.history_of(&session).await?;
                if attempt > 0 && history.own(&record.id).is_some() {
                    return Ok(());
                }
                let since = history.since(state.latest(), &state.id);
                known.retain(|path, _| !since.records.iter().any(|newer| newer.touches(path)));
                if since.unknown || known.is_empty() {
                    return Ok(());
                }
                record.sequence = history.latest().saturating_add(1);
                record.statistics.clone_from(&known);
                if self.try_commit(self.making(session), &record).await? {
                    return Ok(());
                }
            }
            Err(self.overtaken())
        }
        .boxed()
    }

    async fn begin(&self) -> Result<Session> {
        self.check_writable()?;
        let Place::Branch(branch) = &self.place else { return Err(self.overtaken()) };
        let session = self.inner.writable_session(branch).await;
        session.map_err(|error| error.failed(&self.url))
    }

    async fn history_of(&self, session: &Session) -> Result<History> {
        self.history(&VersionInfo::SnapshotId(session.snapshot_id().clone())).await
    }

    fn making(&self, session: Session) -> Making<'_> {
        let session = Arc::new(RwLock::new(session));
        let (staging, url) = (Arc::clone(&self.staging), Arc::clone(&self.url));
        let view = View::writing(Arc::clone(&session), staging, url);
        let store = Store::from_object_store(Arc::new(view), &self.url, &StoreOptions::new());
        Making { repository: self, session, store }
    }

    /// True if it is committed, false if others were faster.
    async fn try_commit(&self, making: Making<'_>, record: &Record) -> Result<bool> {
        let mut session = making.session.write().await;
        let commit = session.commit(message(record)).properties(properties(record)?);
        match commit.allow_empty(true).execute().await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind, SessionErrorKind::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.failed(&self.url)),
        }
    }

    fn overtaken(&self) -> Error {
        Error::new(ErrorKind::CommitConflict, "other writers were always faster; try again")
            .with("attempts", ATTEMPTS)
            .with("store", &self.url)
    }
}

fn not_here() -> Error {
    Error::corrupt("what was staged for a partition is not here: it is sent with what is staged")
}

/// A state in the making.
struct Making<'a> {
    repository: &'a Repository,
    session: Arc<RwLock<Session>>,
    /// The same as a store.
    store: Store,
}

impl Making<'_> {
    /// What the collection is, after writing what it is to be.
    async fn config(&self, new: Option<&Config>) -> Result<Config> {
        let Some(config) = new else { return read_either(&self.store).await };
        self.add_groups(parent_groups(config.layout, "")).await?;
        let (key, bytes) = encode_config(config)?;
        self.store.put(key, bytes).await?;
        Ok(config.clone())
    }

    /// Adds to changes of parts of partitions what is known of the variables that stay.
    fn carry_statistics(&self, changes: &mut [Change], draft: &Draft, history: &History) {
        let known = LazyCell::new(|| history.statistics());
        for (change, own) in changes.iter_mut().zip(draft.changes()) {
            let Action::Patch { replaced, .. } = &change.action else { continue };
            let Some(before) = known.get(&change.path) else { continue };
            let directory = change.staged_directory().unwrap_or_default();
            let staged = self.repository.staging.under(&directory);
            let stays = |name: &String| {
                let mut keys = replaced.iter().chain(staged.iter().map(|(key, _)| key));
                !keys.any(|key| is_under(key, std::slice::from_ref(name)))
            };
            let mut carried = own.statistics.clone();
            for (name, known) in before.iter().filter(|(name, _)| stays(name)) {
                carried.entry(name.clone()).or_insert_with(|| known.clone());
            }
            change.statistics = carried;
        }
    }

    /// Makes the changes: everything is taken out first, since finding what is in a group takes the
    /// longer the more is new.
    async fn apply(&self, changes: &[Change], config: &Config) -> Result<()> {
        let placed = |change: &Change, error: Error| error.with("partition", &change.path);
        for change in changes {
            self.clear(change).await.map_err(|error| placed(change, error))?;
        }
        let mut groups = BTreeMap::new();
        for change in changes {
            if let Some(directory) = change.staged_directory() {
                let staged = self.staged(&directory, &change.path);
                if staged.is_empty() && matches!(change.action, Action::Replace { .. }) {
                    return Err(placed(change, not_here()));
                }
                self.put(staged).await.map_err(|error| placed(change, error))?;
                groups.extend(parent_groups(config.layout, &change.path));
            }
        }
        self.add_groups(groups).await
    }

    /// Takes out what a change replaces or removes.
    async fn clear(&self, change: &Change) -> Result<()> {
        let path = change.path.as_str();
        match &change.action {
            Action::Drop | Action::Replace { .. } => self.delete(path).await.map(drop),
            Action::Patch { replaced, .. } => {
                let directory = change.staged_directory().unwrap_or_default();
                let staged = self.staged(&directory, path);
                for key in replaced {
                    self.replace(&format!("{path}/{key}"), &staged).await?;
                }
                Ok(())
            }
        }
    }

    /// Makes those groups that are not there.
    async fn add_groups(&self, groups: impl IntoIterator<Item = (String, String)>) -> Result<()> {
        for (key, text) in groups {
            if self.store.head(&key).await?.is_none() {
                self.store.put(&key, text.into()).await?;
            }
        }
        Ok(())
    }

    /// What is staged for a directory, by its full keys.
    fn staged(&self, directory: &str, path: &str) -> Staged {
        let found = self.repository.staging.under(directory);
        found.into_iter().map(|(key, object)| (format!("{path}/{key}"), object)).collect()
    }

    /// Takes out what a key names, an object or a directory, unless what is staged takes its place.
    async fn replace(&self, key: &str, staged: &Staged) -> Result<()> {
        if staged.contains_key(key) {
            return Ok(());
        }
        // An array may have a name like that of chunks.
        match Target::of(key) {
            Some(Target::Node(path)) => self.delete_node(path).await.map(drop),
            Some(Target::Chunk(path, indices)) if !self.delete(key).await? => {
                let mut session = self.session.write().await;
                match session.delete_chunks(&path, [indices]).await {
                    Ok(()) => Ok(()),
                    Err(error) => match &error.kind {
                        SessionErrorKind::NodeNotFound { .. }
                        | SessionErrorKind::NotAnArray { .. }
                        | SessionErrorKind::InvalidIndex { .. } => Ok(()),
                        _ => Err(self.failed(error)),
                    },
                }
            }
            Some(Target::Chunk(..)) => Ok(()),
            _ => self.delete(key).await.map(drop),
        }
    }

    /// Deletes the node at a prefix with all that is in it, if there is one.
    async fn delete(&self, prefix: &str) -> Result<bool> {
        match path_of(prefix) {
            Some(path) => self.delete_node(path).await,
            None => Err(Error::invalid("that is no path in a repository").with("path", prefix)),
        }
    }

    async fn delete_node(&self, path: Path) -> Result<bool> {
        let mut session = self.session.write().await;
        let node = match session.get_node(&path).await {
            Ok(node) => node,
            Err(error) if matches!(error.kind, SessionErrorKind::NodeNotFound { .. }) => {
                return Ok(false);
            }
            Err(error) => return Err(self.failed(error)),
        };
        let deleted = match node.node_type() {
            NodeType::Group => session.delete_group(path).await,
            NodeType::Array => session.delete_array(path).await,
        };
        deleted.map(|()| true).map_err(|error| self.failed(error))
    }

    /// Puts what is staged into its place: documents first, since chunks are those of arrays.
    async fn put(&self, staged: Staged) -> Result<()> {
        let mut chunks = Vec::new();
        for (key, object) in staged {
            match object {
                Object::Document(text) => self.store.put(&key, text.into()).await?,
                Object::Chunk(payload) => chunks.push((key, payload)),
            }
        }
        let mut session = self.session.write().await;
        for (key, payload) in chunks {
            let Some(Target::Chunk(path, indices)) = Target::of(&key) else {
                return Err(Error::corrupt("a chunk was staged under another key").with("key", key));
            };
            let set = session.set_chunk_ref(path, indices, Some(payload)).await;
            set.map_err(|error| self.failed(error).with("key", key))?;
        }
        Ok(())
    }

    fn failed(&self, error: impl Failed) -> Error {
        error.failed(&self.repository.url)
    }
}
