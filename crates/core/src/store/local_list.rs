//! Listing directories of local files.

use std::io;
use std::path::Path as FilePath;
use std::sync::Arc;

use object_store::Result;
use object_store::path::Path;

use super::list::{Meaning, join};
use super::local::{LocalFiles, not_applied, reading_each};

impl LocalFiles {
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
        Err(error) if super::local_directory::is_no_file(&error.into()) => return Ok(()),
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
    for entry in super::local_directory::entries_of(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if let Some(name) = entry.file_name().to_str() {
            each(name, (!kind.is_symlink()).then(|| kind.is_dir()));
        }
    }
    Ok(())
}
