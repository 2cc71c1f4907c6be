//! Folders of files, whose names may contain values: `year=2026/month=01/trips.csv`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, LargeStringArray};
use arrow::datatypes::Field;
use partita::convert::{Suggestion, parse_column};
use partita::partition::PartitionKey;

use super::bytes::Input;
use super::{Arrow, Typed, external};
use crate::failure::Failure;
use crate::output::Format;

/// The value for null in folder names of Hive, Spark and others.
const MISSING: &str = "__HIVE_DEFAULT_PARTITION__";

/// An input file.
#[derive(Debug)]
pub(super) struct Source {
    pub path: PathBuf,
    pub format: Format,
    pub values: Values,
    input: OnceLock<Input>,
}

impl Source {
    /// Opens the file. Standard input is read only once.
    pub fn input(&self) -> io::Result<Input> {
        if let Some(input) = self.input.get() {
            return Ok(input.clone());
        }
        let input = Input::open(&self.path)?;
        Ok(self.input.get_or_init(|| input).clone())
    }
}

/// The columns that the folder names of a file define, with their values as text.
#[derive(Debug, Clone, Default)]
pub(super) struct Values(Vec<(String, Option<String>)>);

impl Values {
    /// The types that the values in the folder names may have, by column.
    pub fn types(&self) -> impl Iterator<Item = (String, Typed)> {
        self.0.iter().map(|(name, text)| {
            let mut suggestion = Suggestion::default();
            if let Some(text) = text {
                suggestion.see(text);
            }
            (name.clone(), Typed::Text(suggestion))
        })
    }

    /// The column `field` with `rows` rows, if a folder name defines it.
    pub fn column(&self, field: &Field, rows: usize) -> Arrow<Option<ArrayRef>> {
        let Some((name, text)) = self.0.iter().find(|(name, _)| name == field.name()) else {
            return Ok(None);
        };
        let texts = std::iter::repeat_n(text.as_deref(), rows);
        let texts: ArrayRef = Arc::new(texts.collect::<LargeStringArray>());
        parse_column(name, 0, &texts, field.data_type()).map(Some).map_err(external)
    }
}

/// The files of `paths`, with folders replaced by their files, ordered by name.
pub(super) fn sources(paths: &[PathBuf], format: Option<Format>) -> Result<Vec<Source>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = found.len();
            walk(path, &mut Vec::new(), format, &mut found)?;
            if found.len() == before {
                let message = format!("there is no file to read in {}", path.display());
                return Err(Failure::Usage(message));
            }
        } else {
            found.push((path.clone(), Values::default()));
        }
    }
    found
        .into_iter()
        .map(|(path, values)| {
            let format = format.or_else(|| Format::of_input(&path)).filter(|f| *f != Format::Table);
            let format = format.ok_or_else(|| {
                Failure::Usage(format!(
                    "cannot determine the format of {}; pass --format csv, jsonl or parquet",
                    path.display()
                ))
            })?;
            Ok(Source { path, format, values, input: OnceLock::new() })
        })
        .collect()
}

fn walk(
    folder: &Path,
    values: &mut Vec<(String, Option<String>)>,
    format: Option<Format>,
    found: &mut Vec<(PathBuf, Values)>,
) -> Result<(), Failure> {
    let unreadable = |error| Failure::io(format!("cannot read {}", folder.display()), error);
    let entries: Result<Vec<_>, _> = fs::read_dir(folder).map_err(unreadable)?.collect();
    let mut paths: Vec<PathBuf> =
        entries.map_err(unreadable)?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        // `_SUCCESS` and `_temporary` belong to the program that wrote the folder; `_x=1` is a
        // value.
        let hidden = |name: &String| {
            name.starts_with('.') || name.starts_with('_') && !(path.is_dir() && name.contains('='))
        };
        let Some(name) = name.filter(|name| !hidden(name)) else { continue };
        if path.is_dir() {
            let named = PartitionKey::from_directories(std::iter::once(name.as_str()))?;
            let outside = values.len();
            for (column, text) in named.pairs() {
                values.push((column.clone(), Some(text.clone()).filter(|text| text != MISSING)));
            }
            walk(&path, values, format, found)?;
            values.truncate(outside);
        } else if format.is_some() || Format::of_input(&path).is_some() {
            found.push((path, Values(values.clone())));
        }
    }
    Ok(())
}
