//! Whether the header is the one that was committed, or one of another library after it.
//!
//! The snapshot has the hash of the header that it describes. Another hash is no damage by itself:
//! plateau writes headers without knowing of snapshots. But it changes files, indices and
//! annotations alone, and carries everything else on.

use hashbrown::HashMap;
use partita_core::{ErrorKind, Result, Store};
use serde_json::Value;

use crate::format::header::{Header, Own};
use crate::format::snapshot::Snapshot;
use crate::state::{files, header_key, read_header};

/// The annotation that is set when a dataset is made, and never again.
const CREATION_TIME: &str = "creation_time";

/// Checks the header of the table `name` against its snapshot. Returns its key and the difference,
/// if there is one. Two requests.
pub(super) async fn check_header(store: &Store, name: &str) -> Result<Option<(String, String)>> {
    let Some((bytes, _, encoding)) = read_header(store, name).await? else { return Ok(None) };
    let header = Header::decode(&bytes, encoding)?;
    let Some(own) = header.own()?.filter(|own| !own.snapshot.is_empty()) else { return Ok(None) };
    let snapshot = match Snapshot::fetch(store, &own.snapshot).await {
        Ok(snapshot) => snapshot,
        // A snapshot that is lost or damaged is a problem of the history.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if snapshot.document.header_hash == blake3::hash(&bytes).to_hex().as_str() {
        return Ok(None);
    }
    let altered = altered(&header, &own, &snapshot);
    Ok(altered.map(|what| {
        let message = format!(
            "{what} not what was committed, and no other library changes that; put the header back \
             as it was, or make one with `rebuild`"
        );
        (header_key(name, encoding), message)
    }))
}

/// The first field that differs from the committed header, of those that no other library changes.
fn altered(header: &Header, own: &Own, snapshot: &Snapshot) -> Option<String> {
    let document = &snapshot.document;
    let mut committed = Own {
        version: document.version,
        commit: document.commit.clone(),
        columns: document.columns.clone(),
        ..own.clone()
    };
    committed.laid_out_as(document);
    // A snapshot that was written again may not know the number, and earlier headers have none.
    committed.schema = own.schema;
    if committed != *own {
        return Some("the entry `_partita` is".to_owned());
    }
    if header.partition_keys.as_ref().is_some_and(|keys| *keys != document.partition_by) {
        return Some("the list of partition columns is".to_owned());
    }
    let created = document.metadata.get(CREATION_TIME);
    if created.is_some() && header.metadata.get(CREATION_TIME) != created {
        return Some(format!("the time of creation ({}) is", shown(header)));
    }
    let labels: HashMap<&str, &str> =
        snapshot.manifest.keys().zip(snapshot.manifest.labels()).collect();
    let differs = |(label, key): &(&str, &str)| labels.get(key).is_some_and(|own| own != label);
    files(header).find(differs).map(|(label, _)| format!("the label {label} of a file is"))
}

fn shown(header: &Header) -> String {
    header.metadata.get(CREATION_TIME).map_or_else(|| "missing".to_owned(), Value::to_string)
}
