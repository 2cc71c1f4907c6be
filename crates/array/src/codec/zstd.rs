//! Zstandard (RFC 8878), compatible with numcodecs and zarr-python.
//!
//! Each thread keeps its contexts, which are larger than most chunks. The choice of the match
//! finder is in `search`.

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
use super::search::{MatchFinder, search};
use crate::buffer_pool::BufferPool;
use crate::dataset::too_large;

/// The default of numcodecs, also for level 0.
const DEFAULT_LEVEL: i32 = 3;

/// The bytes of a file that are read and decompressed in one step: two blocks.
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
    /// The bytes of a file that were read in the last step.
    step: Vec<u8>,
}

impl Decompressor {
    fn new() -> Result<Self> {
        let mut context = DCtx::try_create().ok_or_else(|| too_large(0))?;
        // Without this parameter, the output of each step is copied once more.
        context.set_parameter(DParameter::StableOutBuffer(true)).map_err(failed)?;
        Ok(Self { context, step: vec![0; STEP] })
    }
}

fn failed(code: usize) -> Error {
    damaged("zstd").with("error", get_error_name(code))
}

impl Zstd {
    /// `level` is that of a numcodecs configuration. Frames always end with a checksum, which every
    /// decoder verifies, so that damage on a disk is detected.
    pub fn new(level: Option<i128>) -> Self {
        let level = level.and_then(|level| i32::try_from(level).ok()).unwrap_or(0);
        Self { level: if level == 0 { DEFAULT_LEVEL } else { level } }
    }

    /// Compresses into `frame`, which is empty and has enough capacity.
    fn compress(&self, bytes: &[u8], mut frame: Vec<u8>) -> std::io::Result<Vec<u8>> {
        COMPRESSOR.with_borrow_mut(|kept| {
            let compressor = match kept {
                Some(compressor) => compressor,
                None => kept.insert(Compressor::new(self.level)?),
            };
            let finder = search(self.level, bytes, |sample, finder| {
                self.prepare(compressor, finder)?;
                compressor.compress(sample).map(|frame| frame.len())
            })?;
            self.prepare(compressor, finder)?;
            compressor.compress_to_buffer(bytes, &mut frame)?;
            Ok(frame)
        })
    }

    /// Sets up a context for a match finder, or for that of the level.
    fn prepare(
        &self,
        to: &mut Compressor<'_>,
        finder: Option<&MatchFinder>,
    ) -> std::io::Result<()> {
        let reset = to.context_mut().reset(ResetDirective::SessionAndParameters);
        reset.map_err(|code| std::io::Error::other(get_error_name(code)))?;
        to.set_parameter(CParameter::CompressionLevel(self.level))?;
        to.set_parameter(CParameter::ChecksumFlag(true))?;
        finder
            .map_or(Ok(()), |finder| finder.parameters().try_for_each(|own| to.set_parameter(own)))
    }
}

/// Decompresses an object into memory, and returns the number of bytes written. A file is read in
/// steps and each step is decompressed while it is in the CPU cache.
fn decompress_into(object: &mut Opened, out: &mut [MaybeUninit<u8>]) -> Result<usize> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let Decompressor { context, step } = match kept {
            Some(kept) => kept,
            None => kept.insert(Decompressor::new()?),
        };
        let mut output = PartlyFilled { memory: out, filled: 0 };
        if let Some(bytes) = object.content() {
            return context.decompress(&mut output, bytes).map_err(failed);
        }
        context.reset(ResetDirective::SessionOnly).map_err(failed)?;
        let mut filled = OutBuffer::around(&mut output);
        // The bytes that the current frame still needs; another frame may follow.
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

/// Output memory that the library fills from the start.
struct PartlyFilled<'a> {
    memory: &'a mut [MaybeUninit<u8>],
    filled: usize,
}

