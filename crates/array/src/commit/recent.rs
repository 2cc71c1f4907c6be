//! What the head tells of partitions that were published lately, so that it need not be listed.

use std::collections::BTreeSet;

use super::snapshot::Snapshot;

impl Snapshot {
    /// The partitions that were published lately.
    fn recent_partitions(&self) -> impl Iterator<Item = &str> {
        let recent = self.head.young.iter().filter(|(path, young)| {
            young.stage.is_some() && self.config.partitioning.parse(path).is_some()
        });
        recent.map(|(path, _)| path.as_str())
    }

    /// A partition of the newest state, if it is known of one without a listing.
    pub(crate) fn recent_partition(&self) -> Option<&str> {
        let is_newest = self.pending.is_empty() && self.listed.is_none();
        self.recent_partitions().next().filter(|_| is_newest)
    }

    /// The directories above the partitions that were published lately.
    pub(super) fn directories(&self) -> BTreeSet<String> {
        let above = self.recent_partitions().flat_map(|path| {
            path.match_indices('/').filter_map(move |(end, _)| path.get(..end).map(str::to_owned))
        });
        above.collect()
    }
}
