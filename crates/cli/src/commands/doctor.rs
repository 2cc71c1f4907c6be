//! `partita doctor`.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use partita::Store;
use partita::store::repository_url;
use serde_json::{Value, json};

use crate::arguments::Common;
use crate::failure::Failure;
use crate::mount::Mount;
use crate::sink::print;
use crate::style;

const EXAMPLES: &str = "\
Examples:
  partita doctor s3://bucket/lake
  partita doctor lake --json";

/// Test whether a store can commit atomically.
///
/// The command writes test objects to the store and deletes them again. For a path it also shows
/// the guarantees of the file system; for a network store, its latency.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArguments {
    /// The store, or a path
    url: String,
}

/// The sequential requests of one append: the data files, then snapshot and indices, then the
/// header.
const ROUND_TRIPS: u32 = 3;

/// The number of requests that measure one round trip.
const SAMPLES: usize = 5;

/// Runs the command.
pub(crate) async fn run(arguments: DoctorArguments, common: &Common) -> Result<(), Failure> {
    let place = repository_url(&arguments.url).unwrap_or(&arguments.url);
    let store = Store::open(place, &common.writing(false))?;
    let capability = store.probe().await?;
    let mut facts = vec![("url", store.url().to_owned()), ("commit", capability.to_string())];
    if store.is_local() {
        facts.extend(file_system(&store));
    } else if !store.url().starts_with("memory:") {
        let trip = round_trip(&store).await?;
        let millis = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        facts.push(("round trip", millis(trip)));
        facts.push((
            "append",
            format!("waits for {ROUND_TRIPS} round trips, {}", millis(trip * ROUND_TRIPS)),
        ));
    }
    if common.json {
        let names = facts.into_iter().map(|(name, fact)| (name.replace(' ', "_"), json!(fact)));
        return print(&format!("{}\n", Value::Object(names.collect())));
    }
    print(&style::facts(facts))
}

fn file_system(store: &Store) -> Vec<(&'static str, String)> {
    let Some(mount) = Mount::of(Path::new(store.url())) else {
        return vec![("file system", "not reported by the system".to_owned())];
    };
    let promises = mount.promises();
    vec![
        ("file system", format!("{} at {} ({})", mount.kind, mount.at.display(), mount.source)),
        ("locks", promises.locks.to_owned()),
        ("renames", promises.renames.to_owned()),
        ("syncs", promises.syncs.to_owned()),
    ]
}

/// The shortest duration of several requests for an object that does not exist.
async fn round_trip(store: &Store) -> Result<Duration, Failure> {
    let mut shortest = Duration::MAX;
    for _ in 0..SAMPLES {
        let began = Instant::now();
        store.head(".partita-probe-round-trip").await?;
        shortest = shortest.min(began.elapsed());
    }
    Ok(shortest)
}
