//! The operations of a table that change its schema.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use partita_core::{Error, Result};

use super::Alteration;
use crate::Table;
use crate::change::{Change, Layout};
use crate::commit::Commit;
use crate::format::snapshot::Operation;
use crate::options::WriteOptions;
use crate::rewrite::{Rewrite, Rule};

impl Table {
    /// Adds columns in one commit. In files written before they are null; no file is written
    /// again. The types are stored as those of appended data are.
    ///
    /// # Errors
    /// [`AlreadyExists`](partita_core::ErrorKind::AlreadyExists) for a name that the table has; else
    /// as [`Table::append`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn add_columns(&self, columns: Schema, options: &WriteOptions) -> Result<Commit> {
        if columns.fields().is_empty() {
            return Err(Error::invalid("there is no column to add"));
        }
        self.alter(Alteration::Add(columns), options).await
    }

    /// Gives a column a wider type in one commit: numbers become wider numbers, integers become
    /// doubles or decimals, decimals get more digits, dates become times without a zone, structs get
    /// fields, and columns that held only nulls take any type. Where dates become times, or integers
    /// become decimals, the files are written again. No file is written again in the other cases.
    ///
    /// # Errors
    /// [`SchemaMismatch`](partita_core::ErrorKind::SchemaMismatch) if the type is not wider, or if
    /// there are integers beyond 2^53, which doubles would round;
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for a partition column or one
    /// with an index; [`NotFound`](partita_core::ErrorKind::NotFound) for a column that the table
    /// has not; else as [`Table::append`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn widen_column(
        &self,
        column: &str,
        to: &DataType,
        options: &WriteOptions,
    ) -> Result<Commit> {
        self.alter(Alteration::Widen(column.to_owned(), to.clone()), options).await
    }

    /// Gives a column another name in one commit. The files that hold it are written again, since
    /// plateau finds columns by the names in them; older versions keep theirs. The column keeps its
    /// id, its index, its comment and its place.
    ///
    /// # Errors
    /// [`NotFound`](partita_core::ErrorKind::NotFound) for a column that the table has not;
    /// [`AlreadyExists`](partita_core::ErrorKind::AlreadyExists) if it has one of the new name;
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for a partition column, or one
    /// that such are derived from; else as [`Table::append`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn rename_column(
        &self,
        column: &str,
        to: &str,
        options: &WriteOptions,
    ) -> Result<Commit> {
        self.alter(Alteration::Rename(column.to_owned(), to.to_owned()), options).await
    }

    /// Drops a column, with its index, in one commit. The files that hold it are written again
    /// without it; older versions keep theirs.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for the last column; else as
    /// [`Table::rename_column`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn drop_column(&self, column: &str, options: &WriteOptions) -> Result<Commit> {
        self.alter(Alteration::Drop(column.to_owned()), options).await
    }

    /// Puts the columns named before the others, in this order, in one commit. No file is written
    /// again.
    ///
    /// # Errors
    /// [`NotFound`](partita_core::ErrorKind::NotFound) for a column that the table has not;
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for one that is named twice;
    /// else as [`Table::append`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn reorder_columns(
        &self,
        columns: &[String],
        options: &WriteOptions,
    ) -> Result<Commit> {
        self.alter(Alteration::Reorder(columns.to_vec()), options).await
    }

    /// Sets the comment on a column, or removes it, in one commit. No file is written again.
    ///
    /// # Errors
    /// [`NotFound`](partita_core::ErrorKind::NotFound) for a column that the table has not; else as
    /// [`Table::append`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn set_comment(
        &self,
        column: &str,
        comment: Option<&str>,
        options: &WriteOptions,
    ) -> Result<Commit> {
        let comment = comment.map(str::to_owned);
        self.alter(Alteration::Comment(column.to_owned(), comment), options).await
    }

    async fn alter(&self, alteration: Alteration, options: &WriteOptions) -> Result<Commit> {
        // With a key the commit may have been made before, and the schema is that after it.
        if options.idempotency_key.is_none() {
            alteration.apply(&mut Layout::of(&self.state()))?;
        }
        match alteration {
            Alteration::Rename(_, _) | Alteration::Drop(_) | Alteration::Widen(_, _) => {
                let (store, operation) = (self.store(), Operation::Alter);
                let rule = Rule::Alter(Arc::new(alteration));
                let rewrite =
                    Rewrite::new(store, self.name(), operation, rule, Vec::new(), options);
                self.rewrite(rewrite).await
            }
            alteration => {
                let mut change = Change::new(Operation::Alter);
                change.alteration = Some(alteration);
                change = change.with(options);
                self.commit_proposed(&change, &options.cancel).await
            }
        }
    }
}
