//! Collections: labelled arrays partitioned by date or sequence, in the two Zarr layouts of
//! ZCollection.
//!
//! Nothing is built here yet: tables came first, and the seams that collections will stand on
//! (stores, commits, partition keys, predicates, progress) are those of [`partita_core`]. What this
//! crate will hold is said in `ARCHITECTURE.md`.
