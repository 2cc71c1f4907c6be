//! The layout of ZCollection's development head: Zarr v3 groups under a `_zcollection.json`
//! document.

mod catalog;
mod codecs;
mod config;
mod dtype;
mod group;

pub(super) use catalog::{decode as decode_catalog, encode as encode_catalog};
pub(super) use config::{decode as decode_config, encode as encode_config};
pub(super) use group::{GROUP, array, array_document, group_document, open_group};

/// The document at the root.
pub(super) const CONFIG: &str = "_zcollection.json";
/// The group of the variables without the partitioned dimension.
pub(super) const IMMUTABLE: &str = "_immutable";
/// The list of the partitions.
pub(super) const CATALOG: &str = "_catalog/state.json";
/// The attribute of a partition's group that holds its key.
pub(super) const PARTITION_KEY: &str = "_zc_partition_key";
