//! Opening a dataset without knowing its kind.

use partita_core::{Result, StoreOptions};
use partita_table::Table;

use crate::DatasetKind;

/// An open dataset of either kind.
#[derive(Clone)]
#[non_exhaustive]
pub enum Dataset {
    /// Rows in Parquet files.
    Table(Table),
}

impl Dataset {
    /// What kind of dataset it is.
    #[must_use]
    pub fn kind(&self) -> DatasetKind {
        match self {
            Self::Table(_) => DatasetKind::Table,
        }
    }

    /// The table, if it is one.
    #[must_use]
    pub fn into_table(self) -> Option<Table> {
        match self {
            Self::Table(table) => Some(table),
        }
    }
}

/// Opens the dataset at `url`, whatever its kind.
///
/// # Errors
/// [`partita_core::ErrorKind::NotFound`] if there is no dataset at `url`.
pub async fn open(url: &str, options: &StoreOptions) -> Result<Dataset> {
    Ok(Dataset::Table(Table::open(url, options).await?))
}
