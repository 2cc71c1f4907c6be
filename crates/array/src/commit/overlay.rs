//! A store in which staged objects are in their places already.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use partita_core::store::is_under;

use super::record::{Action, Record};

/// What records that are not published make of objects, read through the client of the store.
///
/// Only reading single objects is redirected; everything else is the client's.
#[derive(Debug)]
pub(super) struct Overlay {
    inner: Arc<dyn ObjectStore>,
    /// The changes of each directory, the newest last.
    changes: HashMap<String, Vec<Action>>,
}

impl Overlay {
    /// `records` are in the order of their numbers.
    pub fn new(inner: Arc<dyn ObjectStore>, records: &[Record]) -> Self {
        let mut changes: HashMap<String, Vec<Action>> = HashMap::new();
        for change in records.iter().flat_map(|record| &record.changes) {
            changes.entry(change.path.clone()).or_default().push(change.action.clone());
        }
        Self { inner, changes }
    }

    /// Where the object is: its own place, or where it is staged, or one of these; nowhere if it was
    /// removed.
    fn locate(&self, at: &Path) -> Vec<Path> {
        let key = at.as_ref();
        let ends = key.match_indices('/').map(|(end, _)| end);
        let mut found = ends.filter_map(|end| {
            let (directory, below) = (key.get(..end)?, key.get(end + 1..)?);
            Some((self.changes.get(directory)?, below))
        });
        let Some((changes, below)) = found.next() else { return vec![at.clone()] };
        let staged = |stage: &str| Path::parse(format!("{stage}/{key}")).ok();
        for action in changes.iter().rev() {
            match action {
                Action::Replace { stage, fresh } => {
                    let moved = fresh.then(|| at.clone());
                    return staged(stage).into_iter().chain(moved).collect();
                }
                Action::Patch { stage, replaced } if is_under(below, replaced) => {
                    return staged(stage).into_iter().collect();
                }
                Action::Patch { .. } => {}
                Action::Drop => return Vec::new(),
            }
        }
        vec![at.clone()]
    }

    /// Asks for the object where it may be.
    async fn ask<T, F: Future<Output = Result<T>>>(
        &self,
        at: &Path,
        request: impl Fn(Path) -> F,
    ) -> Result<T> {
        let missing =
            object_store::Error::NotFound { path: at.to_string(), source: "it was removed".into() };
        let mut answer = Err(missing);
        for place in self.locate(at) {
            answer = request(place).await;
            if !matches!(answer, Err(object_store::Error::NotFound { .. })) {
                break;
            }
        }
        answer
    }
}

impl fmt::Display for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Overlay({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Overlay {
    async fn put_opts(&self, at: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(at, data, how).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.ask(at, |place| {
            let how = how.clone();
            async move { self.inner.get_opts(&place, how).await }
        })
        .await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.ask(at, |place| async move { self.inner.get_ranges(&place, ranges).await }).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}
