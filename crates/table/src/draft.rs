//! Tables that do not exist yet: staged by many processes, created in one commit.

use arrow::datatypes::Schema;
use futures::future::try_join_all;
use partita_core::store::split_url;
use partita_core::{Error, ErrorKind, Result, Store, StoreOptions};

use crate::Table;
use crate::change::{Change, Creation};
use crate::commit::{Commit, Existing, already_exists, commit};
use crate::format::given::merge;
use crate::format::header::Encoding;
use crate::format::keys;
use crate::format::pandas::ExtensionTypes;
use crate::format::snapshot::Operation;
use crate::options::{BatchSource, CreateOptions, WriteOptions};
use crate::stage::{Staged, Target, stage};
use crate::state::header_key;

/// A table that does not exist yet. Any number of drafts with the same options, in any process, can
/// stage files for it; one of them creates it.
#[derive(Debug, Clone)]
pub struct Draft {
    store: Store,
    name: String,
    options: CreateOptions,
}

impl Draft {
    /// A draft of the table at `url`. No request.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a URL that cannot name a table;
    /// [`ReadOnly`](ErrorKind::ReadOnly).
    pub fn new(url: &str, options: CreateOptions, store: &StoreOptions) -> Result<Self> {
        let (root, name) = split_url(url)?;
        Self::new_in(Store::open(&root, store)?, &name, options)
    }

    /// A draft of the table `name` in a store.
    ///
    /// # Errors
    /// As [`Draft::new`].
    pub fn new_in(store: Store, name: &str, options: CreateOptions) -> Result<Self> {
        keys::check_name(name)?;
        store.check_writable()?;
        Ok(Self { store, name: name.to_owned(), options })
    }

    /// Fails if the table exists and may not be replaced. Two requests at once.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists); [`Store`](ErrorKind::Store).
    pub async fn check_absent(&self) -> Result<()> {
        if self.options.overwrite {
            return Ok(());
        }
        let keys = [Encoding::Json, Encoding::Msgpack].map(|form| header_key(&self.name, form));
        let found = try_join_all(keys.iter().map(|key| self.store.head(key))).await?;
        match found.iter().any(Option::is_some) {
            true => Err(already_exists(&self.name)),
            false => Ok(()),
        }
    }

    /// Writes `data` to files that do not belong to a table yet.
    ///
    /// # Errors
    /// The errors are those of [`Table::append`], except for those that concern an existing table.
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.name))]
    pub async fn stage(&self, data: BatchSource, options: &WriteOptions) -> Result<Staged> {
        let target = Target {
            store: self.store.clone(),
            name: self.name.clone(),
            table_name: keys::DEFAULT_TABLE_NAME.to_owned(),
            partition_by: self.options.partition_by.clone(),
            index: self.options.index.clone(),
            derived: self.options.derived(),
            bloom_filters: self.bloom_filters(),
            schema: None,
            last_column_id: 0,
            extensions: ExtensionTypes::new(),
            version: 0,
        };
        stage(&target, data, options).await
    }

    /// Creates the table from staged files, in one commit. If it fails the files stay, to be
    /// committed again or discarded. With an idempotency key, the call can be repeated and takes
    /// effect once.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) unless the table is to be replaced;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if nothing is staged;
    /// [`SchemaMismatch`](ErrorKind::SchemaMismatch) if the staged files have no common schema.
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.name))]
    pub async fn create(&self, staged: Vec<Staged>) -> Result<(Table, Commit)> {
        self.create_of(staged, true).await
    }

    pub(crate) async fn create_of(
        &self,
        staged: Vec<Staged>,
        staged_apart: bool,
    ) -> Result<(Table, Commit)> {
        let Some(first) = staged.first() else {
            return Err(Error::invalid("a table is created from at least one staged file"));
        };
        let write = &self.options.write;
        let mut metadata = self.options.metadata.clone();
        metadata.extend(write.metadata.clone());
        let change = Change {
            creation: Some(Creation {
                partition_by: self.options.partition_by.clone(),
                index: self.options.index.clone(),
                columns: first.columns.clone(),
                extensions: first.extensions.clone(),
                schema: self.common_schema(&staged, first)?,
                encoding: self.options.header,
                derived: self.options.derived(),
                bloom_filters: self.bloom_filters(),
            }),
            staged,
            staged_apart,
            metadata,
            ..Change::new(Operation::Create).with(write)
        };
        let overwrite = self.options.overwrite;
        let existing = if overwrite { Existing::Replaced } else { Existing::Refused };
        let (state, made) =
            commit(&self.store, &self.name, &change, None, existing, &write.cancel).await?;
        Ok((Table::holding(self.store.clone(), &self.name, state), made))
    }

    /// Deletes staged files that are not going to be committed. Files that a table names stay.
    ///
    /// # Errors
    /// The errors are those of [`Table::discard`].
    pub async fn discard(&self, staged: &[Staged]) -> Result<()> {
        match Table::open_in(self.store.clone(), &self.name).await {
            Ok(table) => table.discard(staged).await,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.store.delete_many(staged.iter().flat_map(Staged::keys).collect()).await
            }
            Err(error) => Err(error),
        }
    }

    fn bloom_filters(&self) -> Vec<String> {
        self.options.write.bloom_filters.clone().unwrap_or_default()
    }

    /// The common schema of all staged files, starting with that of `first`.
    fn common_schema(&self, staged: &[Staged], first: &Staged) -> Result<Schema> {
        let bucket = self.options.derived().bucket.map(|bucket| bucket.column);
        let fixed: Vec<String> = self.options.partition_by.iter().cloned().chain(bucket).collect();
        let both = |schema: Schema, one: &Staged| merge(&schema, &one.schema, &fixed);
        staged.iter().try_fold(first.schema.clone(), both)
    }
}
