//! Listing directories of local files.

use std::fs;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta, Result};

use super::fingerprint::ObjectVersion;
use super::list::{Meaning, join};
use super::local::{LocalFiles, is_hidden_name, not_applied, reading_each};
use super::local_directory::{entries_of, is_no_file};
use super::open_files::reading;

/// Files after which a listing hands over what it has found.
const BATCH: usize = 1024;

/// Directories with their names below the directory in which a walk began.
type Directories = Vec<(PathBuf, String)>;
type Files = stream::Iter<std::vec::IntoIter<Result<ObjectMeta>>>;

/// What one directory contains, with names below the directory in which a walk began.
#[derive(Default)]
struct Level {
    /// The files, each with the time of its last change.
    files: Vec<(ObjectVersion, SystemTime)>,
    directories: Directories,
}

impl LocalFiles {
    /// The files below a directory, in no particular order. Links are followed; what is neither a
    /// file nor a directory, and links that lead nowhere, are left out.
    pub fn walk(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let begin = self.place(prefix).map(|place| vec![place]);
        let walked = |left: Directories| stream::try_unfold(left, next_files).try_flatten();
        stream::once(std::future::ready(begin)).map_ok(walked).try_flatten().boxed()
    }

    /// The files and directories directly in a directory.
    pub async fn level(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (path, key) = self.place(prefix)?;
        reading(move || {
            let level = level(&path, &key).map_err(|e| not_applied("list", &path, &e))?;
            let below = level.directories.iter();
            let below = below.map(|(_, key)| Path::parse(key).map_err(object_store::Error::from));
            let mut common_prefixes = below.collect::<Result<Vec<_>>>()?;
            common_prefixes.sort_unstable();
            let objects = level.files.into_iter().map(object).collect::<Result<_>>()?;
            Ok(ListResult { common_prefixes, objects, extensions: Default::default() })
        })
        .await
    }

    fn place(&self, prefix: Option<&Path>) -> Result<(PathBuf, String)> {
        let key = prefix.map(ToString::to_string).unwrap_or_default();
        // The names of files are checked, and those of directories are not.
        Ok((self.target(&Path::default())?.join(&key), key))
    }

    /// The subdirectories of several directories with their interpretations, in the order of the
    /// directories and of the names.
    pub async fn directories_below<T: Send + Sync + 'static>(
        &self,
        above: Vec<(String, T)>,
        meaning: &Arc<Meaning<T>>,
    ) -> Result<Vec<(String, T)>> {
        let (root, meaning) = (self.target(&Path::default())?, Arc::clone(meaning));
        let below = move |(parent, meant): &(String, T)| {
            let below = directories(&root, parent, &|name| meaning(meant, name));
            below.map_err(|error| not_applied("list", &root, &error))
        };
        Ok(reading_each(above, below).await?.into_iter().flatten().collect())
    }
}

/// The files of the next directories of a walk, and the directories that are left.
async fn next_files(mut left: Directories) -> Result<Option<(Files, Directories)>> {
    if left.is_empty() {
        return Ok(None);
    }
    let read = reading(move || {
        let mut found = Vec::new();
        while found.len() < BATCH
            && let Some((path, key)) = left.pop()
        {
            let level = level(&path, &key).map_err(|e| not_applied("list", &path, &e))?;
            found.extend(level.files.into_iter().map(object));
            left.extend(level.directories);
        }
        Ok((stream::iter(found), left))
    });
    read.await.map(Some)
}

fn object((file, written): (ObjectVersion, SystemTime)) -> Result<ObjectMeta> {
    Ok(ObjectMeta {
        location: Path::parse(&file.name)?,
        last_modified: written.into(),
        size: file.size,
        e_tag: file.version,
        version: None,
    })
}

/// The files below a directory, with their versions.
pub(super) fn versions(
    directory: &FilePath,
    prefix: &str,
    found: &mut Vec<ObjectVersion>,
) -> io::Result<()> {
    let Level { files, directories } = level(directory, prefix)?;
    found.extend(files.into_iter().map(|(file, _)| file));
    // Only one directory is open at a time, however deep they are nested.
    directories.iter().try_for_each(|(path, name)| versions(path, name, found))
}

