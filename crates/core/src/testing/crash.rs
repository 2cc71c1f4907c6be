//! Operations that are stopped at every request, and meet a fault at every request.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::LocalBoxFuture;
use futures::{FutureExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::{ClockStore, Fault, FaultStore, Verb};
use crate::{ErrorKind, Result, Store, StoreOptions};

/// The faults of requests that change something.
static FAULTS: [Fault; 9] = [
    Fault::Status(403),
    Fault::Status(408),
    Fault::Status(429),
    Fault::Status(500),
    Fault::Status(503),
    Fault::Ambiguous,
    Fault::Duplicate,
    Fault::Late(Duration::from_millis(50)),
    Fault::Late(Duration::from_secs(120)),
];
/// The faults of other requests; it makes no difference whether these were carried out.
static FAULTS_OF_READS: [Fault; 2] = [Fault::Status(403), Fault::Status(503)];
/// How many faults an operation meets if not all are tried.
const SAMPLE: usize = 8;
const SEED: u64 = 20;
/// After this time all late requests were carried out.
const SETTLED: Duration = Duration::from_secs(300);
/// The age at which a lease has ended, so that the next writer need not watch it.
const LEASE_ENDED: Duration = Duration::from_secs(240);
/// The age beyond which garbage collection keeps nothing that is not named.
const GRACE_ENDED: Duration = Duration::from_secs(8 * 24 * 3600);

/// What a process does with a store.
pub type OnStore<T> = Rc<dyn Fn(Store) -> LocalBoxFuture<'static, T>>;

/// Boxes what a process does with a store.
pub fn on_store<T: 'static, F>(work: impl Fn(Store) -> F + 'static) -> OnStore<T>
where
    F: Future<Output = T> + 'static,
{
    Rc::new(move |store| work(store).boxed_local())
}

/// An operation on a dataset that has to be whole, whatever happens to its process and its
/// requests.
#[derive(Clone)]
pub struct Operation {
    /// Names the operation in failures.
    pub name: String,
    /// Makes what the operation works on.
    pub prepare: OnStore<()>,
    /// The operation, by a process that opens the dataset first. If it was not made, the same call
    /// has to make it.
    pub run: OnStore<Result<()>>,
    /// Describes what a process reads that opens the dataset.
    pub read: OnStore<String>,
    /// A change by another process, or the creation of the dataset if there is none.
    pub follow: OnStore<()>,
    /// Collects garbage, in a new dataset if there is none.
    pub collect: OnStore<()>,
    /// Whether the operation is one commit, so that an error proves that it was not made.
    pub is_commit: bool,
    /// Parts of keys of objects of which an interruption may leave more than one garbage collection
    /// removes, since a later change or process uses or removes them.
    pub leaves: &'static [&'static str],
    /// The states besides the old and the new one that an interruption may leave.
    pub between: fn(&str) -> bool,
}

/// How much of what is possible is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// A stop before every write, which leaves the same as a stop at any request since the write
    /// before, and a sample of faults. What is left is used in one of two ways, in turn.
    Sample,
    /// A stop before and after every request, and every fault at every request.
    All,
}

/// How often an operation was stopped and met a fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Stops.
    pub stops: u64,
    /// Faults.
    pub faults: u64,
}

impl Operation {
    /// Stops the operation and lets it meet faults. Each time, a reader has to see the old or the
    /// new state; the next writer has to work; and after one garbage collection nothing more may be
    /// left than without the interruption. An operation that meets a fault has to succeed, or to
    /// end in an error that is true. Needs the paused clock of tokio.
    ///
    /// # Errors
    /// The error of the operation if nothing disturbs it.
    ///
    /// # Panics
    /// If one of this does not hold.
    pub async fn check(&self, extent: Extent) -> Result<Tally> {
        let trials = Trials::of(self).await?;
        let mut tally = Tally::default();
        for number in 1.. {
            let mut met = false;
            for carried_out in [false, true] {
                if extent == Extent::Sample && carried_out {
                    continue;
                }
                let writes_only = extent == Extent::Sample;
                let point = Point { number, writes_only, fault: Fault::Stop { carried_out } };
                met |= trials.check(point, extent).await?;
            }
            if !met {
                break;
            }
            tally.stops += if extent == Extent::All { 2 } else { 1 };
        }
        let mut points = trials.faults().await?;
        if extent == Extent::Sample {
            points.shuffle(&mut StdRng::seed_from_u64(SEED));
            points.truncate(SAMPLE);
        }
        for point in points {
            tally.faults += u64::from(trials.check(point, extent).await?);
        }
        Ok(tally)
    }
}

/// A fault at the request of this number, counted from one.
#[derive(Debug, Clone, Copy)]
struct Point {
    number: u64,
    /// Whether reads are not counted.
    writes_only: bool,
    fault: Fault,
}

