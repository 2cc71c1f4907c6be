//! The tables that are served.

use partita::{Error, Predicate, Result, Scan, StoreOptions, Table};

/// The tables under one URL, for reading.
#[derive(Debug, Clone)]
pub struct Lake {
    url: String,
    options: StoreOptions,
}

impl Lake {
    pub fn new(url: String) -> Self {
        Self { url, options: StoreOptions::new().read_only(true) }
    }

    /// A read of the rows of a table that satisfy a condition.
    pub async fn scan(&self, name: &str, condition: Option<&str>) -> Result<Scan> {
        // The name comes from the network: it must not lead out of the lake.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(is_plain) {
            return Err(Error::invalid("a table is named by letters, digits, _ and -"));
        }
        let condition = condition.map(Predicate::parse).transpose()?;
        let table = Table::open(&format!("{}/{name}", self.url), &self.options).await?;
        Ok(match condition {
            Some(condition) => table.scan().filter(condition),
            None => table.scan(),
        })
    }
}
