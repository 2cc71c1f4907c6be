//! Zstandard (RFC 8878), as numcodecs and zarr-python have it.
//!
//! Contexts are kept by each thread: they are larger than most chunks. How a compressor looks for
//! repetitions is in `search`.

use std::cell::RefCell;
use std::mem::MaybeUninit;

use partita_core::store::Opened;
use partita_core::{Error, Result};
use zstd::bulk::Compressor;
use zstd::zstd_safe::{
    CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, WriteBuf, compress_bound,
    get_error_name,
};

use super::bounded::Packed;
use super::filter::{Filter, copy_decoded, damaged, most_stored};
use super::search::{Search, search};
use crate::dataset::too_large;
use crate::spare::Spare;

/// What numcodecs takes where the level is 0 or not named.
const DEFAULT_LEVEL: i32 = 3;

/// Bytes of a file that are read and decompressed at once: two blocks.
const STEP: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Zstd {
    level: i32,
}

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor>> = const { RefCell::new(None) };
}

struct Decompressor {
    context: DCtx<'static>,
    /// What was read last of a file.
    step: Vec<u8>,
}

impl Decompressor {
    fn new() -> Result<Self> {
        let mut context = DCtx::try_create().ok_or_else(|| too_large(0))?;
        // Without it, what is decompressed in steps is copied once more.
        context.set_parameter(DParameter::StableOutBuffer(true)).map_err(failed)?;
        Ok(Self { context, step: vec![0; STEP] })
    }
}

fn failed(code: usize) -> Error {
    damaged("zstd").with("error", get_error_name(code))
}

impl Zstd {
    /// `level` as in the configuration of numcodecs. Frames end with a checksum whatever that says:
    /// every decoder compares it, and what a disk has changed is no other value then.
    pub fn new(level: Option<i128>) -> Self {
        let level = level.and_then(|level| i32::try_from(level).ok()).unwrap_or(0);
        Self { level: if level == 0 { DEFAULT_LEVEL } else { level } }
    }

    /// Into memory that is empty and has the room for it.
    fn compress(&self, bytes: &[u8], mut frame: Vec<u8>) -> std::io::Result<Vec<u8>> {
        COMPRESSOR.with_borrow_mut(|kept| {
            let compressor = match kept {
                Some(compressor) => compressor,
                None => kept.insert(Compressor::new(self.level)?),
            };
            let way = search(self.level, bytes, |sample, way| {
                self.prepare(compressor, way)?;
                compressor.compress(sample).map(|frame| frame.len())
            })?;
            self.prepare(compressor, way)?;
            compressor.compress_to_buffer(bytes, &mut frame)?;
            Ok(frame)
        })
    }

    /// Has a context look for repetitions in this way, or as the level does.
    fn prepare(&self, to: &mut Compressor<'_>, way: Option<&Search>) -> std::io::Result<()> {
        let reset = to.context_mut().reset(ResetDirective::SessionAndParameters);
        reset.map_err(|code| std::io::Error::other(get_error_name(code)))?;
        to.set_parameter(CParameter::CompressionLevel(self.level))?;
        to.set_parameter(CParameter::ChecksumFlag(true))?;
        way.map_or(Ok(()), |way| way.parameters().try_for_each(|own| to.set_parameter(own)))
    }
}

/// Decompresses an object into memory, and tells how much of it was filled. What is read from a file
/// is decompressed while it is in the cache of this core.
fn decompress_into(object: &mut Opened, out: &mut [MaybeUninit<u8>]) -> Result<usize> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let Decompressor { context, step } = match kept {
            Some(kept) => kept,
            None => kept.insert(Decompressor::new()?),
        };
        let mut room = Room { memory: out, filled: 0 };
        if let Some(bytes) = object.content() {
            return context.decompress(&mut room, bytes).map_err(failed);
        }
        context.reset(ResetDirective::SessionOnly).map_err(failed)?;
        let mut filled = OutBuffer::around(&mut room);
        // Of the frame; there may be another one behind it.
        let mut missing = 0;
        loop {
            let mut input = InBuffer::around(object.read(step)?);
            match input.src.is_empty() {
                true if missing == 0 => return Ok(filled.pos()),
                true => return Err(damaged("zstd")),
                false => {}
            }
            while input.pos() < input.src.len() {
                missing = context.decompress_stream(&mut filled, &mut input).map_err(failed)?;
            }
        }
    })
}

/// Memory that the library fills from its beginning.
struct Room<'a> {
    memory: &'a mut [MaybeUninit<u8>],
    filled: usize,
}

// SAFETY: all of `memory` may be written, and only what is filled is shown.
#[expect(unsafe_code, reason = "memory need not be cleared to be filled")]
unsafe impl WriteBuf for Room<'_> {
    fn as_slice(&self) -> &[u8] {
        let (filled, _) = self.memory.split_at(self.filled.min(self.memory.len()));
        // SAFETY: so many bytes are filled, which is what `filled_until` was told.
        unsafe { filled.assume_init_ref() }
    }

    fn capacity(&self) -> usize {
        self.memory.len()
    }

    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.memory.as_mut_ptr().cast()
    }

    unsafe fn filled_until(&mut self, n: usize) {
        self.filled = n;
    }
}

impl Filter for Zstd {
    fn encode(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        self.encode_from(&bytes, &Spare::default())
    }

