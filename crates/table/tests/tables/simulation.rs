//! Writers, readers and the upkeep of one table in simulated time, with faults and with processes
//! that stop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::trips::{Trip, rows, source, trip};
use futures::FutureExt;
use futures::future::join_all;
use jiff::SignedDuration;
use partita_core::testing::{ClockStore, Known, Process, Random, simulate, simulated_store};
use partita_core::{Error, ErrorKind, Store, col};
use partita_table::{
    CreateOptions, GarbageOptions, Keep, OptimizeOptions, Table, VerifyOptions, WriteOptions,
};

/// Seeds in `make test`.
const SEEDS: u64 = 20;
/// Of a thousand requests of a writer, so many meet a fault.
const FAULTS: u64 = 30;
const WRITERS: i64 = 3;
const GRACE: SignedDuration = SignedDuration::from_hours(1);
/// The longest time of a request to the store, and of its answer back.
const LONGEST: Duration = Duration::from_millis(100);
/// The longest time after which a process stops during an operation.
const STOPS: Duration = Duration::from_secs(1);
/// The longest time between two operations of a process.
const PAUSE: Duration = Duration::from_secs(3600);
/// The longest time for which a reader keeps a state, and by which the clock of the store is set
/// forward at once. Together they are shorter than the grace period.
const KEPT: Duration = Duration::from_secs(1200);
const STEP: Duration = Duration::from_secs(180);

/// A transfer, known by its rider: two rows in two partitions, whose fares are opposite.
#[derive(Debug, Clone, Copy, Default)]
struct Transfer {
    made: Known,
    removed: Known,
}

impl Transfer {
    fn allows(self, is_there: bool) -> bool {
        match is_there {
            true => self.made.allows(true) && self.removed.allows(false),
            false => self.made.allows(false) || self.removed.allows(true),
        }
    }
}

#[derive(Clone)]
struct World {
    seed: u64,
    store: Store,
    clock: ClockStore,
    transfers: Arc<Mutex<BTreeMap<i64, Transfer>>>,
}

fn rows_of(id: i64) -> Vec<Trip> {
    let fare = (id % 7 + 1) as f64;
    vec![trip("from", id, -fare), trip("to", id, fare)]
}

/// The kinds of errors that faults of the store may lead to.
fn check_error(error: &Error) {
    let kinds = [ErrorKind::Store, ErrorKind::CommitUnknown, ErrorKind::CommitConflict];
    assert!(kinds.contains(&error.kind()), "{error:?}");
}

impl World {
    async fn new(seed: u64) -> Self {
        let (store, clock) = simulated_store().unwrap();
        let options = CreateOptions {
            partition_by: vec!["city".into()],
            index: vec!["rider".into()],
            ..CreateOptions::default()
        };
        let first = source(&rows_of(0));
        Table::create_in(store.clone(), "trips", first, &options).await.unwrap();
        let made = Transfer { made: Known::Made, removed: Known::NotMade };
        let transfers = Arc::new(Mutex::new(BTreeMap::from([(0, made)])));
        Self { seed, store, clock, transfers }
    }

    fn random(&self, actor: u64) -> Random {
        Random::new(self.seed * 100 + actor)
    }

    /// A new process that has opened the table, or none if that met a fault.
    async fn start(&self, random: &mut Random) -> Option<(Process, Table)> {
        let process = Process::new(&self.store, random.below(1 << 32), FAULTS, LONGEST);
        let opened = process.run(None, Table::open_in(process.store(), "trips")).await?;
        match opened {
            Ok(table) => Some((process, table)),
            Err(error) => {
                check_error(&error);
                None
            }
        }
    }

    fn transfer(&self, id: i64) -> Transfer {
        self.transfers.lock().unwrap().get(&id).copied().unwrap_or_default()
    }

    fn note(&self, id: i64, transfer: Transfer) {
        self.transfers.lock().unwrap().insert(id, transfer);
    }

    async fn writer(self, writer: i64) {
        let mut random = self.random(writer as u64);
        let mut running = None;
        for turn in 1..=4 {
            tokio::time::sleep(random.up_to(PAUSE)).await;
            let id = writer * 100 + turn;
            let earlier = id - 1;
            let removes = self.transfer(earlier).made == Known::Made && random.below(3) == 0;
            // A change with a key is repeated until it is known to be made.
            let attempts = if random.below(2) == 0 { 4 } else { 1 };
            for _ in 0..attempts {
                if running.is_none() {
                    running = self.start(&mut random).await;
                }
                let Some((process, table)) = running.take() else { continue };
                let key = if removes { format!("remove {earlier}") } else { format!("add {id}") };
                let idempotency_key = (attempts > 1).then_some(key);
                let options = WriteOptions { idempotency_key, ..WriteOptions::default() };
                let stops = (random.below(6) == 0).then(|| random.up_to(STOPS));
                let changed = match removes {
                    true => {
                        let scope = col("rider").eq(earlier);
                        let made = process.run(stops, table.delete(&scope, &options)).await;
                        let known = self.transfer(earlier);
                        let removed = known.removed.after(made.as_ref());
                        self.note(earlier, Transfer { removed, ..known });
                        made
                    }
                    false => {
                        let data = source(&rows_of(id));
                        let made = process.run(stops, table.append(data, &options)).await;
                        let known = self.transfer(id);
                        self.note(id, Transfer { made: known.made.after(made.as_ref()), ..known });
                        made
                    }
                };
                match changed {
                    Some(Ok(_)) => {
                        running = Some((process, table));
                        break;
                    }
                    Some(Err(error)) => {
                        check_error(&error);
                        running = Some((process, table));
                    }
                    None => {}
                }
            }
        }
    }

