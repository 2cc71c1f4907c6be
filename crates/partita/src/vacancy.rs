//! Checks that a new dataset is not created at or inside the location of an existing one.

use futures::future::{join, join_all};
use partita_array::{Collection, View, holds_repository};
use partita_core::store::{Store, StoreOptions, repository_url, split_url};
use partita_core::{Error, ErrorKind, Result};

use crate::listing::{DatasetKind, TABLE_HEADERS};

/// The maximum number of parent directories that are checked.
const LEVELS: usize = 32;

/// Fails if there is a dataset at `url`, or in a parent directory, of another kind than `new`; the
/// creation itself handles one of the same kind. A view may be inside a collection, which keeps it.
/// Existing datasets inside each other can still be opened.
///
/// Costs a few small requests for each directory from the URL upwards, all of them concurrent. A
/// parent directory that cannot be read is treated as one without a dataset.
///
/// # Errors
/// [`AlreadyExists`](ErrorKind::AlreadyExists) naming the existing dataset;
/// [`Store`](ErrorKind::Store) if the location itself cannot be read.
pub async fn check_vacant(url: &str, options: &StoreOptions, new: DatasetKind) -> Result<()> {
    // A repository contains one dataset, of its own kind.
    if repository_url(url).is_some() {
        return Ok(());
    }
    let options = options.clone().read_only(true);
    // The URL of the store is absolute for local files.
    let mut places = vec![Store::open(url, &options)?.url().to_owned()];
    while let Some(below) = places.last()
        && places.len() <= LEVELS
        && let Ok((above, _)) = split_url(below)
        && above != *below
    {
        places.push(above);
    }
    let (own, around) =
        join(at(url, &options), join_all(places.iter().skip(1).map(|above| at(above, &options))))
            .await;
    for (kind, found) in own? {
        let is_own = match new {
            DatasetKind::Table => kind == "table",
            // Each of these kinds rejects the other itself, and replaces its own.
            DatasetKind::Collection | DatasetKind::View => {
                matches!(kind, "collection" | "view")
            }
        };
        if !is_own {
            return Err(in_the_way("there is another dataset here", kind, &found));
        }
    }
    let inside = around
        .into_iter()
        .flat_map(Result::unwrap_or_default)
        .find(|(kind, _)| new != DatasetKind::View || !matches!(*kind, "collection" | "view"));
    match inside {
        Some((kind, found)) => {
            Err(in_the_way("the location is inside another dataset", kind, &found))
        }
        None => Ok(()),
    }
}

fn in_the_way(why: &str, kind: &str, found: &str) -> Error {
    Error::new(
        ErrorKind::AlreadyExists,
        format!("{why}; choose another location, or drop it first"),
    )
    .with(
        match kind {
            "table" => "table",
            "view" => "view",
            "collection" => "collection",
            _ => "repository",
        },
        found,
    )
}

/// The datasets at the directory `url`, with their kinds.
async fn at(url: &str, options: &StoreOptions) -> Result<Vec<(&'static str, String)>> {
    let inside = Store::open(url, options)?;
    let mut marks: Vec<(&'static str, Store, String)> = Vec::new();
    for document in Collection::DOCUMENTS {
        marks.push(("collection", inside.clone(), document.to_owned()));
    }
    for document in View::DOCUMENTS {
        marks.push(("view", inside.clone(), document.to_owned()));
    }
    if let Ok((root, name)) = split_url(url) {
        let beside = Store::open(&root, options)?;
        for ending in TABLE_HEADERS {
            marks.push(("table", beside.clone(), format!("{name}{ending}")));
        }
    }
    let heads = join_all(marks.iter().map(|(_, store, key)| store.head(key)));
    let (heads, is_repository) = join(heads, holds_repository(&inside, "")).await;
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for ((kind, _, _), head) in marks.iter().zip(heads) {
        if head?.is_some() {
            found.push((kind, url.to_owned()));
        }
    }
    if is_repository? {
        found.push(("repository", url.to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn put(root: &str, key: &str) {
        let store = Store::open(root, &StoreOptions::new()).unwrap();
        store.put(key, "{}".into()).await.unwrap();
    }

    async fn refused(url: &str, new: DatasetKind) -> bool {
        match check_vacant(url, &StoreOptions::new(), new).await {
            Ok(()) => false,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
                true
            }
        }
    }

    #[tokio::test]
    async fn no_dataset_is_made_over_or_in_another() {
        use DatasetKind::{Collection as C, Table as T, View as V};
        let folder = tempfile::tempdir().unwrap();
        for root in ["memory://vacancy", folder.path().to_str().unwrap()] {
            for header in TABLE_HEADERS {
                let name = format!("table{}", header.len());
                put(root, &format!("lake/{name}{header}")).await;
                let table = format!("{root}/lake/{name}");
                assert_eq!(
                    (refused(&table, T).await, refused(&table, C).await, refused(&table, V).await),
                    (false, true, true)
                );
                for deeper in ["x", "x/y/z"] {
                    let inside = format!("{table}/{deeper}");
                    for new in [T, C, V] {
                        assert!(refused(&inside, new).await, "{inside} {new}");
                    }
                }
            }
            let documents = Collection::DOCUMENTS.into_iter().chain(View::DOCUMENTS);
            for (number, document) in documents.enumerate() {
                let place = format!("arrays{number}");
                put(root, &format!("{place}/{document}")).await;
                let place = format!("{root}/{place}");
                assert_eq!((refused(&place, T).await, refused(&place, C).await), (true, false));
                let inside = format!("{place}/a/b");
                assert!(refused(&inside, T).await && refused(&inside, C).await);
                assert!(!refused(&inside, V).await, "views are kept with collections");
            }
            for new in [T, C, V] {
                assert!(!refused(&format!("{root}/lake/other"), new).await);
                assert!(!refused(&format!("{root}/new/deep/place"), new).await);
            }
        }
    }
}
