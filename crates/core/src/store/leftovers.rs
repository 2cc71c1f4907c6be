//! Temporary files and probe objects left by killed processes, which listings hide.

use std::io;
use std::path::Path as FilePath;

use jiff::Timestamp;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::list::join;
use super::local::{blocking, is_temporary, not_applied};
use super::probe::is_probe_key;
use super::{ObjectInfo, Store};
use crate::Result;

impl Store {
    /// Temporary files of writes to the dataset `name` (in the directory of that name, and beside
    /// it under names that begin with it and a dot), and probe objects of the store. Those of
    /// running processes are included: only their age distinguishes them.
    ///
    /// Costs a listing of the root, one request per 1,000 objects and directories; on local files
    /// the directory is walked.
    ///
    /// # Errors
    /// [`Store`](crate::ErrorKind::Store) if the store fails.
    pub async fn leftovers(&self, name: &str) -> Result<Vec<ObjectInfo>> {
        let Some(files) = &self.local else {
            let level = self.inner.list_with_delimiter(None).await;
            let level = level.map_err(|error| self.request("listed", "").failed(error))?;
            let probes = level.objects.into_iter().filter(|o| is_probe_key(o.location.as_ref()));
            return probes.map(|object| self.info(object)).collect();
        };
        let name = name.to_owned();
        let root = files.target(&Path::default());
        let root = root.map_err(|error| self.request("listed", "").failed(error))?;
        let found = blocking(move || {
            let mut found = Vec::new();
            let beside = |file: &str| {
                let of_dataset = file.strip_prefix(&name).is_some_and(|rest| rest.starts_with('.'));
                is_probe_key(file) || (of_dataset && is_temporary(file))
            };
            collect(&root, "", false, &beside, &mut found)
                .and_then(|()| collect(&root, &name, true, &is_temporary, &mut found))
                .map_err(|error| not_applied("list", &root, &error))?;
            Ok(found)
        });
        found.await.map_err(|error| self.request("listed", "").failed(error))
    }

    /// Removes an object found by [`Store::leftovers`].
    ///
    /// # Errors
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), or [`Store`](crate::ErrorKind::Store) if the store
    /// fails.
    pub async fn remove_leftover(&self, key: &str) -> Result<()> {
        self.check_writable()?;
        let removed = match &self.local {
            // The client rejects the names of temporary files.
            Some(files) => match files.target(&Path::default()) {
                Ok(root) => {
                    let path = root.join(key);
                    blocking(move || match std::fs::remove_file(&path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            Err(not_applied("delete", &path, &error))
                        }
                        _ => Ok(()),
                    })
                    .await
                }
                Err(error) => Err(error),
            },
            None => self.inner.delete(&self.path(key)?).await,
        };
        match removed {
            Err(error) if !super::read::is_missing(&error) => {
                Err(self.request("deleted", key).failed(error))
            }
            _ => Ok(()),
        }
    }
}

/// The files of a directory whose names are `wanted`.
fn collect(
    root: &FilePath,
    directory: &str,
    below: bool,
    wanted: &dyn Fn(&str) -> bool,
    found: &mut Vec<ObjectInfo>,
) -> io::Result<()> {
    let entries = match std::fs::read_dir(root.join(directory)) {
        Ok(entries) => entries,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let key = join(directory, name);
        // Links are not followed: their targets do not belong to the dataset.
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            Err(_) => continue,
        };
        if kind.is_dir() && below {
            collect(root, &key, below, wanted, found)?;
        } else if kind.is_file() && wanted(name) {
            // The file may have been removed in the meantime.
            let Ok(metadata) = entry.metadata() else { continue };
            let modified = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
            found.push(ObjectInfo {
                key,
                size: metadata.len(),
                last_modified: modified.unwrap_or(Timestamp::MAX),
            });
        }
    }
    Ok(())
}
