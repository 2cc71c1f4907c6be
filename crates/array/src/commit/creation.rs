//! The first commit: what makes a collection, or a view, where there is none.

use partita_core::store::Swap;
use partita_core::{Error, ErrorKind, Result, Store, commit_point};

use crate::copy::refuse_unfinished;
use crate::layout::{Config, Layout, encode_config, read_config, read_view};

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
    let (collection, view) = futures::join!(read_config(store), read_view(store, None));
    for found in [collection, view] {
        match found {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(exists(store)),
        }
    }
    Ok(())
}

pub(crate) fn exists(store: &Store) -> Error {
    Error::new(ErrorKind::AlreadyExists, "there is a collection or a view here already")
        .with("store", store.url())
}

/// The error of taking back the creation of a collection that has commits.
pub(crate) fn has_commits(url: &str) -> Error {
    Error::new(ErrorKind::CommitConflict, "the collection has commits already").with("store", url)
}

pub(super) async fn create_document(store: &Store, config: &Config, commit: &str) -> Result<()> {
    // The other documents are not what the swap below would notice.
    refuse_existing(store).await?;
    refuse_unfinished(store).await?;
    let (key, bytes) = encode_config(config)?;
    let create = store.compare_and_swap(key, None, bytes, commit);
    match commit_point(commit, create, Swap::is_done).await? {
        Swap::Done(_) => Ok(()),
        Swap::Lost { .. } => Err(exists(store)),
    }
}