/// What a disturbed operation left.
struct Attempt {
    memory: Arc<InMemory>,
    /// None if its process was stopped.
    outcome: Option<Result<()>>,
    /// Whether there was a request of the number.
    met: bool,
}

struct Trials<'a> {
    operation: &'a Operation,
    handle: Store,
    prepared: Arc<InMemory>,
    /// What readers see before and after the operation, and what they see after a following change.
    old: String,
    new: String,
    old_followed: String,
    new_followed: String,
    /// What readers see and what is stored after the operation and a garbage collection.
    collected: String,
    left: BTreeMap<String, u64>,
}

impl<'a> Trials<'a> {
    async fn of(operation: &'a Operation) -> Result<Self> {
        let mut trials = Self {
            operation,
            handle: Store::open("memory://crash", &StoreOptions::new())?,
            prepared: Arc::new(InMemory::new()),
            old: String::new(),
            new: String::new(),
            old_followed: String::new(),
            new_followed: String::new(),
            collected: String::new(),
            left: BTreeMap::new(),
        };
        (operation.prepare)(trials.plain(&trials.prepared)).await;
        trials.old = trials.read(&trials.prepared).await;
        let done = fork(&trials.prepared);
        (operation.run)(trials.plain(&done)).await?;
        trials.new = trials.read(&done).await;
        trials.old_followed = trials.follow(&trials.prepared).await;
        trials.new_followed = trials.follow(&done).await;
        trials.collected = trials.collect(&done).await;
        trials.left = shapes(&trials.plain(&done)).await?;
        Ok(trials)
    }

    fn over(&self, client: Arc<dyn ObjectStore>) -> Store {
        self.handle.wrap(move |_| client)
    }

    fn plain(&self, memory: &Arc<InMemory>) -> Store {
        self.over(Arc::clone(memory) as Arc<dyn ObjectStore>)
    }

    /// The store as it is shown after some time.
    fn later(&self, memory: &Arc<InMemory>, by: Duration) -> Store {
        self.over(Arc::new(ClockStore::new(Arc::clone(memory) as Arc<dyn ObjectStore>, by)))
    }

    async fn read(&self, memory: &Arc<InMemory>) -> String {
        (self.operation.read)(self.plain(memory)).await
    }

    /// What readers see after a following change, which is made to a copy.
    async fn follow(&self, memory: &Arc<InMemory>) -> String {
        let memory = fork(memory);
        (self.operation.follow)(self.later(&memory, LEASE_ENDED)).await;
        self.read(&memory).await
    }

    /// What readers see after a garbage collection.
    async fn collect(&self, memory: &Arc<InMemory>) -> String {
        (self.operation.collect)(self.later(memory, GRACE_ENDED)).await;
        self.read(memory).await
    }

