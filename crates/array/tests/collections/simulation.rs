//! Writers, readers and the upkeep of one collection in simulated time, with faults and with
//! processes that stop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::rows::{DAY, Kind, Row, dataset, merging, read, try_create, try_open};
use futures::FutureExt;
use futures::future::join_all;
use jiff::SignedDuration;
use partita_array::layout::Layout;
use partita_array::{
    Array, Collection, DType, GarbageOptions, InsertOptions, MapOptions, Merge, PartitionData,
    UpdateFunction, Variable, VerifyOptions,
};
use partita_core::testing::{ClockStore, Known, Process, Random, simulate, simulated_store};
use partita_core::{Error, ErrorKind, Store};

/// Seeds of each kind in `make test`.
const SEEDS: u64 = 14;
/// Of a thousand requests of a writer, so many meet a fault.
const FAULTS: u64 = 10;
const WRITERS: i64 = 3;
const DAYS: i64 = 2;
const GRACE: SignedDuration = SignedDuration::from_hours(1);
/// The longest time of a request to the store, and of its answer back.
const LONGEST: Duration = Duration::from_secs(2);
/// The longest time between two operations of a process.
const PAUSE: Duration = Duration::from_secs(3600);
/// The longest time by which the clock of the store is set forward at once: all in all less than
/// half the grace period.
const STEP: Duration = Duration::from_secs(300);

#[derive(Clone)]
struct World {
    seed: u64,
    kind: Kind,
    store: Store,
    clock: ClockStore,
    /// Which transfers are made.
    transfers: Arc<Mutex<BTreeMap<i64, Known>>>,
}

/// The rows of a transfer, which is known by their time of the day: one in each of two partitions,
/// with opposite values.
fn rows_of(id: i64) -> Vec<Row> {
    let value = i32::try_from(id % 7 + 1).unwrap();
    (0..DAYS).map(|day| (day * DAY + id, if day == 0 { value } else { -value })).collect()
}

/// Turns every transfer round.
fn turned() -> UpdateFunction {
    Arc::new(|given: PartitionData| {
        let v = given.data.require("v")?;
        let values = v.data().integers().unwrap();
        let turned =
            values.iter().flat_map(|value| (-i32::try_from(*value).unwrap()).to_le_bytes());
        let data = Array::from_bytes(
            DType::Int32,
            v.data().shape().to_vec(),
            turned.collect::<Vec<u8>>(),
        )?;
        Ok(vec![Variable::new(v.schema().clone(), data)?])
    })
}

/// The kinds of errors that faults of the store may lead to.
fn check_error(error: &Error) {
    let kinds = [ErrorKind::Store, ErrorKind::CommitUnknown, ErrorKind::CommitConflict];
    assert!(kinds.contains(&error.kind()), "{error:?}");
}

/// The transfers of a state, each of which has to be there once, with both of its rows.
async fn whole(collection: &Collection) -> Vec<i64> {
    let found = read(collection).await;
    let total: i64 = found.iter().map(|row| i64::from(row.1)).sum();
    assert_eq!(total, 0, "{found:?}");
    let of_day = |day: i64| -> Vec<i64> {
        let rows = found.iter().filter(|row| row.0.div_euclid(DAY) == day);
        rows.map(|row| row.0.rem_euclid(DAY)).collect()
    };
    let ids = of_day(0);
    assert_eq!(ids, of_day(1), "half of a transfer: {found:?}");
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "a transfer is there twice: {ids:?}");
    ids
}

impl World {
    async fn new(seed: u64, kind: Kind) -> Self {
        let (store, clock) = simulated_store().unwrap();
        let collection = try_create(store.clone(), kind).await.unwrap();
        collection.insert(&dataset(&rows_of(0)), &merging(Merge::Replace)).await.unwrap();
        let transfers = Arc::new(Mutex::new(BTreeMap::from([(0, Known::Made)])));
        Self { seed, kind, store, clock, transfers }
    }

    fn random(&self, actor: u64) -> Random {
        Random::new(self.seed * 100 + actor)
    }

    /// A new process that has opened the collection, or none if that met a fault.
    async fn start(&self, random: &mut Random) -> Option<(Process, Collection)> {
        let process = Process::new(&self.store, random.below(1 << 32), FAULTS, LONGEST);
        match process.run(None, try_open(process.store(), self.kind)).await? {
            Ok(collection) => Some((process, collection)),
            Err(error) => {
                check_error(&error);
                None
            }
        }
    }

