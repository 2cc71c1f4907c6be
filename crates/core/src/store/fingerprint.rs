//! Listing the objects of a directory with their versions.

use std::fmt::Write as _;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::Store;
use super::key::parse_key;
use super::read::is_missing;
use crate::Result;

/// The maximum number of listings in flight.
const LISTINGS_IN_FLIGHT: usize = 32;

/// Identifies the content of an object: it changes when the object is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectVersion {
    /// The key, below the directory.
    pub name: String,
    /// The size in bytes.
    pub size: u64,
    /// The entity tag: a read with this tag as its condition succeeds as long as the object was not
    /// overwritten. `None` in a store without tags.
    pub version: Option<String>,
    /// When the object was written, by the clock of the store.
    pub last_modified: Timestamp,
}

impl Store {
    /// The objects under a directory, ordered by name; empty if there is no such directory.
    ///
    /// The version of a local file consists of its inode, its size and its modification time. Hard
    /// links to the same file, and a file that was moved, have the same version.
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

    /// A short fingerprint of the objects of each directory, which changes if one of them is
    /// written, added or removed; `None` if there are no objects. A directory that was moved as a
    /// whole within the store may keep its fingerprint; a copy has another one.
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
        stream::iter(all).buffered(LISTINGS_IN_FLIGHT).try_collect().await
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

/// The [fingerprint](Store::fingerprints) of a directory whose objects are among these.
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
