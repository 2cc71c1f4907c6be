//! What the engine tells through `tracing`, for `logging` of Python.
//!
//! Threads of the engine never call Python, since a thread that waits for them may hold the
//! interpreter. They queue records, and calls pass them on: while they wait, and when they end.

use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Write as _};
use std::mem::take;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, TryLockError};
use std::time::Instant;

use partita::masked;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, set_global_default};
use tracing::{Event, Level, Metadata, Subscriber};

/// The most records that are queued.
const MOST: usize = 100_000;
/// How often the state is tried to be locked.
const ATTEMPTS: usize = 1000;
/// The level DEBUG of `logging`.
const DEBUG: u8 = 10;

/// True if the logger `partita.requests` takes records of the level DEBUG.
static REQUESTS: AtomicBool = AtomicBool::new(false);
/// True if the logger `partita` takes records of the level DEBUG.
static OPERATIONS: AtomicBool = AtomicBool::new(false);
/// True if records are queued.
static QUEUED: AtomicBool = AtomicBool::new(false);
static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);

/// A logger of Python.
#[derive(Debug, Clone, Copy)]
enum Logger {
    /// `partita.requests`
    Requests,
    /// `partita`
    Operations,
}

impl Logger {
    /// The logger of what is told at this place; `None` for other libraries.
    fn of(metadata: &Metadata<'_>) -> Option<Self> {
        match metadata.target() {
            "partita::requests" => Some(Self::Requests),
            target if target.starts_with("partita") => Some(Self::Operations),
            _ => None,
        }
    }

    fn takes(self, level: Level) -> bool {
        let takes_debug = match self {
            Self::Requests => &REQUESTS,
            Self::Operations => &OPERATIONS,
        };
        level <= Level::WARN || level <= Level::DEBUG && takes_debug.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
enum Value {
    Text(String),
    Count(u64),
    Real(f64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Count(count) => write!(f, "{count}"),
            Self::Real(real) => write!(f, "{real:.1}"),
        }
    }
}

/// The fields of a span or an event, without secrets.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.push((field.name(), Value::Real(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), Value::Count(value)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), Value::Text(masked(value).into_owned())));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// A record for `logging`.
#[derive(Debug)]
struct Told {
    logger: Logger,
    level: u8,
    message: String,
    fields: Fields,
}

impl Told {
    fn new(metadata: &Metadata<'_>, logger: Logger, what: &str, fields: Fields) -> Self {
        let level = match *metadata.level() {
            Level::ERROR => 40,
            Level::WARN => 30,
            Level::INFO => 20,
            _ => DEBUG,
        };
        let mut message = what.to_owned();
        for (place, (name, value)) in fields.0.iter().enumerate() {
            let _ = write!(message, "{}{name}: {value}", if place == 0 { " (" } else { ", " });
        }
        if !fields.0.is_empty() {
            message.push(')');
        }
        Self { logger, level, message, fields }
    }

