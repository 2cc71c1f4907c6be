//! The layout of the released ZCollection: Zarr v2 groups under a `.zcollection` document.

mod codecs;
mod config;
mod group;

pub(super) use config::{decode as decode_config, encode as encode_config};
pub(super) use group::{GROUP, array, documents, edited_documents, open_group};

/// The document at the root.
pub(super) const CONFIG: &str = ".zcollection";
/// The group of the variables without the partitioned dimension.
pub(super) const IMMUTABLE: &str = ".immutable";
