//! The layout of the released ZCollection: Zarr v2 groups under a `.zcollection` document.

mod codecs;
mod config;
mod filter;
mod group;
mod view;

pub(super) use config::{decode as decode_config, encode as encode_config};
pub(super) use group::{
    GROUP, array, array_documents, array_of, documents, edited_documents, open_arrays, open_group,
};
pub(super) use view::{decode as decode_view, encode as encode_view};

/// The document at the root.
pub(super) const CONFIG: &str = ".zcollection";
/// The document at the root of a view.
pub(super) const VIEW: &str = ".view";
/// The group of the variables without the partitioned dimension.
pub(super) const IMMUTABLE: &str = ".immutable";
