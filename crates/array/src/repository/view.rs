//! A state of a repository as a store, with the keys that a collection has in a plain one.
//!
//! Reading and listing take no notice of where they are. Writing goes to what is staged for a
//! commit, or into the changes of a session that can be committed.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use icechunk::format::snapshot::NodeType;
use icechunk::format::{ByteRange, ChunkIndices, Path as NodePath};
use icechunk::session::{Session, SessionErrorKind};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};
use tokio::sync::{OnceCell, RwLock};

use super::failure::Failed;
use super::keys::{Target, chunk_key, groups_of_document, node_key, payload};
use super::staging::{Object, Staging};
use crate::commit::STAGE;

/// A session as a store.
pub(super) struct View {
    session: Arc<RwLock<Session>>,
    staging: Arc<Staging>,
    url: Arc<str>,
    /// When the state was committed.
    time: DateTime<Utc>,
    /// The keys and sizes of the documents of nodes, where they cannot change any more.
    nodes: Option<OnceCell<Arc<Nodes>>>,
}

type Nodes = BTreeMap<String, u64>;

impl View {
    /// A state, for reading and for staging changes.
    pub fn reading(
        session: Session,
        staging: Arc<Staging>,
        url: Arc<str>,
        time: DateTime<Utc>,
    ) -> Self {
        let session = Arc::new(RwLock::new(session));
        Self { session, staging, url, time, nodes: Some(OnceCell::new()) }
    }

    /// A state in the making.
    pub fn writing(session: Arc<RwLock<Session>>, staging: Arc<Staging>, url: Arc<str>) -> Self {
        Self { session, staging, url, time: Utc::now(), nodes: None }
    }

    fn failed(&self, error: impl Failed) -> Error {
        Error::Generic { store: "icechunk", source: Box::new(error.failed(&self.url)) }
    }

    fn meta(&self, location: Path, size: u64) -> ObjectMeta {
        ObjectMeta { location, last_modified: self.time, size, e_tag: None, version: None }
    }

