//! The page of a collection or a view.

use std::collections::BTreeMap;

use partita::array::json::Style;
use partita::array::{Action, Collection, PartitionSize, Partitioning, Record};
use partita::{Result, masked};

use super::coverage::{self, calendar, covered};
use super::html::{self, Cell, advice, facts, grid, paragraph, section};
use super::picture::{Point, growth};
use super::sizes::{Size, sizes};
use super::{made, word};
use crate::commands::collection::{chunks_of, partitioned_by, zarr_format};
use crate::{types, units};

/// Objects of less than this many bytes on average are called small, if there are many.
const SMALL: u64 = 64 << 10;
const MANY: u64 = 1000;

/// The page of a collection or a view.
pub(super) async fn page(collection: &Collection) -> Result<String> {
    let partitions = collection.sizes(None).await?;
    let mut history = collection.history().await?;
    history.reverse();
    let config = collection.config();
    let kind = if config.view.is_some() { "View" } else { "Collection" };
    let name = masked(collection.url());
    let name = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let listed: Vec<Size> = partitions.iter().map(size).collect();
    Ok(html::page(
        &format!("{kind} {name}"),
        &[
            about(collection, &partitions),
            section("Variables", &variables(collection)),
            section("Growth", &over_commits(&history, rows_of(&partitions))),
            section(
                "Partitions",
                &format!("{}{}", small(collection, &listed), sizes(&listed, "objects")),
            ),
            section("Coverage", &coverage_of(&config.partitioning, &partitions)),
        ],
    ))
}

fn size(partition: &PartitionSize) -> Size {
    Size {
        name: partition.partition.path.clone(),
        rows: Some(partition.rows as u64),
        parts: partition.objects as u64,
        bytes: Some(partition.bytes),
    }
}

fn rows_of(partitions: &[PartitionSize]) -> u64 {
    partitions.iter().map(|partition| partition.rows as u64).sum()
}

fn about(collection: &Collection, partitions: &[PartitionSize]) -> String {
    let config = collection.config();
    let base = collection.base().map(|base| masked(base.url()).into_owned());
    let period = match (partitions.first(), partitions.last()) {
        (Some(first), Some(last)) => {
            format!("{} to {}", first.partition.path, last.partition.path)
        }
        _ => String::new(),
    };
    let attributes = config.schema.attributes.iter();
    let attributes = attributes
        .map(|(name, value)| ("attribute", format!("{name} = {}", value.to_text(Style::Compact))));
    let own = [
        ("url", masked(collection.url()).into_owned()),
        ("base", base.unwrap_or_default()),
        ("branch", collection.branch().unwrap_or_default().to_owned()),
        ("zarr format", zarr_format(config.layout).to_string()),
        ("rows", units::count(rows_of(partitions))),
        ("size", units::bytes(partitions.iter().map(|partition| partition.bytes).sum())),
        ("period", period),
        ("partitions", units::count(partitions.len() as u64)),
        ("partitioned by", partitioned_by(&config.partitioning)),
        ("axis", config.axis.clone()),
        made(),
    ];
    facts(own.into_iter().chain(attributes))
}

fn variables(collection: &Collection) -> String {
    let config = collection.config();
    let rows: Vec<Vec<Cell>> = config
        .schema
        .paths()
        .into_iter()
        .map(|(path, variable)| {
            vec![
                Cell::Text(path),
                Cell::Code(types::of_numpy(&variable.dtype.to_string())),
                Cell::Text(variable.dimensions.join(", ")),
                Cell::Text(chunks_of(&config.schema, variable)),
            ]
        })
        .collect();
    grid(&["variable", "type", "dimensions", "chunks"], &rows)
}

