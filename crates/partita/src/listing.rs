//! The datasets directly under a store's root.

use std::collections::BTreeMap;
use std::fmt;

use futures::{StreamExt, TryStreamExt, stream};
use partita_array::{Collection, View};
use partita_core::Result;
use partita_core::store::{Store, StoreOptions};

/// Directories looked into at once.
const DIRECTORIES_AT_ONCE: usize = 32;

/// The endings of a table's header object: what stands before them is the table's name.
const TABLE_HEADERS: [&str; 2] = [".by-dataset-metadata.json", ".by-dataset-metadata.msgpack.zstd"];

/// What a dataset holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DatasetKind {
    /// Rows in Parquet files.
    Table,
    /// Labelled arrays in Zarr groups.
    Collection,
    /// Variables laid over a collection.
    View,
}

impl DatasetKind {
    /// The kind as a word: `table`, `collection` or `view`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Collection => "collection",
            Self::View => "view",
        }
    }
}

impl fmt::Display for DatasetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One dataset that [`ls`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetInfo {
    /// The last component of its URL.
    pub name: String,
    /// What it holds.
    pub kind: DatasetKind,
    /// What to give to [`crate::open`].
    pub url: String,
}

/// Lists the datasets directly under the store at `url`, by name.
///
/// A shallow listing of the store, and up to four requests for each directory that is no table's;
/// nothing is opened. A store that holds nothing, or a directory that does not exist, gives an empty
/// list.
///
/// # Errors
/// [`partita_core::ErrorKind::InvalidArgument`] for a URL that cannot be understood,
/// [`partita_core::ErrorKind::Store`] if the store cannot be listed.
pub async fn ls(url: &str, options: &StoreOptions) -> Result<Vec<DatasetInfo>> {
    let store = Store::open(url, options)?;
    let objects = store.list_shallow().await?;
    // Both forms of header may stand beside each other: one dataset all the same.
    let mut found = BTreeMap::new();
    for name in objects.iter().filter_map(|object| table_name(&object.key)) {
        let url = format!("{}/{name}", store.url().trim_end_matches('/'));
        let info = DatasetInfo { name: name.to_owned(), kind: DatasetKind::Table, url };
        found.insert(name.to_owned(), info);
    }
    let directories = store.list_directories("").await?.into_iter();
    let directories = directories.filter(|name| !found.contains_key(name));
    let kind_of = async |name: String| {
        let collections = Collection::DOCUMENTS.map(|key| (key, DatasetKind::Collection));
        let views = View::DOCUMENTS.map(|key| (key, DatasetKind::View));
        for (document, kind) in collections.into_iter().chain(views) {
            if store.head(&format!("{name}/{document}")).await?.is_some() {
                return Ok(Some((name, kind)));
            }
        }
        Ok::<_, partita_core::Error>(None)
    };
    let kinds = stream::iter(directories).map(kind_of).buffered(DIRECTORIES_AT_ONCE);
    let kinds: Vec<Option<(String, DatasetKind)>> = kinds.try_collect().await?;
    for (name, kind) in kinds.into_iter().flatten() {
        let url = format!("{}/{name}", store.url().trim_end_matches('/'));
        found.insert(name.clone(), DatasetInfo { name, kind, url });
    }
    Ok(found.into_values().collect())
}

fn table_name(key: &str) -> Option<&str> {
    TABLE_HEADERS
        .iter()
        .find_map(|ending| key.strip_suffix(ending))
        .filter(|name| !name.is_empty() && !name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_headers_name_tables() {
        assert_eq!(table_name("trips.by-dataset-metadata.json"), Some("trips"));
        assert_eq!(table_name("trips.by-dataset-metadata.msgpack.zstd"), Some("trips"));
        assert_eq!(table_name("trips.city.by-dataset-index.parquet"), None);
        assert_eq!(table_name(".by-dataset-metadata.json"), None);
        assert_eq!(table_name("trips/table/_common_metadata"), None);
    }

    #[tokio::test]
    async fn lists_each_dataset_once() {
        let options = StoreOptions::new();
        let store = Store::open("memory://listing/lake", &options).unwrap();
        for key in [
            "b.by-dataset-metadata.json",
            "b.by-dataset-metadata.msgpack.zstd",
            "a.by-dataset-metadata.json",
            "a/table/_common_metadata",
            "notes.txt",
            "ssh/.zcollection",
            "sla/_zcollection.json",
            "trend/.view",
            "other/file",
        ] {
            store.put(key, "{}".into()).await.unwrap();
        }
        let found = ls("memory://listing/lake", &options).await.unwrap();
        let names: Vec<&str> = found.iter().map(|info| info.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "sla", "ssh", "trend"]);
        assert_eq!(found[4].kind, DatasetKind::View);
        assert_eq!(found[3].kind, DatasetKind::Collection);
        assert_eq!(found[0].url, "memory://listing/lake/a");
        assert_eq!(found[0].kind.to_string(), "table");
    }
}
