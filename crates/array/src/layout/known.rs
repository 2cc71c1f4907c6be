//! A cache of decoded array documents, since the documents of partitions are often equal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use partita_core::Result;

use super::OpenGroup;

/// The largest number of cached documents.
const MAX_DOCUMENTS: usize = 1024;

/// Decoded documents by their content, for groups that are opened with the same schema.
#[derive(Debug, Default)]
pub(crate) struct KnownArrays {
    found: Mutex<HashMap<(String, Bytes), Arc<OpenGroup>>>,
}

impl KnownArrays {
    /// The arrays that the document describes, for the group at `path`; it is decoded if it is not
    /// cached.
    pub fn find(
        &self,
        path: &str,
        document: &Bytes,
        decode: impl FnOnce() -> Result<OpenGroup>,
    ) -> Result<Arc<OpenGroup>> {
        let key = (path.to_owned(), document.clone());
        let kept = || self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept().get(&key) {
            return Ok(Arc::clone(found));
        }
        let decoded = Arc::new(decode()?);
        let mut kept = kept();
        if kept.len() < MAX_DOCUMENTS {
            kept.insert(key, Arc::clone(&decoded));
        }
        Ok(decoded)
    }
}
