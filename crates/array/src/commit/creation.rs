//! The first commit: what makes a collection, or a view, where there is none.

use futures::FutureExt;
use futures::future::BoxFuture;
use partita_core::store::Swap;
use partita_core::{Error, ErrorKind, Result, Store, commit_point};

use super::{Home, Record};
use crate::layout::{Config, Layout, encode_config, parent_groups, read_either};
use crate::repository::WriteDocuments;

impl Home {
    /// Writes the document that says what the collection or view is that is made here, with the id
    /// of the commit that makes it. Of two that make one here at once, one is refused.
    pub fn create<'a>(&'a self, config: &'a Config, commit: String) -> BoxFuture<'a, Result<()>> {
        async move {
            match self {
                Self::Plain(_) | Self::Past(_) => {
                    create_document(self.store(), config, &commit).await
                }
                Self::Repository(repository) => {
                    let record = Record::new("create", commit, None, Vec::new());
                    repository.write_documents(record, &Creation(config)).await
                }
            }
        }
        .boxed()
    }
}

/// Refuses a layout that cannot be in an Icechunk repository.
pub(crate) fn check_repository_layout(layout: Layout, url: &str) -> Result<()> {
    match layout {
        Layout::ZarrV3 => Ok(()),
        Layout::ZarrV2 => {
            Err(Error::invalid("an Icechunk repository holds Zarr v3 only").with("store", url))
        }
    }
}

/// Refuses if there is a collection, or a view.
pub(crate) async fn refuse_existing(store: &Store) -> Result<()> {
    match read_either(store).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(exists(store)),
    }
}

pub(crate) fn exists(store: &Store) -> Error {
    Error::new(ErrorKind::AlreadyExists, "there is a collection or a view here already")
        .with("store", store.url())
}

async fn create_document(store: &Store, config: &Config, commit: &str) -> Result<()> {
    // The other documents are not what the swap below would notice.
    refuse_existing(store).await?;
    let (key, bytes) = encode_config(config)?;
    let create = store.compare_and_swap(key, None, bytes, commit);
    match commit_point(commit, create, Swap::is_done).await? {
        Swap::Done(_) => Ok(()),
        Swap::Lost { .. } => Err(exists(store)),
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
