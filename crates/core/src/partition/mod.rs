//! Partition keys: the ordered (field, value) pairs that name a partition, their hive-style path
//! form, and the conversion of column values to key texts and back.
//!
//! The encoding is that of the plateau dataset format: `city=San%20Jos%C3%A9/day=2020-01-01/`.

mod bucket;
mod date;
mod key;
mod model_calendar;
mod split;
mod text;

pub use bucket::{buckets_of, is_bucket_type};
pub use date::{Calendar, CalendarUnit, Resolution};
pub use key::PartitionKey;
pub use model_calendar::ModelCalendar;
pub use split::{Group, split};
pub(crate) use text::time_zone;
pub use text::{is_partition_type, texts_of, values_of};
