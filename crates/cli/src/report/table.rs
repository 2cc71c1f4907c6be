//! The page of a table.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use partita::{
    Cancel, ColumnStatistics, OptimizeOptions, Partition, Result, SnapshotInfo, Table, masked,
    type_name,
};

use super::html::{self, Cell, advice, facts, grid, section};
use super::picture::{Point, growth};
use super::sizes::{Size, sizes};
use super::{coverage, made, word};
use crate::output::texts;
use crate::units;

/// Longer values are cut.
const WIDEST: usize = 60;

/// The page of a table.
pub(super) async fn page(table: &Table) -> Result<String> {
    let partitions = table.partitions().await?;
    let statistics = table.statistics(false, &Cancel::default()).await?;
    // One row with the smallest values and one with the largest.
    let bounds = texts(&statistics.bounds, "")?;
    let bounds: Vec<[String; 2]> = (0..statistics.columns.len())
        .map(|column| [0, 1].map(|row| bound(&bounds, row, column)))
        .collect();
    let history = table.history().await?;
    let merged = table.small_files(&OptimizeOptions::default()).await?;
    let mut small = String::new();
    if merged.files > 0 {
        let told = format!(
            "{} are so small that {} could hold their rows. Merge them with",
            units::plural(merged.files, "file"),
            units::count(merged.into),
        );
        small = advice(&told, &format!("partita optimize {}", word(&table.url())));
    }
    let listed: Vec<Size> = partitions.iter().map(size).collect();
    let dates: Vec<_> = partitions
        .iter()
        .map(|partition| {
            let pairs = partition.key.pairs().iter();
            coverage::date(pairs.map(|(name, value)| (name.as_str(), value.as_str())))
        })
        .collect();
    Ok(html::page(
        &format!("Table {}", table.name()),
        &[
            about(table, &partitions, &statistics.bounds, &bounds),
            section("Columns", &columns(table, &statistics.columns, &bounds)),
            section("Growth", &over_commits(&history)),
            section("Partitions", &format!("{small}{}", sizes(&listed, "files"))),
            section("Coverage", &coverage::calendar(&dates)),
        ],
    ))
}

/// The text of a bound; empty if it is not known.
fn bound(texts: &[Vec<String>], row: usize, column: usize) -> String {
    let text = texts.get(row).and_then(|row| row.get(column)).cloned().unwrap_or_default();
    match text.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn size(partition: &Partition) -> Size {
    let path = partition.key.to_string();
    Size {
        name: if path.is_empty() { "all rows".to_owned() } else { path },
        rows: partition.rows,
        parts: partition.files as u64,
        bytes: partition.bytes,
    }
}

fn about(
    table: &Table,
    partitions: &[Partition],
    bounds: &RecordBatch,
    texts: &[[String; 2]],
) -> String {
    let sum =
        |part: fn(&Partition) -> Option<u64>| -> Option<u64> { partitions.iter().map(part).sum() };
    let schema = bounds.schema();
    let period = schema.fields().iter().zip(texts).find_map(|(field, [from, to])| {
        let is_time = matches!(
            field.data_type(),
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..)
        );
        (is_time && !from.is_empty()).then(|| format!("{from} to {to} ({})", field.name()))
    });
    let version = table.version().map_or("not written by partita".to_owned(), |v| v.to_string());
    facts([
        ("url", masked(&table.url()).into_owned()),
        ("rows", units::known(sum(|partition| partition.rows), units::count)),
        ("size", units::known(sum(|partition| partition.bytes), units::bytes)),
        ("period", period.unwrap_or_default()),
        ("files", units::count(table.num_files() as u64)),
        ("partitions", units::count(partitions.len() as u64)),
        ("partitioned by", table.partition_by().join(", ")),
        ("index on", table.index_columns().join(", ")),
        ("version", version),
        made(),
    ])
}

fn columns(table: &Table, known: &[ColumnStatistics], bounds: &[[String; 2]]) -> String {
    let (keys, indexed) = (table.partition_by(), table.index_columns());
    let schema = table.schema();
    let rows: Vec<Vec<Cell>> = schema
        .fields()
        .iter()
        .zip(known)
        .zip(bounds)
        .map(|((field, column), [smallest, largest])| {
            let roles = [(&keys, "partition"), (&indexed, "index")];
            let roles = roles.iter().filter(|(names, _)| names.contains(field.name()));
            vec![
                Cell::Text(field.name().clone()),
                Cell::Code(type_name(field.data_type())),
                Cell::Text(roles.map(|(_, role)| *role).collect::<Vec<_>>().join(", ")),
                Cell::Number(units::known(column.nulls, units::count)),
                Cell::Text(smallest.clone()),
                Cell::Text(largest.clone()),
            ]
        })
        .collect();
    grid(&["column", "type", "role", "nulls", "smallest", "largest"], &rows)
}

/// The growth over a history, the newest version first.
fn over_commits(history: &[SnapshotInfo]) -> String {
    let (Some(last), Some(first)) = (history.first(), history.last()) else {
        return html::paragraph("No history is kept.");
    };
    let drawn = |what: &str, value: fn(&SnapshotInfo) -> u64, show: fn(u64) -> String| {
        let point = |version: &SnapshotInfo| Point {
            value: value(version),
            told: format!(
                "version {} at {:.0}, {}: {}",
                version.version,
                version.time,
                version.operation.name(),
                show(value(version)),
            ),
        };
        let caption = format!(
            "{what} after each of {}, {:.0} to {:.0}: {} at first, {} now",
            units::plural(history.len() as u64, "commit"),
            first.time,
            last.time,
            show(value(first)),
            show(value(last)),
        );
        growth(&caption, &history.iter().rev().map(point).collect::<Vec<_>>())
    };
    let rows = drawn("Rows", |version| version.rows, units::count);
    let bytes = drawn("Size", |version| version.bytes, units::bytes);
    format!("{rows}{bytes}")
}
