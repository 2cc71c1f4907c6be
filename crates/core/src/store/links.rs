//! Symbolic links among local files.
//!
//! Reading and listing follow them, since partitions are often kept on other disks. Deleting,
//! moving and exchanging do not: they operate on the link itself, and refuse paths that lead
//! through a link, whose target may be anywhere.

use std::fs;
use std::io;
use std::path::Path as FilePath;

use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::Result;
use object_store::path::Path;

use super::list::join;
use super::local::{LocalFiles, blocking, is_hidden_name, not_applied};
use super::local_directory::{entries_of, is_no_file};
use super::{ObjectInfo, Store};

/// An object that may be removed together with its directory.
#[derive(Debug, Clone)]
pub struct Removable {
    /// The object, or the symbolic link itself.
    pub object: ObjectInfo,
    /// Whether it is a symbolic link.
    pub is_link: bool,
    /// Whether its content has another name, as a hard link has: then removing the object frees no
    /// space.
    pub is_shared: bool,
}

impl Store {
    /// The objects under a directory that may be removed with it, in no particular order. Symbolic
    /// links of local files are listed themselves, without their targets. Otherwise like
    /// [`Store::list`], at the same cost.
    ///
    /// # Errors
    /// [`Store`](crate::ErrorKind::Store) if the store fails.
    pub async fn list_removable(&self, directory: &str) -> crate::Result<Vec<Removable>> {
        let Some(files) = &self.local else {
            let objects = self.list(&format!("{directory}/"));
            return objects
                .map_ok(|object| Removable { object, is_link: false, is_shared: false })
                .try_collect()
                .await;
        };
        let found = files.removable(&self.path(directory)?, directory).await;
        found.map_err(|error| self.request("listed", directory).failed(error))
    }

    /// Deletes the objects under a directory, as listed by [`Store::list_removable`].
    ///
    /// # Errors
    /// [`Store`](crate::ErrorKind::Store) if the store fails.
    pub async fn delete_removable(&self, directory: &str) -> crate::Result<()> {
        let found = self.list_removable(directory).await?;
        self.delete_many(found.into_iter().map(|found| found.object.key).collect()).await
    }

    /// Removes the directories of local files under a directory that are empty, and in which nothing
    /// was created or removed since `before`; other stores have no directories. A writer that is
    /// about to write into one has made it later.
    ///
    /// # Errors
    /// [`Store`](crate::ErrorKind::Store) if the directories cannot be read.
    pub async fn remove_empty_directories(
        &self,
        directory: &str,
        before: Timestamp,
    ) -> crate::Result<()> {
        let Some(files) = &self.local else { return Ok(()) };
        let path = self.path(directory)?;
        let removed = async {
            let target = files.target(&path)?;
            blocking(move || {
                remove_empty(&target, before).map_err(|error| not_applied("list", &target, &error))
            })
            .await
        };
        removed.await.map_err(|error| self.request("listed", directory).failed(error))
    }

    /// Refuses a directory of local files that lies behind a symbolic link, since it cannot be moved
    /// away or deleted; the directory itself may be a link.
    ///
    /// # Errors
    /// [`Store`](crate::ErrorKind::Store), which names the link.
    pub fn check_removable(&self, directory: &str) -> crate::Result<()> {
        let Some(files) = &self.local else { return Ok(()) };
        let path = self.path(directory)?;
        let refused = || {
            let (root, target) = (files.target(&Path::default())?, files.target(&path)?);
            refuse_behind_link(&root, &target)
                .map_err(|error| not_applied("delete", &target, &error))
        };
        refused().map_err(|error| self.request("deleted", directory).failed(error))
    }
}

impl LocalFiles {
    async fn removable(&self, location: &Path, directory: &str) -> Result<Vec<Removable>> {
        let target = self.target(location)?;
        let directory = directory.to_owned();
        blocking(move || {
            let mut found = Vec::new();
            let is_link = target.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
            let walked = match is_link {
                true => add(&target, &directory, &mut found),
                false => walk(&target, &directory, &mut found),
            };
            walked.map_err(|error| not_applied("list", &target, &error))?;
            Ok(found)
        })
        .await
    }
}

fn walk(directory: &FilePath, key: &str, found: &mut Vec<Removable>) -> io::Result<()> {
    for entry in entries_of(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !is_hidden_name(name)) else { continue };
        let key = join(key, name);
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), &key, found)?,
            _ => add(&entry.path(), &key, found)?,
        }
    }
    Ok(())
}

/// Removes what is empty below a directory, which stays itself.
fn remove_empty(directory: &FilePath, before: Timestamp) -> io::Result<()> {
    for entry in entries_of(directory)? {
        let entry = entry?;
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        let changed =
            Timestamp::try_from(entry.metadata()?.modified()?).map_err(io::Error::other)?;
        remove_empty(&path, before)?;
        if changed < before {
            // It fails where the directory is not empty, and then it stays.
            let _ = fs::remove_dir(&path);
        }
    }
    Ok(())
}

fn add(path: &FilePath, key: &str, found: &mut Vec<Removable>) -> io::Result<()> {
    let metadata = match path.symlink_metadata() {
        // The file was removed in the meantime.
        Err(error) if is_no_file(&error) => return Ok(()),
        metadata => metadata?,
    };
    let last_modified = Timestamp::try_from(metadata.modified()?).map_err(io::Error::other)?;
    let object = ObjectInfo { key: key.to_owned(), size: metadata.len(), last_modified };
    found.push(Removable {
        object,
        is_link: metadata.is_symlink(),
        is_shared: has_other_names(&metadata),
    });
    Ok(())
}

#[cfg(unix)]
fn has_other_names(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(metadata) > 1
}

#[cfg(not(unix))]
fn has_other_names(_: &fs::Metadata) -> bool {
    false
}

/// Refuses a path below `root` that leads through a symbolic link; the last component may be one.
pub(super) fn refuse_behind_link(root: &FilePath, target: &FilePath) -> io::Result<()> {
    let above = target.ancestors().skip(1).take_while(|path| *path != root);
    let mut links =
        above.filter(|path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()));
    match links.next() {
        None => Ok(()),
        Some(link) => Err(io::Error::other(format!(
            "it lies behind the symbolic link {}, through which nothing is moved or deleted; \
             remove the link, or what it leads to, by hand",
            link.display()
        ))),
    }
}

/// Removes a file, a link, or a pipe in the place of a file; succeeds if there is none.
pub(super) fn remove(root: &FilePath, target: &FilePath) -> io::Result<()> {
    refuse_behind_link(root, target)?;
    match fs::remove_file(target) {
        // If the path is a directory, or a parent of it is a file, there is no such object either.
        Err(error) if is_no_file(&error) => Ok(()),
        removed => removed,
    }
}
