//! `partita._native`: the extension module that the Python package calls.
//!
//! It only converts. Every blocking call runs on one process-wide runtime with the interpreter
//! detached ([`runtime`]); errors become the exceptions of `partita.errors` ([`errors`]); tables
//! are exchanged through Arrow's C interface, batch by batch ([`arrow_ffi`]), and arrays through
//! numpy's, in place ([`array_memory`]); requests to a store implemented in Python are batched
//! ([`dispatch`]). What the engine tells through `tracing` goes to `logging` of Python ([`logging`]).
//! Operations that asyncio waits for run on the same runtime, without a thread of their own
//! ([`aio`]).

mod aio;
mod arguments;
mod array_memory;
mod arrow_ffi;
mod attributes;
mod batches;
mod collection;
mod collection_arguments;
mod dataset;
mod dispatch;
mod draft;
mod errors;
mod function;
mod index;
mod logging;
mod objects;
mod opening;
mod partition;
mod predicate;
mod progress;
mod protocol;
mod runtime;
mod scan;
mod schema;
mod staged;
mod store;
mod table;
mod untracked;

use pyo3::prelude::*;

/// The compiled part of partita; use the names in `partita` instead.
#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::aio::Running;
    #[pymodule_export]
    use crate::array_memory::PyItems;
    #[pymodule_export]
    use crate::batches::{Batch, BatchIterator, Batches};
    #[pymodule_export]
    use crate::collection::PyCollection;
    #[pymodule_export]
    use crate::dataset::PyDataset;
    #[pymodule_export]
    use crate::draft::PyDraft;
    #[pymodule_export]
    use crate::index::{PyIndex, PySelection};
    #[pymodule_export]
    use crate::objects::{download, objects};
    #[pymodule_export]
    use crate::partition::PyPartition;
    #[pymodule_export]
    use crate::predicate::PyPredicate;
    #[pymodule_export]
    use crate::scan::PyScan;
    #[pymodule_export]
    use crate::schema::PySchema;
    #[pymodule_export]
    use crate::staged::PyStaged;
    #[pymodule_export]
    use crate::store::PyStore;
    #[pymodule_export]
    use crate::table::PyTable;

    use partita::store::{is_removing, removed, totals_of_requests};
    use partita::{Dataset, Error};
    use pyo3::IntoPyObjectExt;
    use pyo3::prelude::*;

    use crate::arguments::{StoreArguments, store_options};
    use crate::dispatch::close_clients;
    use crate::errors::to_python;
    use crate::logging;
    use crate::runtime::{Watch, wait};

    /// The version of the package.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    /// The datasets directly under a store, as (name, kind, url).
    #[pyfunction]
    fn ls(
        py: Python<'_>,
        url: String,
        storage_options: StoreArguments,
    ) -> PyResult<Vec<(String, String, String)>> {
        let options = store_options(storage_options, true, false);
        let found = wait(py, &Watch::default(), async move { partita::ls(&url, &options).await })?;
        Ok(found.into_iter().map(|info| (info.name, info.kind.to_string(), info.url)).collect())
    }

    /// Opens the dataset at a URL as an object of its kind.
    #[pyfunction]
    fn open(
        py: Python<'_>,
        url: String,
        storage_options: StoreArguments,
        read_only: bool,
        single_writer: bool,
    ) -> PyResult<Py<PyAny>> {
        let options = store_options(storage_options, read_only, single_writer);
        let (target, store) = (url.clone(), options.clone());
        let dataset =
            wait(py, &Watch::default(), async move { partita::open(&target, &store).await })?;
        match dataset {
            Dataset::Table(table) => PyTable::new(url, options, table).into_py_any(py),
            Dataset::Collection(collection) => {
                PyCollection::new(url, options, collection).into_py_any(py)
            }
            Dataset::View(view) => {
                PyCollection::new(url, options, view.into_collection()).into_py_any(py)
            }
            other => Err(to_python(Error::invalid(format!(
                "this package cannot open a dataset of kind {}",
                other.kind()
            )))),
        }
    }

    /// The requests of this process to servers: for each operation the number of requests and of
    /// retries, and the bytes sent and received.
    #[pyfunction]
    fn metrics(reset: bool) -> Vec<(&'static str, u64, u64, u64, u64)> {
        let totals = totals_of_requests(reset).into_iter();
        totals
            .map(|(operation, of)| {
                (operation, of.requests, of.retries, of.bytes_sent, of.bytes_received)
            })
            .collect()
    }

    /// Masks the passwords of URLs in a text.
    #[pyfunction]
    fn masked(text: &str) -> String {
        partita::masked(text).into_owned()
    }

    /// Ends the threads of stores implemented in Python, before the interpreter exits.
    #[pyfunction]
    fn close_stores(py: Python<'_>) {
        close_clients(py);
    }

    /// Waits for the removal of replaced files, which operations do not wait for.
    #[pyfunction]
    fn finish_removals(py: Python<'_>) -> PyResult<()> {
        // Without pending removals, the runtime is not started.
        if !is_removing() {
            return Ok(());
        }
        wait(py, &Watch::default(), async {
            removed().await;
            Ok(())
        })
    }

    /// Silences panics that are reported as errors.
    #[pymodule_init]
    fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
        partita::silence_guarded_panics();
        logging::begin();
        Ok(())
    }

    /// Runs the `partita` command with the given arguments, the first being its name.
    #[pyfunction]
    fn main(py: Python<'_>, argv: Vec<String>) -> i32 {
        py.detach(|| partita_cli::main(argv))
    }
}
