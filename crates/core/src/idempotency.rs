//! Idempotency keys: objects that make a commit which is sent twice one commit.
//!
//! Before a commit with a key is made, an object is created under the name that
//! [`idempotency_id`] gives the key. Whoever creates it makes the commit. Whoever finds it looks whether the
//! history holds the commit; if not, its writer is at it or died, and the finder makes the commit.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Store, Swap};

const FORMAT: u32 = 1;

/// The content of the object of an idempotency key.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    format: u32,
    /// The key, as the caller gave it.
    key: String,
    /// The id of the commit, where it is known beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    /// A description of the commit's operation.
    purpose: String,
    /// Tells who created the object.
    created_by: String,
}

/// An idempotency key with the commit for which it is used.
#[derive(Debug, Clone, Copy)]
pub struct KeyUse<'a> {
    /// The key, as the caller gave it.
    pub key: &'a str,
    /// The id of the commit, where it is known beforehand.
    pub commit: Option<&'a str>,
    /// A description of the commit's operation.
    pub purpose: &'a str,
    /// The dataset, for errors.
    pub dataset: &'a str,
}

/// The name of the object of an idempotency key: 32 hexadecimal digits of its BLAKE3 hash.
#[must_use]
pub fn idempotency_id(key: &str) -> String {
    blake3::hash(key.as_bytes()).to_hex().chars().take(32).collect()
}

impl KeyUse<'_> {
    /// Creates the object `at` for the key. Returns false if it was there, for the same use. One
    /// request; two if it was there.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if the key is used for something else;
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if the object cannot be read.
    pub async fn claim(&self, store: &Store, at: &str) -> Result<bool> {
        let created_by = uuid::Uuid::new_v4().simple().to_string();
        let document = Document {
            format: FORMAT,
            key: self.key.to_owned(),
            commit: self.commit.map(str::to_owned),
            purpose: self.purpose.to_owned(),
            created_by: created_by.clone(),
        };
        let text = serde_json::to_vec(&document).map_err(|error| {
            Error::invalid("the object of an idempotency key cannot be written").caused_by(error)
        })?;
        let created = store.compare_and_swap(at, None, text.into(), &created_by).await;
        let current = match created.map_err(not_begun)? {
            Swap::Done(_) => return Ok(true),
            Swap::Lost { current: Some((bytes, _)) } => bytes,
            // An expiry has removed the object together with its commit.
            Swap::Lost { current: None } => return Ok(false),
        };
        self.check_same(&decode(&current, at)?.purpose)?;
        Ok(false)
    }

    /// Refuses if the key was used for something else.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument).
    pub fn check_same(&self, used_for: &str) -> Result<()> {
        if used_for == self.purpose {
            return Ok(());
        }
        Err(Error::invalid("the idempotency key was used for another operation")
            .with("idempotency_key", self.key)
            .with("used_for", used_for)
            .with("asked_for", self.purpose)
            .with("dataset", self.dataset))
    }
}

/// An unknown outcome of this object does not make that of the commit unknown.
fn not_begun(error: Error) -> Error {
    if error.kind() != ErrorKind::CommitUnknown {
        return error;
    }
    let message = "the idempotency key could not be recorded; nothing was committed";
    Error::new(ErrorKind::Store, message).caused_by(error)
}

fn decode(bytes: &Bytes, at: &str) -> Result<Document> {
    let damaged =
        || Error::corrupt("the object of an idempotency key cannot be read").with("key", at);
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| damaged().caused_by(error))?;
    match document.format {
        FORMAT => Ok(document),
        format => Err(damaged().with("format", format)),
    }
}
