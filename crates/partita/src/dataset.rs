//! Opening a dataset without knowing its kind.

use partita_array::Collection;
use partita_core::{Error, ErrorKind, Result, StoreOptions};
use partita_table::Table;

use crate::DatasetKind;

/// An open dataset of either kind.
#[derive(Clone)]
#[non_exhaustive]
pub enum Dataset {
    /// Rows in Parquet files.
    Table(Table),
    /// Labelled arrays in Zarr groups.
    Collection(Collection),
}

impl Dataset {
    /// What kind of dataset it is.
    #[must_use]
    pub fn kind(&self) -> DatasetKind {
        match self {
            Self::Table(_) => DatasetKind::Table,
            Self::Collection(_) => DatasetKind::Collection,
        }
    }

    /// The table, if it is one.
    #[must_use]
    pub fn into_table(self) -> Option<Table> {
        match self {
            Self::Table(table) => Some(table),
            Self::Collection(_) => None,
        }
    }

    /// The collection, if it is one.
    #[must_use]
    pub fn into_collection(self) -> Option<Collection> {
        match self {
            Self::Collection(collection) => Some(collection),
            Self::Table(_) => None,
        }
    }
}

/// Opens the dataset at `url`, whatever its kind.
///
/// # Errors
/// [`partita_core::ErrorKind::NotFound`] if there is no dataset at `url`.
pub async fn open(url: &str, options: &StoreOptions) -> Result<Dataset> {
    match Table::open(url, options).await {
        Ok(table) => Ok(Dataset::Table(table)),
        // A URL that names no table, as the root of a store does, may name a collection.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidArgument) => {
            match Collection::open(url, options).await {
                Ok(collection) => Ok(Dataset::Collection(collection)),
                Err(other)
                    if other.kind() == ErrorKind::NotFound
                        && error.kind() == ErrorKind::NotFound =>
                {
                    let why = "there is neither a table nor a collection here";
                    Err(Error::new(ErrorKind::NotFound, why).with("url", url))
                }
                Err(other) if other.kind() == ErrorKind::NotFound => Err(error),
                Err(other) => Err(other),
            }
        }
        Err(error) => Err(error),
    }
}