    async fn writer(self, writer: i64) {
        let mut random = self.random(writer as u64);
        let mut running = None;
        for turn in 1..=3 {
            tokio::time::sleep(random.up_to(PAUSE)).await;
            let id = writer * 100 + turn;
            // An insert with a key is repeated until it is known to be made. A repetition without
            // one is harmless too, since the rows are the same, but then it is not known what was
            // made.
            let attempts = if random.below(2) == 0 { 4 } else { 1 };
            for _ in 0..attempts {
                if running.is_none() {
                    running = self.start(&mut random).await;
                }
                let Some((process, collection)) = running.take() else { continue };
                let key = (attempts > 1).then(|| format!("add {id}"));
                let merge = merging(Merge::Upsert { tolerance: None });
                let options = InsertOptions { key, ..merge };
                let stops = (random.below(5) == 0).then(|| random.up_to(Duration::from_secs(60)));
                let rows = dataset(&rows_of(id));
                let made = process.run(stops, collection.insert(&rows, &options)).await;
                {
                    let mut transfers = self.transfers.lock().unwrap();
                    let known = transfers.entry(id).or_default();
                    *known = known.after(made.as_ref());
                }
                if let Some(Err(error)) = &made {
                    check_error(error);
                }
                let is_done = matches!(made, Some(Ok(_)));
                if made.is_some() {
                    running = Some((process, collection));
                }
                if is_done {
                    break;
                }
            }
        }
    }

    async fn upkeep(self) {
        let mut random = self.random(90);
        for _ in 0..5 {
            tokio::time::sleep(random.up_to(PAUSE)).await;
            let Some((process, collection)) = self.start(&mut random).await else { continue };
            let stops = (random.below(4) == 0).then(|| random.up_to(Duration::from_secs(60)));
            let mapping = MapOptions::default();
            let garbage = GarbageOptions { grace: GRACE, ..GarbageOptions::default() };
            let work = match random.below(4) {
                0 => {
                    self.clock.advance(random.up_to(STEP));
                    continue;
                }
                1 => async { collection.update(turned(), &mapping).await.map(drop) }.boxed_local(),
                2 if self.kind != Kind::Icechunk => {
                    async { collection.expire_all_but(2).await.map(drop) }.boxed_local()
                }
                _ => async { collection.collect_garbage(&garbage).await.map(drop) }.boxed_local(),
            };
            if let Some(Err(error)) = process.run(stops, work).await {
                check_error(&error);
            }
        }
    }

    /// A reader has delays, but no faults, so it never fails.
    async fn reader(self, number: u64) {
        let mut random = self.random(number);
        for _ in 0..3 {
            tokio::time::sleep(random.up_to(PAUSE)).await;
            let process = Process::new(&self.store, random.below(1 << 32), 0, LONGEST);
            let collection = try_open(process.store(), self.kind).await.unwrap();
            whole(&collection).await;
            tokio::time::sleep(random.up_to(PAUSE)).await;
            whole(&collection).await;
        }
    }

    async fn check_end(&self) {
        // The last late requests are carried out.
        tokio::time::sleep(PAUSE).await;
        let collection = try_open(self.store.clone(), self.kind).await.unwrap();
        let found = whole(&collection).await;
        for (id, known) in self.transfers.lock().unwrap().iter() {
            let is_there = found.contains(id);
            assert!(known.allows(is_there), "{id} is there: {is_there}; known: {known:?}");
        }
        let records = collection.history().await.unwrap();
        let numbers: Vec<u64> = records.iter().map(|record| record.sequence).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] == pair[1] + 1), "a gap: {numbers:?}");
        self.clock.advance(Duration::from_secs(8 * 24 * 3600));
        collection.collect_garbage(&GarbageOptions::default()).await.unwrap();
        let options = VerifyOptions { data: true, ..VerifyOptions::default() };
        assert_eq!(collection.verify(&options).await.unwrap(), []);
        assert_eq!(whole(&collection).await, found);
    }
}

async fn simulate_kind(kind: Kind) {
    let seeds = simulate(SEEDS, |seed| async move {
        let world = World::new(seed, kind).await;
        let mut actors = vec![world.clone().upkeep().boxed_local()];
        actors.extend((1..=WRITERS).map(|writer| world.clone().writer(writer).boxed_local()));
        actors.extend((50..52).map(|reader| world.clone().reader(reader).boxed_local()));
        join_all(actors).await;
        world.check_end().await;
    });
    println!("{} simulations of a collection, {kind:?}", seeds.await);
}

#[tokio::test(start_paused = true)]
async fn transfers_in_zarr_2_are_made_once_and_seen_whole() {
    simulate_kind(Kind::Plain(Layout::ZarrV2)).await;
}

#[tokio::test(start_paused = true)]
async fn transfers_in_zarr_3_are_made_once_and_seen_whole() {
    simulate_kind(Kind::Plain(Layout::ZarrV3)).await;
}

#[tokio::test(start_paused = true)]
async fn transfers_in_icechunk_are_made_once_and_seen_whole() {
    simulate_kind(Kind::Icechunk).await;
}
