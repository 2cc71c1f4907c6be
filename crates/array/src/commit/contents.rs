//! What a partition consists of after a commit, object by object.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use partita_core::store::is_under;
use partita_core::{Error, ErrorKind, Result, Store};

use super::manifest::{DEPTH, Kept, Manifest};
use super::paths::staged_directory;
use crate::digest::Digest;

/// The objects of a partition as its manifests list them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents {
    /// By name below the partition.
    pub objects: BTreeMap<String, Held>,
    /// False if the oldest manifest is a patch of a state without one: then there are objects
    /// besides, which only the published layout knows.
    pub complete: bool,
}

/// An object of a partition, and the immutable object with its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub size: u64,
    pub digest: Digest,
    pub key: String,
}

impl Held {
    /// The content, from the immutable object or from the published one, whichever has it.
    pub async fn read(&self, store: &Store, path: &str, name: &str) -> Result<Bytes> {
        for key in [self.key.clone(), format!("{path}/{name}")] {
            if let Some(bytes) = self.read_at(store, &key).await? {
                return Ok(bytes);
            }
        }
        Err(Error::corrupt("no copy of an object has the content that was committed")
            .with("key", format!("{path}/{name}"))
            .with("store", store.url()))
    }

    /// The content of the object at `key`, if it is that which was committed. One request.
    pub async fn read_at(&self, store: &Store, key: &str) -> Result<Option<Bytes>> {
        match store.get_within(key, self.size).await {
            // It is larger, or no object.
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
            found => Ok(found?.filter(|bytes| Digest::of(bytes) == self.digest)),
        }
    }
}

impl Contents {
    /// The state after the change staged at `stage`. One request for each of up to 16 manifests.
    pub async fn of(store: &Store, stage: &str, path: &str) -> Result<Self> {
        let manifest = Manifest::read(store, stage, path).await?;
        Self::after(store, stage, path, &manifest).await
    }

    /// As [`Contents::of`], where the newest manifest is known.
    pub async fn after(
        store: &Store,
        stage: &str,
        path: &str,
        manifest: &Manifest,
    ) -> Result<Self> {
        let mut found = Self::default();
        let mut replaced = Vec::new();
        if found.add(manifest, stage, path, &mut replaced) {
            return Ok(found);
        }
        let mut next = manifest.base.clone();
        for _ in 0..=DEPTH {
            let Some(stage) = next else { return Ok(found) };
            let manifest = Manifest::read(store, &stage, path).await?;
            if found.add(&manifest, &stage, path, &mut replaced) {
                return Ok(found);
            }
            next = manifest.base;
        }
        Err(Error::corrupt("too many manifests refer to each other")
            .with("partition", path)
            .with("store", store.url()))
    }

    /// Adds what an older manifest says. True if no older one is needed.
    fn add(
        &mut self,
        manifest: &Manifest,
        stage: &str,
        path: &str,
        replaced: &mut Vec<String>,
    ) -> bool {
        let directory = staged_directory(stage, path);
        for entry in &manifest.objects {
            if !is_under(&entry.name, replaced) {
                let key = format!("{directory}/{}", entry.name);
                let held = Held { size: entry.size, digest: entry.digest, key };
                self.objects.entry(entry.name.clone()).or_insert(held);
            }
        }
        for kept in manifest.kept.iter().flatten() {
            if !is_under(&kept.name, replaced) {
                let Kept { name, size, digest, key } = kept.clone();
                self.objects.entry(name).or_insert(Held { size, digest, key });
            }
        }
        replaced.extend(manifest.replaced.iter().flatten().cloned());
        self.complete |= manifest.replaced.is_none() || manifest.kept.is_some();
        self.complete
    }

    /// The objects of this state that a patch keeps, where its manifest is whole and replaces these names.
    pub fn kept(self, replaced: &[String]) -> Vec<Kept> {
        let stays = self.objects.into_iter().filter(|(name, _)| !is_under(name, replaced));
        let kept = |(name, held): (String, Held)| {
            let Held { size, digest, key } = held;
            Kept { name, size, digest, key }
        };
        stays.map(kept).collect()
    }
}

/// The contents that each name of a partition has had, with their sizes, as far as manifests are
/// retained.
#[derive(Debug, Default)]
pub(super) struct Past(HashMap<String, HashSet<(u64, Digest)>>);

impl Past {
    pub fn add(&mut self, contents: &Contents) {
        for (name, held) in &contents.objects {
            self.0.entry(name.clone()).or_default().insert((held.size, held.digest));
        }
    }

    pub fn knows(&self, name: &str, size: u64, digest: Digest) -> bool {
        self.0.get(name).is_some_and(|known| known.contains(&(size, digest)))
    }

    /// Whether the name has had a content of this size.
    pub fn knows_size(&self, name: &str, size: u64) -> bool {
        self.0.get(name).is_some_and(|known| known.iter().any(|(own, _)| *own == size))
    }
}
