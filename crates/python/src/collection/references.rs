//! Commits of collections; branches, tags and older versions of those in repositories.

use jiff::SignedDuration;
use partita::array::{Record, Retention};
use partita_cli::report_of_collection;
use pyo3::prelude::*;

use super::PyCollection;
use crate::collection_arguments::StateArguments;
use crate::runtime::{Watch, wait};

/// A commit: number, id, time in microseconds, operation, paths, bytes.
type Entry = (u64, String, i64, String, Vec<String>, u64);

fn entry_of(record: Record) -> Entry {
    let bytes = record.changes.iter().map(|change| change.bytes).sum();
    let paths = record.changes.into_iter().map(|change| change.path).collect();
    (record.sequence, record.id, record.time.as_microsecond(), record.operation, paths, bytes)
}

#[pymethods]
impl PyCollection {
    /// The branch that commits go to.
    #[getter]
    fn branch(&self) -> Option<String> {
        self.known(|collection| collection.branch().map(str::to_owned))
    }

    /// Opens the collection on another branch.
    #[pyo3(signature = (name, ended=None))]
    fn on_branch<'py>(
        &self,
        py: Python<'py>,
        name: String,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let collection = self.collection(py)?;
        self.elsewhere(py, ended, async move { collection.on_branch(&name).await })
    }

    /// Opens the collection at an earlier state.
    #[pyo3(signature = (at, ended=None))]
    fn at<'py>(
        &self,
        py: Python<'py>,
        at: StateArguments,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (collection, at) = (self.collection(py)?, at.state()?);
        self.elsewhere(py, ended, async move { collection.at(at).await })
    }

    fn branches(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let collection = self.collection(py)?;
        wait(py, &Watch::default(), async move { collection.branches().await })
    }

    fn tags(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let collection = self.collection(py)?;
        wait(py, &Watch::default(), async move { collection.tags().await })
    }

    fn create_branch(
        &self,
        py: Python<'_>,
        name: String,
        at: Option<StateArguments>,
    ) -> PyResult<()> {
        let at = at.map(StateArguments::state).transpose()?;
        let collection = self.collection(py)?;
        wait(
            py,
            &Watch::default(),
            async move { collection.create_branch(&name, at.as_ref()).await },
        )
    }

    fn create_tag(&self, py: Python<'_>, name: String, at: Option<StateArguments>) -> PyResult<()> {
        let at = at.map(StateArguments::state).transpose()?;
        let collection = self.collection(py)?;
        wait(py, &Watch::default(), async move { collection.create_tag(&name, at.as_ref()).await })
    }

    fn delete_branch(&self, py: Python<'_>, name: String) -> PyResult<()> {
        let collection = self.collection(py)?;
        wait(py, &Watch::default(), async move { collection.delete_branch(&name).await })
    }

    fn delete_tag(&self, py: Python<'_>, name: String) -> PyResult<()> {
        let collection = self.collection(py)?;
        wait(py, &Watch::default(), async move { collection.delete_tag(&name).await })
    }

    /// Expires old commits; returns their number.
    fn expire(
        &self,
        py: Python<'_>,
        keep_within: Option<i64>,
        keep_last: Option<u64>,
    ) -> PyResult<usize> {
        let collection = self.collection(py)?;
        let expired = async move {
            let mut gone = 0;
            if let Some(age) = keep_within {
                gone += collection.expire(SignedDuration::from_micros(age)).await?.len();
            }
            if let Some(last) = keep_last {
                gone += collection.expire_all_but(last).await?.len();
            }
            Ok(gone)
        };
        wait(py, &Watch::default(), expired)
    }

    /// Makes an earlier state the newest; returns the number of the commit.
    fn restore(&self, py: Python<'_>, at: StateArguments, key: Option<String>) -> PyResult<u64> {
        let (collection, at) = (self.collection(py)?, at.state()?);
        wait(py, &Watch::default(), async move { collection.restore(at, key.as_deref()).await })
    }

    /// Sets the retention of history; times in seconds.
    fn set_retention(
        &self,
        py: Python<'_>,
        keep_within: Option<u64>,
        keep_last: Option<u64>,
        max_bytes: Option<u64>,
        grace: Option<i64>,
    ) -> PyResult<()> {
        let collection = self.collection(py)?;
        let retention = Retention { keep_within, keep_last, max_bytes };
        let grace = grace.map(SignedDuration::from_secs);
        wait(py, &Watch::default(), async move { collection.set_retention(retention, grace).await })
    }

    /// Objects and bytes that are kept beside what is published; nothing in a repository.
    fn retained(&self, py: Python<'_>) -> PyResult<Option<(u64, u64)>> {
        let collection = self.collection(py)?;
        let retained = wait(py, &Watch::default(), async move { collection.retained().await })?;
        Ok(retained.map(|retained| (retained.objects, retained.bytes)))
    }

    /// The files that were imported by the commits of the history: names and digests.
    fn sources(&self, py: Python<'_>) -> PyResult<Vec<(String, String)>> {
        let collection = self.collection(py)?;
        let records = wait(py, &Watch::default(), async move { collection.history().await })?;
        let changes = records.into_iter().flat_map(|record| record.changes);
        let sources = changes.flat_map(|change| change.sources);
        Ok(sources.map(|source| (source.name, source.digest)).collect())
    }

    /// An HTML page that describes the collection.
    fn report(&self, py: Python<'_>) -> PyResult<String> {
        let collection = self.collection(py)?;
        wait(py, &Watch::default(), async move { report_of_collection(&collection).await })
    }

    /// The commits, newest first.
    fn history(&self, py: Python<'_>) -> PyResult<Vec<Entry>> {
        let collection = self.collection(py)?;
        let records = wait(py, &Watch::default(), async move { collection.history().await })?;
        Ok(records.into_iter().map(entry_of).collect())
    }

    /// The commit with an id or an idempotency key.
    fn committed(&self, py: Python<'_>, name: String) -> PyResult<Option<Entry>> {
        let collection = self.collection(py)?;
        let found = wait(py, &Watch::default(), async move { collection.committed(&name).await })?;
        Ok(found.map(entry_of))
    }
}
