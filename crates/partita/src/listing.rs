//! Listing the datasets directly under a store's root.

use std::collections::BTreeMap;
use std::fmt;

use futures::{StreamExt, TryStreamExt, stream};
use partita_array::{Collection, View, holds_repository};
use partita_core::store::{Store, StoreOptions, url_of_repository};
use partita_core::{Error, ErrorKind, Result};

use crate::dataset::{names_base, open};

/// The maximum number of directories examined concurrently.
const DIRECTORIES_IN_FLIGHT: usize = 32;

/// The suffixes of a table's header object; the rest of the key is the table's name.
pub(crate) const TABLE_HEADERS: [&str; 2] =
    [".by-dataset-metadata.json", ".by-dataset-metadata.msgpack.zstd"];

/// The kind of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DatasetKind {
    /// Rows in Parquet files.
    Table,
    /// Labelled arrays in Zarr groups.
    Collection,
    /// Additional variables over a collection.
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
    /// The kind.
    pub kind: DatasetKind,
    /// The URL to pass to [`crate::open`].
    pub url: String,
}

/// Lists the datasets directly under the store at `url`, by name.
///
/// A shallow listing of the store, and up to five requests for each directory that does not belong
/// to a table; only Icechunk repositories are opened, since they may contain something else than a
/// collection. An empty store, or a directory that does not exist, gives an empty list.
///
/// # Errors
/// [`partita_core::ErrorKind::InvalidArgument`] for an invalid URL,
/// [`partita_core::ErrorKind::Store`] if the store cannot be listed.
pub async fn ls(url: &str, options: &StoreOptions) -> Result<Vec<DatasetInfo>> {
    let store = Store::open(url, options)?;
    let url_of = |name: &str| format!("{}/{name}", store.url().trim_end_matches('/'));
    let objects = store.list_shallow().await?;
    // A dataset with headers in both encodings is listed once.
    let mut found = BTreeMap::new();
    for name in objects.iter().filter_map(|object| table_name(&object.key)) {
        let url = url_of(name);
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
                let url = url_of(&name);
                return Ok(Some(DatasetInfo { name, kind, url }));
            }
        }
        if !holds_repository(&store, &name).await? {
            return Ok(None);
        }
        let url = url_of_repository(&url_of(&name));
        let kind = match open(&url, &options.clone().read_only(true)).await {
            Ok(dataset) => dataset.kind(),
            // A view whose base is missing exists, and so does a damaged dataset.
            Err(error) if names_base(&error) => DatasetKind::View,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
            Err(_) => DatasetKind::Collection,
        };
        Ok::<_, Error>(Some(DatasetInfo { name, kind, url }))
    };
    let kinds = stream::iter(directories).map(kind_of).buffered(DIRECTORIES_IN_FLIGHT);
    let kinds: Vec<Option<DatasetInfo>> = kinds.try_collect().await?;
    found.extend(kinds.into_iter().flatten().map(|info| (info.name.clone(), info)));
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
    use partita_array::layout::Layout;
    use partita_array::{CreateOptions, DType, Partitioning, Schema, VariableSchema, ViewOptions};

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
        let deep = create_in_repository("icechunk+memory://listing/lake/deep").await;
        let lost = create_in_repository("icechunk+memory://listing/away/lost").await;
        for (base, name) in [(deep, "wide"), (lost, "stray")] {
            let url = format!("icechunk+memory://listing/lake/{name}");
            let none = Schema::new(Vec::new(), Vec::new()).unwrap();
            View::create(&url, &base, &none, &ViewOptions::default(), &options).await.unwrap();
        }
        let away = Store::open("memory://listing/away", &options).unwrap();
        away.delete_directory("lost", "scratch").await.unwrap();
        let found = ls("memory://listing/lake", &options).await.unwrap();
        let names: Vec<&str> = found.iter().map(|info| info.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "deep", "sla", "ssh", "stray", "trend", "wide"]);
        let views = found.iter().filter(|info| info.kind == DatasetKind::View);
        let views: Vec<&str> = views.map(|info| info.name.as_str()).collect();
        assert_eq!(views, ["stray", "trend", "wide"], "also one whose base is gone");
        let opened = crate::open(&found[7].url, &options).await.unwrap();
        assert_eq!(opened.into_view().unwrap().under().url(), found[2].url);
        assert_eq!(found[0].url, "memory://listing/lake/a");
        assert_eq!(found[0].kind.to_string(), "table");
        assert_eq!(found[2].kind, DatasetKind::Collection);
        crate::open(&found[2].url, &options).await.unwrap();
        // The error suggests the scheme if it is missing.
        let error = crate::open("memory://listing/lake/deep", &options).await.err().unwrap();
        assert!(error.to_string().contains("icechunk+"), "{error}");
    }

    async fn create_in_repository(url: &str) -> Collection {
        let time = VariableSchema::new("time", DType::Int64, &["time"]);
        let schema = Schema::new(Vec::new(), vec![time]).unwrap();
        let layout = Layout::ZarrV3;
        let options = CreateOptions { layout, ..CreateOptions::default() };
        let partitioning = Partitioning::sequence(&["time"]);
        let store = StoreOptions::new();
        Collection::create(url, schema, "time", partitioning, &options, &store).await.unwrap()
    }
}
