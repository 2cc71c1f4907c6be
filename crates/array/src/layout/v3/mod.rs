//! The layout of ZCollection's development version: Zarr v3 groups under a `_zcollection.json`
//! document.

mod catalog;
mod codecs;
mod config;
mod dtype;
mod group;
mod view;

pub(super) use catalog::{decode as decode_catalog, encode as encode_catalog};
pub(super) use config::{decode as decode_config, encode as encode_config};
pub(super) use group::{GROUP, array, array_document, array_of, group_document, open_group};
pub(super) use view::{decode as decode_view, encode as encode_view};

/// The document at the root.
pub(super) const CONFIG: &str = "_zcollection.json";
/// The document at the root of a view.
pub(super) const VIEW: &str = "_zcollection_view.json";
/// The group of the variables without the partitioned dimension.
pub(super) const IMMUTABLE: &str = "_immutable";
/// The catalog of the partitions.
pub(super) const CATALOG: &str = "_catalog/state.json";
/// The attribute of a partition's group that holds its key.
pub(super) const PARTITION_KEY: &str = "_zc_partition_key";
