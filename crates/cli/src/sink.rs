//! The destination of results: standard output, or a file that appears once it is complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Failure;

/// Prints the complete result of a command, with colours if the output is a terminal.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::io("cannot write to standard output", error))
}

/// A writer of results. It records that its reader has closed the pipe, since encoders convert that
/// error to text.
pub(crate) struct Sink {
    out: BufWriter<Box<dyn Write + Send>>,
    closed: Arc<AtomicBool>,
    file: Option<(PathBuf, PathBuf)>,
}

impl Sink {
    /// Standard output.
    pub(crate) fn stdout() -> Self {
        Self { out: BufWriter::new(Box::new(io::stdout())), closed: Arc::default(), file: None }
    }

    /// A file that replaces `path` once [`Sink::finish`] is called.
    pub(crate) fn file(path: &Path) -> Result<Self, Failure> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{}.partial", std::process::id()));
        let partial = PathBuf::from(partial);
        let file = File::create(&partial)
            .map_err(|error| Failure::io(format!("cannot create {}", path.display()), error))?;
        Ok(Self {
            out: BufWriter::new(Box::new(file)),
            closed: Arc::default(),
            file: Some((partial, path.to_owned())),
        })
    }

    /// True if the destination is standard output.
    pub(crate) fn is_stdout(&self) -> bool {
        self.file.is_none()
    }

    /// A flag that is set once the reader has closed the pipe.
    pub(crate) fn closed(&self) -> Arc<AtomicBool> {
        self.closed.clone()
    }

    /// Called after everything was written.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let Some((partial, path)) = self.file.take() else {
            return self.flush().map_err(|e| Failure::io("cannot write to standard output", e));
        };
        let moved = self.flush().and_then(|()| fs::rename(&partial, &path));
        moved.map_err(|error| {
            let _ = fs::remove_file(&partial);
            Failure::io(format!("cannot write {}", path.display()), error)
        })
    }

    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            self.closed.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        self.note(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.note(result)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // Not finished: the partial file is removed.
        if let Some((partial, _)) = &self.file {
            let _ = fs::remove_file(partial);
        }
    }
}
