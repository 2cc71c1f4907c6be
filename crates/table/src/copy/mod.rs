//! Copying a table to another place.

mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use hashbrown::{HashMap, HashSet};
use partita_core::store::{LARGEST, split_url};
use partita_core::{Cancel, Error, NoProgress, Predicate, Progress, Result, Store, StoreOptions};
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::Table;
use crate::change::{Change, Creation, load_index};
use crate::commit::Existing;
use crate::format::footer::missing;
use crate::format::index::value_type;
use crate::format::keys;
use crate::format::snapshot::Operation;
use crate::stage::{Begun, Columns, Staged, discard};
use crate::state::{State, read_header};

/// The maximum size of objects in memory, in MiB; a single larger object is copied alone.
const IN_FLIGHT_MIB: u32 = 256;

/// The maximum number of copies in flight.
const COPIES_IN_FLIGHT: usize = 16;

/// Options of a copy.
#[derive(Clone)]
pub struct CopyOptions {
    /// Copy only rows that match; they are rewritten to new files.
    pub scope: Option<Predicate>,
    /// Replace a table that exists already; otherwise that is an error.
    pub overwrite: bool,
    /// Receives the number of copied files.
    pub progress: Arc<dyn Progress>,
    /// Stops the copy; nothing becomes visible then.
    pub cancel: Cancel,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            scope: None,
            overwrite: false,
            progress: Arc::new(NoProgress),
            cancel: Cancel::default(),
        }
    }
}

impl Table {
    /// Copies the state that reads see to `url`, in any store, and returns the copy. Files are
    /// copied unchanged, unless a scope selects rows, which are rewritten to new files. The copy
    /// has one version, and becomes visible in one commit.
    ///
    /// # Errors
    /// [`AlreadyExists`](partita_core::ErrorKind::AlreadyExists) unless `options.overwrite`;
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for the table itself;
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if a file of the table is missing; otherwise
    /// those of [`Table::append`]. Nothing remains at `url` then.
    pub fn copy<'a>(
        &'a self,
        url: &'a str,
        store: &'a StoreOptions,
        options: &'a CopyOptions,
    ) -> BoxFuture<'a, Result<Self>> {
        async move {
            let (root, name) = split_url(url)?;
            keys::check_name(&name)?;
            let target = Store::open(&root, store)?;
            target.check_writable()?;
            if target.is_same_place(self.store()) && name == self.name() {
                return Err(Error::invalid("a table cannot be copied onto itself").with("url", url));
            }
            let existing = if options.overwrite { Existing::Replaced } else { Existing::Refused };
            if existing == Existing::Refused && read_header(&target, &name).await?.is_some() {
                return Err(crate::commit::already_exists(&name));
            }
            let state = self.state().completed(self.store(), &options.cancel).await?;
            let staged = match &options.scope {
                Some(scope) => self.copied_rows(&state, &target, &name, scope, options).await?,
                None => vec![self.copied(&state, &target, &name, options).await?],
            };
            let change = Change {
                creation: Some(Creation {
                    partition_by: state.partition_by.clone(),
                    index: state.header.indices.keys().cloned().collect(),
                    columns: state
                        .schema
                        .fields()
                        .iter()
                        .map(|field| field.name().clone())
                        .collect(),
                    extensions: state.extensions.clone(),
                    schema: state.stored.clone(),
                    encoding: state.encoding,
                    derived: state.own.derived.clone(),
                    bloom_filters: state.own.bloom_filters.clone(),
                }),
                staged,
                metadata: state.header.user_metadata(),
                ..Change::new(Operation::Create)
            };
            Self::create_by(target, &name, &change, existing, &options.cancel).await
        }
        .instrument(tracing::debug_span!("copy", dataset = %self.place()))
        .boxed()
    }

    /// Copies the files of `state` under another name, without adding them to a table.
    async fn copied(
        &self,
        state: &State,
        target: &Store,
        name: &str,
        options: &CopyOptions,
    ) -> Result<Staged> {
        let begun = Begun::now();
        // New names: the old ones may be in use if the table is copied over an earlier copy.
        let labels: HashMap<&str, String> = state
            .manifest
            .labels()
            .zip(state.partition_keys()?)
            .map(|(old, key)| (old, keys::label(&key, &uuid::Uuid::new_v4().simple().to_string())))
            .collect();
        let new = |label: &str| labels.get(label).map(String::as_str);
        let mut index = BTreeMap::new();
        for (column, stored) in &state.header.indices {
            let data_type = value_type(state.schema.field_with_name(column)?.data_type());
            let recorded = state.index_lengths.get(column);
            let stored = load_index(self.store(), stored, column, &data_type, recorded).await?;
            let unknown: HashSet<&str> =
                stored.labels().filter(|label| new(label).is_none()).collect();
            index.insert(
                column.clone(),
                stored.without(&unknown)?.relabelled(new).ok_or_else(|| {
                    Error::corrupt("an index names a partition that does not exist")
                        .with("column", column)
                })?,
            );
        }
        let table = keys::DEFAULT_TABLE_NAME;
        let labels: Vec<&str> =
            state.manifest.labels().map(|label| new(label).unwrap_or(label)).collect();
        let to: Vec<String> =
            labels.iter().map(|label| keys::data_file(name, table, label)).collect();
        let sizes = state.manifest.bytes();
        let pairs: Vec<(String, String, u64)> = state
            .manifest
            .keys()
            .zip(&to)
            .zip(sizes)
            .map(|((from, to), bytes)| (from.to_owned(), to.clone(), bytes.unwrap_or(0)))
            .collect();
        options.progress.start("files copied", Some(pairs.len() as u64));
        let room = Semaphore::new(IN_FLIGHT_MIB as usize);
        // All copies are awaited, even after a failure: their files must be deleted.
        let outcomes: Vec<Result<()>> = stream::iter(pairs)
            .map(|(from, to, bytes)| {
                let room = &room;
                async move {
                    let mib = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
                    let _held = room.acquire_many(mib.clamp(1, IN_FLIGHT_MIB)).await;
                    options.cancel.check()?;
                    let object = self.store().get_within(&from, LARGEST).await?;
                    let object = object.ok_or_else(|| missing(&from))?;
                    target.put(&to, object).await?;
                    options.progress.advance(1);
                    Ok(())
                }
            })
            .buffer_unordered(COPIES_IN_FLIGHT)
            .collect()
            .await;
        options.progress.finish();
        if let Err(error) = outcomes.into_iter().collect::<Result<()>>() {
            discard(target, to).await;
            return Err(error);
        }
        Ok(Staged {
            table_name: table.to_owned(),
            partition_by: state.partition_by.clone(),
            columns: state.schema.fields().iter().map(|field| field.name().clone()).collect(),
            extensions: state.extensions.clone(),
            schema: state.stored.clone(),
            manifest: state.manifest.renamed(labels.into_iter(), to.iter().map(String::as_str))?,
            index,
            ids: Vec::new(),
            version: 0,
            columns_are: Columns::All,
            last_column_id: 0,
            begun,
        })
    }
}
