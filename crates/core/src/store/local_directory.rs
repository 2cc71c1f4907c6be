//! Directories of local files, switched by one system call.

use std::fs;
use std::io::{self, Read};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use object_store::Result;
use object_store::path::Path;

use super::directory::is_under;
use super::fingerprint::Identity;
use super::list::join;
use super::local::{LocalFiles, blocking, blocking_each, not_applied};
use super::removal::remove_later;

impl LocalFiles {
    /// Writes a file that nobody looks for yet.
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

    /// Makes everything durable that was written to the file system.
    pub async fn sync(&self) -> Result<()> {
        let (root, durability) = (self.target(&Path::default())?, Arc::clone(&self.durability));
        blocking(move || durability.everything(&root).map_err(|e| not_applied("sync", &root, &e)))
            .await
    }

    pub async fn switch_directory(
        &self,
        staged: &Path,
        live: &Path,
        replaced: Option<Vec<String>>,
        moves: bool,
        scratch: &Path,
    ) -> Result<()> {
        let (staged, live) = (self.target(staged)?, self.target(live)?);
        let scratch = self.temporary(scratch)?;
        blocking(move || {
            if moves && !live.exists() {
                return move_directory(&staged, &live).map_err(|e| not_applied("move", &live, &e));
            }
            if moves && !staged.exists() {
                return Ok(());
            }
            let switched = switch(&staged, &live, replaced.as_deref(), &scratch);
            remove_later(scratch);
            switched.map_err(|error| not_applied("switch", &live, &error))
        })
        .await
    }

    /// Takes a directory away, and waits for its files to be removed if `waits` says so.
    pub async fn delete_directory(
        &self,
        location: &Path,
        scratch: &Path,
        waits: bool,
    ) -> Result<()> {
        let root = self.target(&Path::default())?;
        let (target, scratch) = (self.target(location)?, self.temporary(scratch)?);
        blocking(move || {
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

    /// The content of a file; none if there is no such file.
    pub async fn read(&self, location: &Path) -> Result<Option<Bytes>> {
        let target = self.target(location)?;
        blocking(move || {
            let Some(mut file) = open(&target)? else { return Ok(None) };
            let mut bytes = Vec::new();
            let read = file.read_to_end(&mut bytes);
            read.map_err(|error| not_applied("read", &target, &error))?;
            Ok(Some(bytes.into()))
        })
        .await
    }

    /// A file that the system begins to read; none if there is no such file.
    pub async fn open(&self, location: &Path) -> Result<Option<fs::File>> {
        let target = self.target(location)?;
        blocking(move || {
            let file = open(&target)?;
            file.iter().for_each(read_ahead);
            Ok(file)
        })
        .await
    }

    /// The files below each directory.
    pub async fn identities(&self, directories: Vec<Path>) -> Result<Vec<Vec<Identity>>> {
        let targets: Vec<PathBuf> =
            directories.iter().map(|path| self.target(path)).collect::<Result<_>>()?;
        let one = |target: &PathBuf| {
            let mut found = Vec::new();
            let read = identities(target, "", &mut found);
            read.map(|()| found).map_err(|error| not_applied("list", target, &error))
        };
        blocking_each(targets, one).await
    }

    /// When something in a directory last changed in any way; none if there is no such directory.
    pub async fn changed_at(&self, location: &Path) -> Result<Option<Timestamp>> {
        let target = self.target(location)?;
        blocking(move || changed_at(&target).map_err(|e| not_applied("list", &target, &e))).await
    }

    fn temporary(&self, scratch: &Path) -> Result<PathBuf> {
        Ok(self.target(scratch)?.join(uuid::Uuid::new_v4().simple().to_string()))
    }
}

/// A directory is no object, and neither is what would be in a file.
pub(super) fn is_no_file(error: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | IsADirectory | NotADirectory)
}

fn open(target: &FilePath) -> Result<Option<fs::File>> {
    let opened = fs::File::open(target).and_then(|file| Ok((file.metadata()?.is_dir(), file)));
    match opened {
        Ok((is_directory, file)) => Ok((!is_directory).then_some(file)),
        Err(error) if is_no_file(&error) => Ok(None),
        Err(error) => Err(not_applied("open", target, &error)),
    }
}

/// Has the system read a file before somebody waits for it.
#[cfg(target_os = "linux")]
fn read_ahead(file: &fs::File) {
    if let Err(error) = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::WillNeed) {
        tracing::trace!(%error, "a file is not read ahead");
    }
}

#[cfg(not(target_os = "linux"))]
fn read_ahead(_file: &fs::File) {}

/// What is in a directory; nothing, where there is none: it may have been removed meanwhile.
pub(super) fn entries_of(
    directory: &FilePath,
) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if is_no_file(&error) => None,
        entries => Some(entries?),
    };
    Ok(entries.into_iter().flatten())
}

