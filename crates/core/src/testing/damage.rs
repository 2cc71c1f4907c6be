//! Bytes that are nearly right, for tests of what decodes them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestError, TestRunner};

/// Tokens that decoders often handle wrongly: limits of numbers, and delimiters of documents.
const TOKENS: [&str; 24] = [
    "0",
    "-1",
    "1e999",
    "18446744073709551615",
    "9007199254740992",
    "-9223372036854775808",
    "null",
    "true",
    "[]",
    "{}",
    "[[[[[[[[",
    "{\"a\":",
    "\"",
    "\\u0000",
    "\\ud800",
    "\u{1F600}",
    "NaN",
    ",",
    ":",
    "not (",
    "\0\0\0\0",
    "..",
    "/",
    "%2F",
];

#[derive(Debug, Clone)]
enum Edit {
    Cut(Index),
    Flip(Index, u8),
    Set(Index, u8),
    /// Bytes of ends of numbers in little endian, over what is there.
    Number(Index, u64),
    Token(Index, &'static str),
    /// The first range is put in the place of the second.
    Copy([Index; 2], [Index; 2]),
    Remove(Index, Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        1 => at().prop_map(Edit::Cut),
        4 => (at(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        2 => (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        2 => (at(), select(vec![0, 1, u64::MAX, 1 << 31, 1 << 32, 1 << 53, 1 << 63]))
            .prop_map(|(at, number)| Edit::Number(at, number)),
        4 => (at(), select(TOKENS.to_vec())).prop_map(|(at, token)| Edit::Token(at, token)),
        2 => ([at(), at()], [at(), at()]).prop_map(|(from, to)| Edit::Copy(from, to)),
        2 => (at(), at()).prop_map(|(from, to)| Edit::Remove(from, to)),
    ]
}

fn between(ends: [Index; 2], length: usize) -> std::ops::Range<usize> {
    let [a, b] = ends.map(|end| end.index(length + 1));
    a.min(b)..a.max(b)
}

fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let length = bytes.len();
        let place = |at: &Index| at.index(length.max(1)).min(length);
        match edit {
            Edit::Cut(at) => bytes.truncate(place(at)),
            Edit::Flip(at, bit) => {
                bytes.get_mut(place(at)).into_iter().for_each(|byte| *byte ^= 1 << bit);
            }
            Edit::Set(at, value) => {
                bytes.get_mut(place(at)).into_iter().for_each(|byte| *byte = *value);
            }
            Edit::Number(at, number) => {
                let rest = bytes.iter_mut().skip(place(at));
                rest.zip(number.to_le_bytes()).for_each(|(byte, new)| *byte = new);
            }
            Edit::Token(at, token) => {
                let at = place(at);
                bytes.splice(at..at, token.bytes());
            }
            Edit::Copy(from, to) => {
                let copied = bytes.get(between(*from, length)).unwrap_or_default().to_vec();
                bytes.splice(between(*to, length), copied);
            }
            Edit::Remove(from, to) => drop(bytes.drain(between([*from, *to], length))),
        }
    }
    bytes
}

/// Calls `decode` with damaged forms of the `whole` ones, and with these themselves. It must return,
/// and may assert what it likes about what it decodes.
///
/// `PROPTEST_CASES` says how many forms are tried, and `PROPTEST_RNG_SEED` which.
///
/// # Panics
/// If `decode` does, with the smallest such form that was found.
pub fn damaged(whole: &[Vec<u8>], decode: impl Fn(&[u8])) {
    whole.iter().for_each(|bytes| decode(bytes));
    let config = Config { failure_persistence: None, max_shrink_iters: 4096, ..Config::default() };
    let cases = (select(whole.to_vec()), vec(edit(), 1..6));
    let bytes = cases.prop_map(|(bytes, edits)| edited(bytes, &edits));
    let outcome = TestRunner::new(config).run(&bytes, |bytes| {
        decode(&bytes);
        Ok(())
    });
    let failure = outcome.err().map(|failure| match failure {
        TestError::Fail(why, bytes) => format!("{why}, for {}", bytes.escape_ascii()),
        TestError::Abort(why) => why.to_string(),
    });
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
}
