//! Rebuilding a header that is missing or unreadable.

use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use hashbrown::HashSet;
use indexmap::IndexMap;
use partita_core::store::{Swap, split_url};
use partita_core::{Error, ErrorKind, Result, Store, StoreOptions};

use crate::Table;
use crate::commit::form_of_new;
use crate::format::header::{Encoding, Files, Header, Own};
use crate::format::keys;
use crate::format::manifest::Manifest;
use crate::format::schema::encode_common_metadata;
use crate::format::snapshot::Snapshot;
use crate::history::commits_before;
use crate::state::{State, header_key, list_partitions, read_header};

impl Table {
    /// Rebuilds the header from the objects in the store, if the table has none or an unreadable
    /// one.
    ///
    /// The table then equals its newest snapshot, if all of its files exist. Otherwise it has the
    /// files that the old header names, and if that cannot be read either, every data file found:
    /// those of older versions too, so check for duplicate rows. The history continues if there is
    /// one.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if the header can be read;
    /// [`NotFound`](ErrorKind::NotFound) if there are no data files;
    /// [`CommitConflict`](ErrorKind::CommitConflict) if another writer created one in the meantime.
    pub fn rebuild<'a>(url: &'a str, options: &'a StoreOptions) -> BoxFuture<'a, Result<Self>> {
        async move {
            let (store, name) = split_url(url)?;
            Self::rebuild_in(Store::open(&store, options)?, &name).await
        }
        .boxed()
    }

    /// Like [`Table::rebuild`], for a table in an open store.
    ///
    /// # Errors
    /// The errors are those of [`Table::rebuild`].
    pub fn rebuild_in(store: Store, name: &str) -> BoxFuture<'_, Result<Self>> {
        async move {
            store.check_writable()?;
            let present = read_header(&store, name).await?;
            let (mut old, mut version) = (None, None);
            let encoding = if let Some((bytes, stored_as, stored)) = present {
                let read = State::from_header(&store, name, &bytes, stored_as.clone(), stored);
                match read.await {
                    Err(error) if error.kind() == ErrorKind::Corrupt => {}
                    Err(error) => return Err(error),
                    Ok(_) => {
                        return Err(Error::new(
                            ErrorKind::AlreadyExists,
                            "the header can be read, so there is nothing to rebuild",
                        )
                        .with("dataset", name));
                    }
                }
                old = Header::decode(&bytes, stored).ok();
                version = Some(stored_as);
                stored
            } else {
                form_of_new(&store, name, Encoding::Json).await?
            };
            let header = Self::made_of(&store, name, old).await?;
            let bytes = header.encode(encoding)?;
            let key = header_key(name, encoding);
            match store.swap_unnamed(&key, version.as_ref(), bytes.into()).await? {
                Swap::Done(_) => Self::open_in(store, name).await,
                Swap::Lost { .. } => Err(Error::new(
                    ErrorKind::CommitConflict,
                    "another writer has written the header in the meantime; check it first",
                )
                .with("key", key)),
            }
        }
        .boxed()
    }

    /// A header that names the existing files.
    async fn made_of(store: &Store, name: &str, old: Option<Header>) -> Result<Header> {
        let found: HashSet<String> =
            store.list(&format!("{name}/")).map_ok(|object| object.key).try_collect().await?;
        let newest = newest_snapshot(store, name, &found).await?;
        let partition_by = newest.as_ref().map(|(_, newest)| newest.document.partition_by.clone());
        let mut header = Header::new(name, partition_by.unwrap_or_default());
        if let Some(old) = &old {
            header.metadata = old.user_metadata();
            header.indices = old.indices.clone();
            header.partition_keys = old.partition_keys.clone();
        }
        let Some((key, newest)) = newest else {
            header.partitions = old.and_then(|old| old.partitions);
            if header.partitions.is_none() {
                // The order of the partition columns follows from the keys.
                header.partition_keys = None;
                list_partitions(store, name, &mut header).await?;
            }
            if header.partitions.as_ref().is_none_or(IndexMap::is_empty) {
                return Err(Error::new(ErrorKind::NotFound, "there are no data files here")
                    .with("dataset", name));
            }
            return Ok(header);
        };
        let document = &newest.document;
        header.indices = document.indices.clone();
        header.merge_metadata(&document.metadata);
        header.partitions = Some(named(&newest.manifest, &document.table_name));
        let schema = keys::common_metadata(name, &document.table_name);
        if !found.contains(&schema) {
            store.put(&schema, encode_common_metadata(&newest.schema)?).await?;
        }
        let mut own = Own {
            version: document.version,
            commit: document.commit.clone(),
            columns: document.columns.clone(),
            ..Own::default()
        };
        own.laid_out_as(document);
        own.recent = commits_before(store, &key).await?;
        own.snapshot = key;
        header.set_own(&own)?;
        Ok(header)
    }
}

/// The newest readable snapshot whose files all exist.
async fn newest_snapshot(
    store: &Store,
    name: &str,
    found: &HashSet<String>,
) -> Result<Option<(String, Snapshot)>> {
    let directory = keys::snapshots(name);
    let mut keys: Vec<&String> = found.iter().filter(|key| key.starts_with(&directory)).collect();
    // Keys begin with the zero-padded version, so this is the order of versions.
    keys.sort_unstable_by(|a, b| b.cmp(a));
    for key in keys {
        match Snapshot::fetch(store, key).await {
            Ok(snapshot) if snapshot.manifest.keys().all(|key| found.contains(key)) => {
                return Ok(Some((key.clone(), snapshot)));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The files of a manifest in the form of the header.
fn named(manifest: &Manifest, table: &str) -> IndexMap<String, Files> {
    let pairs = manifest.labels().zip(manifest.keys());
    let files = |key: &str| Files { files: [(table.to_owned(), key.to_owned())].into() };
    pairs.map(|(label, key)| (label.to_owned(), files(key))).collect()
}
