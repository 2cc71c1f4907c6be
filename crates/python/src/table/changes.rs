//! Changes of tables: rows, columns, indexes, and staged files.

use partita::{Error, OptimizeOptions};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;

use super::PyTable;
use crate::aio::answer;
use crate::arguments::WriteArguments;
use crate::arrow_ffi::{import_schema, import_stream};
use crate::errors::to_python;
use crate::predicate::PyPredicate;
use crate::runtime::{Watch, wait};
use crate::staged::PyStaged;

#[pymethods]
impl PyTable {
    /// Adds rows.
    #[pyo3(signature = (data, write, progress=None, ended=None))]
    fn append<'py>(
        &self,
        py: Python<'py>,
        data: &Bound<'py, PyAny>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let data = import_stream(data)?;
        self.committing(py, &write, progress, ended, |table, options| async move {
            table.append(data, &options).await
        })
    }

    /// Replaces the matching rows by new ones.
    #[pyo3(signature = (scope, data, write, progress=None, ended=None))]
    fn replace<'py>(
        &self,
        py: Python<'py>,
        scope: PyRef<'py, PyPredicate>,
        data: &Bound<'py, PyAny>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (scope, data) = (scope.predicate(), import_stream(data)?);
        self.committing(py, &write, progress, ended, |table, options| async move {
            table.replace(&scope, data, &options).await
        })
    }

    /// Removes the matching rows.
    #[pyo3(signature = (scope, write, progress=None, ended=None))]
    fn delete<'py>(
        &self,
        py: Python<'py>,
        scope: PyRef<'py, PyPredicate>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let scope = scope.predicate();
        self.committing(py, &write, progress, ended, |table, options| async move {
            table.delete(&scope, &options).await
        })
    }

    /// Writes rows to files that are not yet part of the table.
    #[pyo3(signature = (data, write, progress=None, ended=None))]
    fn stage<'py>(
        &self,
        py: Python<'py>,
        data: &Bound<'py, PyAny>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let watch = Watch::new(progress);
        let options = write.options(&watch)?;
        let table = self.table(py)?;
        let data = import_stream(data)?;
        let staging = async move { table.stage(data, &options).await };
        answer(py, watch, ended, staging, |py, staged| PyStaged(staged?).into_py_any(py))
    }

    /// Adds staged files to the table, and removes the matching rows.
    #[pyo3(signature = (staged, scope, write, progress=None, ended=None))]
    fn commit<'py>(
        &self,
        py: Python<'py>,
        staged: Vec<PyRef<'py, PyStaged>>,
        scope: Option<PyRef<'py, PyPredicate>>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let staged = staged.iter().map(|staged| staged.0.clone()).collect();
        let scope = scope.map(|scope| scope.predicate());
        self.committing(py, &write, progress, ended, |table, options| async move {
            table.commit(staged, scope.as_ref(), &options).await
        })
    }

    /// Adds staged files to the table, replacing rows with the same key.
    #[pyo3(signature = (staged, on, write, progress=None, ended=None))]
    fn commit_upsert<'py>(
        &self,
        py: Python<'py>,
        staged: Vec<PyRef<'py, PyStaged>>,
        on: Vec<String>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let staged = staged.iter().map(|staged| staged.0.clone()).collect();
        self.committing(py, &write, progress, ended, |table, options| async move {
            table.commit_upsert(staged, &on, &options).await
        })
    }

    /// Deletes staged files.
    fn discard(&self, py: Python<'_>, staged: Vec<PyRef<'_, PyStaged>>) -> PyResult<()> {
        let staged: Vec<_> = staged.iter().map(|staged| staged.0.clone()).collect();
        let table = self.table(py)?;
        wait(py, &Watch::default(), async move { table.discard(&staged).await })
    }

    /// Sets annotations; those that are null are removed.
    fn set_metadata<'py>(
        &self,
        py: Python<'py>,
        write: WriteArguments,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.committing(py, &write, None, None, |table, options| async move {
            table.set_metadata(&options).await
        })
    }

    /// Adds rows, replacing those with the same key.
    #[pyo3(signature = (data, on, write, progress=None, ended=None))]
    fn upsert<'py>(
        &self,
        py: Python<'py>,
        data: &Bound<'py, PyAny>,
        on: Vec<String>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
        ended: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let data = import_stream(data)?;
        self.committing(py, &write, progress, ended, |table, options| async move {
            table.upsert(data, &on, &options).await
        })
    }

    /// Merges small files.
    #[pyo3(signature = (target_file_bytes, sort_by, scope, write, progress=None))]
    fn optimize<'py>(
        &self,
        py: Python<'py>,
        target_file_bytes: Option<u64>,
        sort_by: Vec<String>,
        scope: Option<PyRef<'py, PyPredicate>>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let scope = scope.map(|scope| scope.predicate());
        let mut optimize = OptimizeOptions { sort_by, scope, ..Default::default() };
        if let Some(bytes) = target_file_bytes {
            optimize.target_file_bytes = bytes;
        }
        self.committing(py, &write, progress, None, |table, options| async move {
            table.optimize(&optimize, &options).await
        })
    }

    /// Builds indices from the stored rows.
    #[pyo3(signature = (columns, write, progress=None))]
    fn build_index<'py>(
        &self,
        py: Python<'py>,
        columns: Vec<String>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.committing(py, &write, progress, None, |table, options| async move {
            table.build_index(&columns, &options).await
        })
    }

    /// Drops indices.
    fn drop_index<'py>(
        &self,
        py: Python<'py>,
        columns: Vec<String>,
        write: WriteArguments,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.committing(py, &write, None, None, |table, options| async move {
            table.drop_index(&columns, &options).await
        })
    }

    /// Adds the columns of any object with `__arrow_c_schema__`.
    fn add_columns<'py>(
        &self,
        py: Python<'py>,
        schema: &Bound<'py, PyAny>,
        write: WriteArguments,
    ) -> PyResult<Bound<'py, PyAny>> {
        let columns = import_schema(schema)?.as_ref().clone();
        self.committing(py, &write, None, None, |table, options| async move {
            table.add_columns(columns, &options).await
        })
    }

    /// Widens the type of a column to that of the one column of any object with
    /// `__arrow_c_schema__`.
    #[pyo3(signature = (schema, write, progress=None))]
    fn widen_column<'py>(
        &self,
        py: Python<'py>,
        schema: &Bound<'py, PyAny>,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let schema = import_schema(schema)?;
        let Some(field) = schema.fields().first().cloned() else {
            return Err(to_python(Error::invalid("a column and its type are needed")));
        };
        self.committing(py, &write, progress, None, |table, options| async move {
            table.widen_column(field.name(), field.data_type(), &options).await
        })
    }

    /// Gives a column another name.
    #[pyo3(signature = (column, to, write, progress=None))]
    fn rename_column<'py>(
        &self,
        py: Python<'py>,
        column: String,
        to: String,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.committing(py, &write, progress, None, |table, options| async move {
            table.rename_column(&column, &to, &options).await
        })
    }

    /// Drops a column.
    #[pyo3(signature = (column, write, progress=None))]
    fn drop_column<'py>(
        &self,
        py: Python<'py>,
        column: String,
        write: WriteArguments,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.committing(py, &write, progress, None, |table, options| async move {
            table.drop_column(&column, &options).await
        })
    }

    /// Puts columns before the others.
    fn reorder_columns<'py>(
        &self,
        py: Python<'py>,
        columns: Vec<String>,
        write: WriteArguments,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.committing(py, &write, None, None, |table, options| async move {
            table.reorder_columns(&columns, &options).await
        })
    }

    /// Sets the comment on a column, or removes it.
    #[pyo3(signature = (column, comment, write))]
    fn set_comment<'py>(
        &self,
        py: Python<'py>,
        column: String,
        comment: Option<String>,
        write: WriteArguments,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.committing(py, &write, None, None, |table, options| async move {
            table.set_comment(&column, comment.as_deref(), &options).await
        })
    }
}
