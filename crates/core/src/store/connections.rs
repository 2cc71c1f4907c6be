//! HTTP clients with their connections, which the stores of a process share.
//!
//! A connection belongs to a server, and not to a bucket or to credentials, since each request is
//! signed for itself. So stores share a client if the options of their clients are equal. The tasks
//! that serve a connection run where it was made: each runtime has clients of its own, and so has a
//! process that was forked.

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use tokio::runtime::{Handle, Id};

/// Clients that are kept when no store uses them any more; the least recently used one goes first.
/// Idle connections of a client are closed after a while in any case.
const KEPT: usize = 8;

/// Environment variables by which a client chooses proxies and certificates.
const VARIABLES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// The clients of this process, the most recently used one last.
static CLIENTS: Mutex<Vec<Shared>> = Mutex::new(Vec::new());

/// Where a client can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scope {
    /// The digest of its options, which may hold a secret of a proxy.
    options: blake3::Hash,
    process: u32,
    /// None for a client that was built before there was a runtime, which has no connection yet.
    runtime: Option<Id>,
}

#[derive(Debug, Clone)]
struct Shared {
    scope: Scope,
    client: HttpClient,
}

/// The connections of a store.
#[derive(Debug)]
pub(super) struct Connections {
    options: ClientOptions,
    digest: blake3::Hash,
    last: Mutex<Option<Shared>>,
}

impl Connections {
    /// Connections with these options, which are checked. None is made yet.
    pub fn new(options: &ClientOptions) -> object_store::Result<Self> {
        let mut text = format!("{options:?}");
        for name in VARIABLES {
            let value = std::env::var(name).unwrap_or_default();
            // Writing to a string does not fail.
            let _ = write!(text, "\n{name}={value}");
        }
        let digest = blake3::hash(text.as_bytes());
        let connections = Self { options: options.clone(), digest, last: Mutex::default() };
        connections.client()?;
        Ok(connections)
    }

    /// The client for a request that is sent now.
    pub fn client(&self) -> object_store::Result<HttpClient> {
        let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
        let scope = Scope { options: self.digest, process: std::process::id(), runtime };
        let mut last = locked(&self.last);
        if let Some(own) = last.as_ref().filter(|own| own.scope == scope) {
            return Ok(own.client.clone());
        }
        let build = || ReqwestConnector::default().connect(&self.options);
        let own = shared(&mut locked(&CLIENTS), scope, build)?;
        let client = own.client.clone();
        *last = Some(own);
        Ok(client)
    }
}

/// The client for a scope, which becomes the most recently used one.
fn shared(
    clients: &mut Vec<Shared>,
    scope: Scope,
    build: impl FnOnce() -> object_store::Result<HttpClient>,
) -> object_store::Result<Shared> {
    let of = |scope: Scope| clients.iter().position(|known| known.scope == scope);
    let client = match of(scope).or_else(|| of(Scope { runtime: None, ..scope })) {
        Some(place) => clients.remove(place).client,
        None => build()?,
    };
    let own = Shared { scope, client };
    clients.push(own.clone());
    if clients.len() > KEPT {
        clients.remove(0);
    }
    Ok(own)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(options: &str, process: u32, runtime: Option<Id>) -> Scope {
        Scope { options: blake3::hash(options.as_bytes()), process, runtime }
    }

    #[test]
    fn clients_are_shared_within_their_scope() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let here = Some(runtime.handle().id());
        let mut clients = Vec::new();
        let mut built = 0;
        let mut asked = |scope| {
            let build = || {
                built += 1;
                ReqwestConnector::default().connect(&ClientOptions::new())
            };
            shared(&mut clients, scope, build).unwrap();
            assert!(clients.len() <= KEPT);
            built
        };
        assert_eq!(asked(scope("a", 1, None)), 1);
        assert_eq!(asked(scope("a", 1, here)), 1, "the one without a connection is taken");
        assert_eq!(asked(scope("a", 1, here)), 1);
        assert_eq!(asked(scope("b", 1, here)), 2, "other options");
        assert_eq!(asked(scope("a", 2, here)), 3, "a process that was forked");
        assert_eq!(asked(scope("a", 1, None)), 4, "another runtime may use it first");
        for other in 0..KEPT {
            asked(scope(&other.to_string(), 1, here));
        }
        assert_eq!(asked(scope("b", 1, here)), 13, "it was used the longest ago");
    }
}
