//! Whether the objects of a directory are still those that were there.

use std::fmt::Write as _;

use futures::{StreamExt, TryStreamExt, stream};

use super::Store;
use super::key::parse_key;
use super::read::is_missing;
use crate::Result;

/// Directories listed at once.
const AT_ONCE: usize = 32;

/// What tells an object from another one that took its place.
pub(super) struct Identity {
    /// The key, below the directory.
    pub key: String,
    pub size: u64,
    /// The version that the store gives it, else the time of its last change.
    pub version: String,
}

impl Store {
    /// For each directory what its objects are, in a few characters: another text, if one of them
    /// was written since, or one came or went; none, where there are no objects. A directory that
    /// was moved as a whole within the store may keep its text, and a copy has another one.
    ///
    /// Costs a request per directory and 1,000 objects.
    ///
    /// # Errors
    /// [`Store`](crate::ErrorKind::Store) if the store fails.
    pub async fn fingerprints(&self, directories: &[String]) -> Result<Vec<Option<String>>> {
        if let Some(files) = &self.local {
            let paths = directories.iter().map(|key| parse_key(key)).collect::<Result<_>>()?;
            let found = files.identities(paths).await;
            let found = found.map_err(|error| self.request("listed", "").failed(error))?;
            return Ok(found.into_iter().map(digest).collect());
        }
        let one = async |directory: &String| Ok(digest(self.identities(directory).await?));
        let all: Vec<_> = directories.iter().map(one).collect();
        stream::iter(all).buffered(AT_ONCE).try_collect().await
    }

    async fn identities(&self, directory: &str) -> Result<Vec<Identity>> {
        let path = parse_key(directory)?;
        self.count_request();
        let mut listed = self.inner.list(Some(&path));
        let mut found = Vec::new();
        while let Some(object) = listed.next().await {
            let object = match object {
                Err(error) if is_missing(&error) => break,
                object => {
                    object.map_err(|error| self.request("listed", directory).failed(error))?
                }
            };
            let below = object.location.as_ref().strip_prefix(path.as_ref()).unwrap_or_default();
            let time = || object.last_modified.timestamp_micros().to_string();
            found.push(Identity {
                key: below.trim_start_matches('/').to_owned(),
                size: object.size,
                version: object.e_tag.clone().unwrap_or_else(time),
            });
        }
        Ok(found)
    }
}

fn digest(mut found: Vec<Identity>) -> Option<String> {
    if found.is_empty() {
        return None;
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    let mut hash = blake3::Hasher::new();
    for Identity { key, size, version } in &found {
        for part in [key.as_bytes(), version.as_bytes()] {
            hash.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        hash.update(&size.to_le_bytes());
    }
    let mut text = String::new();
    for byte in hash.finalize().as_bytes().iter().take(16) {
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}