fn identities(directory: &FilePath, name: &str, found: &mut Vec<Identity>) -> io::Result<()> {
    for entry in entries_of(directory)? {
        let entry = entry?;
        let own = entry.file_name();
        let key = join(name, &own.to_string_lossy());
        let metadata = match entry.metadata() {
            Err(error) if is_no_file(&error) => continue,
            metadata => metadata?,
        };
        match metadata.is_dir() {
            true => identities(&entry.path(), &key, found)?,
            false => {
                let (size, version) = (metadata.len(), version_of(&metadata));
                found.push(Identity { key, size, version });
            }
        }
    }
    Ok(())
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

/// The time of a link or a move too.
#[cfg(unix)]
fn change_of(metadata: &fs::Metadata) -> io::Result<Timestamp> {
    use std::os::unix::fs::MetadataExt;
    // Nanoseconds of a second, which is below 2^30.
    let nanoseconds = i32::try_from(metadata.ctime_nsec()).unwrap_or_default();
    Timestamp::new(metadata.ctime(), nanoseconds).map_err(io::Error::other)
}

#[cfg(not(unix))]
fn change_of(metadata: &fs::Metadata) -> io::Result<Timestamp> {
    Timestamp::try_from(metadata.modified()?).map_err(io::Error::other)
}

/// The number of the file, and when it was last changed in any way: unlike the time of its last
/// write, nobody can set that.
#[cfg(unix)]
fn version_of(metadata: &fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{:x}-{:x}.{:x}", metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn version_of(metadata: &fs::Metadata) -> String {
    format!("{:?}", metadata.modified().ok())
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

/// Removing links again costs some file systems milliseconds each; moving costs nothing.
fn move_directory(staged: &FilePath, live: &FilePath) -> io::Result<()> {
    if let Some(parent) = live.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::rename(staged, live) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

/// Builds the new directory from links, and puts it in the place of the old one.
fn switch(
    staged: &FilePath,
    live: &FilePath,
    replaced: Option<&[String]>,
    new: &FilePath,
) -> io::Result<()> {
    fs::create_dir_all(new)?;
    if let Some(replaced) = replaced {
        link_tree(live, new, "", &|name| !is_under(name, replaced))?;
    }
    link_tree(staged, new, "", &|_| true)?;
    if let Some(parent) = live.parent() {
        fs::create_dir_all(parent)?;
    }
    match live.symlink_metadata() {
        Ok(_) => exchange(new, live),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(new, live),
        Err(error) => Err(error),
    }
}

/// Links the files under `from` into `to`; a directory that does not exist has none.
fn link_tree(
    from: &FilePath,
    to: &FilePath,
    prefix: &str,
    keep: &dyn Fn(&str) -> bool,
) -> io::Result<()> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let file_name = entry.file_name();
        let name = format!("{prefix}{}", file_name.to_string_lossy());
        if !keep(&name) {
            continue;
        }
        let (source, target) = (entry.path(), to.join(&file_name));
        if entry.file_type()?.is_dir() {
            match fs::create_dir(&target) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => link_tree(&source, &target, &format!("{name}/"), keep)?,
            }
        } else if fs::hard_link(&source, &target).is_err() {
            // Some file systems have no links, or not so many of one file.
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn exchange(new: &FilePath, live: &FilePath) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, new, CWD, live, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => exchange_in_steps(new, live),
        exchanged => Ok(exchanged?),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(new: &FilePath, live: &FilePath) -> io::Result<()> {
    exchange_in_steps(new, live)
}

/// Where the file system cannot exchange: there is no directory for a moment.
fn exchange_in_steps(new: &FilePath, live: &FilePath) -> io::Result<()> {
    let mut old = new.as_os_str().to_owned();
    old.push(".old");
    fs::rename(live, &old)?;
    fs::rename(new, live)?;
    fs::remove_dir_all(&old)
}

/// Moves a directory away, if there is one.
fn delete(target: &FilePath, scratch: &FilePath, root: &FilePath) -> io::Result<bool> {
    if let Some(parent) = scratch.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::rename(target, scratch) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        renamed => renamed?,
    }
    let above = target.ancestors().skip(1).take_while(|path| *path != root);
    for directory in above {
        // Not empty, or another process was faster.
        if fs::remove_dir(directory).is_err() {
            break;
        }
    }
    Ok(true)
}
