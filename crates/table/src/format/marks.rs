//! Small documents beside the snapshots: marks of expiries.

use bytes::Bytes;
use partita_core::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Records that the history was truncated, and which files no remaining version names. The age of
/// these files is that of this object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Expiry {
    format: u32,
    /// The oldest version that was kept.
    pub oldest: u64,
    /// Data and index files that no remaining version names.
    pub dropped: Vec<String>,
}

/// The format that this code writes.
const FORMAT: u32 = 1;

impl Expiry {
    /// The mark of an expiry.
    #[must_use]
    pub fn new(oldest: u64, dropped: Vec<String>) -> Self {
        Self { format: FORMAT, oldest, dropped }
    }

    /// Reads a stored mark.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt).
    pub fn decode(bytes: &Bytes, key: &str) -> Result<Self> {
        decode(bytes, key, |mark: &Self| mark.format)
    }
}

/// The stored form of a small document.
///
/// # Errors
/// Data cannot cause an error.
pub fn encode(document: &impl Serialize) -> Result<Bytes> {
    let text = serde_json::to_vec(document)
        .map_err(|error| Error::invalid("a document cannot be written").caused_by(error))?;
    Ok(text.into())
}

fn decode<T: DeserializeOwned>(bytes: &Bytes, key: &str, format: fn(&T) -> u32) -> Result<T> {
    let document: T = serde_json::from_slice(bytes).map_err(|error| {
        Error::corrupt("a document beside the table cannot be read")
            .with("key", key)
            .caused_by(error)
    })?;
    if format(&document) > FORMAT {
        return Err(Error::corrupt(
            "a document beside the table is of a later format; use a newer release",
        )
        .with("key", key));
    }
    Ok(document)
}
