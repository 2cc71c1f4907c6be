//! From the keys of a collection to nodes and chunks of a repository.
//!
//! A repository holds groups, arrays and chunks, and nothing else. ZCollection puts its other
//! documents into attributes of groups of their own: that of `_catalog/state.json` is the attribute
//! `_payload` of `_zc_meta/_catalog__state.json`.

use icechunk::format::{ChunkIndices, Path};
use serde_json::{Value, json};

/// The group of documents.
const DOCUMENTS: &str = "_zc_meta";
/// The attribute that is the text of one.
const PAYLOAD: &str = "_payload";
/// The document of a group or array.
const NODE: &str = "zarr.json";

/// What a key names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// The document of a group or array.
    Node(Path),
    /// A chunk of an array.
    Chunk(Path, ChunkIndices),
    /// A document that is the attribute of this group.
    Document(Path),
}

impl Target {
    /// None for what cannot be the key of anything.
    pub fn of(key: &str) -> Option<Self> {
        if key == NODE {
            return Some(Self::Node(Path::root()));
        }
        if let Some(path) = key.strip_suffix(NODE).and_then(|path| path.strip_suffix('/')) {
            return Some(Self::Node(path_of(path)?));
        }
        if let Some((array, indices)) = chunk_of(key) {
            return Some(Self::Chunk(path_of(array)?, indices));
        }
        Some(Self::Document(path_of(&document_group(key))?))
    }
}

/// The path of the node at a prefix of keys, which the root is if it is empty.
pub(super) fn path_of(prefix: &str) -> Option<Path> {
    Path::new(&format!("/{prefix}")).ok()
}

/// The key of the document of a group or array.
pub(super) fn node_key(path: &Path) -> String {
    match path.as_str().trim_start_matches('/') {
        "" => NODE.to_owned(),
        path => format!("{path}/{NODE}"),
    }
}

/// The key of a chunk.
pub(super) fn chunk_key(path: &Path, indices: &ChunkIndices) -> String {
    let mut key = format!("{}/c", path.as_str().trim_start_matches('/'));
    for index in &indices.0 {
        key.push('/');
        key.push_str(&index.to_string());
    }
    key
}

/// `a/b/c/0/1` is the chunk (0, 1) of the array `a/b`, and `a/b/c` the only one of an array without
/// dimensions.
fn chunk_of(key: &str) -> Option<(&str, ChunkIndices)> {
    let (mut rest, mut indices) = (key, Vec::new());
    loop {
        let (before, last) = rest.rsplit_once('/')?;
        if last == "c" {
            indices.reverse();
            return Some((before, ChunkIndices(indices)));
        }
        if !last.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        indices.push(last.parse().ok()?);
        rest = before;
    }
}

fn document_group(key: &str) -> String {
    format!("{DOCUMENTS}/{}", key.replace('/', "__"))
}

/// What holds the text of a document: keys and documents of groups, the outermost first.
pub(super) fn groups_of_document(key: &str, text: &str) -> [(String, String); 2] {
    let group = |attributes: Value| {
        json!({"node_type": "group", "zarr_format": 3, "attributes": attributes}).to_string()
    };
    [
        (format!("{DOCUMENTS}/{NODE}"), group(json!({}))),
        (format!("{}/{NODE}", document_group(key)), group(json!({PAYLOAD: text}))),
    ]
}

/// The text of a document, out of the document of its group.
pub(super) fn payload(group: &[u8]) -> Option<String> {
    let group: Value = serde_json::from_slice(group).ok()?;
    Some(group.get("attributes")?.get(PAYLOAD)?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_what_they_name() {
        let path = |path: &str| Path::new(path).unwrap();
        let of = |key: &str| Target::of(key).unwrap();
        assert_eq!(of("zarr.json"), Target::Node(Path::root()));
        assert_eq!(
            of("year=2022/month=01/c/zarr.json"),
            Target::Node(path("/year=2022/month=01/c"))
        );
        let chunk = |array: &str, indices: &[u32]| {
            let indices = ChunkIndices(indices.to_vec());
            assert_eq!(of(&chunk_key(&path(array), &indices)), Target::Chunk(path(array), indices));
        };
        chunk("/cycle=1/c", &[0, 12]);
        chunk("/cycle=1/1", &[]);
        let document = |key: &str, group: &str| {
            assert_eq!(of(key), Target::Document(path(&format!("/_zc_meta/{group}"))));
            let [_, (stored, text)] = groups_of_document(key, "{}\n");
            assert_eq!(of(&stored), Target::Node(path(&format!("/_zc_meta/{group}"))));
            assert_eq!(payload(text.as_bytes()).unwrap(), "{}\n");
        };
        document("_zcollection.json", "_zcollection.json");
        document("_catalog/state.json", "_catalog__state.json");
        assert_eq!(Target::of("../x"), Some(Target::Document(path("/_zc_meta/..__x"))));
        assert_eq!(Target::of("a/../c/0"), None);
    }
}
