//! Isolation of libraries that panic on damaged bytes.
//!
//! Code that decodes one stored object runs in a guard: a panic inside it becomes an error about
//! that object. All state that a panic may leave inconsistent belongs to the call, so none of it is
//! visible afterwards.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Once;
use std::task::Poll;

use crate::{Error, Result};

thread_local! {
    /// The number of guards that this thread is nested in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// RAII token: the thread is in a guard until this is dropped.
struct Inside;

impl Inside {
    fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
    }
}

/// Runs `work`, which decodes untrusted bytes. A panic in it becomes an error that says that the
/// bytes are damaged.
///
/// # Errors
/// The errors are those of `work`; [`Corrupt`](crate::ErrorKind::Corrupt) if it panics.
pub fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let _inside = Inside::enter();
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(damaged(panic.as_ref())))
}

/// Like [`guarded`], for asynchronous work.
///
/// # Errors
/// As [`guarded`].
pub async fn guarded_async<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        let _inside = Inside::enter();
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(Err(damaged(panic.as_ref()))),
        }
    })
    .await
}

/// Installs a panic hook that prints nothing for panics inside guards, since they are reported as
/// errors. Programs call this once before they use the engine; libraries leave the hook to the
/// program.
pub fn silence_guarded_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if DEPTH.get() == 0 {
                before(info);
            }
        }));
    });
}

/// The message of a caught panic.
#[must_use]
pub fn panic_words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

fn damaged(panic: &(dyn Any + Send)) -> Error {
    Error::corrupt("stored bytes cannot be decoded: they are damaged, or of another format")
        .with("decoder", panic_words(panic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[tokio::test]
    async fn a_panic_is_an_error_about_the_bytes() {
        let error = guarded(|| -> Result<()> { panic!("column {} is odd", 3) }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("column 3 is odd"), "{error}");
        let error = guarded_async(async {
            tokio::task::yield_now().await;
            if true {
                panic!("odd");
            }
            Ok(())
        });
        assert_eq!(error.await.unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(DEPTH.get(), 0);
        assert_eq!(guarded(|| Ok(1)).unwrap(), 1);
        let invalid = guarded(|| -> Result<()> { Err(Error::invalid("no")) }).unwrap_err();
        assert_eq!(invalid.kind(), ErrorKind::InvalidArgument);
    }
}
