//! numcodecs `vlen-utf8` and `vlen-bytes`: the number of items, then the length and the bytes of
//! each item; numbers have four bytes, little-endian.

use partita_core::{Error, Result};

use super::filter::damaged;
use crate::dataset::Buffer;

pub(super) fn encode(buffer: &Buffer, items: usize) -> Result<Vec<u8>> {
    let too_long = |_| {
        Error::invalid(
            "a chunk of texts or bytes is too large: its counts and lengths must fit in 32 bits",
        )
    };
    let mut bytes = u32::try_from(items).map_err(too_long)?.to_le_bytes().to_vec();
    for index in 0..items {
        let item = buffer.item(index, 0).unwrap_or_default();
        bytes.extend(u32::try_from(item.len()).map_err(too_long)?.to_le_bytes());
        bytes.extend_from_slice(item);
    }
    Ok(bytes)
}

/// With `text`, items that are not UTF-8 are refused.
pub(super) fn decode(bytes: &[u8], text: bool) -> Result<Buffer> {
    let codec = if text { "vlen-utf8" } else { "vlen-bytes" };
    let number = |bytes: &mut &[u8]| -> Option<usize> {
        let (number, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        usize::try_from(u32::from_le_bytes(*number)).ok()
    };
    let mut rest = bytes;
    let items = number(&mut rest).ok_or_else(|| damaged(codec))?;
    if items > rest.len() / 4 {
        return Err(damaged(codec));
    }
    let mut found = Vec::with_capacity(items);
    for _ in 0..items {
        let length = number(&mut rest).ok_or_else(|| damaged(codec))?;
        let (item, after) = rest.split_at_checked(length).ok_or_else(|| damaged(codec))?;
        if text && std::str::from_utf8(item).is_err() {
            return Err(damaged(codec));
        }
        found.push(item);
        rest = after;
    }
    Buffer::of_items(found)
}
