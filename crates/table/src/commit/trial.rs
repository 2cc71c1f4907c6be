//! One attempt at a commit, and the determination of its outcome.
//!
//! An attempt is done, provably never done, or of unknown outcome. Only the second outcome allows
//! deletes, and only of objects that the attempt itself has written.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use partita_core::store::protocol::proves_no_commit;
use partita_core::store::{Swap, Version};
use partita_core::{Error, ErrorKind, Result, Store, commit_point, commit_settled};

use crate::change::Next;
use crate::format::columns::plain;
use crate::format::given::given_schema;
use crate::format::header::Attempt;
use crate::format::keys;
use crate::format::schema::{decode_common_metadata, encode_common_metadata, table_schema};
use crate::format::snapshot::{Document, Totals};
use crate::history::walk;
use crate::protocol::{made_by_header, made_by_history};
use crate::stage::discard;
use crate::state::{State, header_key};

/// The maximum number of writes in flight.
const WRITES_IN_FLIGHT: usize = 8;

/// An attempt to swap the header.
pub(super) struct Trial<'a> {
    pub store: &'a Store,
    pub name: &'a str,
    pub made: &'a Attempt,
    /// The state whose header is replaced; `None` if the table is created.
    pub base: Option<&'a State>,
}

/// The outcome of an attempt, once it is known.
pub(super) enum Outcome {
    Done {
        state: Arc<State>,
        version: u64,
        totals: Totals,
    },
    /// Another commit took its place, or the table does not exist any more.
    Lost {
        newest: Option<Arc<State>>,
    },
}

