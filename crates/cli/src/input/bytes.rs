//! The bytes of an input file, which may be read more than once.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

/// A file, or buffered standard input: type inference needs a second pass, which a pipe does not
/// support.
#[derive(Debug, Clone)]
pub(super) enum Input {
    File(PathBuf),
    Read(Bytes),
}

impl Input {
    /// Opens the file at `path`; `-` is standard input, which is read to its end.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() != "-" {
            File::open(path)?;
            return Ok(Self::File(path.to_owned()));
        }
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes)?;
        Ok(Self::Read(Bytes::from(bytes)))
    }

    /// The text from its beginning, decompressed if it is gzip, and without a byte order mark.
    pub fn text(&self) -> io::Result<BufReader<Box<dyn Read + Send>>> {
        let raw: Box<dyn ReadSeek> = match self {
            Self::File(path) => Box::new(File::open(path)?),
            Self::Read(bytes) => Box::new(Cursor::new(bytes.clone())),
        };
        let (raw, packed) = begins_with(raw, &[0x1f, 0x8b])?;
        if !packed {
            let (mut raw, marked) = begins_with(raw, &BYTE_ORDER_MARK)?;
            raw.seek(io::SeekFrom::Start(if marked { 3 } else { 0 }))?;
            return Ok(BufReader::with_capacity(BUFFER, Box::new(raw)));
        }
        let mut unpacked = MultiGzDecoder::new(BufReader::with_capacity(BUFFER, raw));
        let mut head = Vec::new();
        unpacked.by_ref().take(3).read_to_end(&mut head)?;
        if head == BYTE_ORDER_MARK {
            head.clear();
        }
        Ok(BufReader::with_capacity(BUFFER, Box::new(Cursor::new(head).chain(unpacked))))
    }
}

const BUFFER: usize = 256 << 10;

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// Whether the file begins with these bytes. The file is rewound afterwards.
fn begins_with(mut file: Box<dyn ReadSeek>, bytes: &[u8]) -> io::Result<(Box<dyn ReadSeek>, bool)> {
    let mut head = Vec::new();
    file.by_ref().take(bytes.len() as u64).read_to_end(&mut head)?;
    file.rewind()?;
    Ok((file, head == bytes))
}
