//! Dropping tables.

use futures::TryStreamExt;
use hashbrown::HashSet;
use jiff::{SignedDuration, Timestamp};
use partita_core::store::Removable;
use partita_core::{ErrorKind, Result};

use crate::Table;
use crate::format::header::Encoding;
use crate::format::keys;
use crate::garbage::{names, names_of_state, store_time};
use crate::protocol::is_of_dropped;
use crate::state::{State, header_key, read_header};

/// The resolution of the clocks of stores. An object written within this time before the header was
/// deleted cannot be distinguished by its time from one written afterwards.
const TICKS: SignedDuration = SignedDuration::from_secs(2);

impl Table {
    /// Deletes the table, its history and all of its files; returns the number of deleted objects.
    /// The header is deleted first, so a partly deleted table is not a table. Objects of a kind
    /// that tables do not write stay, and so do those of a table that is created at the same place
    /// in the meantime. Costs two listings and some ten requests, and two more for each version of the
    /// last two seconds.
    ///
    /// # Errors
    /// [`ReadOnly`](ErrorKind::ReadOnly); [`Store`](ErrorKind::Store).
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn drop_table(self) -> Result<u64> {
        self.check_writable()?;
        let now = store_time(self.store(), self.name()).await?;
        let before = match self.store().is_written_alone() {
            // A single writer: no table can be created in the meantime, and such stores need not
            // report times.
            true => Timestamp::MAX,
            false => now.checked_sub(TICKS).unwrap_or(Timestamp::MIN),
        };
        let own = self.named_since(before).await?;
        // The header of the table goes last. As long as it is there, no table is created here whose
        // header could be deleted in its place.
        let mut encodings = [Encoding::Json, Encoding::Msgpack];
        encodings.sort_by_key(|encoding| *encoding == self.state().encoding);
        for encoding in encodings {
            self.store().delete(&header_key(self.name(), encoding)).await?;
        }
        let objects = self.store().list_removable(self.name()).await?;
        // Links in the folders of the table are removed, and their targets stay.
        let doomed = objects.into_iter().filter(|Removable { object, is_link, .. }| {
            let is_of_it = is_of_dropped(object.last_modified < before, own.contains(&object.key));
            *is_link && self.is_in_own_folder(&object.key)
                || is_of_it && self.is_managed(&object.key)
        });
        let doomed: Vec<String> = doomed.map(|found| found.object.key).collect();
        let mut count = doomed.len() as u64 + 1;
        self.store().delete_many(doomed).await?;
        // These keys are the same for the next table at this place. Its creator checks the schema
        // file after the swap of its header.
        if read_header(self.store(), self.name()).await?.is_none() {
            let table_name = self.state().table_name.clone();
            for key in [keys::common_metadata(self.name(), &table_name), keys::form(self.name())] {
                // What cannot be read is deleted too.
                count += u64::from(!matches!(self.store().head(&key).await, Ok(None)));
                self.store().delete(&key).await?;
            }
        }
        Ok(count)
    }

    /// The files that the newest version names, and those of versions committed since `before`.
    async fn named_since(&self, before: Timestamp) -> Result<HashSet<String>> {
        let state = match State::load(self.store(), self.name()).await {
            Ok(state) => state,
            // If the table cannot be read, only objects older than `before` are deleted.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {
                return Ok(HashSet::new());
            }
            Err(error) => return Err(error),
        };
        let mut named = names_of_state(&state);
        // The header is still there, so the marks are those of this table.
        let marks = self.store().list(&keys::expiries(self.name()));
        named.extend(marks.map_ok(|mark| mark.key).try_collect::<Vec<_>>().await?);
        let mut next = Some(state.own.snapshot).filter(|key| !key.is_empty());
        while let Some(key) = next {
            let written = match self.store().head(&key).await {
                Err(error) if error.kind() == ErrorKind::Corrupt => None,
                written => written?,
            };
            if written.is_none_or(|object| object.last_modified < before) {
                break;
            }
            let Ok(snapshot) = self.snapshot_at(&key).await else { break };
            named.extend(names(&snapshot));
            named.insert(keys::claim(self.name(), &snapshot.document.commit));
            next = snapshot.document.parent.filter(|parent| *parent < key);
            named.insert(key);
        }
        Ok(named)
    }
}
