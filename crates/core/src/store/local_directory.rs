//! Directories of local files, switched by one system call.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use object_store::Result;
use object_store::path::Path;

use super::calls::is_refused;
use super::fingerprint::ObjectVersion;
use super::links::refuse_behind_link;
use super::list::join;
use super::local::{
    LocalFiles, blocking, not_applied, not_opened, open_regular, reading_each, temporary_beside,
};
use super::local_list::versions;
use super::local_place::{Placing, copy_into_place, in_directory};
use super::open_files::reading;
use super::read::refuse_larger;
use super::removal::remove_later;
use super::work::Work;

impl LocalFiles {
    /// Writes a file that nobody reads yet.
    pub async fn write_deferred(&self, location: &Path, bytes: Bytes) -> Result<()> {
        let (root, target) = (self.target(&Path::default())?, self.target(location)?);
        let durability = Arc::clone(&self.durability);
        blocking(move || {
            let filled =
                create(&target).and_then(|mut file| durability.fill(&mut file, &bytes, &root));
            filled.map_err(|error| not_applied("write", &target, &error))
        })
        .await
    }

    /// Writes a file that is complete or does not exist if the process is killed. A power cut
    /// before [`LocalFiles::sync`] may leave a part of it.
    pub async fn write_whole_deferred(&self, location: &Path, bytes: Bytes) -> Result<()> {
        let (root, target) = (self.target(&Path::default())?, self.target(location)?);
        let durability = Arc::clone(&self.durability);
        blocking(move || {
            let temporary = temporary_beside(&target);
            let filled =
                create(&temporary).and_then(|mut file| durability.fill(&mut file, &bytes, &root));
            let put = filled.and_then(|()| fs::rename(&temporary, &target));
            put.map_err(|error| {
                // The file system may be full, so the partial file is removed.
                let _ = fs::remove_file(&temporary);
                not_applied("write", &target, &error)
            })
        })
        .await
    }

    /// Makes all writes to the file system durable.
    pub async fn sync(&self) -> Result<()> {
        let (root, durability) = (self.target(&Path::default())?, Arc::clone(&self.durability));
        blocking(move || durability.everything(&root).map_err(|e| not_applied("sync", &root, &e)))
            .await
    }

    pub async fn switch_directory(
        &self,
        staged: &Path,
        live: &Path,
        removed: Option<Vec<String>>,
        moves: bool,
        scratch: &Path,
    ) -> Result<()> {
        let root = self.target(&Path::default())?;
        let (staged, live) = (self.target(staged)?, self.target(live)?);
        let scratch = self.temporary(scratch)?;
        self.work(move |files, work| {
            refuse_behind_link(&root, &live).map_err(|e| not_applied("switch", &live, &e))?;
            if moves && !live.exists() {
                return move_directory(&staged, &live).map_err(|e| not_applied("move", &live, &e));
            }
            if moves && !staged.exists() {
                return Ok(());
            }
            let mut new = Vec::new();
            let found = files_under(&staged, "", &mut new);
            found.map_err(|error| not_applied("list", &staged, &error))?;
            place(
                Placing { live, new, removed: removed.map(HashSet::from_iter), built: scratch },
                files,
                work,
            )
        })
        .await
    }

    /// Places files into a directory, see [`Placing`].
    pub async fn place_directory(
        &self,
        live: &Path,
        new: Vec<(String, Path)>,
        removed: Option<HashSet<String>>,
        scratch: &Path,
    ) -> Result<()> {
        let (live, built) = (self.target(live)?, self.temporary(scratch)?);
        self.work(move |files, work| {
            let source = |(name, key): (String, Path)| Ok((name, files.target(&key)?));
            let new = new.into_iter().map(source).collect::<Result<_>>()?;
            place(Placing { live, new, removed, built }, files, work)
        })
        .await
    }

