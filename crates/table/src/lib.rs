//! Tables: rows in Parquet files, partitioned by column values, in the dataset format of plateau.
//!
//! A table consists of one metadata document (the *header*), which names every data file and index,
//! and the files themselves. A commit is one compare-and-swap of the header, so a reader sees a
//! commit as a whole or not at all. Each commit also writes a *snapshot*: the state as a columnar
//! file with the statistics of every data file, which planning and the history read.
//!
//! - [`format`] is the stored form: keys, header, schema file, index files, snapshots.
//! - [`Table`] is the face: create, open, append, replace, delete, scan, history.
//! - [`Staged`] data is written but not visible; [`Table::commit`] makes it so.

mod alter;
mod change;
mod commit;
mod copy;
mod draft;
mod dropping;
mod explain;
mod facts;
mod feed;
pub mod format;
mod garbage;
mod history;
mod mend;
mod options;
#[doc(hidden)]
pub mod protocol;
mod prune;
mod rebuild;
mod reindex;
mod rewrite;
mod scan;
mod stage;
mod state;
mod statistics;
mod table;
mod verify;
mod versions;

pub use alter::SchemaVersion;
pub use commit::Commit;
pub use copy::CopyOptions;
pub use draft::Draft;
pub use explain::{Explain, Reading};
pub use format::header::Encoding;
pub use format::snapshot::Operation;
pub use history::SnapshotInfo;
pub use options::{Annotate, BatchSource, Compression, CreateOptions, SchemaMode, WriteOptions};
pub use partita_core::At;
pub use partita_core::upkeep::{Garbage, GarbageOptions, Problem, ProblemKind};
pub use rewrite::{OptimizeOptions, SmallFiles};
pub use scan::{Scan, ScanFile};
pub use stage::{BucketPartition, DatePartition, Resolution, Staged};
pub use statistics::{ColumnStatistics, Statistics};
pub use table::{Partition, Table};
pub use verify::VerifyOptions;
pub use versions::Keep;
