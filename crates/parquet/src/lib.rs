//! Safe decoding of Parquet footers from untrusted files.
//!
//! The decoder of the `parquet` crate trusts the footer: it overflows the stack on a deeply nested
//! schema, and panics on negative offsets. So this crate checks a footer before it is decoded
//! (`footer`), and the offsets in it afterwards (`places`). The sizes of pages are checked before
//! they are unpacked (`pages`). Files that are read as a whole may have a digest of themselves
//! (`seal`).

mod footer;
mod old_footer;
mod pages;
mod places;
mod seal;
mod thrift;

use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::ChunkReader;
use partita_core::{Error, Result, guarded};

pub use footer::{TAIL, check_footer, footer_length};
pub use pages::{PageLimits, check_chunk, check_pages};
pub use places::check_places;
pub use seal::{check_seal, sealed};

/// Loads the metadata of a file that supports random access.
///
/// # Errors
/// [`Corrupt`](partita_core::ErrorKind::Corrupt) if the footer cannot be read.
pub fn load(file: &impl ChunkReader, options: ArrowReaderOptions) -> Result<ArrowReaderMetadata> {
    let size = file.len();
    let tail = size.checked_sub(TAIL as u64).ok_or_else(|| damaged("is too short"))?;
    let tail = file.get_bytes(tail, TAIL).map_err(unreadable)?;
    let length = footer_length(&tail)?;
    let start = size.checked_sub(length + TAIL as u64);
    let start = start.ok_or_else(|| damaged("has a footer that is longer than the file"))?;
    let length = usize::try_from(length).map_err(|_| damaged("has a footer that is too long"))?;
    let footer: Bytes = file.get_bytes(start, length).map_err(unreadable)?;
    check_footer(&footer)?;
    let metadata = guarded(|| {
        match ArrowReaderMetadata::load(file, options.clone()) {
            Err(error) if is_old(&error) => {
                let metadata = decode_old(&footer).map_err(unreadable)?;
                ArrowReaderMetadata::try_new(Arc::new(metadata), options)
            }
            loaded => loaded,
        }
        .map_err(unreadable)
    })?;
    check_places(metadata.metadata(), size)?;
    Ok(metadata)
}

/// True if the error is about a converted type that the decoder does not know.
#[must_use]
pub fn is_old(error: &ParquetError) -> bool {
    error.to_string().contains("ConvertedType")
}

/// Decodes a footer of pyarrow before 0.14, which contains converted types that never became part
/// of the format.
///
/// # Errors
/// The errors are those of the decoder, if the footer cannot be decoded even with the unknown types
/// left out.
pub fn decode_old(footer: &[u8]) -> parquet::errors::Result<ParquetMetaData> {
    let known = old_footer::with_known_types(footer);
    ParquetMetaDataReader::decode_metadata(known.as_deref().unwrap_or(footer))
}

fn unreadable(error: ParquetError) -> Error {
    Error::corrupt("a Parquet file cannot be read").caused_by(error)
}

pub(crate) fn damaged(what: &str) -> Error {
    Error::corrupt(format!("a Parquet file {what}"))
}