    /// Makes `to` a hard link to a file, or a copy, if it does not exist. False if the file does
    /// not exist.
    pub async fn link(&self, from: &Path, to: &Path) -> Result<bool> {
        let (from, to) = (self.target(from)?, self.target(to)?);
        self.work(move |files, _| {
            let linked = match to.exists() {
                true => Ok(()),
                // A copy is put into place by a rename, since a link becomes visible as a whole
                // too.
                false => in_directory(&to, || match files.calls.hard_link(&from, &to) {
                    Err(error) if is_refused(&error) => copy_into_place(&from, &to, files),
                    linked => linked,
                }),
            };
            match linked {
                Ok(()) => Ok(from.exists()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
                Err(_) if !from.exists() => Ok(false),
                Err(error) => Err(not_applied("link", &to, &error)),
            }
        })
        .await
    }

    /// Makes `to` a copy of `from`, atomically.
    pub async fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (self.target(from)?, self.target(to)?);
        self.work(move |files, _| {
            let copied = copy_into_place(&from, &to, files);
            copied.map_err(|error| failed("copy", &from, error))
        })
        .await
    }

    /// Moves a directory away, and waits until its files are removed if `waits` is set.
    pub async fn delete_directory(
        &self,
        location: &Path,
        scratch: &Path,
        waits: bool,
    ) -> Result<()> {
        let root = self.target(&Path::default())?;
        let (target, scratch) = (self.target(location)?, self.temporary(scratch)?);
        self.work(move |_, _| {
            let deleted = delete(&target, &scratch, &root);
            let removed = deleted.and_then(|found| match found && waits {
                true => fs::remove_dir_all(&scratch),
                false => Ok(()),
            });
            removed.map_err(|error| not_applied("delete", &target, &error))?;
            remove_later(scratch);
            Ok(())
        })
        .await
    }

    /// The content of a file of at most `most` bytes; `None` if there is no such file.
    pub async fn read(&self, location: &Path, most: u64) -> Result<Option<Bytes>> {
        let target = self.target(location)?;
        reading(move || {
            let Some((file, metadata)) = open(&target)? else { return Ok(None) };
            refuse_larger(metadata.len(), most)?;
            let mut bytes = Vec::new();
            let read = file.take(most).read_to_end(&mut bytes);
            read.map_err(|error| not_applied("read", &target, &error))?;
            Ok(Some(bytes.into()))
        })
        .await
    }

    /// Opens a file and starts its read-ahead; `None` if there is no such file.
    pub async fn open(&self, location: &Path) -> Result<Option<fs::File>> {
        let target = self.target(location)?;
        blocking(move || {
            let opened = open(&target)?.map(|(file, _)| file);
            opened.iter().for_each(read_ahead);
            Ok(opened)
        })
        .await
    }

    /// The files below each directory, in no particular order.
    pub async fn versions(&self, directories: Vec<Path>) -> Result<Vec<Vec<ObjectVersion>>> {
        let targets: Vec<PathBuf> =
            directories.iter().map(|path| self.target(path)).collect::<Result<_>>()?;
        let one = |target: &PathBuf| {
            let mut found = Vec::new();
            let read = versions(target, "", &mut found);
            read.map(|()| found).map_err(|error| not_applied("list", target, &error))
        };
        reading_each(targets, one).await
    }

    /// The time of the last change of any kind in a directory; `None` if there is no such
    /// directory.
    pub async fn changed_at(&self, location: &Path) -> Result<Option<Timestamp>> {
        let target = self.target(location)?;
        blocking(move || changed_at(&target).map_err(|e| not_applied("list", &target, &e))).await
    }

    fn temporary(&self, scratch: &Path) -> Result<PathBuf> {
        Ok(self.target(scratch)?.join(uuid::Uuid::new_v4().simple().to_string()))
    }
}

/// True if the path is not a file: it is missing, a directory, below a file, or a symbolic link that
/// leads to itself.
pub(super) fn is_no_file(error: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | IsADirectory | NotADirectory) || is_link_loop(error)
}

/// True if a symbolic link leads to itself, so that it has no target.
#[cfg(unix)]
pub(super) fn is_link_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(not(unix))]
pub(super) fn is_link_loop(_: &io::Error) -> bool {
    false
}

