//! The condition in a view's document: a base64-encoded pickle, of which two forms are recognised
//! by their bytes.
//!
//! ZCollection unpickles it, which can run arbitrary code. Anything but `None` or a short string is
//! refused here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use partita_core::{Error, ErrorKind, Result};

/// The pickle opcodes of such values: protocol, frame, short string, memoize, stop.
const PROTOCOL: u8 = 0x80;
const FRAME: u8 = 0x95;
const SHORT_TEXT: u8 = 0x8c;
const END: [u8; 2] = [0x94, b'.'];
const NONE: [u8; 2] = [b'N', b'.'];

/// Decodes the condition; none if the view covers all partitions.
pub(super) fn decode(written: &str) -> Result<Option<String>> {
    let refuse = || {
        Error::new(
            ErrorKind::InvalidArgument,
            "the condition of the view is not a plain string; it is not unpickled, since that \
             could run arbitrary code",
        )
        .with("filters", written)
    };
    let bytes = STANDARD.decode(written).map_err(|error| refuse().caused_by(error))?;
    let [PROTOCOL, 4 | 5, rest @ ..] = bytes.as_slice() else { return Err(refuse()) };
    if rest == NONE {
        return Ok(None);
    }
    let [FRAME, frame @ ..] = rest else { return Err(refuse()) };
    let (length, body) = frame.split_first_chunk::<8>().ok_or_else(refuse)?;
    let [SHORT_TEXT, size, text @ ..] = body else { return Err(refuse()) };
    let text = text.strip_suffix(&END).ok_or_else(refuse)?;
    let whole = u64::from_le_bytes(*length) == body.len() as u64;
    if !whole || usize::from(*size) != text.len() {
        return Err(refuse());
    }
    let text = String::from_utf8(text.to_vec()).map_err(|error| refuse().caused_by(error))?;
    Ok(Some(text))
}

/// Encodes a condition as ZCollection stores it.
pub(super) fn encode(condition: Option<&str>) -> Result<String> {
    let Some(text) = condition else { return Ok(STANDARD.encode([PROTOCOL, 4, b'N', b'.'])) };
    let size = u8::try_from(text.len()).map_err(|_| {
        Error::invalid("the condition of a view must have at most 255 bytes; write a shorter one")
            .with("condition", text)
    })?;
    let body = [&[SHORT_TEXT, size], text.as_bytes(), &END].concat();
    let length = (body.len() as u64).to_le_bytes();
    Ok(STANDARD.encode([&[PROTOCOL, 4, FRAME], length.as_slice(), &body].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_pickled() {
        for (condition, pickled) in
            [(None, "gAROLg=="), (Some("month == 1"), "gASVDgAAAAAAAACMCm1vbnRoID09IDGULg==")]
        {
            assert_eq!(encode(condition).unwrap(), pickled);
            assert_eq!(decode(pickled).unwrap().as_deref(), condition);
        }
        assert!(encode(Some(&"x".repeat(256))).is_err());
    }

    #[test]
    fn everything_else_is_refused() {
        // os.system, a number, text, nothing, a string that ends early.
        for pickled in [
            "gASVHQAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAJsc5SFlFKULg==",
            "gARLAS4=",
            "month == 1",
            "",
            "gASVDgAAAAAAAACMCG1vbnRoID09IDGULg==",
        ] {
            let error = decode(pickled).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{pickled}");
        }
    }
}
