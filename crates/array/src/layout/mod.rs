//! How collections are stored: the only place that knows the two layouts of ZCollection.
//!
//! - [`config`](Config): the document at the root that says what the collection is.
//! - [`view`](ViewConfig): what the document of a view says of the collection under it. `axis`: the
//!   copy of the axis that tells whether both still go together.
//! - `v2`, `v3`: the documents of each layout, to and from [`Config`] and `StoredArray`.
//! - `stored`, `region`: where the chunks of an array are and which parts of it they hold.
//! - `read`, `write`: the arrays of partitions, chunks side by side. `joined`: rows that are written, old and new.
//!   `chunk`: rows to the object of one.
//! - `list`, `catalog`: which partitions there are. `known`: documents decoded before.

mod axis;
mod catalog;
mod chunk;
mod config;
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
pub(crate) use list::list_partitions;
pub(crate) use read::{Part, read_variables};
pub(crate) use stored::StoredArray;
pub use view::{Reference, ViewConfig};
pub(crate) use write::GroupPlan;

use partita_core::{Error, ErrorKind, Result, Store};

use crate::dataset::Schema;
use crate::json::Attributes;

/// Reads the document that says what the collection at the root of `store` is.
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

/// Reads the document that says what the view at the root of `store` is, of this layout or of either.
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

/// Reads the document of whatever is at the root of `store`, a collection or a view.
pub(crate) async fn read_either(store: &Store) -> Result<Config> {
    match read_config(store).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let found = read_view(store, None).await;
            found.map_err(|other| if other.kind() == ErrorKind::NotFound { error } else { other })
        }
        read => read,
    }
}

/// The key and the bytes of the document that says what a collection or a view is.
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

/// The key of the document that says what this collection or view is.
pub(crate) fn document_key(config: &Config) -> &'static str {
    match config.view {
        None => config_key(config.layout),
        Some(_) => view_key(config.layout),
    }
}

/// The key of the document that says what a collection is.
pub(crate) const fn config_key(layout: Layout) -> &'static str {
    match layout {
        Layout::ZarrV2 => v2::CONFIG,
        Layout::ZarrV3 => v3::CONFIG,
    }
}

/// The key of the document that says what a view is.
pub(crate) const fn view_key(layout: Layout) -> &'static str {
    match layout {
        Layout::ZarrV2 => v2::VIEW,
        Layout::ZarrV3 => v3::VIEW,
    }
}

/// The documents of the groups around the group at `prefix`, which Zarr v3 wants to have.
pub(crate) fn parent_groups(layout: Layout, prefix: &str) -> Vec<(String, String)> {
    if layout == Layout::ZarrV2 {
        return Vec::new();
    }
    let parents = prefix.match_indices('/').filter_map(|(at, _)| prefix.get(..at));
    let parents = std::iter::once("").chain(parents);
    parents.map(|parent| v3::group_document(parent, &Attributes::new(), None)).collect()
}

/// The arrays of a group by the paths of their variables; none where the group lacks a variable.
pub(crate) type OpenGroup = Vec<(String, Option<StoredArray>)>;

/// The arrays of the group at `prefix` that hold the variables of `schema`, or none if there is no
/// such group.
pub(crate) async fn open_group(
    store: &Store,
    config: &Config,
    prefix: &str,
    schema: &Schema,
) -> Result<Option<OpenGroup>> {
    open_known_group(store, config, prefix, schema, &KnownArrays::default()).await
}

/// As [`open_group`], for one of many groups, all opened with the same schema.
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

/// The document that makes a group complete, which lists its arrays; none where the layout has no
/// such document. Corrupt, if it should be there and is not.
pub(crate) async fn read_listing(
    store: &Store,
    config: &Config,
    prefix: &str,
) -> Result<Option<bytes::Bytes>> {
    match config.layout {
        // Partitions of views are no groups.
        Layout::ZarrV2 if config.view.is_some() => Ok(None),
        Layout::ZarrV2 => store.get(&format!("{prefix}/{}", v2::GROUP)).await.map(Some),
        Layout::ZarrV3 => Ok(None),
    }
}

/// The key of the document without which a group does not count as one.
pub(crate) fn group_key(layout: Layout, prefix: &str) -> String {
    match layout {
        Layout::ZarrV2 => format!("{prefix}/{}", v2::GROUP),
        Layout::ZarrV3 => format!("{prefix}/{}", v3::GROUP),
    }
}

/// The group that holds the variables without the partitioned dimension.
pub(crate) fn immutable_group(layout: Layout) -> &'static str {
    match layout {
        Layout::ZarrV2 => v2::IMMUTABLE,
        Layout::ZarrV3 => v3::IMMUTABLE,
    }
}
