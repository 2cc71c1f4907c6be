//! Second names of files, and renames that are more than a rename, on file systems that have them and
//! on those that do not.

use std::fs;
use std::io;
use std::path::Path;

use super::durability::Durability;

/// Which calls may be used. A file system that lacks one answers so itself; this is for tests, which
/// cannot have each kind of file system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calls {
    pub links: bool,
    pub exchange: bool,
    /// A rename that fails if the new name is taken.
    pub rename_new: bool,
}

impl Default for Calls {
    fn default() -> Self {
        Self { links: true, exchange: true, rename_new: true }
    }
}

impl Calls {
    /// Makes `to`, which must not exist, another name of `from`, or a copy of it where the file system
    /// has no links, has no more of this file, or `to` is on another one. A symbolic link stays one.
    ///
    /// The copy is not atomic: it belongs to where nobody looks for it yet.
    pub fn link_or_copy(self, from: &Path, to: &Path, durability: &Durability) -> io::Result<()> {
        match self.hard_link(from, to) {
            Err(error) if is_refused(&error) => copy(from, to, durability),
            linked => linked,
        }
    }

    /// Gives a file the name `to` if that is free. Afterwards `from` is there too, or is not.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken, `Unsupported` if the file system has no call for it.
    pub fn put_new(self, from: &Path, to: &Path) -> io::Result<()> {
        match self.hard_link(from, to) {
            Err(error) if is_refused(&error) => match self.rename_new(from, to) {
                // A system that does not know the call may say that it is not permitted.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => unsupported(),
                renamed => renamed,
            },
            linked => linked,
        }
    }

    pub fn hard_link(self, from: &Path, to: &Path) -> io::Result<()> {
        if self.links { fs::hard_link(from, to) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    #[cfg(target_os = "linux")]
    fn rename_new(self, from: &Path, to: &Path) -> io::Result<()> {
        use rustix::fs::RenameFlags;
        if self.rename_new { rename(from, to, RenameFlags::NOREPLACE) } else { unsupported() }
    }

    #[cfg(not(target_os = "linux"))]
    fn rename_new(self, _from: &Path, _to: &Path) -> io::Result<()> {
        unsupported()
    }

    /// Exchanges two directories atomically.
    ///
    /// # Errors
    /// `Unsupported` if the file system has no call for it.
    #[cfg(target_os = "linux")]
    pub fn exchange(self, one: &Path, other: &Path) -> io::Result<()> {
        use rustix::fs::RenameFlags;
        if self.exchange { rename(one, other, RenameFlags::EXCHANGE) } else { unsupported() }
    }

    #[cfg(not(target_os = "linux"))]
    pub fn exchange(self, _one: &Path, _other: &Path) -> io::Result<()> {
        unsupported()
    }
}

#[cfg(target_os = "linux")]
fn rename(from: &Path, to: &Path, flags: rustix::fs::RenameFlags) -> io::Result<()> {
    use rustix::fs::{CWD, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, flags) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => unsupported(),
        renamed => Ok(renamed?),
    }
}

fn unsupported() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// True if a file gets no second name here, though it could be copied.
pub(super) fn is_refused(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(error.kind(), PermissionDenied | TooManyLinks | Unsupported | CrossesDevices)
}

/// Copies a file, which is on the disk after [`Durability::everything`].
pub(super) fn copy(from: &Path, to: &Path, durability: &Durability) -> io::Result<()> {
    #[cfg(unix)]
    if from.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(from)?, to);
    }
    fs::copy(from, to)?;
    durability.copied(to)
}
