//! A client whose requests a rule of the test observes and can fail.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result,
};

/// A kind of request to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// An object or its metadata is read.
    Get,
    /// An object is written unconditionally.
    Put,
    /// An object is written with a condition.
    Swap,
    /// An object is deleted.
    Delete,
    /// Objects are listed.
    List,
}

/// The moment at which a rule is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the request is carried out; an error prevents it.
    Before,
    /// After it was carried out; an error replaces the response.
    After,
}

/// A request that a rule is called for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The kind of the request.
    pub verb: Verb,
    /// The key, or the prefix of a listing.
    pub key: String,
    /// Whether the request was carried out already.
    pub phase: Phase,
}

/// Returns `None`, or the error that replaces the response.
pub type Rule = Arc<dyn Fn(Asked) -> BoxFuture<'static, Option<object_store::Error>> + Send + Sync>;

/// A client that calls a rule before and after each request. Clones share the rule.
#[derive(Clone)]
pub struct ScriptedStore {
    inner: Arc<dyn ObjectStore>,
    rule: Arc<Mutex<Option<Rule>>>,
}

impl ScriptedStore {
    /// No rule yet.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, rule: Arc::default() }
    }

    /// Sets the rule. It is also called for the requests that it sends to this store itself.
    pub fn set(&self, rule: Rule) {
        *self.rule.lock().unwrap_or_else(PoisonError::into_inner) = Some(rule);
    }

    /// Removes the rule.
    pub fn clear(&self) {
        *self.rule.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn ask(&self, verb: Verb, key: &str, phase: Phase) -> Result<()> {
        let rule = self.rule.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(rule) = rule else { return Ok(()) };
        match rule(Asked { verb, key: key.to_owned(), phase }).await {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    async fn asked<T>(
        &self,
        verb: Verb,
        key: &str,
        request: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.ask(verb, key, Phase::Before).await?;
        let answer = request.await?;
        self.ask(verb, key, Phase::After).await?;
        Ok(answer)
    }
}

impl fmt::Debug for ScriptedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedStore").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl fmt::Display for ScriptedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScriptedStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for ScriptedStore {
    async fn put_opts(&self, at: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        let verb = match how.mode {
            PutMode::Overwrite => Verb::Put,
            PutMode::Create | PutMode::Update(_) => Verb::Swap,
        };
        self.asked(verb, at.as_ref(), self.inner.put_opts(at, data, how)).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.asked(Verb::Put, at.as_ref(), self.inner.put_multipart_opts(at, how)).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.asked(Verb::Get, at.as_ref(), self.inner.get_opts(at, how)).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |path: Result<Path>| {
            let store = store.clone();
            async move {
                let path = path?;
                store.asked(Verb::Delete, path.as_ref(), store.inner.delete(&path)).await?;
                Ok(path)
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let key = prefix.as_ref().map_or("", |prefix| prefix.as_ref());
            store.ask(Verb::List, key, Phase::Before).await?;
            Ok::<_, object_store::Error>(store.inner.list(prefix.as_ref()))
        };
        stream::once(listed.boxed()).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let key = prefix.map_or("", |prefix| prefix.as_ref());
        self.asked(Verb::List, key, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.asked(Verb::Put, to.as_ref(), self.inner.copy_opts(from, to, how)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, how: RenameOptions) -> Result<()> {
        self.asked(Verb::Put, to.as_ref(), self.inner.rename_opts(from, to, how)).await
    }
}
