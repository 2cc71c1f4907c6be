//! Opening a dataset of unknown kind.

use partita_array::{Collection, View, holds_repository};
use partita_core::store::repository_url;
use partita_core::{Error, ErrorKind, Result, Store, StoreOptions};
use partita_table::Table;

use crate::DatasetKind;

/// An open dataset of any kind.
#[derive(Clone)]
#[non_exhaustive]
pub enum Dataset {
    /// Rows in Parquet files.
    Table(Table),
    /// Labelled arrays in Zarr groups.
    Collection(Collection),
    /// Additional variables over a collection.
    View(View),
}

impl Dataset {
    /// The kind of the dataset.
    #[must_use]
    pub fn kind(&self) -> DatasetKind {
        match self {
            Self::Table(_) => DatasetKind::Table,
            Self::Collection(_) => DatasetKind::Collection,
            Self::View(_) => DatasetKind::View,
        }
    }

    /// The table, if it is one.
    #[must_use]
    pub fn into_table(self) -> Option<Table> {
        match self {
            Self::Table(table) => Some(table),
            Self::Collection(_) | Self::View(_) => None,
        }
    }

    /// The collection, if it is one.
    #[must_use]
    pub fn into_collection(self) -> Option<Collection> {
        match self {
            Self::Collection(collection) => Some(collection),
            Self::Table(_) | Self::View(_) => None,
        }
    }

    /// The view, if it is one.
    #[must_use]
    pub fn into_view(self) -> Option<View> {
        match self {
            Self::View(view) => Some(view),
            Self::Table(_) | Self::Collection(_) => None,
        }
    }
}

/// Opens the dataset at `url`, of any kind.
///
/// # Errors
/// [`partita_core::ErrorKind::NotFound`] if there is no dataset at `url`.
pub async fn open(url: &str, options: &StoreOptions) -> Result<Dataset> {
    if repository_url(url).is_some() {
        return open_arrays(url, options).await;
    }
    match Table::open(url, options).await {
        Ok(table) => Ok(Dataset::Table(table)),
        // A URL that cannot be a table, such as the root of a store, may be a collection.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidArgument) => {
            match open_arrays(url, options).await {
                Err(other) if other.kind() == ErrorKind::NotFound => {
                    if error.kind() == ErrorKind::InvalidArgument || names_base(&other) {
                        return Err(if names_base(&other) { other } else { error });
                    }
                    let why = match holds_repository(&Store::open(url, options)?, "").await? {
                        true => "that is an Icechunk repository; open it as icechunk+ and its URL",
                        false => "there is neither a table nor a collection nor a view here",
                    };
                    Err(Error::new(ErrorKind::NotFound, why).with("url", url))
                }
                opened => opened,
            }
        }
        Err(error) => Err(error),
    }
}

async fn open_arrays(url: &str, options: &StoreOptions) -> Result<Dataset> {
    match Collection::open(url, options).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            View::open(url, options).await.map(Dataset::View)
        }
        opened => opened.map(Dataset::Collection),
    }
}

/// True if the view exists and its base is missing.
pub(crate) fn names_base(error: &Error) -> bool {
    error.context().iter().any(|(name, _)| *name == "base")
}
