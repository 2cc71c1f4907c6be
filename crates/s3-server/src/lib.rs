//! A small S3 server for tests: `s3s-fs` behind a lock, on a loopback port, with faults on demand.
//!
//! It runs wherever the tests run and needs no root. Since it is written for these tests, it proves
//! less than an independent server; see `tests/servers/ceph_rgw.py` for one.

mod faults;
mod service;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub use faults::Faults;
use service::{LockedFiles, Tally};

/// The access key that the server accepts.
pub const ACCESS_KEY: &str = "partita";
/// The secret of [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "partita-secret";
/// A bucket that exists from the start.
pub const BUCKET: &str = "test";

/// A running server. It stops when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    root: PathBuf,
    tally: Arc<Tally>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server that stores its objects below `root`, on a separate thread with its own
    /// runtime, so that tests with or without a runtime can use it. Port 0 selects a free port.
    ///
    /// # Errors
    /// An I/O error if the directory cannot be created or the port cannot be bound.
    pub fn start(root: &Path, port: u16, faults: Faults) -> io::Result<Self> {
        std::fs::create_dir_all(root.join(BUCKET))?;
        let files = FileSystem::new(root)
            .map_err(|error| io::Error::other(format!("s3s-fs does not start: {error:?}")))?;
        let tally = Arc::new(Tally::default());
        let mut builder =
            S3ServiceBuilder::new(LockedFiles::new(files, faults, Arc::clone(&tally)));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();

        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        // Bound here, so that a port in use is an error, and connections wait in the queue.
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let counted = Arc::clone(&tally);
        let thread = std::thread::Builder::new().name("s3-server".to_owned()).spawn(move || {
            runtime.block_on(serve(listener, service, &counted, stopped));
            runtime.shutdown_background();
        })?;
        let root = root.to_owned();
        Ok(Self { address, root, tally, stop: Some(stop), thread: Some(thread) })
    }

    /// The address of the server: `http://127.0.0.1:…`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The options of an S3 client for this server, under the names of the AWS tools.
    #[must_use]
    pub fn options(&self) -> Vec<(String, String)> {
        let options = [
            ("endpoint_url", self.endpoint()),
            ("access_key_id", ACCESS_KEY.to_owned()),
            ("secret_access_key", SECRET_KEY.to_owned()),
            ("region", "us-east-1".to_owned()),
        ];
        options.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// Creates another bucket.
    ///
    /// # Errors
    /// An I/O error if its directory cannot be created.
    pub fn create_bucket(&self, name: &str) -> io::Result<()> {
        std::fs::create_dir_all(self.root.join(name))
    }

    /// The number of requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.tally.requests.count()
    }

    /// The number of connections that were accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.tally.connections.count()
    }

    /// The number of conditional puts that were carried out but answered with an error.
    #[must_use]
    pub fn lost_answers(&self) -> u64 {
        self.tally.lost_answers.count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: std::net::TcpListener,
    service: S3Service,
    tally: &Tally,
    mut stopped: oneshot::Receiver<()>,
) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let http = Builder::new(TokioExecutor::new());
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(_) => continue,
            },
            _ = &mut stopped => return,
        };
        tally.connections.hits(0);
        // Otherwise Nagle's algorithm delays small responses by 40 ms.
        let _ = socket.set_nodelay(true);
        let connection = http.serve_connection(TokioIo::new(socket), service.clone()).into_owned();
        tokio::spawn(async move {
            let _ = connection.await;
        });
    }
}
