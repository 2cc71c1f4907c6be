//! A state of the repository in the making: the changes of one commit, in a session.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use icechunk::format::Path;
use icechunk::format::snapshot::NodeType;
use icechunk::session::{Session, SessionErrorKind};
use partita_core::store::is_under;
use partita_core::{Error, Result, Store};
use tokio::sync::RwLock;

use super::Repository;
use super::failure::Failed;
use super::history::History;
use super::keys::{Target, path_of};
use super::staging::Object;
use crate::commit::{Action, Change, Draft};
use crate::layout::{Config, encode_config, parent_groups, read_either};

/// Objects of a change, by their keys.
type Staged = BTreeMap<String, Object>;

fn not_here() -> Error {
    Error::corrupt("what was staged for a partition is not here: it is sent with what is staged")
}

/// A state in the making.
pub(super) struct Making<'a> {
    pub repository: &'a Repository,
    pub session: Arc<RwLock<Session>>,
    /// The same as a store.
    pub store: Store,
}

impl Making<'_> {
    /// What the collection is, after writing what it is to be.
    pub async fn config(&self, new: Option<&Config>) -> Result<Config> {
        let Some(config) = new else { return read_either(&self.store).await };
        self.add_groups(parent_groups(config.layout, "")).await?;
        let (key, bytes) = encode_config(config)?;
        self.store.put(key, bytes).await?;
        Ok(config.clone())
    }

    /// Adds to changes of parts of partitions what is known of the variables that stay.
    pub fn carry_statistics(&self, changes: &mut [Change], draft: &Draft, history: &History) {
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
    pub async fn apply(&self, changes: &[Change], config: &Config) -> Result<()> {
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