// SAFETY: all of `memory` may be written, and only the filled part is exposed.
#[expect(unsafe_code, reason = "clearing the memory before it is filled would cost a second pass")]
unsafe impl WriteBuf for PartlyFilled<'_> {
    fn as_slice(&self) -> &[u8] {
        let (filled, _) = self.memory.split_at(self.filled.min(self.memory.len()));
        // SAFETY: this many bytes were initialised, according to `filled_until`.
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
        self.encode_from(&bytes, &BufferPool::default())
    }

    fn encode_from(&self, bytes: &[u8], pool: &BufferPool) -> Result<Vec<u8>> {
        let memory = pool.with_capacity(compress_bound(bytes.len()))?;
        self.compress(bytes, memory).map_err(|error| {
            Error::invalid("a chunk cannot be encoded").with("codec", "zstd").caused_by(error)
        })
    }

    fn decode(&self, bytes: Vec<u8>, items: usize) -> Result<Vec<u8>> {
        self.decode_within(bytes, items, usize::MAX)
    }

    fn decode_within(&self, bytes: Vec<u8>, _items: usize, most: usize) -> Result<Vec<u8>> {
        // Frames need not contain their size, and there may be several.
        Packed::Zstd.unpack(&bytes, most)
    }

    #[expect(
        unsafe_code,
        reason = "clearing the memory before it is filled would cost a second pass"
    )]
    fn decode_into<'a>(
        &self,
        mut object: Opened,
        items: usize,
        pool: &BufferPool,
        out: &'a mut [MaybeUninit<u8>],
    ) -> Result<&'a mut [u8]> {
        match decompress_into(&mut object, out) {
            // SAFETY: all bytes were written.
            Ok(size) if size == out.len() => Ok(unsafe { out.assume_init_mut() }),
            // The object may decompress to another size or be damaged, which this slower path
            // reports.
            _ => {
                let bytes = object.read_all(pool.take(), most_stored(out.len()))?;
                copy_decoded(&self.decode_within(bytes.into(), items, out.len())?, out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use partita_core::ErrorKind;

    use super::*;

    /// Numbers of full precision, in which only the exponents repeat.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 7u64;
        let numbers = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / 16_777_216.0 + 1.0
        });
        numbers.take(bytes / 4).flat_map(f32::to_le_bytes).collect()
    }

    #[test]
    fn a_cheaper_match_finder_compresses_as_well_and_reproducibly() {
        let words = b"the sea is as high as the sea was ".repeat(40_000);
        let chunks = [noise(2 << 20), words, [vec![0; 1 << 20], noise(1 << 20)].concat()];
        for (chunk, level) in chunks.iter().zip([3, 4, 3]) {
            let frame = Zstd::new(Some(level)).encode(chunk.clone()).unwrap();
            assert_eq!(zstd::stream::decode_all(frame.as_slice()).unwrap(), *chunk);
            let of_level = zstd::bulk::compress(chunk, level as i32).unwrap().len();
            assert!(frame.len() <= of_level + of_level / 50 + 64, "{} {of_level}", frame.len());
            // Another level is used in between.
            Zstd::new(Some(1)).encode(chunk[..100].to_vec()).unwrap();
            let pool = BufferPool::default();
            pool.give(vec![1; 8 << 20]);
            let again = Zstd::new(Some(level)).encode_from(chunk, &pool);
            assert_eq!(again.unwrap(), frame);
        }
    }

    /// Objects with the content in one frame, in several, in one without its size, and in one with
    /// a checksum.
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
            let decoded = codec.decode_into(object, 1, &BufferPool::default(), &mut out);
            // Some bits of the header do not affect the content.
            assert!(decoded.map_or(true, |decoded| *decoded == *content), "{bit}");
        }
    }

    #[tokio::test]
    async fn decoding_in_steps_returns_the_encoded_content() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_str().unwrap();
        let store = partita_core::Store::open(root, &Default::default()).unwrap();
        let codec = Zstd::new(None);
        let pool = BufferPool::default();
        for size in [0, 5, STEP - 1, 5 * STEP + 3] {
            let content = noise(size + 4);
            for object in objects(&content) {
                let cut = object[..object.len() - 1].to_vec();
                let fits = [true, false, false, false];
                let sizes = [content.len(), content.len() + 1, content.len() - 1, content.len()];
                let stored = [object.clone(), object.clone(), object, cut];
                for ((bytes, size), fits) in stored.into_iter().zip(sizes).zip(fits) {
                    store.put("object", bytes.clone().into()).await.unwrap();
                    let file = store.begin_get("object").await.unwrap().unwrap();
                    assert!(file.content().is_none());
                    for object in [file, Opened::from(bytes::Bytes::from(bytes))] {
                        let mut out = vec![MaybeUninit::uninit(); size];
                        let found = codec.decode_into(object, 1, &pool, &mut out);
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
