//! Local files as an object store with conditional writes.
//!
//! `object_store` has local files but no conditional update of them. Here an update takes the
//! lock of the key, compares the content, writes a temporary file and renames it into place; file
//! and directory are synced before success is reported. The condition of an update is the hash of
//! the content, because modification times are too coarse and inode numbers are used again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::try_join_all;
use futures::stream::BoxStream;
use futures::{StreamExt, TryFutureExt, TryStreamExt, stream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result, UpdateVersion,
};

use super::calls::Calls;
use super::durability::{Durability, STEP};
use super::failure::{NotApplied, NotDurable};
use super::file_system::FileSystem;
use super::links;
use super::local_directory::{is_link_loop, is_no_file};
use super::lock::{KeyLock, is_lock_name};
use super::open_files::reading;
use super::read::own;
use super::version::content_tag;
use super::work::HeldLocks;
use crate::commit_watch::before_request;
use crate::{Error, cores};

/// Files deleted between two checks whether the caller still waits.
const DELETES_PER_CHECK: usize = 256;
/// The maximum number of threads that list directories.
const THREADS: usize = 8;

/// A directory, which need not exist before the first write.
#[derive(Debug, Clone)]
pub(super) struct LocalFiles {
    files: LocalFileSystem,
    prefix: Path,
    inner: PrefixStore<LocalFileSystem>,
    lock_timeout: Duration,
    pub(super) durability: Arc<Durability>,
    pub(super) calls: Calls,
    pub(super) held: Arc<HeldLocks>,
    file_system: Arc<FileSystem>,
}

impl LocalFiles {
    /// The store of the files below `root`, an absolute path. `sync` means that a write succeeds
    /// only once it is on the disk; `shared` whether other machines write to the file system, which
    /// is detected if it is `None`.
    pub fn new(
        root: &FilePath,
        lock_timeout: Duration,
        sync: bool,
        shared: Option<bool>,
    ) -> crate::Result<Self> {
        let prefix = Path::from_absolute_path(root).map_err(|error| {
            Error::invalid("the path cannot be the root of a store")
                .with("path", root.display())
                .caused_by(error)
        })?;
        let files = LocalFileSystem::new().with_fsync(sync);
        let inner = PrefixStore::new(files.clone(), prefix.clone());
        let durability = Arc::new(Durability::new(sync));
        let file_system = Arc::new(FileSystem::new(root, shared));
        let (calls, held) = (Calls::default(), Arc::default());
        Ok(Self { files, prefix, inner, lock_timeout, durability, calls, held, file_system })
    }

    /// The file system of the directory, as the operating system reports it.
    pub fn file_system(&self) -> &FileSystem {
        &self.file_system
    }

    /// True if other machines may write to the files.
    pub fn is_shared(&self) -> bool {
        self.file_system.is_shared()
    }

    /// Deletes an object under its lock, so that no concurrent update can restore it.
    pub async fn delete_locked(&self, location: &Path) -> Result<()> {
        let (root, target) = (self.target(&Path::default())?, self.target(location)?);
        // Acquiring the lock would create the directory of an object that does not exist.
        if target.symlink_metadata().is_err() {
            return Ok(());
        }
        let refused = links::refuse_behind_link(&root, &target);
        refused.map_err(|error| not_applied("delete", &target, &error))?;
        let lock = KeyLock::acquire(&target, self.lock_timeout).await?;
        blocking(move || {
            let _lock = lock;
            links::remove(&root, &target).map_err(|error| not_applied("delete", &target, &error))
        })
        .await
    }

    /// Waits for the lock of a key. Work that runs under it keeps it until the work has ended.
    pub async fn lock(&self, location: &Path) -> Result<Arc<KeyLock>> {
        let lock = KeyLock::acquire(&self.target(location)?, self.lock_timeout).await?;
        let lock = Arc::new(lock);
        self.held.add(&lock);
        Ok(lock)
    }