    fn encode_from(&self, bytes: &[u8], spare: &Spare) -> Result<Vec<u8>> {
        let memory = spare.room(compress_bound(bytes.len()))?;
        self.compress(bytes, memory).map_err(|error| {
            Error::invalid("a chunk cannot be encoded").with("codec", "zstd").caused_by(error)
        })
    }

    fn decode(&self, bytes: Vec<u8>, items: usize) -> Result<Vec<u8>> {
        self.decode_within(bytes, items, usize::MAX)
    }

    fn decode_within(&self, bytes: Vec<u8>, _items: usize, most: usize) -> Result<Vec<u8>> {
        // Frames need not say how long they are, and there may be several.
        Packed::Zstd.unpack(&bytes, most)
    }

    #[expect(unsafe_code, reason = "memory need not be cleared to be filled")]
    fn decode_into<'a>(
        &self,
        mut object: Opened,
        items: usize,
        spare: &Spare,
        out: &'a mut [MaybeUninit<u8>],
    ) -> Result<&'a mut [u8]> {
        match decompress_into(&mut object, out) {
            // SAFETY: all of it was filled.
            Ok(size) if size == out.len() => Ok(unsafe { out.assume_init_mut() }),
            // It may be longer than it should be, or damaged, which is told there.
            _ => {
                let bytes = object.read_all(spare.take(), most_stored(out.len()))?;
                copy_decoded(&self.decode_within(bytes.into(), items, out.len())?, out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use partita_core::ErrorKind;

    use super::*;

    /// Numbers of full precision: the exponents repeat, and nothing else does.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 7u64;
        let numbers = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / 16_777_216.0 + 1.0
        });
        numbers.take(bytes / 4).flat_map(f32::to_le_bytes).collect()
    }

    #[test]
    fn what_is_searched_in_a_cheaper_way_is_as_small_and_the_same_again() {
        let words = b"the sea is as high as the sea was ".repeat(40_000);
        let chunks = [noise(2 << 20), words, [vec![0; 1 << 20], noise(1 << 20)].concat()];
        for (chunk, level) in chunks.iter().zip([3, 4, 3]) {
            let frame = Zstd::new(Some(level)).encode(chunk.clone()).unwrap();
            assert_eq!(zstd::stream::decode_all(frame.as_slice()).unwrap(), *chunk);
            let of_level = zstd::bulk::compress(chunk, level as i32).unwrap().len();
            assert!(frame.len() <= of_level + of_level / 50 + 64, "{} {of_level}", frame.len());
            // Another level was used meanwhile.
            Zstd::new(Some(1)).encode(chunk[..100].to_vec()).unwrap();
            let spare = Spare::default();
            spare.give(vec![1; 8 << 20]);
            let again = Zstd::new(Some(level)).encode_from(chunk, &spare);
            assert_eq!(again.unwrap(), frame);
        }
    }

    /// One frame, several, one that does not say how long its content is, and one with a checksum.
    fn objects(content: &[u8]) -> Vec<Vec<u8>> {
        use std::io::Write;
        let (start, end) = content.split_at(content.len() / 3);
        let one = |part: &[u8], checksum| match checksum {
            true => Zstd::new(Some(1)).encode(part.to_vec()).unwrap(),
            false => zstd::bulk::compress(part, 1).unwrap(),
        };
        let mut silent = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        silent.write_all(content).unwrap();
        let several = [one(start, false), one(&[], false), one(end, true)].concat();
        vec![one(content, false), several, silent.finish().unwrap(), one(content, true)]
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let content = noise(4000);
        let codec = Zstd::new(Some(3));
        let frame = codec.encode(content.clone()).unwrap();
        for bit in (0..frame.len() * 8).step_by(7) {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut out = vec![MaybeUninit::uninit(); content.len()];
            let object = Opened::from(bytes::Bytes::from(flipped));
            let decoded = codec.decode_into(object, 1, &Spare::default(), &mut out);
            // Some bits of the header say nothing of the content.
            assert!(decoded.map_or(true, |decoded| *decoded == *content), "{bit}");
        }
    }

    #[tokio::test]
    async fn what_is_decoded_while_it_is_read_is_what_was_encoded() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_str().unwrap();
        let store = partita_core::Store::open(root, &Default::default()).unwrap();
        let codec = Zstd::new(None);
        let spare = Spare::default();
        for size in [0, 5, STEP - 1, 5 * STEP + 3] {
            let content = noise(size + 4);
            for object in objects(&content) {
                let cut = object[..object.len() - 1].to_vec();
                let fits = [true, false, false, false];
                let rooms = [content.len(), content.len() + 1, content.len() - 1, content.len()];
                let stored = [object.clone(), object.clone(), object, cut];
                for ((bytes, room), fits) in stored.into_iter().zip(rooms).zip(fits) {
                    store.put("object", bytes.clone().into()).await.unwrap();
                    let file = store.begin_get("object").await.unwrap().unwrap();
                    assert!(file.content().is_none());
                    for object in [file, Opened::from(bytes::Bytes::from(bytes))] {
                        let mut out = vec![MaybeUninit::uninit(); room];
                        let found = codec.decode_into(object, 1, &spare, &mut out);
                        match found.map_err(|error| error.kind()) {
                            Ok(all) => assert!(fits && *all == *content),
                            Err(kind) => assert!(!fits && kind == ErrorKind::Corrupt),
                        }
                    }
                }
            }
        }
    }
}
