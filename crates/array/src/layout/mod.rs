//! The stored form of collections: the only module that distinguishes the two layouts of
//! ZCollection.
//!
//! - [`config`](Config): the document at the root, with the configuration of the collection.
//! - [`view`](ViewConfig): the description of the base in the document of a view. `axis`: the copy
//!   of the axis by which a view and its base are compared.
//! - `v2`, `v3`: decode and encode the documents of each layout, from and to [`Config`] and
//!   `StoredArray`.
//! - `stored`, `region`: the places of the chunks of an array, and the items that they hold.
//! - `read`, `write`: read and write the arrays of partitions, with chunks in parallel. `joined`:
//!   rows that are written, old and new. `chunk`: assembles rows into chunks.
//! - `list`, `catalog`: listing partitions. `known`: a cache of decoded documents.

mod axis;
mod catalog;
mod chunk;
mod config;
#[cfg(test)]
mod damaged;
mod joined;
mod known;
mod list;
mod read;
mod region;
mod shard;
mod stored;
mod v2;
mod v3;
mod view;
mod write;

pub(crate) use axis::{AxisCopy, axis_copy, checksum_of};
pub(crate) use catalog::{edit_catalog, rebuild_catalog};
pub use config::{Config, Layout};
pub(crate) use joined::Joined;
pub(crate) use known::KnownArrays;
pub(crate) use list::{list_partitions, list_partitions_below};
pub(crate) use read::{Part, read_variables};
pub(crate) use stored::StoredArray;
pub use view::{Reference, ViewConfig};
pub(crate) use write::GroupPlan;

use partita_core::{Error, ErrorKind, Result, Store};

use crate::dataset::Schema;
use crate::json::Attributes;

/// Reads the configuration of the collection at the root of `store`.
pub(crate) async fn read_config(store: &Store) -> Result<Config> {
    let (v2, v3) = futures::try_join!(store.get_opt(v2::CONFIG), store.get_opt(v3::CONFIG))?;
    if let Some(bytes) = v2 {
        return v2::decode_config(&bytes).map_err(|error| error.with("key", v2::CONFIG));
    }
    if let Some(bytes) = v3 {
        return v3::decode_config(&bytes).map_err(|error| error.with("key", v3::CONFIG));
    }
    Err(Error::new(ErrorKind::NotFound, "there is no collection here").with("store", store.url()))
}

/// Reads the configuration of the view at the root of `store`, in this layout or in either.
pub(crate) async fn read_view(store: &Store, layout: Option<Layout>) -> Result<Config> {
    for candidate in [Layout::ZarrV2, Layout::ZarrV3] {
        if layout.is_some_and(|layout| layout != candidate) {
            continue;
        }
        let key = view_key(candidate);
        if let Some(bytes) = store.get_opt(key).await? {
            let decoded = match candidate {
                Layout::ZarrV2 => v2::decode_view(&bytes),
                Layout::ZarrV3 => v3::decode_view(&bytes),
            };
            return decoded.map_err(|error| error.with("key", key).with("store", store.url()));
        }
    }
    Err(Error::new(ErrorKind::NotFound, "there is no view here").with("store", store.url()))
}

/// Reads the configuration of the collection or view at the root of `store`.
pub(crate) async fn read_either(store: &Store) -> Result<Config> {
    match read_config(store).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let found = read_view(store, None).await;
            found.map_err(|other| if other.kind() == ErrorKind::NotFound { error } else { other })
        }
        read => read,
    }
}

/// The key and content of the document with the configuration of a collection or view.
pub(crate) fn encode_config(config: &Config) -> Result<(&'static str, bytes::Bytes)> {
    let text = match (config.layout, &config.view) {
        (Layout::ZarrV2, None) => v2::encode_config(config)?,
        (Layout::ZarrV3, None) => v3::encode_config(config)?,
        (Layout::ZarrV2, Some(view)) => v2::encode_view(config, view)?,
        (Layout::ZarrV3, Some(view)) => v3::encode_view(config, view)?,
    };
    Ok((document_key(config), text.into()))
}

