//! The S3 operations: those of `s3s-fs`, made atomic by a lock, with faults.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::sync::RwLock;

use crate::faults::{Counter, Faults};

/// Counters of the server, shared with the code that started it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub connections: Counter,
    pub requests: Counter,
    pub conditional_puts: Counter,
    pub lost_answers: Counter,
}

/// `s3s-fs` behind a lock. Without it, `s3s-fs` checks a condition and then writes: if two writers
/// both check before either writes, both win.
#[derive(Debug)]
pub(crate) struct LockedFiles {
    files: FileSystem,
    lock: RwLock<()>,
    faults: Faults,
    tally: Arc<Tally>,
}

impl LockedFiles {
    pub fn new(files: FileSystem, faults: Faults, tally: Arc<Tally>) -> Self {
        Self { files, lock: RwLock::new(()), faults, tally }
    }

    async fn admit(&self) -> S3Result<()> {
        if self.faults.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.faults.delay_ms)).await;
        }
        if self.tally.requests.hits(self.faults.busy_every) {
            return Err(s3_error!(ServiceUnavailable, "busy, on purpose"));
        }
        Ok(())
    }
}

/// Forwards an operation under the lock.
macro_rules! forward {
    ($self:ident, $lock:ident, $name:ident, $request:ident) => {{
        $self.admit().await?;
        let _guard = match $self.faults.unlocked {
            true => None,
            false => Some($self.lock.$lock().await),
        };
        $self.files.$name($request).await
    }};
}

/// The requests for metadata that the server sends to itself.
struct Heads {
    bucket: String,
    request: S3Request<()>,
}

impl Heads {
    fn of<T>(&mut self, input: T) -> S3Request<T> {
        let own = &self.request;
        S3Request {
            input,
            method: own.method.clone(),
            uri: own.uri.clone(),
            headers: own.headers.clone(),
            extensions: Default::default(),
            credentials: own.credentials.clone(),
            region: own.region.clone(),
            service: own.service.clone(),
            trailing_headers: None,
        }
    }
}

/// A body that arrives after the condition of its request, and of concurrent requests, has been
/// checked: without the lock all of them win, even on a busy machine.
fn late(body: StreamingBlob) -> StreamingBlob {
    let body = async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        body
    };
    StreamingBlob::wrap(stream::once(body).flatten().map_err(std::io::Error::other))
}

#[async_trait::async_trait]
impl S3 for LockedFiles {
    async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.admit().await?;
        let input = &mut request.input;
        let conditional = input.if_match.is_some() || input.if_none_match.is_some();
        if self.faults.ignore_conditions {
            (input.if_match, input.if_none_match) = (None, None);
        }
        let guard = match self.faults.unlocked {
            true => {
                input.body = input.body.take().map(late);
                None
            }
            false => Some(self.lock.write().await),
        };
        let stored = self.files.put_object(request).await?;
        drop(guard);
        if conditional && self.tally.conditional_puts.hits(self.faults.lose_every) {
            self.tally.lost_answers.hits(0);
            return Err(s3_error!(InternalError, "stored, but says otherwise, on purpose"));
        }
        Ok(stored)
    }

    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        forward!(self, write, create_bucket, request)
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        forward!(self, read, head_bucket, request)
    }

    async fn list_buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        forward!(self, read, list_buckets, request)
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        forward!(self, read, get_bucket_location, request)
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let condition = request.input.if_match.clone();
        let found = forward!(self, read, get_object, request)?;
        // `s3s-fs` does not check this condition.
        match (condition, &found.output.e_tag) {
            (Some(ETagCondition::ETag(wanted)), Some(e_tag)) if wanted != *e_tag => {
                Err(s3_error!(PreconditionFailed))
            }
            _ => Ok(found),
        }
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        forward!(self, read, head_object, request)
    }

    async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        forward!(self, read, list_objects, request)
    }

    async fn list_objects_v2(
        &self,
        mut request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.admit().await?;
        let _guard = self.lock.read().await;
        let bucket = request.input.bucket.clone();
        let input = std::mem::take(&mut request.input);
        let mut heads = Heads { bucket, request: request.map_input(|_| ()) };
        let mut listed = self.files.list_objects_v2(heads.of(input)).await?;
        for object in listed.output.contents.iter_mut().flatten() {
            let Some(key) = object.key.clone() else { continue };
            let input = HeadObjectInput { bucket: heads.bucket.clone(), key, ..Default::default() };
            // Every real server returns the entity tag; `s3s-fs` does not.
            object.e_tag = self.files.head_object(heads.of(input)).await?.output.e_tag;
        }
        Ok(listed)
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        forward!(self, write, copy_object, request)
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        forward!(self, write, delete_object, request)
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        forward!(self, write, delete_objects, request)
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        forward!(self, write, create_multipart_upload, request)
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        forward!(self, read, upload_part, request)
    }

    async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        forward!(self, read, list_parts, request)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        forward!(self, write, complete_multipart_upload, request)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        forward!(self, write, abort_multipart_upload, request)
    }
}