    /// All faults at all requests of the operation.
    async fn faults(&self) -> Result<Vec<Point>> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let verbs = Arc::clone(&seen);
        let memory = fork(&self.prepared);
        let counting = FaultStore::new(memory).choosing(move |verb, _| {
            verbs.lock().unwrap_or_else(PoisonError::into_inner).push(verb);
            None
        });
        (self.operation.run)(self.over(Arc::new(counting))).await?;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let faults = |verb: &Verb| -> &'static [Fault] {
            if is_write(*verb) { &FAULTS } else { &FAULTS_OF_READS }
        };
        let points = (1..).zip(seen.iter()).flat_map(|(number, verb)| {
            let point = move |fault: &Fault| Point { number, writes_only: false, fault: *fault };
            faults(verb).iter().map(point)
        });
        Ok(points.collect())
    }

    async fn attempt(&self, point: Point) -> Attempt {
        let memory = fork(&self.prepared);
        let count = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&count);
        let faulty = FaultStore::new(Arc::clone(&memory) as Arc<dyn ObjectStore>);
        let faulty = faulty.choosing(move |verb, _| {
            if point.writes_only && !is_write(verb) {
                return None;
            }
            let number = seen.fetch_add(1, Ordering::SeqCst) + 1;
            (number == point.number).then_some(point.fault)
        });
        let work = (self.operation.run)(self.over(Arc::new(faulty.clone())));
        let outcome = tokio::select! {
            biased;
            () = faulty.stopped() => None,
            outcome = work => Some(outcome),
        };
        faulty.end();
        tokio::time::sleep(SETTLED).await;
        Attempt { memory, outcome, met: count.load(Ordering::SeqCst) >= point.number }
    }

    /// Disturbs the operation, and checks what it leaves. Returns whether there was such a request.
    async fn check(&self, point: Point, extent: Extent) -> Result<bool> {
        let attempt = self.attempt(point).await;
        let Point { number, writes_only, fault } = point;
        let what = if writes_only { "write" } else { "request" };
        let case = format!("{}, {fault:?} at {what} {number}", self.operation.name);
        let found = self.read(&attempt.memory).await;
        self.check_outcome(&case, &found, &attempt.outcome);
        let all = extent == Extent::All;
        if all || number % 2 == 0 {
            self.check_next_writer(&case, &found, &attempt.memory).await;
        }
        if all || number % 2 == 1 {
            self.check_garbage(&case, &found, &attempt.memory).await?;
        }
        Ok(attempt.met)
    }

    fn check_outcome(&self, case: &str, found: &str, outcome: &Option<Result<()>>) {
        let (is_old, is_new) = (found == self.old, found == self.new);
        let is_between = (self.operation.between)(found);
        let (old, new) = (&self.old, &self.new);
        assert!(
            is_old || is_new || is_between,
            "{case}: a torn state\nfound: {found}\nold: {old}\nnew: {new}\noutcome: {outcome:?}"
        );
        match outcome {
            Some(Ok(())) => assert!(is_new, "{case}: acknowledged, but not there: {found}"),
            Some(Err(error)) => {
                assert!(error.kind() != ErrorKind::Corrupt, "{case}: nothing is damaged: {error}");
                let is_certain =
                    self.operation.is_commit && error.kind() != ErrorKind::CommitUnknown;
                assert!(is_old || !is_certain, "{case}: the change was made in spite of {error}");
            }
            None => {}
        }
    }

    async fn check_next_writer(&self, case: &str, found: &str, memory: &Arc<InMemory>) {
        let followed = self.follow(memory).await;
        if found == self.new {
            assert_eq!(followed, self.new_followed, "{case}: after the next change");
        } else if found == self.old {
            assert_eq!(followed, self.old_followed, "{case}: after the next change");
        }
    }

    async fn check_garbage(&self, case: &str, found: &str, memory: &Arc<InMemory>) -> Result<()> {
        if found != self.new {
            let again = (self.operation.run)(self.later(memory, LEASE_ENDED)).await;
            assert!(again.is_ok(), "{case}: it cannot be repeated: {again:?}");
            assert_eq!(self.read(memory).await, self.new, "{case}: after it was repeated");
        }
        assert_eq!(self.collect(memory).await, self.collected, "{case}: after the collection");
        let mut more = shapes(&self.plain(memory)).await?;
        more.retain(|shape, count| {
            let expected = self.left.get(shape).copied().unwrap_or_default();
            let stays = self.operation.leaves.iter().any(|part| shape.contains(part));
            *count > expected && !stays
        });
        assert!(more.is_empty(), "{case}: garbage is left: {more:?}; expected: {:?}", self.left);
        Ok(())
    }
}

fn fork(memory: &Arc<InMemory>) -> Arc<InMemory> {
    Arc::new(memory.fork())
}

fn is_write(verb: Verb) -> bool {
    matches!(verb, Verb::Put | Verb::Swap | Verb::Delete)
}

/// How many objects there are of each [shape].
async fn shapes(store: &Store) -> Result<BTreeMap<String, u64>> {
    let mut shapes = BTreeMap::new();
    let mut objects = store.list("");
    while let Some(object) = objects.try_next().await? {
        *shapes.entry(shape(&object.key)).or_default() += 1;
    }
    Ok(shapes)
}

/// A key without the ids, numbers and times in it, which differ from run to run.
fn shape(key: &str) -> String {
    let mut shape = String::new();
    let mut rest = key;
    while !rest.is_empty() {
        let is_other = |c: char| !c.is_ascii_alphanumeric() && c != '-';
        let (word, after) = rest.split_at(rest.find(is_other).unwrap_or(rest.len()));
        let is_of_id = |c: char| c.is_ascii_digit() || c.is_ascii_uppercase();
        let has_digit = word.contains(|c: char| c.is_ascii_digit());
        if word.len() >= 20 && (has_digit || word.chars().all(is_of_id)) {
            shape.push('*');
        } else {
            for c in word.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }) {
                if c != '#' || !shape.ends_with('#') {
                    shape.push(c);
                }
            }
        }
        let mut others = after.chars();
        shape.extend(others.next());
        rest = others.as_str();
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_two_runs_have_the_same_shape() {
        for (key, expected) in [
            (
                "t/table/city=Oslo/6f0c7d9e-2b1a-4c3d-8e5f-0123456789ab.parquet",
                "t/table/city=Oslo/*.parquet",
            ),
            (".partita/log/0000000000000012.json", ".partita/log/#.json"),
            ("year=1970/month=01/day=02/v/3.0", "year=#/month=#/day=#/v/#.#"),
            ("chunks/ABCDEFGHJKMNPQRSTVWX", "chunks/*"),
        ] {
            assert_eq!(shape(key), expected);
        }
    }
}
