//! Listing directories of local files.

use std::io;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::try_join_all;
use object_store::Result;
use object_store::path::Path;

use super::list::{Meaning, join};
use super::local::{LocalFiles, blocking, not_applied};
use crate::cores;

/// Threads that list at once, at most.
const AT_ONCE: usize = 8;

impl LocalFiles {
    /// The directories in each of some, with what they mean, in the order of those and of their
    /// names.
    pub async fn directories_below<T: Send + Sync + 'static>(
        &self,
        above: Vec<(String, T)>,
        meaning: &Arc<Meaning<T>>,
    ) -> Result<Vec<(String, T)>> {
        let root = self.target(&Path::default())?;
        let workers = cores().min(above.len()).min(AT_ONCE);
        let shared = Arc::new((above, AtomicUsize::new(0)));
        let worker = |_| {
            let (root, meaning) = (root.clone(), Arc::clone(meaning));
            let shared = Arc::downgrade(&shared);
            blocking(move || {
                let mut found = Vec::new();
                // Nobody waits any more, if it is gone.
                while let Some(shared) = shared.upgrade() {
                    let (above, next) = shared.as_ref();
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some((parent, meant)) = above.get(number) else { break };
                    let below = directories(&root, parent, &|name| meaning(meant, name));
                    found.push((number, below.map_err(|e| not_applied("list", &root, &e))?));
                }
                Ok(found)
            })
        };
        let found = try_join_all((0..workers).map(worker)).await?;
        let mut found: Vec<_> = found.into_iter().flatten().collect();
        found.sort_unstable_by_key(|(number, _)| *number);
        let mut all = Vec::with_capacity(found.iter().map(|(_, below)| below.len()).sum());
        found.into_iter().for_each(|(_, below)| all.extend(below));
        Ok(all)
    }
}

/// The directories in one of `root` that mean something, in order.
fn directories<T>(
    root: &FilePath,
    parent: &str,
    meaning: &dyn Fn(&str) -> Option<T>,
) -> io::Result<Vec<(String, T)>> {
    let mut found = Vec::new();
    let directory = root.join(parent);
    each_entry(&directory, &mut |name, is_directory| {
        let Some(own) = meaning(name) else { return };
        // A link may lead to a directory.
        if is_directory.unwrap_or_else(|| directory.join(name).is_dir()) {
            found.push((join(parent, name), own));
        }
    })?;
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// Calls with the name of each entry, and whether it is a directory, if the system tells; with
/// nothing, where there is no directory: it may have been removed meanwhile.
///
/// The standard library allocates three times for each entry, and a buffer for each directory; of
/// a listing of thousands, that is a good part.
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
