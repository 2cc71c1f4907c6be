//! The copy of the base's axis in each partition of a view, which identifies the rows that the view
//! was made for.
//!
//! ZCollection stores it as an array `.checksum`, with the SHA-256 of its items as an attribute.
//! Its Zarr v3 views have none, but it ignores arrays that their schema does not name.

use std::fmt::Write;

use partita_core::{Result, Store};
use sha2::{Digest, Sha256};

use super::{Config, Layout, Part, StoredArray, read_variables, v2, v3};
use crate::dataset::{Array, Buffer, ByteOrder, Codecs, VariableSchema};
use crate::json::Json;
use crate::options::Work;

/// The name of the array.
pub(super) const AXIS: &str = ".checksum";
/// The attribute that holds the checksum.
pub(super) const CHECKSUM: &str = "checksum";

/// The copy of the axis in one partition.
#[derive(Debug)]
pub(crate) struct AxisCopy {
    array: StoredArray,
}

/// The SHA-256 of the items of an axis, in hexadecimal digits.
pub(crate) fn checksum_of(axis: &Array) -> String {
    let mut hash = Sha256::new();
    match axis.buffer() {
        Buffer::Fixed(bytes) => hash.update(bytes),
        items @ Buffer::Variable { .. } => {
            (0..axis.len()).for_each(|at| hash.update(items.item(at, 0).unwrap_or_default()));
        }
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The schema of the array that stores a copy of `axis`.
pub(super) fn copy_schema(layout: Layout, axis: &VariableSchema) -> VariableSchema {
    let plain = VariableSchema::new(AXIS, axis.dtype, &axis.dimensions);
    let codecs = match layout {
        Layout::ZarrV3 => Codecs::Default,
        // These are ZCollection's defaults for Zarr v2.
        Layout::ZarrV2 => Codecs::V2 {
            compressor: Some(Json::map([
                ("id", "blosc".into()),
                ("cname", "lz4".into()),
                ("clevel", Json::Int(5)),
                ("shuffle", Json::Int(1)),
                ("blocksize", Json::Int(0)),
            ])),
            filters: Vec::new(),
            order: ByteOrder::Little,
        },
    };
    let own = plain.with_codecs(codecs);
    own.clone().with_fill(Json::Int(0)).unwrap_or(own)
}

/// Opens the copy of `axis` in the partition of a view at `prefix`, if it has one.
pub(crate) async fn axis_copy(
    store: &Store,
    config: &Config,
    prefix: &str,
    axis: &VariableSchema,
) -> Result<Option<AxisCopy>> {
    let own = copy_schema(config.layout, axis);
    let named = |error: partita_core::Error| error.with("partition", prefix);
    let key = |name: &str| format!("{prefix}/{AXIS}/{name}");
    let array = match config.layout {
        Layout::ZarrV2 => {
            let (array, attributes) = (key(".zarray"), key(".zattrs"));
            let found = futures::try_join!(store.get_opt(&array), store.get_opt(&attributes))?;
            let (Some(array), Some(attributes)) = found else { return Ok(None) };
            v2::array_of(prefix, &own, &array, Some(&attributes)).map_err(named)?
        }
        Layout::ZarrV3 => {
            let Some(document) = store.get_opt(&key(v3::GROUP)).await? else { return Ok(None) };
            v3::array_of(prefix, &own, &document).map_err(named)?
        }
    };
    Ok(Some(AxisCopy { array }))
}

impl AxisCopy {
    /// The checksum stored with the copy.
    pub fn checksum(&self) -> Option<&str> {
        self.array.schema.attributes.get(CHECKSUM).and_then(Json::as_text)
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.array.rows()
    }

    /// Reads the items.
    pub async fn read(&self, store: &Store, work: &Work) -> Result<Array> {
        let array = std::sync::Arc::new(self.array.clone());
        let parts = vec![Part::Stored { array, rows: None }];
        let schema = self.array.schema.clone();
        let dimension = schema.dimensions.first().cloned().unwrap_or_default();
        let wanted = vec![(store, schema, parts)];
        let array = read_variables(wanted, &dimension, &work.quiet()).await?.pop();
        array.ok_or_else(|| partita_core::Error::corrupt("the copy of the axis was not read"))
    }
}
