//! Requests to servers: each is a span of `tracing`, and the process counts them by operation.
//!
//! Requests are seen where they are sent, so one that is repeated after a failure counts again.
//! Files and memory are read and written without requests, and clients that the caller passed in
//! send their own.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody};
use percent_encoding::percent_decode_str;
use tracing::Span;
use tracing::field::{Empty, debug};

use super::answers::asks_for_listing;
use crate::masked;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Get,
    Head,
    List,
    Put,
    Copy,
    Delete,
    /// The beginning, a part or the end of a multipart upload.
    Upload,
    /// What is for no object, such as a request for credentials.
    Other,
}

impl Operation {
    const ALL: [Self; 8] = [
        Self::Get,
        Self::Head,
        Self::List,
        Self::Put,
        Self::Copy,
        Self::Delete,
        Self::Upload,
        Self::Other,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Put => "put",
            Self::Copy => "copy",
            Self::Delete => "delete",
            Self::Upload => "upload",
            Self::Other => "other",
        }
    }

    /// The operation of a request to any of the supported kinds of servers; `copies` if it names
    /// an object to copy.
    fn of(method: &str, query: Option<&str>, copies: bool) -> Self {
        let asks = |names: &[&str]| {
            let mut parts = query.unwrap_or_default().split('&');
            parts.any(|part| {
                let name = part.split_once('=').map_or(part, |(name, _)| name);
                names.contains(&name) || names.contains(&part)
            })
        };
        if asks(&["uploads", "uploadId", "comp=block", "comp=blocklist"]) {
            return Self::Upload;
        }
        match method {
            _ if asks_for_listing(method, query) => Self::List,
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "PUT" | "COPY" if copies || method == "COPY" => Self::Copy,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "POST" if asks(&["delete", "comp=batch"]) => Self::Delete,
            _ => Self::Other,
        }
    }

    fn counter(self) -> &'static Counter {
        static COUNTERS: [Counter; Operation::ALL.len()] =
            [const { Counter::new() }; Operation::ALL.len()];
        let [get, head, list, put, copy, delete, upload, other] = &COUNTERS;
        match self {
            Self::Get => get,
            Self::Head => head,
            Self::List => list,
            Self::Put => put,
            Self::Copy => copy,
            Self::Delete => delete,
            Self::Upload => upload,
            Self::Other => other,
        }
    }
}

/// The requests of one operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that were sent; those that were repeated count each time.
    pub requests: u64,
    /// Requests that got no answer, or one that the server is busy or out of order. Most are sent
    /// again, until the time for it is up.
    pub retries: u64,
    /// Bytes of the bodies of requests.
    pub bytes_sent: u64,
    /// Bytes of the bodies of answers.
    pub bytes_received: u64,
}

#[derive(Debug)]
struct Counter {
    requests: AtomicU64,
    retries: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counter {
    const fn new() -> Self {
        Self {
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        }
    }

    fn totals(&self, reset: bool) -> Totals {
        let get = |counter: &AtomicU64| match reset {
            true => counter.swap(0, Ordering::Relaxed),
            false => counter.load(Ordering::Relaxed),
        };
        Totals {
            requests: get(&self.requests),
            retries: get(&self.retries),
            bytes_sent: get(&self.sent),
            bytes_received: get(&self.received),
        }
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// The requests of this process to servers, by operation, since it began or since the last reset.
/// With `reset`, they are counted from zero again.
#[must_use]
pub fn totals_of_requests(reset: bool) -> Vec<(&'static str, Totals)> {
    Operation::ALL
        .iter()
        .map(|operation| (operation.name(), operation.counter().totals(reset)))
        .collect()
}

/// A request that was sent, until its answer was read or dropped.
#[derive(Debug)]
pub(super) struct Sent {
    counter: &'static Counter,
    span: Span,
    received: u64,
}

impl Sent {
    /// A request that is about to be sent.
    pub fn begin(request: &HttpRequest) -> Self {
        let copies = ["x-amz-copy-source", "x-ms-copy-source", "x-goog-copy-source"];
        let copies = copies.iter().any(|name| request.headers().contains_key(*name));
        let uri = request.uri();
        let operation = Operation::of(request.method().as_str(), uri.query(), copies);
        let (counter, sent) = (operation.counter(), request.body().content_length() as u64);
        add(&counter.requests, 1);
        add(&counter.sent, sent);
        let span = tracing::debug_span!(
            target: "partita::requests",
            "request",
            operation = operation.name(),
            key = Empty,
            host = Empty,
            status = Empty,
            error = Empty,
            sent,
            received = Empty,
        );
        if !span.is_disabled() {
            // Queries hold signatures; they are not shown.
            let key = percent_decode_str(uri.path().trim_start_matches('/')).decode_utf8_lossy();
            span.record("key", &*masked(&key));
            span.record("host", uri.host().unwrap_or_default());
        }
        Self { counter, span, received: 0 }
    }

    /// The span of the request.
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// The answer to the request, whose bytes are counted as they are read.
    pub fn answered(
        self,
        answer: Result<HttpResponse, HttpError>,
    ) -> Result<HttpResponse, HttpError> {
        let repeated = match &answer {
            Ok(answer) => {
                let status = answer.status().as_u16();
                self.span.record("status", status);
                matches!(status, 408 | 429 | 500..)
            }
            Err(error) => {
                self.span.record("error", debug(error.kind()));
                !matches!(error.kind(), HttpErrorKind::Decode | HttpErrorKind::Unknown)
            }
        };
        add(&self.counter.retries, u64::from(repeated));
        let (parts, body) = answer?.into_parts();
        let counted = HttpResponseBody::new(Counted { body, sent: self });
        Ok(HttpResponse::from_parts(parts, counted))
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        add(&self.counter.received, self.received);
        self.span.record("received", self.received);
    }
}

/// The body of an answer, whose bytes are counted.
#[derive(Debug)]
struct Counted {
    body: HttpResponseBody,
    sent: Sent,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        let length = data.map_or(0, Bytes::len);
        self.sent.received += length as u64;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_for_what_their_method_and_query_say() {
        use Operation as O;
        for (method, query, copies, operation) in [
            ("GET", None, false, O::Get),
            ("GET", Some("versionId=7"), false, O::Get),
            ("GET", Some("list-type=2&prefix=delete"), false, O::List),
            ("GET", Some("restype=container&comp=list"), false, O::List),
            ("PROPFIND", None, false, O::List),
            ("HEAD", None, false, O::Head),
            ("PUT", None, false, O::Put),
            ("PUT", None, true, O::Copy),
            ("COPY", None, false, O::Copy),
            ("PUT", Some("partNumber=1&uploadId=x"), false, O::Upload),
            ("PUT", Some("comp=block&blockid=x"), false, O::Upload),
            ("POST", Some("uploads"), false, O::Upload),
            ("POST", Some("delete"), false, O::Delete),
            ("POST", Some("delete="), false, O::Delete),
            ("DELETE", None, false, O::Delete),
            ("POST", None, false, O::Other),
        ] {
            assert_eq!(O::of(method, query, copies), operation, "{method} {query:?}");
        }
    }

    #[test]
    fn each_operation_has_a_counter_and_a_name_of_its_own() {
        let names: std::collections::BTreeSet<&str> =
            Operation::ALL.iter().map(|operation| operation.name()).collect();
        assert_eq!(names.len(), Operation::ALL.len());
        for (place, operation) in Operation::ALL.into_iter().enumerate() {
            for other in &Operation::ALL[..place] {
                assert!(!std::ptr::eq(operation.counter(), other.counter()));
            }
        }
    }
}
