//! The option dictionaries that the Python package passes to the engine.

use std::str::FromStr;
use std::sync::Arc;

use jiff::SignedDuration;
use object_store::ObjectStore;
use partita::{
    Annotate, BucketPartition, Compression, CreateOptions, DatePartition, Encoding, Error,
    Resolution, SchemaMode, StoreOptions, WriteOptions,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::{Map, Value};

use crate::errors::to_python;
use crate::runtime::Watch;
use crate::store::PyStore;

/// The options for opening a store: a dictionary of texts, and under the name `filesystem` a store
/// object of Python.
pub(crate) struct StoreArguments {
    pairs: Vec<(String, String)>,
    client: Option<Arc<dyn ObjectStore>>,
}

impl<'py> FromPyObject<'_, 'py> for StoreArguments {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let mut arguments = Self { pairs: Vec::new(), client: None };
        for (name, value) in object.cast::<PyDict>()?.iter() {
            match value.cast::<PyStore>() {
                Ok(store) => arguments.client = Some(store.get().client()),
                Err(_) => arguments.pairs.push((name.extract()?, value.extract()?)),
            }
        }
        Ok(arguments)
    }
}

/// Converts the options of a store. The switches may also be among the pairs.
pub(crate) fn store_options(
    arguments: StoreArguments,
    read_only: bool,
    single_writer: bool,
) -> StoreOptions {
    let options: StoreOptions = arguments.pairs.into_iter().collect();
    let options = match arguments.client {
        Some(client) => options.with_client(client),
        None => options,
    };
    let options = if read_only { options.read_only(true) } else { options };
    if single_writer { options.single_writer(true) } else { options }
}

/// Options of writes; absent values take the engine's defaults.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct WriteArguments {
    compression: Option<String>,
    column_compression: Vec<(String, String)>,
    sort_by: Vec<String>,
    bloom_filters: Option<Vec<String>>,
    merges: bool,
    row_group_rows: Option<usize>,
    target_file_bytes: Option<u64>,
    metadata: Option<String>,
    annotate: Option<Py<PyAny>>,
    idempotency_key: Option<String>,
    grace: Option<i64>,
}

impl WriteArguments {
    /// The engine's write options, with progress and cancellation of `watch`.
    pub(crate) fn options(&self, watch: &Watch) -> PyResult<WriteOptions> {
        let mut options = WriteOptions { cancel: watch.cancel.clone(), ..Default::default() };
        if let Some(name) = &self.compression {
            options.compression = Compression::from_str(name).map_err(to_python)?;
        }
        for (column, name) in &self.column_compression {
            let compression = Compression::from_str(name).map_err(to_python)?;
            options.column_compression.insert(column.clone(), compression);
        }
        options.sort_by.clone_from(&self.sort_by);
        options.bloom_filters.clone_from(&self.bloom_filters);
        if self.merges {
            options.schema_mode = SchemaMode::Merge;
        }
        options.idempotency_key.clone_from(&self.idempotency_key);
        if let Some(micros) = self.grace {
            options.grace = SignedDuration::from_micros(micros);
        }
        if let Some(rows) = self.row_group_rows {
            options.row_group_rows = rows;
        }
        if let Some(bytes) = self.target_file_bytes {
            options.target_file_bytes = bytes;
        }
        if let Some(json) = &self.metadata {
            options.metadata = metadata(json)?;
        }
        options.annotate = Python::attach(|py| {
            self.annotate.as_ref().map(|function| annotate(function.clone_ref(py)))
        });
        if let Some(meter) = &watch.meter {
            options.progress = meter.sink();
        }
        Ok(options)
    }
}

/// Wraps a Python function that takes the current annotations as JSON and returns those to set as
/// JSON.
fn annotate(function: Py<PyAny>) -> Annotate {
    Annotate::new(move |present| {
        let text = Value::Object(present.clone()).to_string();
        let found: String = Python::attach(|py| function.bind(py).call1((text,))?.extract())
            .map_err(|raised: PyErr| {
                Error::invalid("the function given as metadata= failed").caused_by(raised)
            })?;
        serde_json::from_str(&found)
            .map_err(|error| Error::invalid("metadata is not a JSON object").caused_by(error))
    })
}

/// Options of a new table.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct CreateArguments {
    partition_by: Vec<String>,
    date: Option<(String, String)>,
    bucket: Option<(String, u32)>,
    index: Vec<String>,
    overwrite: bool,
    metadata: Option<String>,
    header: String,
}

impl CreateArguments {
    /// The engine's create options.
    pub(crate) fn options(self, write: WriteOptions) -> PyResult<CreateOptions> {
        Ok(CreateOptions {
            partition_by: self.partition_by,
            date: self.date.map(|(column, resolution)| date(column, &resolution)).transpose()?,
            bucket: self.bucket.map(|(column, buckets)| BucketPartition { column, buckets }),
            index: self.index,
            overwrite: self.overwrite,
            header: match self.header.as_str() {
                "json" => Encoding::Json,
                "msgpack" => Encoding::Msgpack,
                other => {
                    let error = Error::invalid("a header is stored as json or msgpack");
                    return Err(to_python(error.with("header", other)));
                }
            },
            metadata: self.metadata.as_deref().map(metadata).transpose()?.unwrap_or_default(),
            write,
        })
    }
}

fn date(column: String, resolution: &str) -> PyResult<DatePartition> {
    let resolution = Resolution::from_str(resolution).map_err(to_python)?;
    Ok(DatePartition { column, resolution })
}

/// Parses the user metadata from JSON.
pub(crate) fn metadata(json: &str) -> PyResult<Map<String, Value>> {
    serde_json::from_str(json).map_err(|error| {
        to_python(Error::invalid("metadata is not a JSON object").caused_by(error))
    })
}
