//! Stores implemented in Python, as clients of the engine.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload,
    ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result, UploadPart,
};
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::dispatch::{Client, Request};
use crate::protocol::{Entry, Listing};

/// The maximum number of deletes of one call in flight.
const DELETES_IN_FLIGHT: usize = 1024;

/// A store that is implemented in Python.
#[pyclass(frozen, weakref, name = "PythonStore", module = "partita._native")]
pub(crate) struct PyStore(PythonStore);

impl PyStore {
    /// The store as a client of the engine.
    pub(crate) fn client(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.0.clone())
    }
}

#[pymethods]
impl PyStore {
    /// Wraps an object with the methods of `partita.stores.BatchStore`. Stores with the same name
    /// are treated as the same store.
    #[new]
    fn new(py: Python<'_>, protocol: Py<PyAny>, name: String) -> Self {
        Self(PythonStore { client: Client::new(py, protocol), name: name.into() })
    }

    fn __reduce__<'py>(
        &self,
        py: Python<'py>,
    ) -> (Bound<'py, PyType>, (Bound<'py, PyAny>, String)) {
        let protocol = self.0.client.protocol().bind(py).clone();
        (py.get_type::<Self>(), (protocol, self.0.name.to_string()))
    }
}

/// The engine's client of a store implemented in Python.
#[derive(Clone)]
struct PythonStore {
    client: Arc<Client>,
    name: Arc<str>,
}

impl fmt::Debug for PythonStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PythonStore").field(&self.name).finish()
    }
}

impl fmt::Display for PythonStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PythonStore {
    async fn get(&self, path: &Path, start: Option<u64>, end: Option<u64>) -> Result<Bytes> {
        let key = path.to_string();
        self.client.ask(|reply| Request::Get { key, start, end, reply }).await
    }

    async fn head(&self, path: &Path) -> Result<ObjectMeta> {
        let key = path.to_string();
        let entry = self.client.ask(|reply| Request::Head { key, reply }).await?;
        Ok(meta(path.clone(), &entry))
    }

    async fn delete(&self, path: Path) -> Result<Path> {
        let key = path.to_string();
        self.client.ask(|reply| Request::Delete { key, reply }).await.map(|()| path)
    }

    async fn listing(&self, prefix: Option<Path>, recursive: bool) -> Result<Listing> {
        let directory = prefix.map(String::from).unwrap_or_default();
        self.client.ask(|reply| Request::List { directory, recursive, reply }).await
    }

    /// Reads the requested range; returns its bytes and its start.
    ///
    /// Only the read of a whole object determines its size, and none its time: callers that need
    /// them request the metadata.
    async fn read(&self, path: &Path, range: Option<GetRange>) -> Result<(Bytes, u64)> {
        let (start, end) = match range {
            None => (0, None),
            Some(GetRange::Bounded(range)) => (range.start, Some(range.end)),
            Some(GetRange::Offset(start)) => (start, None),
            Some(GetRange::Suffix(length)) => {
                let size = self.head(path).await?.size;
                (size.saturating_sub(length), Some(size))
            }
        };
        let bytes = self.get(path, (start > 0).then_some(start), end).await?;
        match bytes.is_empty() && start > 0 && end != Some(start) {
            true => Err(Error::Generic {
                store: "python",
                source: format!("the object ends before byte {start}").into(),
            }),
            false => Ok((bytes, start)),
        }
    }

    fn has_no(&self, operation: &str) -> Error {
        let (operation, implementer) = (operation.to_owned(), self.to_string());
        Error::NotImplemented { operation, implementer }
    }
}

#[async_trait]
impl ObjectStore for PythonStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if options.mode != PutMode::Overwrite {
            return Err(self.has_no("a conditional write"));
        }
        let key = location.to_string();
        self.client.ask(|reply| Request::Put { key, payload, reply }).await?;
        Ok(PutResult { e_tag: None, version: None, extensions: Default::default() })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload { store: self.clone(), location: location.clone(), parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.version.is_some() {
            return Err(self.has_no("reading an older version of an object"));
        }
        let conditional = options.if_match.is_some()
            || options.if_none_match.is_some()
            || options.if_modified_since.is_some()
            || options.if_unmodified_since.is_some();
        let known = match options.head || conditional {
            true => Some(self.head(location).await?),
            false => None,
        };
        if let Some(meta) = &known {
            options.check_preconditions(meta)?;
        }
        let (bytes, start) = match options.head {
            true => (Bytes::new(), 0),
            false => self.read(location, options.range).await?,
        };
        let end = start.saturating_add(bytes.len() as u64);
        let seen = Entry { key: location.to_string(), size: end, modified: None };
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed()),
            meta: known.unwrap_or_else(|| meta(location.clone(), &seen)),
            range: Range { start, end },
            attributes: Attributes::default(),
            extensions: Default::default(),
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move { store.delete(location?).await }
        };
        locations.map(delete).buffered(DELETES_IN_FLIGHT).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let objects = async move {
            let listing = store.listing(prefix, true).await?;
            Ok::<_, Error>(stream::iter(objects(&listing).map(Ok).collect::<Vec<_>>()))
        };
        stream::once(objects).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let listing = self.listing(prefix.cloned(), false).await?;
        let directories = listing.directories.iter();
        Ok(ListResult {
            common_prefixes: directories.filter_map(|key| Path::parse(key).ok()).collect(),
            objects: objects(&listing).collect(),
            extensions: Default::default(),
        })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        if options.mode != CopyMode::Overwrite {
            return Err(self.has_no("a copy that does not overwrite"));
        }
        let (from, to) = (from.to_string(), to.to_string());
        self.client.ask(|reply| Request::Copy { from, to, reply }).await
    }
}

/// A multipart upload, which a store in Python receives as one object.
#[derive(Debug)]
struct Upload {
    store: PythonStore,
    location: Path,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.parts.push(part);
        async { Ok(()) }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload = std::mem::take(&mut self.parts).into_iter().flatten().collect();
        self.store.put_opts(&self.location, payload, PutOptions::default()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

/// The objects of a listing. A key that is invalid for the engine cannot be one of its objects and
/// is skipped.
fn objects(listing: &Listing) -> impl Iterator<Item = ObjectMeta> + '_ {
    let object = |entry: &Entry| Some(meta(Path::parse(&entry.key).ok()?, entry));
    listing.objects.iter().filter_map(object)
}

/// The metadata of an object. If the store does not report times, both existing and new objects are
/// dated 1970, so that ages, which are differences, are zero.
fn meta(location: Path, entry: &Entry) -> ObjectMeta {
    let since = Duration::try_from_secs_f64(entry.modified.unwrap_or(0.0)).unwrap_or_default();
    let modified = SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH);
    let last_modified = modified.into();
    ObjectMeta { location, last_modified, size: entry.size, e_tag: None, version: None }
}