/// What to do against many small objects.
fn small(collection: &Collection, partitions: &[Size]) -> String {
    let objects: u64 = partitions.iter().map(|partition| partition.parts).sum();
    let bytes: u64 = partitions.iter().filter_map(|partition| partition.bytes).sum();
    if objects < MANY || bytes / objects >= SMALL {
        return String::new();
    }
    let told = format!(
        "{} have {} on average, and each is a request. Copy them into larger chunks with",
        units::plural(objects, "object"),
        units::bytes(bytes / objects),
    );
    let url = word(collection.url());
    let dimension = word(&collection.config().dimension);
    advice(&told, &format!("partita migrate {url} NEW_URL --chunk {dimension}=ITEMS"))
}

/// The growth over a history, the oldest commit first, to the number of rows of now.
fn over_commits(history: &[Record], now: u64) -> String {
    let (Some(first), Some(last)) = (history.first(), history.last()) else {
        return paragraph("No history is kept.");
    };
    let drawn = |what: &str, values: &[u64], show: fn(u64) -> String| {
        let point = |(record, value): (&Record, &u64)| Point {
            value: *value,
            told: format!(
                "commit {} at {:.0}, {}: {}",
                record.sequence,
                record.time,
                record.operation,
                show(*value),
            ),
        };
        let caption = format!(
            "{what} {}, {:.0} to {:.0}",
            units::plural(history.len() as u64, "commit"),
            first.time,
            last.time,
        );
        growth(&caption, &history.iter().zip(values).map(point).collect::<Vec<_>>())
    };
    let mut total = 0;
    let written: Vec<u64> = history
        .iter()
        .map(|record| {
            total =
                record.changes.iter().map(|change| change.bytes).fold(total, u64::saturating_add);
            total
        })
        .collect();
    let written = drawn("Bytes written up to each of", &written, units::bytes);
    let rows = rows_after(history, now);
    let rows = rows.map(|rows| drawn("Rows after each of", &rows, units::count));
    format!("{}{written}", rows.unwrap_or_default())
}

/// The number of rows after each commit. `None` if the first commits are not kept, if one does not
/// say the number, or if another program has written too.
fn rows_after(history: &[Record], now: u64) -> Option<Vec<u64>> {
    if history.first()?.sequence != 1 {
        return None;
    }
    let mut rows: BTreeMap<&str, u64> = BTreeMap::new();
    let mut after: Vec<u64> = Vec::with_capacity(history.len());
    for record in history {
        // What is not partitioned has no rows.
        for change in record.changes.iter().filter(|change| change.path.contains('=')) {
            match (&change.action, change.rows) {
                (Action::Drop, _) => {
                    rows.remove(change.path.as_str());
                }
                (_, Some(number)) => {
                    rows.insert(&change.path, number);
                }
                (Action::Patch { .. }, None) => {}
                (Action::Replace { .. }, None) => return None,
            }
        }
        after.push(rows.values().copied().fold(0, u64::saturating_add));
    }
    (after.last() == Some(&now)).then_some(after)
}

/// The calendar of dates, or the numbers that are there, and what is missing.
fn coverage_of(partitioning: &Partitioning, partitions: &[PartitionSize]) -> String {
    let keys = partitions.iter().map(|size| &size.partition.key);
    let step = match partitioning {
        Partitioning::Date { .. } => {
            let dates = keys.map(|key| {
                let pairs: Vec<(&str, String)> =
                    key.pairs().map(|(field, value)| (field, value.to_string())).collect();
                coverage::date(pairs.iter().map(|(field, value)| (*field, value.as_str())))
            });
            return calendar(&dates.collect::<Vec<_>>());
        }
        Partitioning::GroupedSequence { size, .. } => i128::from(*size),
        _ => 1,
    };
    let numbers: Option<Vec<i128>> = keys
        .map(|key| match key.values() {
            [number] => Some(*number),
            _ => None,
        })
        .collect();
    let field = partitioning.fields().join(", ");
    match numbers {
        Some(numbers) if !numbers.is_empty() => paragraph(&format!(
            "{field}: {}.",
            covered(&numbers, step, |number| number.to_string())
        )),
        _ => String::new(),
    }
}