    fn pass_on(self, py: Python<'_>, loggers: &Loggers) -> PyResult<()> {
        let fields = PyDict::new(py);
        for (name, value) in self.fields.0 {
            match value {
                Value::Text(text) => fields.set_item(name, text)?,
                Value::Count(count) => fields.set_item(name, count)?,
                Value::Real(real) => fields.set_item(name, real)?,
            }
        }
        let extra = PyDict::new(py);
        extra.set_item("partita", fields)?;
        let named = PyDict::new(py);
        named.set_item("extra", extra)?;
        // The message is an argument, since it may hold a percent sign.
        let arguments = (self.level, "%s", self.message);
        loggers.get(self.logger).bind(py).call_method("log", arguments, Some(&named))?;
        Ok(())
    }
}

/// A span that is open.
#[derive(Debug)]
struct Open {
    metadata: &'static Metadata<'static>,
    begun: Instant,
    fields: Fields,
    handles: usize,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<u64, Open>,
    told: VecDeque<Told>,
    /// The number of records that were dropped because too many were queued.
    lost: u64,
}

impl State {
    fn tell(&mut self, told: Told) {
        match self.told.len() < MOST {
            true => self.told.push_back(told),
            false => self.lost += 1,
        }
        QUEUED.store(true, Ordering::Release);
    }
}

/// Locks the state. A forked process may have inherited it locked by a thread that it does not
/// have; what is told there is dropped then.
fn locked() -> Option<MutexGuard<'static, State>> {
    for _ in 0..ATTEMPTS {
        match STATE.try_lock() {
            Ok(state) => return Some(state),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}

/// Receives what the engine tells.
struct Receiver;

impl Subscriber for Receiver {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match Logger::of(metadata) {
            Some(_) => Interest::sometimes(),
            None => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Logger::of(metadata).is_some_and(|logger| logger.takes(*metadata.level()))
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let metadata = attributes.metadata();
        let open = Open { metadata, begun: Instant::now(), fields, handles: 1 };
        if let Some(mut state) = locked() {
            state.open.insert(id, open);
        }
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        if let Some(mut state) = locked()
            && let Some(open) = state.open.get_mut(&span.into_u64())
        {
            values.record(&mut open.fields);
        }
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let Some(logger) = Logger::of(event.metadata()) else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.0.iter().position(|(name, _)| *name == "message");
        let message = message.map(|place| fields.0.remove(place).1.to_string());
        let what = message.unwrap_or_else(|| event.metadata().name().to_owned());
        if let Some(mut state) = locked() {
            state.tell(Told::new(event.metadata(), logger, &what, fields));
        }
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}

    fn clone_span(&self, span: &Id) -> Id {
        if let Some(mut state) = locked()
            && let Some(open) = state.open.get_mut(&span.into_u64())
        {
            open.handles += 1;
        }
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        let Some(mut state) = locked() else { return false };
        let Some(open) = state.open.get_mut(&span.into_u64()) else { return false };
        open.handles = open.handles.saturating_sub(1);
        if open.handles > 0 {
            return false;
        }
        let closed = state.open.remove(&span.into_u64());
        if let Some(Open { metadata, begun, mut fields, .. }) = closed
            && let Some(logger) = Logger::of(metadata)
        {
            let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
            fields.0.push(("milliseconds", Value::Real(milliseconds)));
            state.tell(Told::new(metadata, logger, metadata.name(), fields));
        }
        true
    }
}

/// The loggers of Python.
struct Loggers {
    requests: Py<PyAny>,
    operations: Py<PyAny>,
}

impl Loggers {
    fn find(py: Python<'_>) -> PyResult<&'static Self> {
        static LOGGERS: PyOnceLock<Loggers> = PyOnceLock::new();
        LOGGERS.get_or_try_init(py, || {
            let logger = |name: &str| -> PyResult<Py<PyAny>> {
                Ok(py.import("logging")?.call_method1("getLogger", (name,))?.unbind())
            };
            Ok(Self { requests: logger("partita.requests")?, operations: logger("partita")? })
        })
    }

    fn get(&self, logger: Logger) -> &Py<PyAny> {
        match logger {
            Logger::Requests => &self.requests,
            Logger::Operations => &self.operations,
        }
    }
}

/// Receives what the engine of this process tells, unless something else does.
pub(crate) fn begin() {
    let _ = set_global_default(Receiver);
}

/// Learns which levels the loggers take, at the beginning of a call.
pub(crate) fn refresh(py: Python<'_>) -> PyResult<()> {
    let loggers = Loggers::find(py)?;
    for (logger, takes) in [(Logger::Requests, &REQUESTS), (Logger::Operations, &OPERATIONS)] {
        let enabled = loggers.get(logger).bind(py).call_method1("isEnabledFor", (DEBUG,))?;
        takes.store(enabled.is_truthy()?, Ordering::Relaxed);
    }
    Ok(())
}

/// Passes the queued records on.
///
/// # Errors
/// What a handler of `logging` raises, such as `KeyboardInterrupt`.
pub(crate) fn pass_on(py: Python<'_>) -> PyResult<()> {
    if !QUEUED.swap(false, Ordering::Acquire) {
        return Ok(());
    }
    let queued = locked().map(|mut state| (take(&mut state.told), take(&mut state.lost)));
    let Some((told, lost)) = queued else { return Ok(()) };
    let loggers = Loggers::find(py)?;
    for record in told {
        record.pass_on(py, loggers)?;
    }
    if lost > 0 {
        let message = format!("{lost} records were lost, since too many were queued");
        let record =
            Told { logger: Logger::Operations, level: 30, message, fields: Fields::default() };
        record.pass_on(py, loggers)?;
    }
    Ok(())
}
