//! The current and earlier schemas of a table, with column ids and comments.

use std::collections::BTreeMap;

use arrow::datatypes::{Schema, SchemaRef};
use jiff::Timestamp;
use partita_core::Result;

use crate::Table;
use crate::format::columns::{comment_of, id_of};
use crate::format::given::given_schema;
use crate::format::snapshot::Operation;
use crate::history::{Recorded, walk};

/// A schema that a table has had, and the commit that brought it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaVersion {
    /// The first version of this schema; the oldest that is known, where the history ends there.
    pub version: u64,
    /// The id of its commit.
    pub commit: String,
    /// When the writer made it, by the writer's clock.
    pub time: Timestamp,
    /// The operation of the commit.
    pub operation: Operation,
    /// The columns and types that scans return.
    pub schema: SchemaRef,
    /// The id of each column, which it keeps when it is renamed. Early releases gave none.
    pub column_ids: BTreeMap<String, i32>,
    /// The comments on columns.
    pub comments: BTreeMap<String, String>,
}

impl SchemaVersion {
    fn of(recorded: Recorded) -> Option<Self> {
        let stored = recorded.schema.clone()?;
        let document = &recorded.document;
        let schema = given_schema(&stored, &document.columns, &document.extension_types);
        let info = recorded.info();
        Some(Self {
            version: info.version,
            commit: info.commit,
            time: info.time,
            operation: info.operation,
            schema,
            column_ids: ids(&stored),
            comments: comments(&stored),
        })
    }

    fn is_like(&self, other: &Self) -> bool {
        let (one, other_ids) = (&self.column_ids, &other.column_ids);
        let numbered = !one.is_empty() && !other_ids.is_empty();
        self.schema.fields() == other.schema.fields()
            && self.comments == other.comments
            && !(numbered && one != other_ids)
    }
}

fn ids(stored: &Schema) -> BTreeMap<String, i32> {
    let fields = stored.fields().iter();
    fields.filter_map(|field| Some((field.name().clone(), id_of(field)?))).collect()
}

fn comments(stored: &Schema) -> BTreeMap<String, String> {
    let fields = stored.fields().iter();
    fields.filter_map(|field| Some((field.name().clone(), comment_of(field)?.to_owned()))).collect()
}

impl Table {
    /// The id of each column. A column keeps it when it is renamed, and no other ever gets it; new
    /// data files carry it as the field id of Parquet. A table that Partita has not written yet
    /// gets them with the next commit.
    #[must_use]
    pub fn column_ids(&self) -> BTreeMap<String, i32> {
        ids(&self.state().stored)
    }

    /// The comments on columns.
    #[must_use]
    pub fn comments(&self) -> BTreeMap<String, String> {
        comments(&self.state().stored)
    }

    /// The schemas that the table has had, newest first, as far as the history goes back. Two
    /// requests for each version.
    ///
    /// # Errors
    /// As [`Table::history`].
    pub async fn schema_history(&self) -> Result<Vec<SchemaVersion>> {
        let walked = walk(self.store(), &self.state(), |_| false).await?;
        let mut found: Vec<SchemaVersion> = Vec::new();
        for one in walked.into_iter().filter_map(SchemaVersion::of) {
            // A commit that did not change the schema is left out, so the older entry replaces it.
            if found.last().is_some_and(|newer| newer.is_like(&one)) {
                found.pop();
            }
            found.push(one);
        }
        Ok(found)
    }
}
