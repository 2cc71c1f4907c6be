//! What the answers to a swap prove, as functions of values. `swap` acts on them, and the models in
//! `crates/models` check them.

pub use super::failure::Answer;
use crate::ErrorKind;

/// The conclusion from an answer to a write that is no success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterWrite {
    /// The write did not happen and will not: the swap ends.
    NotMade,
    /// The write happened, but may not survive a power cut: the swap ends, and its outcome is
    /// unknown.
    Unknown,
    /// Nothing: the state has to be read.
    ReadBack {
        /// The write may have happened, or may still happen.
        doubtful: bool,
    },
}

/// Draws the conclusion from an answer. `certain` says that it is the first one to the only
/// request, so that no other request can have been carried out, or still be under way.
#[must_use]
pub fn after_write(answer: Answer, certain: bool) -> AfterWrite {
    match answer {
        Answer::Unsupported | Answer::Failed if certain => AfterWrite::NotMade,
        Answer::NotDurable => AfterWrite::Unknown,
        Answer::Refused if certain => AfterWrite::ReadBack { doubtful: false },
        _ => AfterWrite::ReadBack { doubtful: true },
    }
}

/// The conclusion from the state that is stored after a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterRead {
    /// The swap was made, and nothing was committed since.
    Made,
    /// The swap was made, and others have committed since.
    BuiltUpon,
    /// No request of the swap has been carried out yet; one that is under way still may be.
    Unchanged,
    /// Another state is stored. If that may have dropped the id of the swap, it is not known yet
    /// whether the swap was made before.
    Lost,
}

/// Draws the conclusion from the stored state: it is the new one, contains the id of the swap, or
/// is the one that the swap expects.
#[must_use]
pub fn after_read(is_new: bool, is_within: bool, is_expected: bool) -> AfterRead {
    match (is_new, is_within, is_expected) {
        (true, _, _) => AfterRead::Made,
        (false, true, _) => AfterRead::BuiltUpon,
        (false, false, true) => AfterRead::Unchanged,
        (false, false, false) => AfterRead::Lost,
    }
}

/// Whether to write again after this answer, where the state is unchanged. That is safe, since of
/// all requests with the same condition only one can apply.
#[must_use]
pub fn writes_again(answer: Answer) -> bool {
    !matches!(answer, Answer::Failed | Answer::Unsupported)
}

/// Whether an error of this kind proves that the commit that ended with it did not happen and will
/// not. Only then may anything be removed that the commit names.
#[must_use]
pub fn proves_no_commit(kind: ErrorKind) -> bool {
    kind != ErrorKind::CommitUnknown
}
