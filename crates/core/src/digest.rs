//! Digests of stored bytes, by which damage is noticed.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use twox_hash::XxHash3_128;

/// XXH3-128 of some bytes. It notices damage and tells contents apart; it does not resist an
/// attacker who chooses the content.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(u128);

impl Digest {
    /// Bytes of a digest.
    pub const SIZE: usize = 16;

    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(XxHash3_128::oneshot(bytes))
    }

    /// The digest of several pieces one after the other.
    #[must_use]
    pub fn of_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = XxHash3_128::new();
        pieces.into_iter().for_each(|piece| hasher.write(piece));
        Self(hasher.finish_128())
    }

    /// The digest as bytes, the most significant first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        self.0.to_be_bytes()
    }

    /// The reverse of [`Digest::to_bytes`]; none if there are more or fewer bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(u128::from_be_bytes(bytes.try_into().ok()?)))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_as_the_whole() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| i.wrapping_mul(i) as u8).collect();
        for at in [0, 1, 240, 4096, 99_999, 100_000] {
            let (first, second) = bytes.split_at(at);
            assert_eq!(Digest::of_pieces([first, second]), Digest::of(&bytes), "{at}");
        }
        let digest = Digest::of(&bytes);
        assert_eq!(Digest::from_bytes(&digest.to_bytes()), Some(digest));
        assert_eq!(Digest::from_bytes(&bytes), None);
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
    }
}