fn level(directory: &FilePath, prefix: &str) -> io::Result<Level> {
    let mut found = Level::default();
    for entry in entries_of(directory)? {
        let entry = entry?;
        let own = entry.file_name();
        // A name that is not valid Unicode is not a key.
        let Some(own) = own.to_str() else { continue };
        let name = join(prefix, own);
        let metadata = match entry.metadata() {
            // Reads follow symbolic links.
            Ok(metadata) if metadata.is_symlink() => linked(&entry.path()),
            metadata => metadata,
        };
        let metadata = match metadata {
            Err(error) if is_no_file(&error) => continue,
            metadata => metadata?,
        };
        if metadata.is_dir() {
            found.directories.push((entry.path(), name));
        } else if metadata.is_file() && !is_hidden_name(own) {
            let written = metadata.modified()?;
            let last_modified = Timestamp::try_from(written).map_err(io::Error::other)?;
            let (size, version) = (metadata.len(), Some(e_tag(&metadata, written)));
            found.files.push((ObjectVersion { name, size, version, last_modified }, written));
        }
    }
    Ok(found)
}

/// The target of a symbolic link. A link that leads to a directory in which it lies is refused,
/// since the listing would not end.
fn linked(link: &FilePath) -> io::Result<fs::Metadata> {
    let metadata = fs::metadata(link)?;
    if metadata.is_dir() {
        let target = fs::canonicalize(link)?;
        let is_target = |path: &FilePath| fs::canonicalize(path).is_ok_and(|path| path == target);
        if link.ancestors().skip(1).any(is_target) {
            return Err(io::Error::other(format!(
                "the symbolic link {} leads to a directory in which it lies",
                link.display()
            )));
        }
    }
    Ok(metadata)
}

/// The entity tag of a local file in `object_store`.
fn e_tag(metadata: &fs::Metadata, written: SystemTime) -> String {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0;
    let since = written.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("\"{inode:x}-{:x}-{:x}\"", since.as_micros(), metadata.len())
}

/// The subdirectories of one directory of `root` that have an interpretation, in order.
fn directories<T>(
    root: &FilePath,
    parent: &str,
    meaning: &dyn Fn(&str) -> Option<T>,
) -> io::Result<Vec<(String, T)>> {
    let mut found = Vec::new();
    let directory = root.join(parent);
    each_entry(&directory, &mut |name, is_directory| {
        let Some(own) = meaning(name) else { return };
        // A link may point to a directory.
        if is_directory.unwrap_or_else(|| directory.join(name).is_dir()) {
            found.push((join(parent, name), own));
        }
    })?;
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// Calls `each` with the name of each entry and whether it is a directory, if the system reports
/// it. A directory that does not exist has no entries: it may have been removed in the meantime.
///
/// The standard library allocates three times for each entry, and a buffer for each directory,
/// which is a considerable part of the time for a listing of thousands.
#[cfg(target_os = "linux")]
fn each_entry(directory: &FilePath, each: &mut dyn FnMut(&str, Option<bool>)) -> io::Result<()> {
    use rustix::fs::{FileType, Mode, OFlags, RawDir, open};
    use rustix::io::retry_on_intr;

    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = match retry_on_intr(|| open(directory, flags, Mode::empty())) {
        Err(error) if is_no_file(&error.into()) => return Ok(()),
        opened => opened?,
    };
    let mut buffer = [std::mem::MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(opened, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let is_directory = match entry.file_type() {
            FileType::Directory => Some(true),
            FileType::Symlink | FileType::Unknown => None,
            _ => Some(false),
        };
        match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => {}
            Ok(name) => each(name, is_directory),
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn each_entry(directory: &FilePath, each: &mut dyn FnMut(&str, Option<bool>)) -> io::Result<()> {
    for entry in entries_of(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if let Some(name) = entry.file_name().to_str() {
            each(name, (!kind.is_symlink()).then(|| kind.is_dir()));
        }
    }
    Ok(())
}
