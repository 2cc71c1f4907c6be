//! The one error type of the engine: a kind, a sentence, where it happened, and what caused it.

use std::fmt;

use crate::secret::masked;

/// The kind of an error: what went wrong, classified by what the caller can do next.
///
/// The codes returned by [`ErrorKind::code`] are stable and are the names of the Python exceptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The named dataset, object, column or version does not exist.
    NotFound,
    /// The thing to create exists already.
    AlreadyExists,
    /// An argument is outside its domain.
    InvalidArgument,
    /// A predicate cannot be parsed, or names a column or value that does not fit the schema.
    InvalidPredicate,
    /// Data does not fit the schema of the dataset.
    SchemaMismatch,
    /// A view and the collection under it do not have the same rows any more; the view has to be
    /// synced.
    OutOfSync,
    /// A concurrent commit made this one impossible; a retry from the newest state may succeed.
    CommitConflict,
    /// The store cannot commit atomically.
    CommitUnsupported,
    /// The outcome of the commit is unknown.
    CommitUnknown,
    /// The staged files are so old that garbage collection may remove them, or they have been
    /// removed; they have to be staged again. Nothing was changed.
    StagedExpired,
    /// An index is out of date and cannot be updated in this context.
    StaleIndex,
    /// The store or the dataset was opened for reading only.
    ReadOnly,
    /// Stored bytes violate the format.
    Corrupt,
    /// The store failed: network, permissions, disk.
    Store,
    /// The caller asked the operation to stop.
    Interrupted,
}

impl ErrorKind {
    /// Every kind, in declaration order.
    pub const ALL: [ErrorKind; 15] = [
        Self::NotFound,
        Self::AlreadyExists,
        Self::InvalidArgument,
        Self::InvalidPredicate,
        Self::SchemaMismatch,
        Self::OutOfSync,
        Self::CommitConflict,
        Self::CommitUnsupported,
        Self::CommitUnknown,
        Self::StagedExpired,
        Self::StaleIndex,
        Self::ReadOnly,
        Self::Corrupt,
        Self::Store,
        Self::Interrupted,
    ];

    /// The stable name of the kind, shared with Python's exceptions and the CLI's JSON errors.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::InvalidArgument => "InvalidArgument",
            Self::InvalidPredicate => "InvalidPredicate",
            Self::SchemaMismatch => "SchemaMismatch",
            Self::OutOfSync => "OutOfSync",
            Self::CommitConflict => "CommitConflict",
            Self::CommitUnsupported => "CommitUnsupported",
            Self::CommitUnknown => "CommitUnknown",
            Self::StagedExpired => "StagedExpired",
            Self::StaleIndex => "StaleIndex",
            Self::ReadOnly => "ReadOnly",
            Self::Corrupt => "Corrupt",
            Self::Store => "Store",
            Self::Interrupted => "Interrupted",
        }
    }
}

/// An error of the engine.
///
/// Displayed as one sentence in lower case followed by its context pairs, innermost first:
/// `column is missing from the data (column: fare, dataset: trips)`.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    disk_full: bool,
}

/// The result of every fallible operation of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that says `message`: a sentence in lower case without a final stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let (message, context) = (message.into(), Vec::new());
        Self(Box::new(Inner { kind, message, context, source: None, disk_full: false }))
    }

    /// Shorthand for [`ErrorKind::InvalidArgument`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// Shorthand for [`ErrorKind::Corrupt`].
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// Adds where it happened: `key`, `column`, `partition`, `version`, `dataset`, … Passwords in
    /// URLs are masked, and long values cut.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((name, shown(&value.to_string())));
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says whether a write failed because the disk is full.
    #[must_use]
    pub(crate) fn disk_full(mut self, full: bool) -> Self {
        self.0.disk_full = full;
        self
    }

    /// True if a write failed because the disk is full, or the share of it that the user may take.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let own = |error: &(dyn std::error::Error + Send + Sync + 'static)| {
            error.downcast_ref::<Self>().is_some_and(Self::is_disk_full)
        };
        self.0.disk_full || self.cause().is_some_and(own)
    }

    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence without its context.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The context pairs in the order they were added.
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// The error that caused this one. [`std::error::Error::source`] does not tell it, since the text
    /// of this error holds it already.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }

    /// True if the same call may succeed when made again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::CommitConflict | ErrorKind::Store)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0.message))?;
        for (i, (name, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{name}: {value}", if i == 0 { " (" } else { ", " })?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {}", masked(&source.to_string()))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind())
    }
}

impl std::error::Error for Error {}

/// The maximum length of a context value in bytes; longer values are cut.
const LONGEST: usize = 2048;

/// A context value as it is displayed.
fn shown(value: &str) -> String {
    if value.len() <= LONGEST {
        return masked(value).into_owned();
    }
    // A password that was cut in two would not be recognised.
    let shown = masked(value);
    let start = shown.get(..shown.floor_char_boundary(LONGEST / 2)).unwrap_or_default();
    format!("{start}… ({} bytes)", value.len())
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::invalid("arrow could not do this with the data").caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_is_masked_and_cut() {
        let error = Error::invalid("no http://user:hush@host")
            .with("store", "http://user:hush@host/x")
            .with("name", "ü".repeat(5_000_000))
            .with("cut", format!("{}http://user:hush{}@host", "x".repeat(1000), "y".repeat(3000)))
            .caused_by("GET http://user:hush@host/x failed");
        let text = format!("{error}");
        assert!(!text.contains("hush"), "{text}");
        assert!(text.len() < 4000 && text.contains("10000000 bytes"), "{}", text.len());
    }
}
