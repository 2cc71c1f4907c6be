//! The seal of a Parquet file that is read as a whole: a digest of all of it, within it.
//!
//! It stands right before the footer, where readers do not look: the footer is found from the end
//! of the file, and everything else by the footer.

use partita_core::{Digest, Result};

use crate::damaged;
use crate::footer::{TAIL, footer_length};

/// The first bytes of a seal.
const MARK: &[u8; 4] = b"PTSL";
const SIZE: usize = MARK.len() + Digest::SIZE;

/// The file with a seal; as it is if it does not end as a Parquet file.
#[must_use]
pub fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    if let Some(footer) = footer_of(&file) {
        let digest = Digest::of(&file).to_bytes();
        file.splice(footer..footer, MARK.iter().copied().chain(digest));
    }
    file
}

/// Refuses a file that is not as it was sealed. One without a seal is not compared.
///
/// # Errors
/// [`Corrupt`](partita_core::ErrorKind::Corrupt).
pub fn check_seal(file: &[u8]) -> Result<()> {
    let parts = || {
        let (before, footer) = file.split_at_checked(footer_of(file)?)?;
        let (before, seal) = before.split_at_checked(before.len().checked_sub(SIZE)?)?;
        let (mark, digest) = seal.split_first_chunk()?;
        (mark == MARK).then_some(([before, footer], Digest::from_bytes(digest)?))
    };
    match parts() {
        Some((parts, digest)) if Digest::of_pieces(parts) != digest => {
            Err(damaged("is not as it was written"))
        }
        _ => Ok(()),
    }
}

/// The offset at which the footer begins.
fn footer_of(file: &[u8]) -> Option<usize> {
    let tail = file.get(file.len().checked_sub(TAIL)?..)?;
    let length = usize::try_from(footer_length(tail).ok()?).ok()?;
    file.len().checked_sub(length.checked_add(TAIL)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed_or_changes_nothing() {
        let file = [b"PAR1 pages and a footer".as_slice(), &6_u32.to_le_bytes(), b"PAR1"].concat();
        let whole = sealed(file.clone());
        assert_eq!(whole.len(), file.len() + SIZE);
        check_seal(&whole).unwrap();
        check_seal(&file).unwrap();
        let mark = whole.windows(4).position(|bytes| bytes == MARK).unwrap();
        let tail = whole.len() - TAIL..whole.len();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Without the mark there is no seal; with another tail, it is no Parquet file.
            let unsealed = (mark..mark + 4).contains(&(bit / 8)) || tail.contains(&(bit / 8));
            assert_eq!(check_seal(&flipped).is_ok(), unsealed, "{bit}");
        }
    }
}
