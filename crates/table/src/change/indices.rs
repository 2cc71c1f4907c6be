//! The indices of the state after a change.

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use hashbrown::HashSet;
use indexmap::IndexMap;
use partita_core::{Error, Result, Store};
use serde_json::Value;

use super::{Change, Kept};
use crate::format::header::Attempt;
use crate::format::index::stored::{Encoded, IndexFile};
use crate::format::index::{Index, value_type};
use crate::format::keys;
use crate::state::State;

/// Index files for the state after a change.
pub(super) struct Indices<'a> {
    pub store: &'a Store,
    pub name: &'a str,
    pub time: &'a str,
    pub made: &'a Attempt,
    pub base: Option<&'a State>,
    pub kept: &'a Kept,
    pub change: &'a Change,
    pub schema: &'a Schema,
}

#[derive(Default)]
pub(super) struct NextIndices {
    pub entries: IndexMap<String, Value>,
    pub lengths: BTreeMap<String, IndexFile>,
    pub files: Vec<(String, bytes::Bytes)>,
    pub complete: bool,
}

impl NextIndices {
    fn add(&mut self, column: &str, key: String, encoded: Encoded) {
        self.files.push((key.clone(), encoded.bytes));
        self.lengths.insert(column.to_owned(), encoded.lengths);
        self.entries.insert(column.to_owned(), Value::String(key));
    }
}

impl Indices<'_> {
    pub async fn next(&self, columns: &[String]) -> Result<NextIndices> {
        let mut next = NextIndices { complete: true, ..Default::default() };
        let removed: HashSet<&str> = self.kept.go.iter().flat_map(|go| go.labels()).collect();
        let touched = !removed.is_empty()
            || self.change.creation.is_some()
            || self.change.staged.iter().any(|staged| !staged.manifest.is_empty());
        for column in columns {
            let stored = self.base.and_then(|base| base.header.indices.get(column));
            if let Some(index) = self.change.indexed.get(column) {
                let key = keys::index_file(self.name, column, self.time, self.made);
                next.add(column, key, index.encode(column)?);
                continue;
            }
            if let (false, Some(stored)) = (touched, stored) {
                next.entries.insert(column.clone(), stored.clone());
                next.complete &= self.was_complete();
                let lengths = self.base.and_then(|base| base.index_lengths.get(column));
                next.lengths.extend(lengths.map(|lengths| (column.clone(), *lengths)));
                continue;
            }
            let index = self.rebuilt(column, stored, &removed, &mut next.complete).await?;
            let key = keys::index_file(self.name, column, self.time, self.made);
            next.add(column, key, index.encode(column)?);
        }
        Ok(next)
    }

    fn was_complete(&self) -> bool {
        self.base.is_some_and(|base| base.indices_complete)
    }

    /// Updates the index of one column: the entries of remaining files, and the values of the new
    /// files.
    async fn rebuilt(
        &self,
        column: &str,
        stored: Option<&Value>,
        removed: &HashSet<&str>,
        complete: &mut bool,
    ) -> Result<Index> {
        let field = self.schema.field_with_name(column)?;
        let data_type = value_type(crate::format::schema::table_field(field).data_type());
        let mut parts = Vec::new();
        if let (Some(stored), None) = (stored, &self.change.creation) {
            let recorded = self.base.and_then(|base| base.index_lengths.get(column));
            let index = load_index(self.store, stored, column, &data_type, recorded).await?;
            *complete &= self.was_complete() || self.covers(&index);
            parts.push(index.without(removed)?);
        }
        for staged in &self.change.staged {
            match staged.index.get(column) {
                Some(part) => parts.push(part.cast(&data_type)?),
                None if staged.manifest.is_empty() => {}
                None => *complete = false,
            }
        }
        if parts.is_empty() {
            parts.push(Index::empty(&data_type));
        }
        Index::merge(&parts)
    }

    /// True if every file of the base has an entry in the index.
    fn covers(&self, index: &Index) -> bool {
        let labels: HashSet<&str> = index.labels().collect();
        self.base.is_some_and(|base| base.manifest.labels().all(|l| labels.contains(l)))
    }
}

/// Reads an index: the file that the header names, or the form embedded in the header.
pub(crate) async fn load_index(
    store: &Store,
    stored: &Value,
    column: &str,
    data_type: &arrow::datatypes::DataType,
    recorded: Option<&IndexFile>,
) -> Result<Index> {
    let key = match stored {
        Value::String(key) => key,
        Value::Object(embedded) => return Index::embedded(embedded, column, data_type),
        _ => {
            return Err(Error::corrupt("the header names an index in a form that is not known")
                .with("column", column));
        }
    };
    Index::fetch(store, key, recorded, column, data_type).await
}