    async fn upkeep(self) {
        let mut random = self.random(90);
        for _ in 0..8 {
            tokio::time::sleep(random.up_to(PAUSE)).await;
            let Some((process, table)) = self.start(&mut random).await else { continue };
            let stops = (random.below(4) == 0).then(|| random.up_to(STOPS));
            let (write, optimize) = (WriteOptions::default(), OptimizeOptions::default());
            let garbage = GarbageOptions { grace: GRACE, ..GarbageOptions::default() };
            let fare = ["fare".to_owned()];
            let work = match random.below(5) {
                0 => {
                    self.clock.advance(random.up_to(STEP));
                    continue;
                }
                1 => async { table.optimize(&optimize, &write).await.map(drop) }.boxed_local(),
                2 => async { table.build_index(&fare, &write).await.map(drop) }.boxed_local(),
                3 => async { table.expire(Keep::Within(GRACE)).await.map(drop) }.boxed_local(),
                _ => async { table.collect_garbage(&garbage).await.map(drop) }.boxed_local(),
            };
            if let Some(Err(error)) = process.run(stops, work).await {
                check_error(&error);
            }
        }
    }

    /// A reader has delays, but no faults, so it never fails.
    async fn reader(self, number: u64) {
        let mut random = self.random(number);
        for _ in 0..4 {
            tokio::time::sleep(random.up_to(PAUSE)).await;
            let process = Process::new(&self.store, random.below(1 << 32), 0, LONGEST);
            let table = Table::open_in(process.store(), "trips").await.unwrap();
            let seen = whole(&table).await;
            tokio::time::sleep(random.up_to(KEPT)).await;
            assert_eq!(whole(&table).await, seen, "a state changed while it was kept");
        }
    }

    async fn check_end(&self) {
        // The last late requests are carried out.
        tokio::time::sleep(PAUSE).await;
        let table = Table::open_in(self.store.clone(), "trips").await.unwrap();
        let found = whole(&table).await;
        for (id, transfer) in self.transfers.lock().unwrap().iter() {
            let is_there = found.contains(id);
            assert!(transfer.allows(is_there), "{id} is there: {is_there}; known: {transfer:?}");
        }
        let history = table.history().await.unwrap();
        let versions: Vec<u64> = history.iter().map(|one| one.version).collect();
        assert_eq!(versions.first().copied(), table.version());
        assert!(versions.windows(2).all(|pair| pair[0] == pair[1] + 1), "a gap: {versions:?}");
        self.clock.advance(Duration::from_secs(2 * 3600));
        let garbage = GarbageOptions { grace: GRACE, ..GarbageOptions::default() };
        table.collect_garbage(&garbage).await.unwrap();
        assert_eq!(table.verify(&VerifyOptions::default()).await.unwrap(), []);
        let table = Table::open_in(self.store.clone(), "trips").await.unwrap();
        assert_eq!(whole(&table).await, found);
    }
}

/// The transfers of a state, each of which has to be there once, with both of its rows.
async fn whole(table: &Table) -> Vec<i64> {
    let mut found = rows(table.scan()).await;
    let total: f64 = found.iter().map(|trip| trip.fare).sum();
    assert_eq!(total, 0.0, "{found:?}");
    found.sort_by_key(|trip| trip.rider);
    let ids: Vec<i64> = found.iter().step_by(2).filter_map(|trip| trip.rider).collect();
    let mut expected: Vec<Trip> = ids.iter().flat_map(|id| rows_of(*id)).collect();
    expected.sort_by(|a, b| (a.rider, &a.city).cmp(&(b.rider, &b.city)));
    found.sort_by(|a, b| (a.rider, &a.city).cmp(&(b.rider, &b.city)));
    assert_eq!(found, expected);
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "a transfer is there twice: {ids:?}");
    ids
}

#[tokio::test(start_paused = true)]
async fn transfers_are_made_once_and_seen_whole() {
    let seeds = simulate(SEEDS, |seed| async move {
        let world = World::new(seed).await;
        let mut actors = vec![world.clone().upkeep().boxed_local()];
        actors.extend((1..=WRITERS).map(|writer| world.clone().writer(writer).boxed_local()));
        actors.extend((50..52).map(|reader| world.clone().reader(reader).boxed_local()));
        join_all(actors).await;
        world.check_end().await;
    });
    println!("{} simulations of a table", seeds.await);
}