fn open(target: &FilePath) -> Result<Option<(fs::File, fs::Metadata)>> {
    match open_regular(target) {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if is_no_file(&error) => Ok(None),
        Err(error) => Err(not_opened(target, &error)),
    }
}

/// Asks the kernel to read a file ahead.
#[cfg(target_os = "linux")]
fn read_ahead(file: &fs::File) {
    if let Err(error) = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::WillNeed) {
        tracing::trace!(%error, "a file is not read ahead");
    }
}

#[cfg(not(target_os = "linux"))]
fn read_ahead(_file: &fs::File) {}

/// The entries of a directory; none if it does not exist, since it may have been removed in the
/// meantime.
pub(super) fn entries_of(
    directory: &FilePath,
) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if is_no_file(&error) => None,
        entries => Some(entries?),
    };
    Ok(entries.into_iter().flatten())
}

fn changed_at(path: &FilePath) -> io::Result<Option<Timestamp>> {
    let metadata = match path.symlink_metadata() {
        Err(error) if is_no_file(&error) => return Ok(None),
        metadata => metadata?,
    };
    let mut latest = Some(change_of(&metadata)?);
    if metadata.is_dir() {
        for entry in entries_of(path)? {
            latest = latest.max(changed_at(&entry?.path())?);
        }
    }
    Ok(latest)
}

/// The change time, which links and moves update too.
#[cfg(unix)]
fn change_of(metadata: &fs::Metadata) -> io::Result<Timestamp> {
    use std::os::unix::fs::MetadataExt;
    // The nanoseconds within a second, which are below 2^30.
    let nanoseconds = i32::try_from(metadata.ctime_nsec()).unwrap_or_default();
    Timestamp::new(metadata.ctime(), nanoseconds).map_err(io::Error::other)
}

#[cfg(not(unix))]
fn change_of(metadata: &fs::Metadata) -> io::Result<Timestamp> {
    Timestamp::try_from(metadata.modified()?).map_err(io::Error::other)
}

fn create(target: &FilePath) -> io::Result<fs::File> {
    match (fs::File::create(target), target.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(parent)?;
            fs::File::create(target)
        }
        (created, _) => created,
    }
}

/// Moves the directory: unlinking files costs some file systems milliseconds each, moving costs
/// nothing.
fn move_directory(staged: &FilePath, live: &FilePath) -> io::Result<()> {
    if let Some(parent) = live.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::rename(staged, live) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

fn place(placing: Placing, files: &LocalFiles, work: &Work) -> Result<()> {
    let placed = placing.run(files, work);
    remove_later(placing.built);
    placed.map_err(|error| failed("place", &placing.live, error))
}

/// The files below a directory; none if it does not exist.
fn files_under(
    directory: &FilePath,
    prefix: &str,
    found: &mut Vec<(String, PathBuf)>,
) -> io::Result<()> {
    for entry in entries_of(directory)? {
        let entry = entry?;
        let name = join(prefix, &entry.file_name().to_string_lossy());
        match entry.file_type()?.is_dir() {
            true => files_under(&entry.path(), &name, found)?,
            false => found.push((name, entry.path())),
        }
    }
    Ok(())
}

fn failed(what: &str, target: &FilePath, error: io::Error) -> object_store::Error {
    match error.kind() {
        io::ErrorKind::NotFound => object_store::Error::NotFound {
            path: target.to_string_lossy().into_owned(),
            source: error.into(),
        },
        _ => not_applied(what, target, &error),
    }
}

/// Moves a directory away, if there is one.
fn delete(target: &FilePath, scratch: &FilePath, root: &FilePath) -> io::Result<bool> {
    refuse_behind_link(root, target)?;
    if let Some(parent) = scratch.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::rename(target, scratch) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        renamed => renamed?,
    }
    let above = target.ancestors().skip(1).take_while(|path| *path != root);
    for directory in above {
        // Not empty, or removed by another process.
        if fs::remove_dir(directory).is_err() {
            break;
        }
    }
    Ok(true)
}