impl Trial<'_> {
    /// Writes the objects that the header will name, and swaps the header.
    ///
    /// On an error nothing was committed and nothing will be, except for `CommitUnknown`.
    pub async fn run(&self, mut next: Next) -> Result<Outcome> {
        let header = Bytes::from(next.header.encode(next.encoding)?);
        next.snapshot.document.header_hash = blake3::hash(&header).to_hex().to_string();
        let mut side: Vec<(String, Bytes)> = std::mem::take(&mut next.index_files);
        side.push((next.own.snapshot.clone(), next.snapshot.encode()?));
        let written: Vec<String> = side.iter().map(|(key, _)| key.clone()).collect();
        let swapped = match self.write(&next, side).await {
            Ok(()) => self.swap(&next, header).await,
            Err(error) => Err(error),
        };
        match swapped {
            Ok(Swap::Done(stored_as)) => {
                let changed = next.schema_changed;
                let Document { version, change: totals, .. } = next.snapshot.document;
                let state = Arc::new(next.into_state(stored_as));
                if changed {
                    self.restore_schema(&state).await;
                }
                Ok(Outcome::Done { state, version, totals })
            }
            Ok(Swap::Lost { .. }) => self.settle(&next, written).await,
            Err(error) if !proves_no_commit(error.kind()) => {
                Err(self.unknown("it could not be learned whether the commit was made", error))
            }
            Err(error) => {
                discard(self.store, written).await;
                Err(error)
            }
        }
    }

    async fn write(&self, next: &Next, mut side: Vec<(String, Bytes)>) -> Result<()> {
        if next.schema_changed {
            let key = keys::common_metadata(self.name, &next.table_name);
            side.push((key, encode_common_metadata(&next.snapshot.schema)?));
        }
        stream::iter(side)
            .map(|(key, bytes)| async move { self.store.put(&key, bytes).await })
            .buffer_unordered(WRITES_IN_FLIGHT)
            .try_collect()
            .await
    }

    async fn swap(&self, next: &Next, header: Bytes) -> Result<Swap> {
        let key = header_key(self.name, next.encoding);
        let expected = self.base.map(|base| &base.stored_as);
        let token = self.made.token();
        let swap = self.store.compare_and_swap(&key, expected, header, &token);
        // A swap that is reported as lost may still have been made; a later check decides.
        let is_made = |swap: &Swap| matches!(swap, Swap::Done(_)).then_some(true);
        commit_point(&self.made.commit, swap, is_made).await
    }

    /// Called after a swap that was reported as lost: its answer may have been lost instead,
    /// followed by so many commits that the header does not list it any more.
    async fn settle(&self, next: &Next, written: Vec<String>) -> Result<Outcome> {
        let unknown = |error: Error| {
            let why = "another header is stored, and it could not be learned whether the commit is \
                       part of it";
            self.unknown(why, error)
        };
        let newest = State::find(self.store, self.name).await.map_err(unknown)?.map(Arc::new);
        let version = next.own.version;
        if let Some(newest) = &newest
            && self.is_part_of(newest, next).await.map_err(unknown)?
        {
            commit_settled(&self.made.commit, true);
            let totals = next.snapshot.document.change;
            return Ok(Outcome::Done { state: Arc::clone(newest), version, totals });
        }
        commit_settled(&self.made.commit, false);
        discard(self.store, written).await;
        if next.schema_changed
            && let Some(newest) = &newest
        {
            self.restore_schema(newest).await;
        }
        Ok(Outcome::Lost { newest })
    }

    /// True if the state `newest` is based on this attempt.
    async fn is_part_of(&self, newest: &State, next: &Next) -> Result<bool> {
        let version = next.own.version;
        let listed = newest.own.committed_after(version - 1);
        let is_listed = listed.map(|token| token == self.made.token());
        if let Some(is_made) = made_by_header(version, newest.own.version, is_listed) {
            return Ok(is_made);
        }
        let walked =
            walk(self.store, newest, |recorded| recorded.document.version <= version).await?;
        let oldest = walked.last();
        let reached = oldest.map(|oldest| oldest.document.version);
        let is_its = oldest.is_some_and(|oldest| oldest.key == next.own.snapshot);
        made_by_history(version, reached, is_its).ok_or_else(|| {
            Error::corrupt("the history does not reach back to the commit").with("version", version)
        })
    }

    /// An error that tells the caller which id to query.
    fn unknown(&self, why: &str, cause: Error) -> Error {
        Error::new(ErrorKind::CommitUnknown, format!("{why}; ask with its id before trying again"))
            .with("commit", &self.made.commit)
            .with("dataset", self.name)
            .caused_by(cause)
    }

    /// `_common_metadata` is not part of the swap: two concurrent schema changes may leave the
    /// version of the loser. Writers that changed it check it again after the outcome of the swap
    /// is known. Readers do not need it while the snapshot is current, so a failure is left to the
    /// repair by `verify`.
    async fn restore_schema(&self, state: &State) {
        let key = keys::common_metadata(self.name, &state.table_name);
        let look = async {
            let stored = self.store.get_opt(&key).await?;
            let same = stored
                .and_then(|bytes| decode_common_metadata(&bytes).ok())
                .is_some_and(|schema| schema.fields() == plain(&state.stored).fields());
            match same {
                true => Ok(()),
                false => self.store.put(&key, encode_common_metadata(&state.stored)?).await,
            }
        };
        if let Err(error) = look.await {
            tracing::warn!(
                %error,
                "the schema file could not be looked at after a commit; verify(repair) mends it"
            );
        }
    }
}

impl Next {
    fn into_state(self, stored_as: Version) -> State {
        let document = self.snapshot.document;
        let mut header = self.header;
        // The manifest lists the files as well.
        header.partitions = None;
        let (stored, columns) = (&self.snapshot.schema, &self.own.columns);
        let schema = table_schema(stored, columns, &document.extension_types);
        let given = given_schema(stored, columns, &document.extension_types);
        State {
            header,
            encoding: self.encoding,
            stored_as,
            table_name: self.table_name,
            partition_by: document.partition_by.clone(),
            stored: self.snapshot.schema,
            schema,
            given,
            own: self.own,
            indices_complete: document.indices_complete,
            index_lengths: document.index_lengths,
            extensions: document.extension_types,
            schemas: document.schemas,
            manifest: self.snapshot.manifest,
            forgotten: None,
        }
    }
}
