//! Processes of a simulation: in the paused clock of tokio, a seed determines the delays and the
//! faults of their requests, the moments at which they stop, and so what happens in which order.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::memory::InMemory;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{ClockStore, Fault, FaultStore, LatencyStore, Verb};
use crate::{ErrorKind, Result, Store, StoreOptions};

/// The longest time after which a request is carried out whose sender does not wait for it, by the
/// longest time of a request.
const LATEST: u32 = 30;

/// By how much the clock is set forward in a millisecond in which a thread is blocked.
const STEP: Duration = Duration::from_millis(100);

thread_local! {
    /// The random part of the delays between attempts of this thread, while it simulates.
    static JITTER: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// The random part of a delay between two attempts, if this thread simulates.
pub(crate) fn simulated_jitter() -> Option<f64> {
    JITTER.with_borrow_mut(|jitter| Some(jitter.as_mut()?.random()))
}

/// Runs a simulation for `count` seeds, or as many as `SIMULATION_SEEDS` says; with
/// `SIMULATION_SEED`, for that one alone. The seed of a failure is printed. Returns the number of
/// seeds.
pub async fn simulate<F: Future<Output = ()>>(count: u64, world: impl Fn(u64) -> F) -> u64 {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed.saturating_add(1),
        None => 0..number("SIMULATION_SEEDS").unwrap_or(count),
    };
    let ran = seeds.end - seeds.start;
    let ticks = tick();
    let hurries = tokio::spawn(hurry(ticks));
    for seed in seeds {
        let _named = Named(seed);
        JITTER.set(Some(StdRng::seed_from_u64(seed)));
        world(seed).await;
    }
    hurries.abort();
    ran
}

/// A tick in each millisecond of real time, until nobody receives them.
fn tick() -> mpsc::UnboundedReceiver<()> {
    let (sender, ticks) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while sender.send(()).is_ok() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    });
    ticks
}

/// Sets the clock forward while it goes in real time, which it does as long as some thread is
/// blocked: it may wait for requests, or for their repetition after some seconds.
async fn hurry(mut ticks: mpsc::UnboundedReceiver<()>) {
    let mut last = Instant::now();
    while ticks.recv().await.is_some() {
        if last.elapsed() < STEP {
            tokio::time::advance(STEP).await;
        }
        last = Instant::now();
    }
}

/// Prints the seed of a simulation that fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        JITTER.set(None);
        if std::thread::panicking() {
            eprintln!("the simulation failed with SIMULATION_SEED={}", self.0);
        }
    }
}

/// Choices that follow from a seed.
#[derive(Debug)]
pub struct Random(StdRng);

impl Random {
    /// The choices of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A number below `end`, which must not be zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end)
    }

    /// A time of up to `longest`.
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.0.random())
    }
}

/// What a process knows of a change that it wants to make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Known {
    /// It is not made.
    #[default]
    NotMade,
    /// It is made.
    Made,
    /// It may be made.
    Either,
}

impl Known {
    /// What is known after one more attempt; the outcome is none if the process stopped.
    #[must_use]
    pub fn after<T>(self, outcome: Option<&Result<T>>) -> Self {
        match outcome {
            Some(Ok(_)) => Self::Made,
            Some(Err(error)) if error.kind() != ErrorKind::CommitUnknown => self,
            _ if self == Self::Made => self,
            _ => Self::Either,
        }
    }

    /// Whether the change may be made, or not made.
    #[must_use]
    pub fn allows(self, made: bool) -> bool {
        match self {
            Self::NotMade => !made,
            Self::Made => made,
            Self::Either => true,
        }
    }
}

/// A store in memory in which a simulation takes place, and its clock.
///
/// # Errors
/// None in practice.
pub fn simulated_store() -> Result<(Store, ClockStore)> {
    let clock = ClockStore::new(Arc::new(InMemory::new()), Duration::ZERO);
    let client = Arc::new(clock.clone());
    let store = Store::open("memory://simulation", &StoreOptions::new())?.wrap(move |_| client);
    Ok((store, clock))
}

/// A process with delays, faults and an end of its own.
#[derive(Debug)]
pub struct Process {
    store: Store,
    faults: FaultStore,
}

impl Process {
    /// A process in a store, of whose thousand requests as many meet a fault as `faults` says. A
    /// request takes up to `longest` to the store, and its answer as much back.
    #[must_use]
    pub fn new(store: &Store, seed: u64, faults: u64, longest: Duration) -> Self {
        let random = Mutex::new(Random::new(seed));
        let inner = LatencyStore::random(store.object_store(), seed, longest);
        let faults = FaultStore::new(Arc::new(inner)).choosing(move |verb, _| {
            let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
            (random.below(1000) < faults).then(|| fault(&mut random, verb, longest * LATEST))
        });
        let client = Arc::new(faults.clone());
        Self { store: store.wrap(move |_| client), faults }
    }

    /// The store as the process sees it.
    #[must_use]
    pub fn store(&self) -> Store {
        self.store.clone()
    }

    /// Does some work. If the process stops before it ends, the result is none, and no further
    /// request of the process is carried out.
    pub async fn run<T>(
        &self,
        stops_after: Option<Duration>,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let stop = async {
            match stops_after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        let done = tokio::select! {
            biased;
            () = stop => None,
            done = work => Some(done),
        };
        if done.is_none() {
            self.faults.end();
        }
        done
    }
}

fn fault(random: &mut Random, verb: Verb, latest: Duration) -> Fault {
    match random.below(6) {
        0 => Fault::Fail,
        1 => Fault::Status(403),
        2 => Fault::Status(503),
        3 => Fault::Ambiguous,
        4 => Fault::Late(random.up_to(latest)),
        // A conditional request that is carried out twice is refused the second time, which the
        // client does not do unasked.
        _ if verb == Verb::Swap => Fault::Status(500),
        _ => Fault::Duplicate,
    }
}
