//! What an error of Icechunk means for the caller.

use std::error::Error as StdError;

use icechunk::ops::GCError;
use icechunk::refs::{RefError, RefErrorKind};
use icechunk::repository::{RepositoryError, RepositoryErrorKind};
use icechunk::session::{SessionError, SessionErrorKind};
use icechunk::storage::{StorageError, StorageErrorKind};
use icechunk::store::{StoreError, StoreErrorKind};
use partita_core::{Error, ErrorKind};

/// Turns errors of Icechunk into ours.
pub(super) trait Failed {
    /// The error with the kind that it has for the caller. `url` is that of the collection.
    fn failed(self, url: &str) -> Error;
}

macro_rules! failed {
    ($($error:ty, $kind:path;)*) => {$(
        impl Failed for $error {
            fn failed(self, url: &str) -> Error {
                error_of($kind(&self.kind), &self.kind, url)
            }
        }
    )*};
}

failed! {
    RepositoryError, of_repository;
    SessionError, of_session;
    StoreError, of_store;
    RefError, of_ref;
    StorageError, of_storage;
}

impl Failed for GCError {
    fn failed(self, url: &str) -> Error {
        match self {
            Self::Ref(error) => error.failed(url),
            Self::Repository(error) => error.failed(url),
            Self::StorageError(error) => error.failed(url),
            Self::FormatError(error) => error_of(ErrorKind::Corrupt, &error.kind, url),
            error => error_of(ErrorKind::Store, &error, url),
        }
    }
}

fn error_of(kind: ErrorKind, error: &(dyn StdError + 'static), url: &str) -> Error {
    // What our store said is what the caller knows.
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(own) = error.downcast_ref::<Error>() {
            let context = own.context().iter();
            let again = Error::new(own.kind(), own.message());
            return context.fold(again, |again, (name, value)| again.with(name, value));
        }
        cause = error.source();
    }
    let message = match kind {
        ErrorKind::NotFound => "the Icechunk repository has no such thing",
        ErrorKind::AlreadyExists => "the Icechunk repository has that already",
        ErrorKind::InvalidArgument => "Icechunk does not take that",
        ErrorKind::CommitConflict => "other writers were always faster; try again",
        ErrorKind::ReadOnly => "the Icechunk repository is only read",
        ErrorKind::Corrupt => "the Icechunk repository is damaged",
        _ => "Icechunk could not do this",
    };
    Error::new(kind, message).with("store", url).caused_by(error.to_string())
}

fn of_storage(error: &StorageErrorKind) -> ErrorKind {
    match error {
        // Something names it.
        StorageErrorKind::ObjectNotFound => ErrorKind::Corrupt,
        _ => ErrorKind::Store,
    }
}

fn of_ref(error: &RefErrorKind) -> ErrorKind {
    match error {
        RefErrorKind::Storage(error) => of_storage(error),
        RefErrorKind::RefNotFound(_) => ErrorKind::NotFound,
        RefErrorKind::InvalidRefName(_) | RefErrorKind::InvalidRefType(_) => {
            ErrorKind::InvalidArgument
        }
        RefErrorKind::TagAlreadyExists(_) => ErrorKind::AlreadyExists,
        RefErrorKind::Conflict { .. } => ErrorKind::CommitConflict,
        RefErrorKind::IOError(_) | RefErrorKind::Serialization(_) => ErrorKind::Corrupt,
    }
}

fn of_repository(error: &RepositoryErrorKind) -> ErrorKind {
    use RepositoryErrorKind as E;
    use icechunk::format::IcechunkFormatErrorKind as F;
    match error {
        E::StorageError(error) => of_storage(error),
        E::Ref(error) => of_ref(error),
        E::RepositoryDoesntExist
        | E::SnapshotNotFound { .. }
        | E::InvalidAsOfSpec { .. }
        | E::FormatError(
            F::BranchNotFound { .. } | F::TagNotFound { .. } | F::SnapshotIdNotFound { .. },
        ) => ErrorKind::NotFound,
        E::FormatError(F::BranchAlreadyExists { .. } | F::TagAlreadyExists { .. })
        | E::ParentDirectoryNotClean => ErrorKind::AlreadyExists,
        E::FormatError(F::TagPreviouslyDeleted { .. }) => ErrorKind::InvalidArgument,
        // The store was read before; these are bytes that cannot be decompressed.
        E::IOError(_)
        | E::FormatError(_)
        | E::DeserializationError(_)
        | E::ConfigDeserializationError(_) => ErrorKind::Corrupt,
        E::InvalidSnapshotId(_)
        | E::Tag(_)
        | E::CannotDeleteMain
        | E::EmptyPrefixCreation
        | E::BadRepoVersion { .. } => ErrorKind::InvalidArgument,
        E::Conflict { .. } | E::RepoInfoUpdated | E::RepoUpdateAttemptsLimit(_) => {
            ErrorKind::CommitConflict
        }
        E::ReadonlyStorage(_) | E::ReadonlyRepository(_) => ErrorKind::ReadOnly,
        _ => ErrorKind::Store,
    }
}

fn of_session(error: &SessionErrorKind) -> ErrorKind {
    use SessionErrorKind as E;
    match error {
        E::RepositoryError(error) => of_repository(error),
        E::StorageError(error) => of_storage(error),
        E::RefError(error) => of_ref(error),
        E::FormatError(_) | E::DeserializationError(_) | E::InvalidByteRange { .. } => {
            ErrorKind::Corrupt
        }
        E::SnapshotNotFound { .. } | E::NodeNotFound { .. } => ErrorKind::NotFound,
        E::Conflict { .. } => ErrorKind::CommitConflict,
        E::ReadOnlySession => ErrorKind::ReadOnly,
        _ => ErrorKind::Store,
    }
}

fn of_store(error: &StoreErrorKind) -> ErrorKind {
    use StoreErrorKind as E;
    match error {
        E::SessionError(error) => of_session(error),
        E::RepositoryError(error) => of_repository(error),
        E::RefError(error) => of_ref(error),
        E::NotFound(_) => ErrorKind::NotFound,
        E::InvalidKey { .. } | E::BadMetadata(_) | E::BadChunkGridMetadata(_) => {
            ErrorKind::InvalidArgument
        }
        E::ReadOnly => ErrorKind::ReadOnly,
        _ => ErrorKind::Store,
    }
}
