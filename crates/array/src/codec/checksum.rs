//! numcodecs `crc32`, `crc32c` and `adler32`: four bytes of checksum before or after the data.

use partita_core::{Error, Result};

use super::filter::{Config, Filter, damaged};
use crate::json::Json;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Crc32,
    Crc32c,
    Adler32,
}

#[derive(Debug)]
pub(super) struct Checksum {
    kind: Kind,
    at_end: bool,
}

impl Checksum {
    pub fn new(kind: Kind, config: &Config<'_>) -> Self {
        let at_end = match config.config.get("location").and_then(Json::as_text) {
            Some(location) => location == "end",
            None => kind == Kind::Crc32c,
        };
        Self { kind, at_end }
    }

    /// The variant of Zarr v3.
    pub fn crc32c() -> Self {
        Self { kind: Kind::Crc32c, at_end: true }
    }

    fn of(&self, bytes: &[u8]) -> u32 {
        match self.kind {
            Kind::Crc32 => crc(&CRC32, bytes),
            Kind::Crc32c => crc(&CRC32C, bytes),
            Kind::Adler32 => adler32(bytes),
        }
    }
}

impl Filter for Checksum {
    fn encode(&self, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
        let sum = self.of(&bytes).to_le_bytes();
        if self.at_end {
            bytes.extend(sum);
        } else {
            bytes.splice(..0, sum);
        }
        Ok(bytes)
    }

    fn decode(&self, mut bytes: Vec<u8>, _items: usize) -> Result<Vec<u8>> {
        let length = bytes.len().checked_sub(4).ok_or_else(|| damaged("checksum"))?;
        let stored: Vec<u8> = match self.at_end {
            true => bytes.drain(length..).collect(),
            false => bytes.drain(..4).collect(),
        };
        if stored != self.of(&bytes).to_le_bytes() {
            return Err(Error::corrupt("the checksum of a chunk does not match its bytes")
                .with("checksum", format!("{:?}", self.kind)));
        }
        Ok(bytes)
    }
}

/// The polynomials of IEEE 802.3 and of Castagnoli, bits reflected.
const CRC32: [u32; 256] = table(0xedb8_8320);
const CRC32C: [u32; 256] = table(0x82f6_3b78);

#[expect(clippy::indexing_slicing, reason = "computed by the compiler, which checks the bounds")]
const fn table(polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ polynomial } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
}

fn crc(table: &[u32; 256], bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let index = (crc ^ u32::from(*byte)) & 0xff;
        let index = usize::try_from(index).unwrap_or(0);
        table.get(index).copied().unwrap_or(0) ^ crc >> 8
    })
}

fn adler32(bytes: &[u8]) -> u32 {
    let step = |(a, b): (u32, u32), byte: &u8| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    };
    let (a, b) = bytes.iter().fold((1, 0), step);
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_of_the_algorithms() {
        assert_eq!(crc(&CRC32, b"123456789"), 0xcbf4_3926);
        assert_eq!(crc(&CRC32C, b"123456789"), 0xe306_9283);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }
}
