//! Which objects are in a directory, in which versions.

use std::fmt::Write as _;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::Store;
use super::key::parse_key;
use super::read::is_missing;
use crate::Result;

/// Directories listed at once.
const AT_ONCE: usize = 32;

/// What tells an object from another one that took its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectVersion {
    /// The key, below the directory.
    pub name: String,
    /// The size in bytes.
    pub size: u64,
    /// The entity tag: a read of the object that has it as its condition succeeds while nothing was
    /// written there since. None in a store that gives no tags.
    pub version: Option<String>,
    /// When the object was written, by the clock of the store.
    pub last_modified: Timestamp,
}

impl Store {
    /// The objects under a directory, ordered by name; none, where there is no such directory.
    ///
    /// The version of a local file is made of its inode, its size and the time when it was last written.
    /// Links to the same file, and a file that was moved, have the same one.
    ///
    /// Costs a request per 1,000 objects.
    ///
    /// # Errors
    /// [`Store`](crate::ErrorKind::Store) if the store fails.
    pub async fn versions(&self, directory: &str) -> Result<Vec<ObjectVersion>> {
        let mut found = match &self.local {
            Some(files) => {
                let found = files.versions(vec![parse_key(directory)?]).await;
                let found =
                    found.map_err(|error| self.request("listed", directory).failed(error))?;
                found.into_iter().flatten().collect()
            }
            None => self.listed_versions(directory).await?,
        };
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

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
            let found = files.versions(paths).await;
            let found = found.map_err(|error| self.request("listed", "").failed(error))?;
            return Ok(found.into_iter().map(digest).collect());
        }
        let one = async |directory: &String| Ok(digest(self.listed_versions(directory).await?));
        let all: Vec<_> = directories.iter().map(one).collect();
        stream::iter(all).buffered(AT_ONCE).try_collect().await
    }

    async fn listed_versions(&self, directory: &str) -> Result<Vec<ObjectVersion>> {
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
            let name = below.trim_start_matches('/').to_owned();
            let (size, version) = (object.size, object.e_tag.clone());
            let last_modified = self.info(object)?.last_modified;
            found.push(ObjectVersion { name, size, version, last_modified });
        }
        Ok(found)
    }
}

/// What [`Store::fingerprints`] says of a directory among these objects.
#[must_use]
pub fn fingerprint_of(objects: &[ObjectVersion], directory: &str) -> Option<String> {
    let below = |object: &ObjectVersion| {
        let name = object.name.strip_prefix(directory)?.strip_prefix('/')?.to_owned();
        Some(ObjectVersion { name, ..object.clone() })
    };
    digest(objects.iter().filter_map(below).collect())
}

fn digest(mut found: Vec<ObjectVersion>) -> Option<String> {
    if found.is_empty() {
        return None;
    }
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut hash = blake3::Hasher::new();
    for ObjectVersion { name, size, version, last_modified } in &found {
        let time = || last_modified.as_microsecond().to_string();
        let version = version.clone().unwrap_or_else(time);
        for part in [name.as_bytes(), version.as_bytes()] {
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
