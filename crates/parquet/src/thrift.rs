//! Traversing a document in Thrift's compact protocol without decoding it.
//!
//! See the Thrift specification, "Thrift Compact protocol encoding".

use partita_core::Result;

use crate::damaged;

/// The maximum nesting of structs. Footers of Parquet have some eight levels.
const DEEPEST: usize = 32;

/// The codes of field types.
pub(crate) const STRUCT: u8 = 12;
pub(crate) const LIST: u8 = 9;

/// The unread rest of a document.
#[derive(Clone)]
pub(crate) struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    pub fn new(document: &'a [u8]) -> Self {
        Self { rest: document }
    }

    /// The bytes that were not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn byte(&mut self) -> Result<u8> {
        let (byte, rest) = self.rest.split_first().ok_or_else(cut)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn unsigned(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged("has a footer with a number that is too long"))
    }

    /// Reads a signed number.
    pub fn signed(&mut self) -> Result<i64> {
        let value = self.unsigned()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// The id and type of the next field of a struct; `None` at the end of the struct.
    pub fn field(&mut self, before: &mut i64) -> Result<Option<(i64, u8)>> {
        let header = self.byte()?;
        if header & 0x0f == 0 {
            return Ok(None);
        }
        let number = match header >> 4 {
            0 => self.signed()?,
            step => before.saturating_add(i64::from(step)),
        };
        *before = number;
        Ok(Some((number, header & 0x0f)))
    }

    /// The length and the item type of a list. Each item takes at least one byte.
    pub fn list(&mut self) -> Result<(usize, u8)> {
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => self.unsigned()?,
            count => u64::from(count),
        };
        let count = usize::try_from(count).ok().filter(|count| *count <= self.rest.len());
        let count = count
            .ok_or_else(|| damaged("has a footer with a list that is longer than the footer"))?;
        Ok((count, header & 0x0f))
    }

    /// Skips a value.
    pub fn skip(&mut self, kind: u8) -> Result<()> {
        self.skip_within(kind, DEEPEST, false)
    }

    fn skip_within(&mut self, kind: u8, depth: usize, is_item: bool) -> Result<()> {
        let depth = depth.checked_sub(1).ok_or_else(|| damaged("has a footer nested too deep"))?;
        match kind {
            // The value of a boolean field is in the field's header.
            1 | 2 if is_item => self.byte().map(drop),
            1 | 2 => Ok(()),
            3 => self.byte().map(drop),
            4..=6 => self.unsigned().map(drop),
            7 => self.take(8),
            8 => {
                let length = self.unsigned()?;
                self.take(usize::try_from(length).map_err(|_| cut())?)
            }
            9 | 10 => {
                let (count, kind) = self.list()?;
                (0..count).try_for_each(|_| self.skip_within(kind, depth, true))
            }
            11 => self.skip_map(depth),
            12 => {
                let mut before = 0;
                while let Some((_, kind)) = self.field(&mut before)? {
                    self.skip_within(kind, depth, false)?;
                }
                Ok(())
            }
            _ => Err(damaged("has a footer with a value of an unknown type")),
        }
    }

    fn skip_map(&mut self, depth: usize) -> Result<()> {
        let count = self.unsigned()?;
        if count == 0 {
            return Ok(());
        }
        let kinds = self.byte()?;
        let count = usize::try_from(count).ok().filter(|count| *count <= self.rest.len());
        for _ in 0..count.ok_or_else(cut)? {
            self.skip_within(kinds >> 4, depth, true)?;
            self.skip_within(kinds & 0x0f, depth, true)?;
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<()> {
        let (_, rest) = self.rest.split_at_checked(count).ok_or_else(cut)?;
        self.rest = rest;
        Ok(())
    }
}

fn cut() -> partita_core::Error {
    damaged("has a truncated footer")
}