    /// The bytes of a range, or as many of them as the file has.
    pub async fn read_range(&self, location: &Path, range: Range<u64>) -> Result<Bytes> {
        let target = self.target(location)?;
        let failed = |path: &FilePath, error: io::Error| match error.kind() {
            _ if is_no_file(&error) => object_store::Error::NotFound {
                path: path.to_string_lossy().into_owned(),
                source: error.into(),
            },
            io::ErrorKind::InvalidData => not_opened(path, &error),
            _ => object_store::Error::Generic { store: "local", source: error.into() },
        };
        let length = range.end.saturating_sub(range.start);
        // Allocated here, by a thread that decodes what is read: allocators cache freed memory for
        // the thread that allocated it, and I/O threads allocate nothing else.
        let mut buffer = Vec::new();
        usize::try_from(length)
            .map_err(|_| io::ErrorKind::OutOfMemory.into())
            .and_then(|length| buffer.try_reserve_exact(length).map_err(io::Error::other))
            .map_err(|error| failed(&target, error))?;
        reading(move || {
            let mut read = || {
                let (mut file, _) = open_regular(&target)?;
                file.seek(io::SeekFrom::Start(range.start))?;
                file.take(length).read_to_end(&mut buffer)
            };
            read().map_err(|error| failed(&target, error))?;
            Ok(Bytes::from(buffer))
        })
        .await
    }

    fn remove(&self, location: Result<Path>) -> Result<Path> {
        let location = location?;
        let (root, target) = (self.target(&Path::default())?, self.target(&location)?);
        links::remove(&root, &target).map_err(|error| not_applied("delete", &target, &error))?;
        Ok(location)
    }

    /// Rejects special files, on which the client would block, and links that lead to themselves,
    /// which it does not take for missing files.
    async fn refuse_special(&self, location: &Path) -> Result<()> {
        let target = self.target(location)?;
        blocking(move || match target.metadata() {
            Ok(found) if is_special(&found) => Err(not_opened(&target, &no_regular_file())),
            Err(error) if is_link_loop(&error) => {
                let path = target.to_string_lossy().into_owned();
                Err(object_store::Error::NotFound { path, source: error.into() })
            }
            _ => Ok(()),
        })
        .await
    }

    pub(super) fn target(&self, location: &Path) -> Result<PathBuf> {
        let full: Path = self.prefix.parts().chain(location.parts()).collect();
        self.files.path_to_filesystem(&full)
    }

    async fn create(&self, location: &Path, payload: PutPayload) -> Result<PutResult> {
        let (target, files) = (self.target(location)?, self.clone());
        let created = blocking(move || {
            let staged = Staged::write(&target, &payload, &files.durability)?;
            match files.calls.put_new(&staged.path, &target) {
                Ok(()) => finish(&target, &payload, &files.durability).map(Created::Done),
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    Ok(Created::Not(staged, target, payload))
                }
                Err(error) => Err(not_created(&target, error)),
            }
        });
        let (staged, target, payload) = match created.await? {
            Created::Done(result) => return Ok(result),
            Created::Not(staged, target, payload) => (staged, target, payload),
        };
        let lock = self.lock_to_commit(&target).await?;
        let durability = Arc::clone(&self.durability);
        blocking(move || {
            let _lock = lock;
            let taken = match target.symlink_metadata() {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            };
            let renamed = taken.and_then(|()| std::fs::rename(&staged.path, &target));
            renamed.map_err(|error| not_created(&target, error))?;
            finish(&target, &payload, &durability)
        })
        .await
    }

    /// Waits for the lock under which a commit is made.
    async fn lock_to_commit(&self, target: &FilePath) -> Result<KeyLock> {
        before_request(KeyLock::acquire(target, self.lock_timeout)).await.map_err(own)?
    }

    async fn update(
        &self,
        location: &Path,
        payload: PutPayload,
        expected: UpdateVersion,
    ) -> Result<PutResult> {
        let (target, durability) = (self.target(location)?, Arc::clone(&self.durability));
        let refused = |path: &FilePath, why: &str| object_store::Error::Precondition {
            path: path.to_string_lossy().into_owned(),
            source: why.into(),
        };
        let lock = self.lock_to_commit(&target).await?;
        blocking(move || {
            // Held until the new state is in place, even if the caller drops its future.
            let _lock = lock;
            let read = || {
                let (mut file, _) = open_regular(&target)?;
                let mut hash = blake3::Hasher::new();
                io::copy(&mut file, &mut hash)?;
                io::Result::Ok(hash.finalize())
            };
            let current = match read() {
                Ok(hash) => content_tag(hash),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(refused(&target, "the object does not exist"));
                }
                Err(error) => return Err(not_applied("read", &target, &error)),
            };
            if expected.e_tag.as_deref() != Some(current.as_str()) {
                return Err(refused(&target, "the object has another content"));
            }
            let staged = Staged::write(&target, &payload, &durability)?;
            if let Err(error) = std::fs::rename(&staged.path, &target) {
                return Err(not_applied("replace", &target, &error));
            }
            finish(&target, &payload, &durability)
        })
        .await
    }
}

