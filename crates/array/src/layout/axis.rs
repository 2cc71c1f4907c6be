//! The copy of the axis in each partition of a view: the rows that the view was made for.
//!
//! ZCollection keeps it as an array `.checksum`, with the SHA-256 of its items as an attribute. Its
//! views in Zarr v3 have none; arrays that their schema does not name are passed over.

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

/// The copy in one partition.
#[derive(Debug)]
pub(crate) struct AxisCopy {
    array: StoredArray,
}

/// The checksum of the items of an axis, in hexadecimal digits.
pub(crate) fn checksum_of(axis: &Array) -> String {
    let mut hash = Sha256::new();
    match axis.buffer() {
        Buffer::Fixed(bytes) => hash.update(bytes),
        items @ Buffer::Variable { .. } => {
            (0..axis.len()).for_each(|at| hash.update(items.item(at, 0).unwrap_or_default()));
        }
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// How a copy of `axis` is stored.
pub(super) fn copy_schema(layout: Layout, axis: &VariableSchema) -> VariableSchema {
    let plain = VariableSchema::new(AXIS, axis.dtype, &axis.dimensions);
    let codecs = match layout {
        Layout::ZarrV3 => Codecs::Default,
        // What Zarr v2 takes where nothing is said.
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

/// The copy of `axis` in the partition of a view at `prefix`, if it has one.
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
    /// The checksum that was stored with it.
    pub fn checksum(&self) -> Option<&str> {
        self.array.schema.attributes.get(CHECKSUM).and_then(Json::as_text)
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.array.rows()
    }

    /// Its items.
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