/// Decodes a newer document of the same collection or view.
pub(crate) fn decode_config(like: &Config, bytes: &[u8]) -> Result<Config> {
    match (like.layout, &like.view) {
        (Layout::ZarrV2, None) => v2::decode_config(bytes),
        (Layout::ZarrV3, None) => v3::decode_config(bytes),
        (Layout::ZarrV2, Some(_)) => v2::decode_view(bytes),
        (Layout::ZarrV3, Some(_)) => v3::decode_view(bytes),
    }
}

/// The key of the document with the configuration of this collection or view.
pub(crate) fn document_key(config: &Config) -> &'static str {
    match config.view {
        None => config_key(config.layout),
        Some(_) => view_key(config.layout),
    }
}

/// The key of the document with the configuration of a collection.
pub(crate) const fn config_key(layout: Layout) -> &'static str {
    match layout {
        Layout::ZarrV2 => v2::CONFIG,
        Layout::ZarrV3 => v3::CONFIG,
    }
}

/// The key of the document with the configuration of a view.
pub(crate) const fn view_key(layout: Layout) -> &'static str {
    match layout {
        Layout::ZarrV2 => v2::VIEW,
        Layout::ZarrV3 => v3::VIEW,
    }
}

/// The documents of the parent groups of the group at `prefix`, which Zarr v3 requires.
pub(crate) fn parent_groups(layout: Layout, prefix: &str) -> Vec<(String, String)> {
    if layout == Layout::ZarrV2 {
        return Vec::new();
    }
    let parents = prefix.match_indices('/').filter_map(|(at, _)| prefix.get(..at));
    let parents = std::iter::once("").chain(parents);
    parents.map(|parent| v3::group_document(parent, &Attributes::new(), None)).collect()
}

/// The arrays of a group, by the paths of their variables; none if the group lacks a variable.
pub(crate) type OpenGroup = Vec<(String, Option<StoredArray>)>;

/// Opens the arrays of the group at `prefix` for the variables of `schema`; none if there is no
/// such group.
pub(crate) async fn open_group(
    store: &Store,
    config: &Config,
    prefix: &str,
    schema: &Schema,
) -> Result<Option<OpenGroup>> {
    open_known_group(store, config, prefix, schema, &KnownArrays::default()).await
}

/// Like [`open_group`], for one of many groups that are opened with the same schema.
pub(crate) async fn open_known_group(
    store: &Store,
    config: &Config,
    prefix: &str,
    schema: &Schema,
    known: &KnownArrays,
) -> Result<Option<OpenGroup>> {
    match config.layout {
        Layout::ZarrV2 if config.view.is_some() => {
            v2::open_arrays(store, prefix, schema, known).await
        }
        Layout::ZarrV2 => v2::open_group(store, prefix, schema, known).await,
        Layout::ZarrV3 => v3::open_group(store, prefix, schema, known).await,
    }
}

/// The document that makes a group complete, which lists its arrays; none if the layout has no such
/// document. It is `Corrupt` if the document is missing.
pub(crate) async fn read_listing(
    store: &Store,
    config: &Config,
    prefix: &str,
) -> Result<Option<bytes::Bytes>> {
    match config.layout {
        // Partitions of Zarr v2 views are plain directories of arrays.
        Layout::ZarrV2 if config.view.is_some() => Ok(None),
        Layout::ZarrV2 => store.get(&format!("{prefix}/{}", v2::GROUP)).await.map(Some),
        Layout::ZarrV3 => Ok(None),
    }
}

/// The key of the document that makes a directory a group.
pub(crate) fn group_key(layout: Layout, prefix: &str) -> String {
    match layout {
        Layout::ZarrV2 => format!("{prefix}/{}", v2::GROUP),
        Layout::ZarrV3 => format!("{prefix}/{}", v3::GROUP),
    }
}

/// The group of the variables without the partitioned dimension.
pub(crate) fn immutable_group(layout: Layout) -> &'static str {
    match layout {
        Layout::ZarrV2 => v2::IMMUTABLE,
        Layout::ZarrV3 => v3::IMMUTABLE,
    }
}