/// The outcome of an attempt to create an object.
enum Created {
    Done(PutResult),
    /// The file system cannot create a file together with its content in one call.
    Not(Staged, PathBuf, PutPayload),
}

fn not_created(target: &FilePath, error: io::Error) -> object_store::Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists => object_store::Error::AlreadyExists {
            path: target.to_string_lossy().into_owned(),
            source: error.into(),
        },
        _ => not_applied("create", target, &error),
    }
}

/// The name of a temporary file beside another one. `object_store` hides names that end in `#` and
/// digits as temporary files.
pub(super) fn temporary_beside(target: &FilePath) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(format!("#{}", rand::random::<u64>()));
    name.into()
}

/// A temporary file beside its target, with its content on disk. It is removed on drop unless it
/// was renamed.
struct Staged {
    path: PathBuf,
}

impl Staged {
    fn write(target: &FilePath, payload: &PutPayload, durability: &Durability) -> Result<Self> {
        let staged = Self { path: temporary_beside(target) };
        staged.fill(payload, durability).map_err(|error| not_applied("write", target, &error))?;
        Ok(staged)
    }

    fn fill(&self, payload: &PutPayload, durability: &Durability) -> io::Result<()> {
        let open = || OpenOptions::new().write(true).create_new(true).open(&self.path);
        let mut file = match (open(), self.path.parent()) {
            (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
                durability.make_directory(parent)?;
                open()?
            }
            (opened, _) => opened?,
        };
        payload.iter().try_for_each(|bytes| file.write_all(bytes))?;
        durability.file(&file)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Makes the directory entry of a stored object durable and answers with the object's version.
fn finish(target: &FilePath, payload: &PutPayload, durability: &Durability) -> Result<PutResult> {
    // The object is visible now: an error means that it may not survive a power cut.
    target
        .parent()
        .map_or(Ok(()), |parent| durability.directory(parent))
        .map_err(NotDurable::error)?;
    let mut hash = blake3::Hasher::new();
    for bytes in payload {
        hash.update(bytes);
    }
    let e_tag = Some(content_tag(hash.finalize()));
    Ok(PutResult { e_tag, version: None, extensions: Default::default() })
}

pub(super) fn not_applied(what: &str, target: &FilePath, error: &io::Error) -> object_store::Error {
    NotApplied::of_system(what, target, error)
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// Reads the directories `items` on one thread per core, and returns the results in order. The
/// threads take one after the other, and stop when nobody awaits the result any more.
pub(super) async fn reading_each<A: Send + Sync + 'static, B: Send + 'static>(
    items: Vec<A>,
    work: impl Fn(&A) -> Result<B> + Send + Sync + 'static,
) -> Result<Vec<B>> {
    let workers = cores().min(items.len()).min(THREADS);
    let shared = Arc::new((items, work, AtomicUsize::new(0)));
    let worker = |_| {
        let shared = Arc::downgrade(&shared);
        reading(move || {
            let mut done = Vec::new();
            while let Some(shared) = shared.upgrade() {
                let (items, work, next) = shared.as_ref();
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(number) else { break };
                done.push((number, work(item)?));
            }
            Ok(done)
        })
    };
    let done = try_join_all((0..workers).map(worker)).await?;
    let mut done: Vec<(usize, B)> = done.into_iter().flatten().collect();
    done.sort_unstable_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// The same bytes, split into parts that are written separately.
fn in_steps(payload: &PutPayload) -> PutPayload {
    let parts = |bytes: &Bytes| -> Vec<Bytes> {
        let starts = (0..bytes.len()).step_by(STEP);
        starts.map(|start| bytes.slice(start..bytes.len().min(start + STEP))).collect()
    };
    payload.iter().flat_map(parts).collect()
}

/// Opens a regular file. Others, such as pipes and devices, could block while being opened or be
/// read without end. A directory is reported by its error kind.
pub(super) fn open_regular(target: &FilePath) -> io::Result<(File, std::fs::Metadata)> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Without this flag, opening a pipe blocks until there is a writer.
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    let file = match options.open(target) {
        // A socket cannot be opened at all.
        Err(_) if target.metadata().is_ok_and(|found| is_special(&found)) => {
            return Err(no_regular_file());
        }
        opened => opened?,
    };
    let metadata = file.metadata()?;
    match metadata.file_type() {
        kind if kind.is_file() => Ok((file, metadata)),
        kind if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(no_regular_file()),
    }
}

/// True for what is neither a file nor a directory.
fn is_special(metadata: &std::fs::Metadata) -> bool {
    !metadata.is_file() && !metadata.is_dir()
}

/// An error of a kind that the system does not report for files.
fn no_regular_file() -> io::Error {
    let what = "it is no regular file, but a pipe, a socket or a device";
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The error of a file that cannot be opened. What is not a file in the place of one is damage, and
/// not a failure of the store.
pub(super) fn not_opened(target: &FilePath, error: &io::Error) -> object_store::Error {
    match error.kind() {
        io::ErrorKind::InvalidData => {
            own(Error::corrupt(error.to_string()).with("file", target.display()))
        }
        _ => not_applied("open", target, error),
    }
}

/// True for names that listings hide: locks and temporary files.
pub(super) fn is_hidden_name(name: &str) -> bool {
    is_temporary(name) || is_lock_name(name)
}

/// True for the name of a file that is being written.
pub(super) fn is_temporary(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(_, suffix)| {
        !suffix.is_empty() && suffix.bytes().all(|byte| byte.is_ascii_digit())
    })
}

impl std::fmt::Display for LocalFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LocalFiles(/{})", self.prefix)
    }
}

#[async_trait]
impl ObjectStore for LocalFiles {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let payload = in_steps(&payload);
        match options.mode {
            PutMode::Overwrite => self.inner.put_opts(location, payload, options).await,
            PutMode::Create => self.create(location, payload).await,
            PutMode::Update(expected) => self.update(location, payload, expected).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.refuse_special(location).await?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.refuse_special(location).await?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let files = self.clone();
        let delete = move |locations: Vec<Result<Path>>| {
            let files = files.clone();
            blocking(move || Ok(locations.into_iter().map(|one| files.remove(one)).collect()))
                .map_ok(|removed: Vec<Result<Path>>| stream::iter(removed))
        };
        locations.ready_chunks(DELETES_PER_CHECK).then(delete).try_flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.walk(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.level(prefix).await
    }

    /// Copies the content, while the client would make a hard link: a program that modifies the
    /// file in place would then change both.
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match options.mode {
            CopyMode::Overwrite => self.copy(from, to).await,
            CopyMode::Create => self.inner.copy_opts(from, to, options).await,
        }
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