    /// The document of a node.
    async fn node(&self, path: &NodePath) -> Result<Option<Bytes>> {
        match self.session.read().await.get_node(path).await {
            Ok(node) => Ok(Some(node.user_data)),
            Err(error) if matches!(error.kind, SessionErrorKind::NodeNotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Some bytes of a chunk, where they begin, and how large it is.
    async fn chunk(
        &self,
        path: &NodePath,
        indices: &ChunkIndices,
        options: &GetOptions,
    ) -> Result<Option<(Bytes, u64, u64)>> {
        let session = self.session.read().await;
        let found = match session.get_chunk_ref(path, indices).await {
            Ok(found) => found,
            Err(error) => match &error.kind {
                SessionErrorKind::NodeNotFound { .. } | SessionErrorKind::NotAnArray { .. } => None,
                _ => return Err(self.failed(error)),
            },
        };
        let Some(found) = found else { return Ok(None) };
        let size = found.length();
        if options.head {
            return Ok(Some((Bytes::new(), 0, size)));
        }
        let range = range(options, size)?;
        let wanted = ByteRange::Bounded(range.clone());
        let reader = session.get_chunk_reader(path, indices, &wanted).await;
        let Some(reader) = reader.map_err(|error| self.failed(error))? else { return Ok(None) };
        let bytes = reader.await.map_err(|error| self.failed(error))?;
        Ok(Some((bytes, range.start, size)))
    }

    /// The documents of all nodes.
    async fn nodes(&self) -> Result<Arc<Nodes>> {
        let read = async || {
            let session = self.session.read().await;
            let nodes = session.list_nodes(&NodePath::root()).await;
            let nodes = nodes.map_err(|error| self.failed(error))?;
            let node = |node: Result<_, _>| {
                let node: icechunk::format::snapshot::NodeSnapshot =
                    node.map_err(|error| self.failed(error))?;
                Ok((node_key(&node.path), node.user_data.len() as u64))
            };
            nodes.map(node).collect::<Result<Nodes>>().map(Arc::new)
        };
        match &self.nodes {
            Some(known) => known.get_or_try_init(read).await.cloned(),
            None => read().await,
        }
    }

    /// The chunks of the array with this document, if it is one.
    async fn chunks(&self, document: &str) -> Result<Vec<ObjectMeta>> {
        let Some(Target::Node(path)) = Target::of(document) else { return Ok(Vec::new()) };
        let session = self.session.read().await;
        match session.get_node(&path).await {
            Ok(node) if node.node_type() == NodeType::Array => {}
            Ok(_) => return Ok(Vec::new()),
            Err(error) => return Err(self.failed(error)),
        }
        let found: Vec<_> = session
            .array_chunk_iterator(&path)
            .await
            .try_collect()
            .await
            .map_err(|error| self.failed(error))?;
        let chunk = |chunk: &icechunk::format::manifest::ChunkInfo| {
            let location = Path::parse(chunk_key(&path, &chunk.coord))?;
            Ok(self.meta(location, chunk.payload.length()))
        };
        found.iter().map(chunk).collect()
    }

    async fn list_all(&self, prefix: Option<Path>) -> Result<Vec<ObjectMeta>> {
        let start = directory(prefix.as_ref());
        let mut found = Vec::new();
        let nodes = self.nodes().await?;
        for (key, size) in nodes.range(start.clone()..).take_while(|(k, _)| k.starts_with(&start)) {
            found.push(self.meta(Path::parse(key)?, *size));
            found.extend(self.chunks(key).await?);
        }
        Ok(found)
    }

    /// Stages an object, whose chunk is stored at once.
    async fn stage(&self, key: &str, within: &str, bytes: Bytes) -> Result<()> {
        let object = match Target::of(within) {
            Some(Target::Chunk(path, indices)) => {
                let writer = self.session.read().await.get_chunk_writer(&path, &indices);
                let writer = writer.map_err(|error| self.failed(error))?;
                Object::Chunk(writer(bytes).await.map_err(|error| self.failed(error))?)
            }
            Some(_) => Object::Document(text(bytes)?),
            None => return Err(missing(key)),
        };
        self.staging.put_new(key.to_owned(), object);
        Ok(())
    }

    /// Writes a document into the session.
    async fn write(&self, key: &str, bytes: Bytes) -> Result<()> {
        let store = icechunk::Store::from_session(Arc::clone(&self.session)).await;
        let documents = match Target::of(key) {
            Some(Target::Document(_)) => groups_of_document(key, &text(bytes)?).to_vec(),
            Some(Target::Node(_)) => vec![(key.to_owned(), text(bytes)?)],
            _ => return Err(not_supported("chunks are staged before they are committed")),
        };
        for (key, text) in documents {
            store.set(&key, text.into()).await.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }
}

/// The range that is asked for, within the object.
fn range(options: &GetOptions, size: u64) -> Result<Range<u64>> {
    let Some(range) = &options.range else { return Ok(Range { start: 0, end: size }) };
    range
        .as_range(size)
        .map_err(|error| Error::Generic { store: "icechunk", source: Box::new(error) })
}

fn text(bytes: Bytes) -> Result<String> {
    String::from_utf8(bytes.into())
        .map_err(|error| Error::Generic { store: "icechunk", source: Box::new(error) })
}

fn missing(key: &str) -> Error {
    let source = "the state of the repository has no such object".into();
    Error::NotFound { path: key.to_owned(), source }
}

fn not_supported(why: &str) -> Error {
    Error::NotSupported { source: why.into() }
}

/// What the keys in a directory begin with.
fn directory(prefix: Option<&Path>) -> String {
    match prefix.map_or("", |prefix| prefix.as_ref()) {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    }
}

/// The key without the stage that it is in.
fn within_stage(key: &str) -> Option<&str> {
    let staged = key.strip_prefix(STAGE)?.strip_prefix('/')?;
    // The writer's id, and its attempt.
    staged.splitn(3, '/').nth(2)
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("url", &self.url).finish_non_exhaustive()
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({})", self.url)
    }
}

#[async_trait]
impl ObjectStore for View {
    async fn put_opts(&self, at: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        if how.mode != PutMode::Overwrite {
            return Err(not_supported("conditions are those of the commit"));
        }
        let (key, bytes) = (at.as_ref(), Bytes::from(data));
        match within_stage(key) {
            Some(within) => self.stage(key, within, bytes).await?,
            None => self.write(key, bytes).await?,
        }
        Ok(PutResult { e_tag: None, version: None, extensions: Default::default() })
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        _how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload { to: at.clone(), parts: Vec::new(), view: self.clone() }))
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        let key = at.as_ref();
        let document = |bytes: Bytes| {
            let size = bytes.len() as u64;
            let range = range(&options, size)?;
            let slice = bytes.slice(range.start as usize..range.end as usize);
            Ok::<_, Error>((slice, range.start, size))
        };
        let found = match Target::of(key) {
            None => None,
            Some(Target::Chunk(path, indices)) => self.chunk(&path, &indices, &options).await?,
            Some(Target::Node(path)) => self.node(&path).await?.map(document).transpose()?,
            Some(Target::Document(path)) => {
                let text = self.node(&path).await?.and_then(|group| payload(&group));
                text.map(|text| document(text.into())).transpose()?
            }
        };
        let (bytes, start, size) = found.ok_or_else(|| missing(key))?;
        let end = start.saturating_add(bytes.len() as u64);
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed()),
            meta: self.meta(at.clone(), size),
            range: Range { start, end },
            attributes: Default::default(),
            extensions: Default::default(),
        })
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let refused = |_: Path| async { Err(not_supported("deletes are those of a commit")) };
        paths.and_then(refused).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (view, prefix) = (self.clone(), prefix.cloned());
        let all = async move {
            let found = view.list_all(prefix).await?;
            Ok::<_, Error>(stream::iter(found.into_iter().map(Ok)))
        };
        stream::once(all).try_flatten().boxed()
    }

    /// Documents and the nodes below; chunks are shown by `list` alone.
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let start = directory(prefix);
        let nodes = self.nodes().await?;
        let (mut objects, mut common_prefixes) = (Vec::new(), Vec::new());
        let mut from = Bound::Included(start.clone());
        while let Some((key, size)) = nodes.range((from, Bound::Unbounded)).next() {
            let Some(below) = key.strip_prefix(&start) else { break };
            match below.split_once('/') {
                None => {
                    objects.push(self.meta(Path::parse(key)?, *size));
                    from = Bound::Excluded(key.clone());
                }
                Some((name, _)) => {
                    let directory = format!("{start}{name}");
                    common_prefixes.push(Path::parse(&directory)?);
                    // `0` is what follows `/`: everything in the directory is passed over.
                    from = Bound::Included(format!("{directory}0"));
                }
            }
        }
        Ok(ListResult { common_prefixes, objects, extensions: Default::default() })
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _how: CopyOptions) -> Result<()> {
        Err(not_supported("copies are made by commits"))
    }
}

impl Clone for View {
    fn clone(&self) -> Self {
        Self {
            session: Arc::clone(&self.session),
            staging: Arc::clone(&self.staging),
            url: Arc::clone(&self.url),
            time: self.time,
            nodes: self.nodes.clone(),
        }
    }
}

/// A chunk that comes in parts.
#[derive(Debug)]
struct Upload {
    view: View,
    to: Path,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> object_store::UploadPart {
        self.parts.push(data);
        Box::pin(async { Ok(()) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let parts = std::mem::take(&mut self.parts);
        let all: PutPayload = parts.iter().flatten().cloned().collect();
        self.view.put_opts(&self.to, all, PutOptions::default()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}
