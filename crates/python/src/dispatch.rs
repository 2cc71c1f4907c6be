//! Dispatch of requests to a store that is implemented in Python.
//!
//! Requests are queued. A single thread takes all queued requests, attaches to the interpreter
//! once, and makes one Python call for each kind of request among them. Many requests thus share
//! one transition to Python, and no thread of the engine waits for the interpreter.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use object_store::PutPayload;
use pyo3::prelude::*;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::protocol::{Entry, Listing, serve};

/// The maximum number of requests per transition to Python; larger batches only delay each other.
const MAX_REQUESTS_PER_CALL: usize = 1024;

/// The channel for the answer to a request.
pub(crate) type Reply<T> = oneshot::Sender<object_store::Result<T>>;

/// A request to a store.
pub(crate) enum Request {
    /// Reads the bytes from `start` to `end`, by default the beginning and the end of the object.
    Get { key: String, start: Option<u64>, end: Option<u64>, reply: Reply<Bytes> },
    /// Writes a whole object.
    Put { key: String, payload: PutPayload, reply: Reply<()> },
    /// Reads the size and time of an object.
    Head { key: String, reply: Reply<Entry> },
    /// Deletes an object.
    Delete { key: String, reply: Reply<()> },
    /// Copies an object.
    Copy { from: String, to: String, reply: Reply<()> },
    /// Lists the objects under a directory, or only those directly in it and its subdirectories.
    List { directory: String, recursive: bool, reply: Reply<Listing> },
}

/// A store implemented in Python, with one dispatching thread per process.
pub(crate) struct Client {
    protocol: Arc<Py<PyAny>>,
    first: Dispatcher,
}

/// All clients of this process, to be closed before the interpreter exits. Locked only by threads
/// attached to the interpreter; `fork` is called by such a thread too, so a child never inherits it
/// locked.
static CLIENTS: Mutex<Vec<Weak<Client>>> = Mutex::new(Vec::new());

impl Client {
    /// Starts serving an object with the methods of `partita.stores.BatchStore`.
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

    /// Sends a request and waits for its answer with the interpreter detached.
    pub(crate) async fn ask<T>(
        &self,
        request: impl FnOnce(Reply<T>) -> Request,
    ) -> object_store::Result<T> {
        let (reply, answer) = oneshot::channel();
        // If the dispatcher has ended, the request is dropped together with its reply channel.
        let _ = self.dispatcher().queue.send(request(reply));
        answer.await.unwrap_or_else(|_| {
            Err(object_store::Error::Generic {
                store: "python",
                source: "the interpreter is ending, or its threads could not be started".into(),
            })
        })
    }

    /// The dispatcher of this process. A forked child has none of its parent's threads, and starts
    /// its own.
    fn dispatcher(&self) -> &Dispatcher {
        let process = std::process::id();
        let mut dispatcher = &self.first;
        while dispatcher.process != process {
            // A process does not modify the list after its own dispatcher: that part belongs to its
            // children.
            dispatcher = dispatcher
                .next
                .get_or_init(|| Box::new(Dispatcher::start(Arc::clone(&self.protocol))));
        }
        dispatcher
    }

    /// Completes the requests in flight, and rejects all later ones.
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

/// Waits until no dispatching thread is in the interpreter, and prevents them from entering it
/// again: a thread inside the interpreter during its exit would crash the process.
pub(crate) fn close_clients(py: Python<'_>) {
    let clients = std::mem::take(&mut *CLIENTS.lock().unwrap_or_else(PoisonError::into_inner));
    py.detach(|| clients.iter().filter_map(Weak::upgrade).for_each(|client| client.close()));
}

/// The dispatching thread of one process.
struct Dispatcher {
    process: u32,
    queue: UnboundedSender<Request>,
    /// Locked while the thread is in the interpreter; true once it must not enter any more.
    ended: Arc<Mutex<bool>>,
    /// The dispatcher of a child of this process.
    next: OnceLock<Box<Dispatcher>>,
}

impl Dispatcher {
    fn start(protocol: Arc<Py<PyAny>>) -> Self {
        let (sender, queue) = unbounded_channel();
        let ended = Arc::new(Mutex::new(false));
        let gate = Arc::clone(&ended);
        // If the thread cannot be started, the queue is dropped, and every request fails.
        let _ = std::thread::Builder::new()
            .name("partita-python-store".to_owned())
            .spawn(move || dispatch(queue, &protocol, &gate));
        Self { process: std::process::id(), queue: sender, ended, next: OnceLock::new() }
    }
}

/// Serves requests until the sender of the queue is dropped.
fn dispatch(mut queue: UnboundedReceiver<Request>, protocol: &Py<PyAny>, ended: &Mutex<bool>) {
    while let Some(first) = queue.blocking_recv() {
        let ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
        if *ended {
            continue;
        }
        Python::try_attach(|py| {
            // Taken after the wait for the interpreter, during which further requests were queued.
            let mut requests = vec![first];
            while requests.len() < MAX_REQUESTS_PER_CALL
                && let Ok(request) = queue.try_recv()
            {
                requests.push(request);
            }
            serve(protocol.bind(py), requests);
        });
    }
}
