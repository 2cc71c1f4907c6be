//! Footers with converted types that the decoder does not know.
//!
//! pyarrow before 0.14 marked columns without any value with the converted type 24, `NULL`, which
//! never became part of the format, and for which the decoder rejects the file. Since such a column
//! has no values, the type can safely be replaced by another one that is valid for the physical
//! type.

/// The largest known converted type; those of the format are 0 to 21.
const LAST_KNOWN: u64 = 21;

/// The field types of compact Thrift that a schema needs.
mod wire {
    pub const BOOLEANS: [u8; 2] = [1, 2];
    pub const BYTE: u8 = 3;
    pub const VARINTS: [u8; 3] = [4, 5, 6];
    pub const DOUBLE: u8 = 7;
    pub const BINARY: u8 = 8;
    pub const LISTS: [u8; 2] = [9, 10];
    pub const MAP: u8 = 11;
    pub const STRUCT: u8 = 12;
}

/// Replaces unknown converted types by known ones; `None` if there is nothing to replace, or the
/// footer cannot be parsed.
pub(crate) fn with_known_types(footer: &[u8]) -> Option<Vec<u8>> {
    let mut patched = footer.to_vec();
    let mut reader = Reader { bytes: footer, at: 0 };
    let mut found = false;
    while let Some((field, kind)) = reader.field()? {
        // Field 2 of the file's metadata is the list of schema elements.
        if field != 2 || !wire::LISTS.contains(&kind) {
            reader.skip(kind, 0)?;
            continue;
        }
        let (count, _) = reader.list()?;
        for _ in 0..count {
            if let Some((at, byte)) = reader.element()? {
                *patched.get_mut(at)? = byte;
                found = true;
            }
        }
        return found.then_some(patched);
    }
    None
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// The id and the type of the next field of a struct, given the id `last` of the previous
    /// field.
    fn field_after(&mut self, last: u64) -> Option<Option<(u64, u8)>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        let id = match head >> 4 {
            0 => self.varint()? >> 1,
            delta => last + u64::from(delta),
        };
        Some(Some((id, head & 0x0f)))
    }

    /// The next field of the outermost struct, of which only the first fields are read.
    fn field(&mut self) -> Option<Option<(u64, u8)>> {
        // The version is field 1 and the schema field 2.
        let last = u64::from(self.at > 0);
        self.field_after(last)
    }

    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            count => u64::from(count),
        };
        Some((count, head & 0x0f))
    }

    /// Reads a schema element; if its converted type is unknown, returns the offset of the type and
    /// its replacement.
    fn element(&mut self) -> Option<Option<(usize, u8)>> {
        let (mut last, mut physical, mut unknown) = (0, None, None);
        while let Some((id, kind)) = self.field_after(last)? {
            last = id;
            let at = self.at;
            match id {
                1 | 6 if wire::VARINTS.contains(&kind) => {
                    let value = self.varint()? >> 1;
                    if id == 1 {
                        physical = Some(value);
                    } else if value > LAST_KNOWN && self.at == at + 1 {
                        unknown = Some(at);
                    }
                }
                _ => self.skip(kind, 0)?,
            }
        }
        let Some(at) = unknown else { return Some(None) };
        // In zigzag encoding: integers of 32 and of 64 bits, and UTF-8.
        let byte = match physical? {
            1 => 17 << 1,
            2 => 18 << 1,
            6 => 0,
            _ => return None,
        };
        Some(Some((at, byte)))
    }

    fn skip(&mut self, kind: u8, depth: u8) -> Option<()> {
        if depth > 16 {
            return None;
        }
        match kind {
            kind if wire::BOOLEANS.contains(&kind) => {}
            wire::BYTE => self.at += 1,
            kind if wire::VARINTS.contains(&kind) => drop(self.varint()?),
            wire::DOUBLE => self.at += 8,
            wire::BINARY => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.at = self.at.checked_add(length)?;
            }
            kind if wire::LISTS.contains(&kind) => {
                let (count, item) = self.list()?;
                for _ in 0..count {
                    self.item(item, depth)?;
                }
            }
            wire::MAP => {
                let count = self.varint()?;
                if count > 0 {
                    let kinds = self.byte()?;
                    for _ in 0..count {
                        self.item(kinds >> 4, depth)?;
                        self.item(kinds & 0x0f, depth)?;
                    }
                }
            }
            wire::STRUCT => {
                let mut last = 0;
                while let Some((id, kind)) = self.field_after(last)? {
                    last = id;
                    self.skip(kind, depth + 1)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Skips an item of a list, in which a boolean takes a byte.
    fn item(&mut self, kind: u8, depth: u8) -> Option<()> {
        match wire::BOOLEANS.contains(&kind) {
            true => self.byte().map(drop),
            false => self.skip(kind, depth + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1 and a schema of three elements: the root and columns of 32-bit integers and of bytes.
    fn footer(converted: u8) -> Vec<u8> {
        let mut bytes = vec![0x15, 0x02, 0x19, 0x3c];
        bytes.extend(b"\x48\x04root\x15\x04\x00");
        bytes.extend(b"\x15\x02\x25\x02\x18\x01a\x25\x30\x00");
        bytes.extend([0x15, 0x0c, 0x25, 0x02, 0x18, 0x01, b'b', 0x25, converted, 0x00]);
        bytes.extend(b"\x16\x02\x00");
        bytes
    }

    #[test]
    fn unknown_types_become_known_ones_in_their_place() {
        let patched = with_known_types(&footer(0x30)).unwrap();
        let changed: Vec<(usize, u8)> = footer(0x30)
            .iter()
            .zip(&patched)
            .enumerate()
            .filter(|(_, (before, after))| before != after)
            .map(|(at, (_, after))| (at, *after))
            .collect();
        assert_eq!(changed.iter().map(|(_, byte)| *byte).collect::<Vec<_>>(), [34, 0]);
        for length in 0..footer(0).len() {
            // A damaged footer must not cause a panic.
            let _ = with_known_types(&footer(0x30)[..length]);
        }
        assert_eq!(with_known_types(&[]), None);
    }
}
