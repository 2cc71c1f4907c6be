//! Placing files into a directory without removing the only copy of any content.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path as FilePath, PathBuf};

use super::list::join;
use super::local::LocalFiles;
use super::local_directory::{entries_of, is_no_file};
use super::work::Work;

/// A change of the files of a directory.
pub(super) struct Placing {
    pub live: PathBuf,
    /// Names below `live`, each with the file that is linked there. The file itself stays.
    pub new: Vec<(String, PathBuf)>,
    /// The files and directories below `live` to remove; everything if `None`.
    pub removed: Option<HashSet<String>>,
    /// A path that does not exist yet, where the new directory is built. Files left there may be
    /// removed.
    pub built: PathBuf,
}

impl Placing {
    /// Exchanges the directory for one that is built of links to the new files and to those that
    /// stay.
    ///
    /// If that is not possible, the new files are renamed into place one at a time, then the files
    /// to remove are deleted. An interruption leaves the directory in between; the same call
    /// completes it. This fallback is used if the file system has no exchange or is shared by
    /// several machines, and if symbolic links lead to other directories. Such links stay unless all
    /// that is behind them is replaced; then the link is removed, and nothing behind it.
    pub fn run(&self, files: &LocalFiles, work: &Work) -> io::Result<()> {
        let new: HashSet<&str> = self.new.iter().map(|(name, _)| name.as_str()).collect();
        // What lies in a directory that is in the place of a new file does not stay.
        let is_replaced = |name: &str| paths_to(name).any(|above| new.contains(above));
        let stays = |name: &str| !is_replaced(name) && !self.is_removed(name);
        let found = match self.live.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            found => Some(found?),
        };
        if found.is_none() && self.new.is_empty() {
            return Ok(());
        }
        fs::create_dir_all(&self.built)?;
        let at_once = match &found {
            None => true,
            Some(found) if found.is_dir() && !files.is_shared() => {
                self.removed.is_none()
                    || link_files(&self.live, &self.built, "", &stays, files, work)?
            }
            Some(_) => false,
        };
        self.link_new(files, work)?;
        if let Some(parent) = self.live.parent() {
            fs::create_dir_all(parent)?;
        }
        if at_once && self.put_at_once(found.is_some(), files)? {
            return Ok(());
        }
        self.remove_links(work)?;
        self.put_each(&new, files, work)?;
        self.remove_rest(&new, work)?;
        match is_same_device(&self.built, &self.live)? {
            true => Ok(()),
            false => files.durability.elsewhere(&self.live),
        }
    }

    /// True if the file `name`, or a parent directory of it, is to be removed. Unlike
    /// [`is_under`](super::is_under), this takes constant time for a long list.
    fn is_removed(&self, name: &str) -> bool {
        let Some(removed) = &self.removed else { return true };
        paths_to(name).any(|above| removed.contains(above))
    }

    fn link_new(&self, files: &LocalFiles, work: &Work) -> io::Result<()> {
        for (name, source) in &self.new {
            work.step()?;
            let target = self.built.join(name);
            in_directory(&target, || files.calls.link_or_copy(source, &target, &files.durability))
                .map_err(|error| about(source, &error))?;
        }
        Ok(())
    }

    /// Puts the built directory into place in one call; false if that is not possible here.
    fn put_at_once(&self, exists: bool, files: &LocalFiles) -> io::Result<bool> {
        use io::ErrorKind as E;
        let put = match exists {
            true => files.calls.exchange(&self.built, &self.live),
            false => fs::rename(&self.built, &self.live),
        };
        match put {
            Ok(()) => Ok(true),
            // The call does not exist, the directory is on another disk or is a mount point, it
            // belongs to another user, or it has been created in the meantime.
            Err(error)
                if matches!(
                    error.kind(),
                    E::Unsupported
                        | E::CrossesDevices
                        | E::ResourceBusy
                        | E::PermissionDenied
                        | E::DirectoryNotEmpty
                        | E::AlreadyExists
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn put_each(&self, new: &HashSet<&str>, files: &LocalFiles, work: &Work) -> io::Result<()> {
        let mut removed = false;
        for (name, _) in &self.new {
            work.step()?;
            let (from, to) = (self.built.join(name), self.live.join(name));
            let put = match put(&from, &to, files) {
                // A file takes the place of a directory, or vice versa.
                Err(error) if is_conflict(&error) => {
                    if !std::mem::replace(&mut removed, true) {
                        self.remove_rest(new, work)?;
                    }
                    remove(&to, name, new, work)?;
                    put(&from, &to, files)
                }
                put => put,
            };
            put.map_err(|error| about(&to, &error))?;
        }
        Ok(())
    }

    /// Removes symbolic links to directories where everything is to be removed, so that nothing of what
    /// lies behind them is.
    fn remove_links(&self, work: &Work) -> io::Result<()> {
        match &self.removed {
            None => remove_links_in(&self.live, work),
            Some(removed) => {
                removed.iter().try_for_each(|name| remove_link(&self.live.join(name), work))
            }
        }
    }

    fn remove_rest(&self, new: &HashSet<&str>, work: &Work) -> io::Result<()> {
        match &self.removed {
            None => remove(&self.live, "", new, work),
            Some(removed) => {
                removed.iter().try_for_each(|name| remove(&self.live.join(name), name, new, work))
            }
        }
    }
}

/// The directories in which a file lies, from the outermost on, and the file.
fn paths_to(name: &str) -> impl Iterator<Item = &str> {
    let ends = name.match_indices('/').map(|(end, _)| end).chain([name.len()]);
    ends.filter_map(move |end| name.get(..end))
}

/// Renames a file to a path that may be on another file system. `from` may remain.
fn put(from: &FilePath, to: &FilePath, files: &LocalFiles) -> io::Result<()> {
    match in_directory(to, || fs::rename(from, to)) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            copy_into_place(from, to, files)
        }
        renamed => renamed,
    }
}

