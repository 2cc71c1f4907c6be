//! Classification of errors of the storage client, for callers and for commits.

use std::io;
use std::path::Path;

use object_store::client::{HttpError, HttpErrorKind};

use crate::{Error, ErrorKind};

/// The request that failed.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    /// The past participle of the operation: `read`, `written`, `deleted`, `listed`.
    pub verb: &'static str,
    /// The key of the object.
    pub key: &'a str,
    /// The URL of the store.
    pub store: &'a str,
}

impl Request<'_> {
    /// Converts an error of the client to one of the engine with its context.
    pub fn failed(self, error: object_store::Error) -> Error {
        use object_store::Error as E;
        let verb = self.verb;
        let (kind, message) = match &error {
            _ if is_missing_bucket(&error) => {
                (ErrorKind::Store, "the bucket or container does not exist".to_owned())
            }
            E::NotFound { .. } => (ErrorKind::NotFound, "the object does not exist".to_owned()),
            E::AlreadyExists { .. } => {
                (ErrorKind::AlreadyExists, "the object exists already".to_owned())
            }
            E::InvalidPath { .. } => (
                ErrorKind::InvalidArgument,
                "the store holds, or was asked for, a key that cannot name an object".to_owned(),
            ),
            E::PermissionDenied { .. } => (
                ErrorKind::Store,
                format!("the store does not permit the object to be {verb}: check its permissions"),
            ),
            E::Unauthenticated { .. } => (
                ErrorKind::Store,
                "the store does not know the caller: check the credentials".to_owned(),
            ),
            E::NotSupported { .. } | E::NotImplemented { .. } => {
                (ErrorKind::Store, "the store has no such operation".to_owned())
            }
            E::Generic { source, .. } if let Some(own) = source.downcast_ref::<Error>() => {
                (own.kind(), format!("the object could not be {verb}"))
            }
            _ if is_missing_file(&error) => {
                (ErrorKind::NotFound, "the object does not exist".to_owned())
            }
            _ if system_kind(&error) == Some(io::ErrorKind::IsADirectory) => (
                ErrorKind::Corrupt,
                format!(
                    "the object could not be {verb}, since a directory is in its place; remove the \
                     directory by hand if nothing in it is needed"
                ),
            ),
            _ => (ErrorKind::Store, format!("the object could not be {verb}{}", reason(&error))),
        };
        let full = is_disk_full(&error);
        let failed = Error::new(kind, message).with("key", self.key).with("store", self.store);
        failed.disk_full(full).caused_by(error)
    }
}

/// An explanation of why a store gave no answer, if that is known.
fn reason(error: &object_store::Error) -> &'static str {
    // The client does not export the type of this error.
    let text = error.to_string();
    let status = text.split_once("status code: ").and_then(|(_, after)| after.get(..3));
    match status.and_then(|status| status.parse::<u16>().ok()) {
        Some(300..400) => return REDIRECTED,
        Some(429 | 500..) => return BUSY,
        None if text.contains("Received redirect") => return REDIRECTED,
        _ => {}
    }
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    match find::<HttpError>(error).map(HttpError::kind) {
        Some(_) if find::<io::Error>(error).is_some_and(refused) => {
            ": the connection was refused; is the endpoint right, and does the server run?"
        }
        Some(HttpErrorKind::Connect) => ": the store cannot be reached; is the endpoint right?",
        Some(HttpErrorKind::Timeout) => ": the store did not answer before the request timed out",
        Some(HttpErrorKind::Request | HttpErrorKind::Interrupted) => {
            ": the connection was closed before the answer had come"
        }
        Some(HttpErrorKind::Decode) => ": the answer is none that such a store gives",
        _ => "",
    }
}

const BUSY: &str =
    ": the store is busy or out of order, and was tried until the time for it was up";
const REDIRECTED: &str =
    ": the request was redirected elsewhere; are the region and the endpoint right?";

/// True if the bucket is missing, not the object.
pub(super) fn is_missing_bucket(error: &object_store::Error) -> bool {
    let names = ["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"];
    let object_store::Error::NotFound { source, .. } = error else { return false };
    let answer = source.to_string();
    names.iter().any(|name| answer.contains(name))
}

