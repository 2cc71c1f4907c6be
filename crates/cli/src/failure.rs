//! Failures of commands, and their report.

use std::io::{self, Write};

use partita::{Error, ErrorKind};
use serde_json::{Map, Value, json};

use crate::style::{ERROR, HINT, painted};

/// The reason why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error of the engine.
    Engine(Error),
    /// A local file or stream could not be read or written.
    Io(String, io::Error),
    /// The combination of arguments is invalid.
    Usage(String),
    /// The check found problems that were not repaired.
    Found(String),
    /// An internal error.
    Defect(String),
    /// The reader of the output closed it, which is not an error.
    Closed,
}

impl Failure {
    /// A failure on a local file: the attempted action, and the error.
    pub(crate) fn io(what: impl Into<String>, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(what.into(), error),
        }
    }

    fn exit_code(&self) -> i32 {
        match self {
            Self::Closed => 0,
            Self::Io(..) | Self::Defect(_) | Self::Found(_) => 1,
            Self::Usage(_) => 2,
            Self::Engine(error) => match error.kind() {
                ErrorKind::NotFound => 3,
                ErrorKind::CommitConflict | ErrorKind::StagedExpired => 4,
                ErrorKind::Interrupted => 130,
                _ => 1,
            },
        }
    }

    fn hint(&self) -> Option<&'static str> {
        let Self::Engine(error) = self else { return None };
        let names = |what: &str| error.context().iter().any(|(name, _)| *name == what);
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::AlreadyExists if names("column") => {
                Some("`partita schema URL` shows the columns")
            }
            ErrorKind::NotFound if ["version", "commit", "time", "at"].into_iter().any(names) => {
                Some("`partita history URL` lists the versions that there are")
            }
            ErrorKind::NotFound => Some("`partita ls STORE` lists the datasets of a store"),
            ErrorKind::AlreadyExists => {
                Some("append without --create adds to what exists; copy takes --overwrite")
            }
            ErrorKind::InvalidPredicate => Some(
                "write --where \"city == 'Oslo' and fare > 10\"; `partita schema URL` shows the columns",
            ),
            ErrorKind::OutOfSync => {
                Some("`partita sync URL` brings the view in line with its base")
            }
            ErrorKind::SchemaMismatch => Some("`partita schema URL` shows what is expected"),
            ErrorKind::CommitConflict => Some("nothing was changed; try again"),
            ErrorKind::CommitUnsupported => Some(
                "`partita doctor URL` shows what the store can do; pass --single-writer if nobody \
                 else writes",
            ),
            ErrorKind::StagedExpired => Some("nothing was changed; stage it again"),
            ErrorKind::StaleIndex => Some(
                "`partita index build URL VARIABLE` builds an index of variables anew; one of a \
                 function is built anew in Python, with that function",
            ),
            ErrorKind::CommitUnknown => Some("`partita history URL` shows whether it happened"),
            ErrorKind::Corrupt => Some("`partita verify URL --data` says what is damaged"),
            ErrorKind::Store => {
                Some("check the URL, the network and the credentials (--option, AWS_*)")
            }
            _ => None,
        }
    }

    fn json(&self) -> Value {
        let (kind, message, context) = match self {
            Self::Engine(error) => {
                let context: Map<String, Value> = error
                    .context()
                    .iter()
                    .rev()
                    .map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())))
                    .collect();
                (error.kind().code(), error.to_string(), context)
            }
            Self::Io(what, error) => ("Io", format!("{what}: {error}"), Map::new()),
            Self::Usage(message) => ("Usage", message.clone(), Map::new()),
            Self::Found(message) => ("Found", message.clone(), Map::new()),
            Self::Defect(message) => ("Internal", message.clone(), Map::new()),
            Self::Closed => ("Closed", "the output was closed".to_owned(), Map::new()),
        };
        json!({"error": {"kind": kind, "message": message, "context": context}})
    }

    fn text(&self) -> String {
        let message = match self {
            Self::Engine(error) => error.to_string(),
            Self::Io(what, error) => format!("{what}: {error}"),
            Self::Usage(message) | Self::Defect(message) | Self::Found(message) => message.clone(),
            Self::Closed => return String::new(),
        };
        let told = format!("{} {message}\n", painted(ERROR, "error:"));
        match self.hint() {
            Some(hint) => format!("{told}  {} {hint}\n", painted(HINT, "hint:")),
            None => told,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

/// Reports a failure on standard error and returns the exit code.
pub(crate) fn report(failure: &Failure, json: bool) -> i32 {
    if !matches!(failure, Failure::Closed) {
        let text = if json { format!("{}\n", failure.json()) } else { failure.text() };
        // If standard error is closed, the report is lost.
        let _ = anstream::stderr().write_all(text.as_bytes());
    }
    failure.exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_of_failure_has_its_exit_code() {
        let code = |kind| Failure::Engine(Error::new(kind, "no")).exit_code();
        assert_eq!(code(ErrorKind::NotFound), 3);
        assert_eq!(code(ErrorKind::CommitConflict), 4);
        assert_eq!(code(ErrorKind::Interrupted), 130);
        assert_eq!(code(ErrorKind::Corrupt), 1);
        assert_eq!(Failure::Usage("no".into()).exit_code(), 2);
        let closed = Failure::io("writing", io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(closed.exit_code(), 0);
    }

    #[test]
    fn json_carries_the_innermost_context() {
        let error =
            Error::new(ErrorKind::NotFound, "gone").with("key", "inner").with("key", "outer");
        let json = Failure::Engine(error).json();
        assert_eq!(json["error"]["kind"], "NotFound");
        assert_eq!(json["error"]["context"]["key"], "inner");
    }
}