/// Copies a file so that `to` has either its old content or the complete new content.
pub(super) fn copy_into_place(
    from: &FilePath,
    to: &FilePath,
    files: &LocalFiles,
) -> io::Result<()> {
    let temporary = super::local::temporary_beside(to);
    let copied =
        in_directory(&temporary, || super::calls::copy(from, &temporary, &files.durability));
    let put = copied.and_then(|()| fs::rename(&temporary, to));
    if put.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    put
}

/// Runs `make`, which creates a file, and repeats it after creating a missing directory.
pub(super) fn in_directory(target: &FilePath, make: impl Fn() -> io::Result<()>) -> io::Result<()> {
    match (make(), target.parent()) {
        (Err(error), Some(parent))
            if error.kind() == io::ErrorKind::NotFound && !parent.exists() =>
        {
            fs::create_dir_all(parent)?;
            make()
        }
        (made, _) => made,
    }
}

fn is_conflict(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, IsADirectory, NotADirectory};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | IsADirectory | NotADirectory)
}

/// Links the files under `from` that `keep` accepts into `to`. False if there is a symbolic link to
/// a directory: its content belongs to the directory too, and must not be moved.
fn link_files(
    from: &FilePath,
    to: &FilePath,
    prefix: &str,
    keep: &dyn Fn(&str) -> bool,
    files: &LocalFiles,
    work: &Work,
) -> io::Result<bool> {
    for entry in entries_of(from)? {
        work.step()?;
        let entry = entry?;
        let file_name = entry.file_name();
        let name = join(prefix, &file_name.to_string_lossy());
        let (source, target) = (entry.path(), to.join(&file_name));
        let kind = entry.file_type()?;
        if kind.is_symlink() && source.is_dir() {
            return Ok(false);
        }
        if kind.is_dir() {
            if !link_files(&source, &target, &name, keep, files, work)? {
                return Ok(false);
            }
        } else if keep(&name) {
            in_directory(&target, || {
                files.calls.link_or_copy(&source, &target, &files.durability)
            })?;
        }
    }
    Ok(true)
}

/// Removes a symbolic link to a directory, or those that lie in a directory.
fn remove_link(path: &FilePath, work: &Work) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => remove_links_in(path, work),
        Ok(found) if found.is_symlink() && path.is_dir() => fs::remove_file(path),
        _ => Ok(()),
    }
}

fn remove_links_in(directory: &FilePath, work: &Work) -> io::Result<()> {
    for entry in entries_of(directory)? {
        work.step()?;
        remove_link(&entry?.path(), work)?;
    }
    Ok(())
}

/// Removes a file, or the files below a directory, except new ones. Directories that become empty
/// are removed too; symbolic links to directories stay.
fn remove(path: &FilePath, name: &str, new: &HashSet<&str>, work: &Work) -> io::Result<()> {
    work.step()?;
    if !path.is_dir() {
        if new.contains(name) {
            return Ok(());
        }
        return match fs::remove_file(path) {
            Err(error) if is_no_file(&error) => Ok(()),
            removed => removed,
        };
    }
    for entry in entries_of(path)? {
        let entry = entry?;
        remove(&entry.path(), &join(name, &entry.file_name().to_string_lossy()), new, work)?;
    }
    // This fails if the directory is not empty.
    let _ = fs::remove_dir(path);
    Ok(())
}

fn about(path: &FilePath, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(unix)]
fn is_same_device(one: &FilePath, other: &FilePath) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let other = match other.metadata() {
        Err(error) if is_no_file(&error) => return Ok(true),
        other => other?,
    };
    Ok(one.metadata()?.dev() == other.dev())
}

#[cfg(not(unix))]
fn is_same_device(_one: &FilePath, _other: &FilePath) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests;