/// A file system reports a second kind of missing `a/b`: `a` is a file.
pub(super) fn is_missing_file(error: &object_store::Error) -> bool {
    find::<io::Error>(error)
        .is_some_and(|e| matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
}

/// The first error of this type in the chain of causes.
fn find<E: std::error::Error + 'static>(error: &object_store::Error) -> Option<&E> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<E>() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

/// Marks a write that certainly did not happen.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct NotApplied {
    message: String,
    /// The kind of the system's error, where that is what failed.
    kind: Option<io::ErrorKind>,
}

impl NotApplied {
    /// The marker as an error of the client.
    pub fn error(why: impl Into<String>) -> object_store::Error {
        Self::generic(Self { message: why.into(), kind: None })
    }

    /// The marker for an error of the system; `what` was being done to `target`.
    pub fn of_system(what: &str, target: &Path, error: &io::Error) -> object_store::Error {
        let message = format!("cannot {what} {}: {error}", target.display());
        Self::generic(Self { message, kind: Some(error.kind()) })
    }

    fn generic(self) -> object_store::Error {
        object_store::Error::Generic { store: "local", source: Box::new(self) }
    }
}

/// Whether a request failed because the file system, or the share of it that the user may take, is full.
fn is_disk_full(error: &object_store::Error) -> bool {
    matches!(system_kind(error), Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

/// The kind of the system's error, if that is what failed.
fn system_kind(error: &object_store::Error) -> Option<io::ErrorKind> {
    let own = find::<NotApplied>(error).and_then(|own| own.kind);
    own.or_else(|| find::<io::Error>(error).map(io::Error::kind))
}

/// Marks a write that is visible but may not be on the disk.
#[derive(Debug, thiserror::Error)]
#[error("the object was written, but its directory could not be synced: {0}")]
pub(super) struct NotDurable(pub std::io::Error);

impl NotDurable {
    /// The marker as an error of the client.
    pub fn error(why: std::io::Error) -> object_store::Error {
        object_store::Error::Generic { store: "local", source: Box::new(Self(why)) }
    }
}

/// True if the client has sent the request more than once, so that the answer may not be that to
/// the first: one that was answered badly may have been carried out, or still be under way. The
/// client does not tell otherwise than by its text.
pub(super) fn is_of_a_repetition(error: &object_store::Error) -> bool {
    error.to_string().contains(" retries, max_retries: ")
}

/// The outcome of a conditional write that returned an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The condition did not hold, for this attempt or for a previous attempt of the client's
    /// retries.
    Refused,
    /// The outcome is unknown: the write may have happened, may still happen, or may not.
    Lost,
    /// The write happened, but may not survive a power cut.
    NotDurable,
    /// The store has no conditional writes.
    Unsupported,
    /// The write did not happen, and a retry would fail in the same way.
    Failed,
}

impl Answer {
    /// Classifies the client's error.
    pub(super) fn of(error: &object_store::Error) -> Self {
        use object_store::Error as E;
        match error {
            E::AlreadyExists { .. } | E::Precondition { .. } | E::NotModified { .. } => {
                Self::Refused
            }
            E::NotImplemented { .. } | E::NotSupported { .. } => Self::Unsupported,
            E::PermissionDenied { .. }
            | E::Unauthenticated { .. }
            | E::NotFound { .. }
            | E::InvalidPath { .. }
            | E::UnknownConfigurationKey { .. } => Self::Failed,
            E::Generic { source, .. } if source.is::<NotApplied>() => Self::Failed,
            // Nothing is sent after an interruption.
            E::Generic { source, .. }
                if source
                    .downcast_ref::<Error>()
                    .is_some_and(|own| own.kind() == ErrorKind::Interrupted) =>
            {
                Self::Failed
            }
            E::Generic { source, .. } if source.is::<NotDurable>() => Self::NotDurable,
            _ => Self::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_errors() {
        let request = Request { verb: "written", key: "a", store: "b" };
        let failed = |error: io::Error| {
            request.failed(NotApplied::of_system("write", Path::new("/a"), &error))
        };
        assert!(failed(io::ErrorKind::StorageFull.into()).is_disk_full());
        assert!(failed(io::ErrorKind::QuotaExceeded.into()).is_disk_full());
        let denied = failed(io::ErrorKind::PermissionDenied.into());
        assert!(!denied.is_disk_full());
        assert!(
            Error::corrupt("x").caused_by(failed(io::ErrorKind::StorageFull.into())).is_disk_full()
        );
    }
}
