//! Metadata of the containers of a table: bounds that may be too wide, an index, exact values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, LargeStringArray, UInt64Array};
use arrow::compute::{cast, concat};
use arrow::datatypes::DataType;
use partita_core::Result;
use partita_core::predicate::{Bounds, Facts};

use super::oracle::{COLUMNS, Cell, Table, array, type_of};

/// Containers of equal row counts. Two bits of `choices` per column select which facts are known.
pub struct Containers {
    columns: Vec<(&'static str, Vec<Vec<Cell>>)>,
    choices: u64,
    len: usize,
}

impl Containers {
    pub fn new(table: &Table, rows: usize, choices: u64) -> Self {
        let columns = COLUMNS
            .iter()
            .map(|name| (*name, table.column(name).chunks(rows).map(<[Cell]>::to_vec).collect()))
            .collect();
        Self { columns, choices, len: table.rows.len().div_ceil(rows) }
    }

    fn column(&self, name: &str) -> (u64, &[Vec<Cell>]) {
        let index = self.columns.iter().position(|(column, _)| *column == name).unwrap();
        (self.choices >> (2 * index) & 3, &self.columns[index].1)
    }
}

fn is_nan(cell: &Cell) -> bool {
    matches!(cell, Cell::Float(value) if value.is_nan())
        || matches!(cell, Cell::Single(value) if value.is_nan())
}

fn values(cells: &[Cell]) -> Vec<Cell> {
    cells.iter().filter(|cell| **cell != Cell::Null && !is_nan(cell)).cloned().collect()
}

/// The smallest or the largest cell.
fn extreme(cells: &[Cell], largest: bool) -> Cell {
    let less = |a: &Cell, b: &Cell| match (a, b) {
        (Cell::Bool(a), Cell::Bool(b)) => a < b,
        (Cell::Exact(a), Cell::Exact(b)) => a < b,
        (Cell::Float(a), Cell::Float(b)) => a < b,
        (Cell::Single(a), Cell::Single(b)) => a < b,
        (Cell::Bytes(a), Cell::Bytes(b)) => a < b,
        (Cell::Instant(a), Cell::Instant(b)) => a < b,
        _ => panic!("{a:?} {b:?}"),
    };
    let better = |a: &Cell, b: &Cell| if largest { less(b, a) } else { less(a, b) };
    let mut cells = values(cells).into_iter();
    let Some(first) = cells.next() else { return Cell::Null };
    cells.fold(first, |best, cell| if better(&cell, &best) { cell } else { best })
}

/// Truncates texts as a writer does that stores their first bytes only.
fn truncated(bounds: &ArrayRef, upwards: bool) -> ArrayRef {
    let cut = bounds.as_string::<i64>().iter().map(|text| {
        text.map(|text| {
            let first: String = text.chars().take(1).collect();
            if upwards && first.len() < text.len() { format!("{first}\u{10ffff}") } else { first }
        })
    });
    Arc::new(cut.collect::<LargeStringArray>())
}

impl Facts for Containers {
    fn len(&self) -> usize {
        self.len
    }

    fn exact(&self, column: &str) -> Option<ArrayRef> {
        let (choice, containers) = self.column(column);
        if choice != 3 || containers.iter().any(|cells| cells.iter().any(|c| *c != cells[0])) {
            return None;
        }
        let firsts: Vec<Cell> = containers.iter().map(|cells| cells[0].clone()).collect();
        Some(array(column, &firsts))
    }

    fn bounds(&self, column: &str) -> Option<Bounds> {
        let (choice, containers) = self.column(column);
        if choice == 0 {
            return None;
        }
        let extremes = |largest| -> ArrayRef {
            let cells: Vec<Cell> = containers.iter().map(|c| extreme(c, largest)).collect();
            let bounds = array(column, &cells);
            match column {
                "text" if choice == 2 => truncated(&bounds, largest),
                "naive" if choice == 2 => {
                    let unit = arrow::datatypes::TimeUnit::Nanosecond;
                    cast(&bounds, &DataType::Timestamp(unit, None)).unwrap()
                }
                "small" if choice == 2 => cast(&bounds, &DataType::Int32).unwrap(),
                _ => bounds,
            }
        };
        let nulls = containers
            .iter()
            .map(|cells| cells.iter().filter(|cell| **cell == Cell::Null).count() as u64);
        let rows = containers.iter().map(|cells| Some(cells.len() as u64));
        Some(Bounds {
            min: extremes(false),
            max: extremes(true),
            null_count: (choice != 2).then(|| nulls.collect::<UInt64Array>()),
            rows: Some(rows.collect()),
        })
    }

    fn matching(
        &self,
        column: &str,
        test: &dyn Fn(&ArrayRef) -> Result<BooleanArray>,
    ) -> Result<Option<BooleanArray>> {
        let (choice, containers) = self.column(column);
        if choice != 1 {
            return Ok(None);
        }
        let arrays: Vec<ArrayRef> =
            containers.iter().map(|cells| array(column, &values(cells))).collect();
        let mut found = Vec::new();
        for values in &arrays {
            assert_eq!(*values.data_type(), type_of(column));
            found.push(Some(test(values)?.iter().any(|answer| answer == Some(true))));
        }
        // An index stores the values of all containers in one array.
        if !arrays.is_empty() {
            let all = concat(&arrays.iter().map(|a| a.as_ref()).collect::<Vec<_>>())?;
            let any = test(&all)?.iter().any(|answer| answer == Some(true));
            assert_eq!(any, found.contains(&Some(true)));
        }
        Ok(Some(found.into_iter().collect()))
    }
}
