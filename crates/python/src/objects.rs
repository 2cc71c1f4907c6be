//! Objects of a store that are no dataset: files to be imported.

use std::fs::File;
use std::io::Write;

use futures::TryStreamExt;
use partita::store::Store;
use partita::{Error, ErrorKind};
use pyo3::prelude::*;

use crate::arguments::{StoreArguments, store_options};
use crate::runtime::{Watch, wait};

/// Bytes of an object that are held in memory at once.
const STEP: u64 = 8 << 20;

/// The keys and sizes of the objects below a URL whose keys begin with `prefix`, ordered by key.
#[pyfunction]
pub(crate) fn objects(
    py: Python<'_>,
    url: String,
    storage_options: StoreArguments,
    prefix: String,
) -> PyResult<Vec<(String, u64)>> {
    let options = store_options(storage_options, true, false);
    wait(py, &Watch::default(), async move {
        let store = Store::open(&url, &options)?;
        let mut found: Vec<(String, u64)> =
            store.list(&prefix).map_ok(|object| (object.key, object.size)).try_collect().await?;
        found.sort();
        Ok(found)
    })
}

/// Copies an object of that size to a local file.
#[pyfunction]
pub(crate) fn download(
    py: Python<'_>,
    url: String,
    storage_options: StoreArguments,
    key: String,
    size: u64,
    path: String,
) -> PyResult<()> {
    let options = store_options(storage_options, true, false);
    wait(py, &Watch::default(), async move {
        let store = Store::open(&url, &options)?;
        let unwritten = |error: std::io::Error| {
            Error::new(ErrorKind::Store, format!("a copy of the object cannot be written: {error}"))
                .with("key", &key)
                .with("file", &path)
        };
        let mut file = File::create(&path).map_err(unwritten)?;
        let mut start = 0;
        while start < size {
            let end = size.min(start + STEP);
            file.write_all(&store.get_range(&key, start..end).await?).map_err(unwritten)?;
            start = end;
        }
        file.flush().map_err(unwritten)
    })
}
