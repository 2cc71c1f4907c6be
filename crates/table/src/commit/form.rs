//! The encoding of the header of a new table.
//!
//! The two encodings have different keys, so writers that create different ones do not conflict.
//! The first writer of a new table therefore records the encoding in a separate object, and all
//! others follow it: the compare-and-swap of one header then decides which of them creates the
//! table.

use partita_core::store::Swap;
use partita_core::{Error, Result, Store};
use serde::{Deserialize, Serialize};

use crate::format::header::Encoding;
use crate::format::{keys, marks};

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    /// `json` or `msgpack`.
    header: String,
    /// Identifies the writer that created the object.
    created_by: String,
}

/// The encoding of the header of the table `name`, which does not exist yet; `wanted` unless
/// another writer has recorded one. One request; two if another writer has.
pub(crate) async fn form_of_new(store: &Store, name: &str, wanted: Encoding) -> Result<Encoding> {
    let created_by = uuid::Uuid::new_v4().simple().to_string();
    let header = match wanted {
        Encoding::Json => "json",
        Encoding::Msgpack => "msgpack",
    };
    let document = Document { format: 1, header: header.to_owned(), created_by };
    let key = keys::form(name);
    let swap =
        store.compare_and_swap(&key, None, marks::encode(&document)?, &document.created_by).await?;
    let Swap::Lost { current: Some((bytes, _)) } = swap else { return Ok(wanted) };
    let found: Document = serde_json::from_slice(&bytes).map_err(|error| {
        Error::corrupt("the object that says how the header is stored cannot be read")
            .with("key", &key)
            .caused_by(error)
    })?;
    match found.header.as_str() {
        "json" => Ok(Encoding::Json),
        "msgpack" => Ok(Encoding::Msgpack),
        other => Err(Error::corrupt("the header is stored in a form that is not known")
            .with("key", key)
            .with("header", other)),
    }
}
