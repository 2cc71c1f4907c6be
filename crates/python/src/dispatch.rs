//! The way of requests to a store that is written in Python.
//!
//! Requests wait in a queue. One thread takes all that wait, attaches to the interpreter once, and
//! makes one call of Python for each kind of request among them. So many requests share a crossing,
//! and no thread of the engine ever waits for the interpreter.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use object_store::PutPayload;
use pyo3::prelude::*;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::protocol::{Entry, Listing, serve};

/// Requests of one crossing. More only wait longer for each other.
const MOST_AT_ONCE: usize = 1024;

/// Where the answer to a request goes.
pub(crate) type Reply<T> = oneshot::Sender<object_store::Result<T>>;

/// What is asked of a store.
pub(crate) enum Request {
    /// Bytes from `start` to `end`, which are the beginning and the end of the object if absent.
    Get { key: String, start: Option<u64>, end: Option<u64>, reply: Reply<Bytes> },
    /// A whole object, written.
    Put { key: String, payload: PutPayload, reply: Reply<()> },
    /// Size and age of an object.
    Head { key: String, reply: Reply<Entry> },
    /// An object, deleted.
    Delete { key: String, reply: Reply<()> },
    /// An object, copied.
    Copy { from: String, to: String, reply: Reply<()> },
    /// The objects under a directory, or only those directly in it and its directories.
    List { directory: String, recursive: bool, reply: Reply<Listing> },
}

/// A store written in Python, and the threads that speak to it: one in each process.
pub(crate) struct Client {
    protocol: Arc<Py<PyAny>>,
    first: Dispatcher,
}

/// Every client of this process, to be closed before the interpreter ends. Locked only by threads
/// attached to the interpreter, as `fork` is called by one: a child never inherits it locked.
static CLIENTS: Mutex<Vec<Weak<Client>>> = Mutex::new(Vec::new());

impl Client {
    /// Begins to serve an object with the methods of `partita.stores.BatchStore`.
    pub(crate) fn new(_attached: Python<'_>, protocol: Py<PyAny>) -> Arc<Self> {
        let protocol = Arc::new(protocol);
        let first = Dispatcher::start(Arc::clone(&protocol));
        let client = Arc::new(Self { protocol, first });
        let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|client| client.strong_count() > 0);
        clients.push(Arc::downgrade(&client));
        client
    }

    /// The Python object.
    pub(crate) fn protocol(&self) -> &Py<PyAny> {
        &self.protocol
    }

    /// Sends a request and waits for its answer, the interpreter being left to others.
    pub(crate) async fn ask<T>(
        &self,
        request: impl FnOnce(Reply<T>) -> Request,
    ) -> object_store::Result<T> {
        let (reply, answer) = oneshot::channel();
        // Where nobody listens the request is dropped, and its reply with it.
        let _ = self.dispatcher().queue.send(request(reply));
        answer.await.unwrap_or_else(|_| {
            Err(object_store::Error::Generic {
                store: "python",
                source: "the interpreter is ending, or its threads could not be started".into(),
            })
        })
    }

    /// The thread of this process. A forked child has none of its parent's threads, and starts one
    /// of its own.
    fn dispatcher(&self) -> &Dispatcher {
        let process = std::process::id();
        let mut dispatcher = &self.first;
        while dispatcher.process != process {
            // A process never touches what follows its own thread: that is for its children.
            dispatcher = dispatcher
                .next
                .get_or_init(|| Box::new(Dispatcher::start(Arc::clone(&self.protocol))));
        }
        dispatcher
    }

    /// Lets the requests under way end, and refuses all later ones.
    fn close(&self) {
        let process = std::process::id();
        let mut dispatcher = Some(&self.first);
        while let Some(this) = dispatcher {
            if this.process == process {
                *this.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
                return;
            }
            dispatcher = this.next.get().map(Box::as_ref);
        }
    }
}

/// Waits until no thread of ours is in the interpreter, and keeps them out from then on: one that
/// was inside while the interpreter ends would take the process down.
pub(crate) fn close_clients(py: Python<'_>) {
    let clients = std::mem::take(&mut *CLIENTS.lock().unwrap_or_else(PoisonError::into_inner));
    py.detach(|| clients.iter().filter_map(Weak::upgrade).for_each(|client| client.close()));
}

/// The thread of one process.
struct Dispatcher {
    process: u32,
    queue: UnboundedSender<Request>,
    /// Held while the thread is in the interpreter; true once it may not enter any more.
    ended: Arc<Mutex<bool>>,
    /// The thread of a child of this process.
    next: OnceLock<Box<Dispatcher>>,
}

impl Dispatcher {
    fn start(protocol: Arc<Py<PyAny>>) -> Self {
        let (sender, queue) = unbounded_channel();
        let ended = Arc::new(Mutex::new(false));
        let gate = Arc::clone(&ended);
        // If it cannot be started the queue is dropped, and every request is told so.
        let _ = std::thread::Builder::new()
            .name("partita-python-store".to_owned())
            .spawn(move || dispatch(queue, &protocol, &gate));
        Self { process: std::process::id(), queue: sender, ended, next: OnceLock::new() }
    }
}

/// Serves requests until the queue's other end is dropped.
fn dispatch(mut queue: UnboundedReceiver<Request>, protocol: &Py<PyAny>, ended: &Mutex<bool>) {
    while let Some(first) = queue.blocking_recv() {
        let ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
        if *ended {
            continue;
        }
        Python::try_attach(|py| {
            // Taken now, since more have come while this thread waited for the interpreter.
            let mut requests = vec![first];
            while requests.len() < MOST_AT_ONCE
                && let Ok(request) = queue.try_recv()
            {
                requests.push(request);
            }
            serve(protocol.bind(py), requests);
        });
    }
}
