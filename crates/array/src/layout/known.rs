//! Documents of arrays that were decoded before: those of partitions are often the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use partita_core::Result;

use super::OpenGroup;

/// How many documents are kept.
const MOST: usize = 1024;

/// What was decoded from documents, by their content; of groups that are opened with one schema.
#[derive(Debug, Default)]
pub(crate) struct KnownArrays {
    found: Mutex<HashMap<(String, Bytes), Arc<OpenGroup>>>,
}

impl KnownArrays {
    /// The arrays that the document of `path` describes, wherever they are.
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
        if kept.len() < MOST {
            kept.insert(key, Arc::clone(&decoded));
        }
        Ok(decoded)
    }
}
