//! Checks of the raw footer: its length, and the nesting depth of its schema.

use partita_core::{Error, ErrorKind, Result};

use crate::damaged;
use crate::thrift::{LIST, STRUCT, Walk};

/// The size in bytes of the end of a file after the footer: its length and the magic number.
pub const TAIL: usize = 8;

/// The maximum nesting of groups. The decoder and functions on its types recurse into each level.
const DEEPEST: usize = 64;

/// The Thrift field ids of the schema in a footer, and of the number of children in a schema
/// element.
const SCHEMA: i64 = 2;
const NUM_CHILDREN: i64 = 5;
const I32: u8 = 5;

/// The length of the footer, read from the last eight bytes of a file.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) if the bytes are not the end of a Parquet file;
/// [`InvalidArgument`](ErrorKind::InvalidArgument) for an encrypted one.
pub fn footer_length(tail: &[u8]) -> Result<u64> {
    let (length, magic) = tail.split_first_chunk::<4>().ok_or_else(|| damaged("is too short"))?;
    match magic {
        b"PAR1" => Ok(u64::from(u32::from_le_bytes(*length))),
        b"PARE" => Err(Error::new(
            ErrorKind::InvalidArgument,
            "a Parquet file has an encrypted footer, which cannot be read",
        )),
        _ => Err(damaged("does not end with the Parquet magic number")),
    }
}

/// Rejects a footer that would crash the decoder.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt).
pub fn check_footer(footer: &[u8]) -> Result<()> {
    let mut walk = Walk::new(footer);
    let mut before = 0;
    while let Some((number, kind)) = walk.field(&mut before)? {
        if (number, kind) == (SCHEMA, LIST) {
            check_schema(&mut walk)?;
        } else {
            walk.skip(kind)?;
        }
    }
    Ok(())
}

/// Checks the schema, a tree that is stored in pre-order: a group precedes its children.
fn check_schema(walk: &mut Walk<'_>) -> Result<()> {
    let (count, kind) = walk.list()?;
    if kind != STRUCT {
        return Err(damaged("has no schema"));
    }
    // The number of children left to read, for each group around the current element.
    let mut open: Vec<usize> = Vec::new();
    for left in (0..count).rev() {
        let children = num_children(walk)?;
        if let Some(siblings) = open.last_mut() {
            *siblings -= 1;
        }
        if children > left {
            return Err(damaged("has a truncated schema"));
        }
        if children > 0 {
            open.push(children);
            if open.len() > DEEPEST {
                return Err(
                    damaged("has columns nested deeper than can be read").with("deepest", DEEPEST)
                );
            }
        }
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    Ok(())
}

fn num_children(walk: &mut Walk<'_>) -> Result<usize> {
    let mut children = 0;
    let mut before = 0;
    while let Some((number, kind)) = walk.field(&mut before)? {
        match (number, kind) {
            (NUM_CHILDREN, I32) => {
                children = usize::try_from(walk.signed()?)
                    .map_err(|_| damaged("has a group with a negative number of columns"))?;
            }
            _ => walk.skip(kind)?,
        }
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: i64) -> Vec<u8> {
        let mut value = ((value << 1) ^ (value >> 63)).cast_unsigned();
        let mut out = Vec::new();
        while value > 0x7f {
            out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    }

    /// A footer that contains only a schema: one column inside `depth` groups.
    fn nested(depth: usize, children: i64) -> Vec<u8> {
        let mut footer = vec![0x15, 0x02, 0x19, 0xfc];
        let mut count = depth + 1;
        while count > 0x7f {
            footer.push((count & 0x7f) as u8 | 0x80);
            count >>= 7;
        }
        footer.push(count as u8);
        for _ in 0..depth {
            footer.extend([0x48, 1, b'g', 0x15]);
            footer.extend(number(children));
            footer.push(0);
        }
        footer.extend([0x48, 1, b'x', 0, 0]);
        footer
    }

    #[test]
    fn depth_is_bounded() {
        check_footer(&nested(1, 1)).unwrap();
        check_footer(&nested(DEEPEST, 1)).unwrap();
        for (depth, children) in [(DEEPEST + 1, 1), (100_000, 1), (3, -1), (3, 1 << 30), (3, 5)] {
            let error = check_footer(&nested(depth, children)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{depth} {children}");
        }
    }

    #[test]
    fn damaged_footers_are_errors() {
        let whole = nested(2, 1);
        for end in 0..whole.len() {
            assert!(check_footer(&whole[..end]).is_err(), "{end}");
        }
        // Deeply nested lists.
        assert!(check_footer(&[0x19; 100_000]).is_err());
        assert!(check_footer(&[0x1c; 100_000]).is_err());
        assert!(check_footer(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
        assert!(check_footer(&[0xff; 100]).is_err());
    }

    #[test]
    fn what_ends_a_file() {
        assert_eq!(footer_length(b"\x05\0\0\0PAR1").unwrap(), 5);
        assert_eq!(
            footer_length(b"\x05\0\0\0PARE").unwrap_err().kind(),
            ErrorKind::InvalidArgument
        );
        for tail in [&b"\x05\0\0\0PAR2"[..], b"PAR1", b""] {
            assert_eq!(footer_length(tail).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
