//! How a table is laid out: its columns, and what is made of them.

use arrow::datatypes::Schema;

use super::Creation;
use crate::format::columns::with_ids;
use crate::format::keys;
use crate::format::pandas::ExtensionTypes;
use crate::format::snapshot::Schemas;
use crate::stage::Derivations;
use crate::state::State;

/// The layout of a table at one version, to be changed by a commit.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub table_name: String,
    /// The stored schema; every column has an id.
    pub schema: Schema,
    /// The largest id that a column has ever had.
    pub last_column_id: i32,
    pub partition_by: Vec<String>,
    pub derived: Derivations,
    pub index: Vec<String>,
    pub bloom_filters: Vec<String>,
    /// The columns in the order that readers see.
    pub columns: Vec<String>,
    pub extensions: ExtensionTypes,
    pub schemas: Schemas,
}

impl Layout {
    /// The layout of a table that exists.
    pub fn of(base: &State) -> Self {
        Self {
            table_name: base.table_name.clone(),
            schema: base.stored.clone(),
            last_column_id: base.own.last_column_id,
            partition_by: base.partition_by.clone(),
            derived: base.own.derived.clone(),
            index: base.header.indices.keys().cloned().collect(),
            bloom_filters: base.own.bloom_filters.clone(),
            columns: base.schema.fields().iter().map(|field| field.name().clone()).collect(),
            extensions: base.extensions.clone(),
            schemas: base.schemas.clone(),
        }
    }

    /// The layout of a table that is made.
    pub fn made(creation: &Creation) -> Self {
        let (schema, last_column_id) = with_ids(&creation.schema, 0);
        Self {
            table_name: keys::DEFAULT_TABLE_NAME.to_owned(),
            schema,
            last_column_id,
            partition_by: creation.partition_by.clone(),
            derived: creation.derived.clone(),
            index: creation.index.clone(),
            bloom_filters: creation.bloom_filters.clone(),
            columns: creation.columns.clone(),
            extensions: creation.extensions.clone(),
            schemas: Schemas::default(),
        }
    }
}
