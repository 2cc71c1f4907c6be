//! Detection of the file system of local files.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The file system of a directory, as the operating system reports it; looked up once.
#[derive(Debug)]
pub(super) struct FileSystem {
    directory: PathBuf,
    shared: Option<bool>,
    found: OnceLock<Option<Kind>>,
}

/// A kind of file systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    name: &'static str,
    shared: bool,
}

impl FileSystem {
    /// The file system of `directory`, or of its nearest existing parent at the time of the
    /// look-up. `shared` overrides the detection: whether several machines write to it.
    pub fn new(directory: &Path, shared: Option<bool>) -> Self {
        Self { directory: directory.to_owned(), shared, found: OnceLock::new() }
    }

    /// True if several machines may write to it.
    pub fn is_shared(&self) -> bool {
        self.shared.unwrap_or_else(|| self.kind().is_some_and(|kind| kind.shared))
    }

    /// Its name, if the system reports it.
    pub fn name(&self) -> Option<&'static str> {
        self.kind().map(|kind| kind.name)
    }

    fn kind(&self) -> Option<Kind> {
        *self.found.get_or_init(|| {
            let mut above = self.directory.ancestors();
            above.find_map(magic).map(kind_of)
        })
    }
}

#[cfg(target_os = "linux")]
fn magic(directory: &Path) -> Option<u32> {
    let found = rustix::fs::statfs(directory).ok()?;
    // The type of this field depends on the platform, and some sign-extend the 32 bits.
    Some(found.f_type as u32)
}

#[cfg(not(target_os = "linux"))]
fn magic(_directory: &Path) -> Option<u32> {
    None
}

/// The kind for a type number of `statfs(2)`. An unknown one counts as shared, which is slower and
/// always correct.
fn kind_of(magic: u32) -> Kind {
    let found = KINDS.iter().find(|(number, ..)| *number == magic);
    found.map_or(Kind { name: "unknown", shared: true }, |&(_, name, shared)| Kind { name, shared })
}

const KINDS: [(u32, &str, bool); 42] = [
    (0xef53, "ext4", false),
    (0x5846_5342, "xfs", false),
    (0x9123_683e, "btrfs", false),
    (0x0102_1994, "tmpfs", false),
    (0x8584_58f6, "ramfs", false),
    (0x794c_7630, "overlay", false),
    (0x2fc1_2fc1, "zfs", false),
    (0xf2f5_2010, "f2fs", false),
    (0xca45_1a4e, "bcachefs", false),
    (0x3153_464a, "jfs", false),
    (0x5265_4973, "reiserfs", false),
    (0x0000_3434, "nilfs2", false),
    (0x5346_544e, "ntfs", false),
    (0x7366_746e, "ntfs3", false),
    (0x2011_bab0, "exfat", false),
    (0x0000_4d44, "vfat", false),
    (0x0000_482b, "hfs+", false),
    (0x0001_1954, "ufs", false),
    (0x0000_f15f, "ecryptfs", false),
    (0x6175_6673, "aufs", false),
    (0x1501_3346, "udf", false),
    (0x0000_9660, "iso9660", false),
    (0x7371_7368, "squashfs", false),
    (0xe0f5_e1e2, "erofs", false),
    (0x0000_6969, "nfs", true),
    (0x0000_517b, "smb", true),
    (0xfe53_4d42, "smb", true),
    (0xff53_4d42, "cifs", true),
    (0x6573_5546, "fuse", true),
    (0x0bd0_0bd0, "lustre", true),
    (0x00c3_6400, "ceph", true),
    (0x4750_4653, "gpfs", true),
    (0x0102_1997, "9p", true),
    (0x1983_0326, "beegfs", true),
    (0xaad7_aaea, "panfs", true),
    (0x2003_0528, "orangefs", true),
    (0x5346_414f, "afs", true),
    (0x6b41_4653, "afs", true),
    (0x7375_7245, "coda", true),
    (0x7461_636f, "ocfs2", true),
    (0x0116_1970, "gfs2", true),
    (0xbacb_acbc, "vmhgfs", true),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_wins_over_what_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("not/yet");
        for shared in [true, false] {
            assert_eq!(FileSystem::new(&missing, Some(shared)).is_shared(), shared);
        }
        let found = FileSystem::new(&missing, None);
        if cfg!(target_os = "linux") {
            assert_eq!(found.name(), FileSystem::new(directory.path(), None).name());
            assert!(found.name().is_some());
        }
    }

    #[test]
    fn kinds_by_their_number() {
        for (magic, name, shared) in
            [(0xef53, "ext4", false), (0x6969, "nfs", true), (0xff53_4d42, "cifs", true)]
        {
            assert_eq!(kind_of(magic), Kind { name, shared });
        }
        assert!(kind_of(1).shared, "what is not known may be shared");
        let mut numbers: Vec<u32> = KINDS.iter().map(|(number, ..)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), KINDS.len());
    }
}
