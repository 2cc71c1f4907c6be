//! Validation of listing responses before the client parses them. Every request to a server passes
//! through here: it waits while too many are in flight (`load`), is sent over a shared connection
//! (`connections`), and is counted (`requests`).
//!
//! A proxy or a captive portal may answer every request with an HTML page and status 200, which the
//! client would parse as a listing without objects.

use async_trait::async_trait;
use futures::TryStreamExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use tracing::Instrument;

use super::connections::Connections;
use super::load::Load;
use super::requests::Sent;

/// The root elements of listings of S3 and Google, of Azure, and of WebDAV.
const LISTINGS: [&[u8]; 3] = [b"ListBucketResult", b"EnumerationResults", b"multistatus"];
/// The maximum size of a listing in bytes; one of a thousand objects takes less than a megabyte.
const LARGEST_LISTING: usize = 64 << 20;
/// The root element must begin within this many bytes.
const BEGINNING: usize = 4096;

/// An HTTP connector whose clients validate responses and count requests.
#[derive(Debug)]
pub(super) struct Looking;

impl HttpConnector for Looking {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Client(Connections::new(options)?)))
    }
}

#[derive(Debug)]
struct Client(Connections);

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let lists = asks_for_listing(request.method().as_str(), request.uri().query());
        let client = self.0.client();
        let client = client.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let is_conditional =
            ["if-match", "if-none-match"].iter().any(|name| request.headers().contains_key(*name));
        // Commits and leases do not wait for the requests of others.
        let in_flight = Load::of(&request).enter(!is_conditional).await;
        let sent = Sent::begin(&request);
        let answer = client.execute(request).instrument(sent.span()).await;
        if let Ok(answer) = &answer {
            in_flight.answered(answer.status().as_u16());
        }
        let answer = sent.answered(answer)?;
        if !lists || !answer.status().is_success() {
            return Ok(answer);
        }
        let (parts, body) = answer.into_parts();
        let collect = async |mut all: Vec<u8>, part: bytes::Bytes| {
            if all.len() + part.len() > LARGEST_LISTING {
                return Err(wrong("is longer than a listing can be"));
            }
            all.extend_from_slice(&part);
            Ok(all)
        };
        let body = body.bytes_stream().try_fold(Vec::new(), collect).await?;
        match is_listing(&body) {
            true => Ok(HttpResponse::from_parts(parts, body.into())),
            false => Err(wrong(
                "is not a listing: is the endpoint right, and is there a proxy in between?",
            )),
        }
    }
}

pub(super) fn asks_for_listing(method: &str, query: Option<&str>) -> bool {
    let asks = |part: &str| part.starts_with("list-type=") || part == "comp=list";
    method == "PROPFIND" || (method == "GET" && query.is_some_and(|q| q.split('&').any(asks)))
}

fn is_listing(body: &[u8]) -> bool {
    let beginning = body.get(..BEGINNING).unwrap_or(body);
    LISTINGS.iter().any(|name| memchr::memmem::find(beginning, name).is_some())
}

fn wrong(what: &str) -> HttpError {
    HttpError::new(HttpErrorKind::Decode, std::io::Error::other(format!("the answer {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_no_listings() {
        assert!(asks_for_listing("GET", Some("list-type=2&prefix=x")));
        assert!(asks_for_listing("GET", Some("restype=container&comp=list")));
        assert!(!asks_for_listing("GET", None) && !asks_for_listing("PUT", Some("list-type=2")));
        assert!(is_listing(b"<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"x\"/>"));
        assert!(is_listing(b"<D:multistatus xmlns:D=\"DAV:\"/>"));
        for page in ["", "<html></html>", "{}", "<!DOCTYPE html><html><body>Log in</body></html>"] {
            assert!(!is_listing(page.as_bytes()), "{page}");
        }
    }
}
