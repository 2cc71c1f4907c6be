//! Garbage collection of a table beside a writer, a reader, an expiry and a restore.
//!
//! Each version has one data file, which the next commit drops, unless it restores an earlier
//! version. Time passes between any two requests. As the engine promises no more, a writer, a
//! restore and a reader whose work has taken the grace period give up. The collection may take any
//! time. A table that is dropped is in `dropping`.

use std::collections::{BTreeMap, BTreeSet};

use partita_table::protocol::{explains_missing, is_garbage};
use stateright::{Model, Property};

mod tests;

/// Objects that are written once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    File(u8),
    Snapshot(usize),
    Mark(usize),
}

/// The content of the snapshot of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Snapshot {
    version: u64,
    parent: Option<usize>,
    file: u8,
    removed: Option<u8>,
}

/// The mark of an expiry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Mark {
    oldest: u64,
    dropped: BTreeSet<u8>,
}

/// A writer, or a restore. It gives up when its work has taken too long.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Writing {
    Idle,
    /// A writer has staged its file; a restore has read the snapshot of a version with this file.
    Begun {
        file: u8,
        at: u8,
    },
    /// A restore has pinned the file.
    Pinned {
        file: u8,
        at: u8,
    },
    /// Its snapshot is written.
    Prepared {
        file: u8,
        at: u8,
        snapshot: usize,
    },
    /// A restore is committed, and its pin is still there.
    Committed {
        file: u8,
    },
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Expiring {
    Idle,
    Loaded {
        oldest: u64,
        expired: Vec<usize>,
        dropped: BTreeSet<u8>,
    },
    /// The mark is written; these snapshots are to be removed, the last one first.
    Marked {
        expired: Vec<usize>,
    },
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Collecting {
    Idle,
    Listed {
        now: u8,
        listed: BTreeMap<Key, u8>,
    },
    /// The newest state and the history were read, and the marks that were listed.
    Looked {
        now: u8,
        listed: BTreeMap<Key, u8>,
        named: BTreeSet<Key>,
        dropped: BTreeMap<u8, u8>,
    },
    /// Objects that nothing named.
    Decided {
        garbage: BTreeSet<Key>,
    },
    Done,
}

/// A reader has the newest state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Reading {
    Idle,
    Pinned { file: u8, at: u8 },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    now: u8,
    /// The snapshot that the header names.
    header: usize,
    /// Every snapshot and every mark that was ever written.
    snapshots: Vec<Snapshot>,
    marks: Vec<Mark>,
    /// When the objects that there are were written.
    objects: BTreeMap<Key, u8>,
    pin: Option<u8>,
    writer: Writing,
    restore: Writing,
    expiry: Expiring,
    collection: Collecting,
    reader: Reading,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Tick,
    Write,
    Restore,
    Expire,
    Collect,
    Pin,
}

/// The decisions; those of the engine, or one that is wrong.
#[derive(Clone, Copy)]
struct Rules {
    is_garbage: fn(u8, Option<u8>, u8, bool) -> bool,
    explains_missing: fn(u64, u64) -> bool,
    /// The state is loaded again before anything is removed.
    looks_again: bool,
    /// The marks of expiries are listed after the history was read.
    lists_marks_again: bool,
    /// The mark of an expiry is written before snapshots are removed.
    marks_first: bool,
}

const RULES: Rules = Rules {
    is_garbage: is_garbage::<u8>,
    explains_missing,
    looks_again: true,
    lists_marks_again: true,
    marks_first: true,
};

/// Which processes there are.
#[derive(Clone, Copy)]
struct Collections {
    rules: Rules,
    writer: bool,
    restore: bool,
    expiry: bool,
    reader: bool,
    versions: u8,
    grace: u8,
    until: u8,
}

const SMALL: Collections = Collections {
    rules: RULES,
    writer: false,
    restore: false,
    expiry: false,
    reader: false,
    versions: 2,
    grace: 2,
    until: 6,
};

impl World {
    fn snapshot(&self, number: usize) -> &Snapshot {
        &self.snapshots[number]
    }

    /// The snapshots from that of the header to the oldest that is there before a gap, and the
    /// version that is missing after them.
    fn walk(&self) -> (Vec<usize>, Option<u64>) {
        let mut walked = Vec::new();
        let mut next = Some(self.header);
        while let Some(number) = next {
            if !self.objects.contains_key(&Key::Snapshot(number)) {
                return (walked, Some(self.snapshot(number).version));
            }
            walked.push(number);
            next = self.snapshot(number).parent;
        }
        (walked, None)
    }

    /// The keys that the newest state and these versions name.
    fn named(&self, walked: &[usize]) -> BTreeSet<Key> {
        let own = walked.iter().chain([&self.header]);
        own.flat_map(|s| [Key::Snapshot(*s), Key::File(self.snapshot(*s).file)]).collect()
    }

    fn write(&mut self, key: Key) {
        self.objects.insert(key, self.now);
    }

    /// Writes the snapshot of a commit with this file, upon the newest state.
    fn prepare(&mut self, file: u8) -> usize {
        let newest = self.snapshot(self.header);
        let (version, replaced) = (newest.version + 1, newest.file);
        let removed = (replaced != file).then_some(replaced);
        self.snapshots.push(Snapshot { version, parent: Some(self.header), file, removed });
        let number = self.snapshots.len() - 1;
        self.write(Key::Snapshot(number));
        number
    }

    /// Swaps the header, or removes the snapshot of the attempt if that was lost.
    fn swap(&mut self, snapshot: usize) -> bool {
        let made = self.snapshot(snapshot).parent == Some(self.header);
        match made {
            true => self.header = snapshot,
            false => self.objects.retain(|key, _| *key != Key::Snapshot(snapshot)),
        }
        made
    }
}

impl Collections {
    fn write(&self, world: &mut World) -> Option<()> {
        let too_late = |at: u8| world.now - at >= self.grace;
        world.writer = match world.writer.clone() {
            Writing::Idle => {
                let file = self.versions + 1;
                world.write(Key::File(file));
                Writing::Begun { file, at: world.now }
            }
            Writing::Begun { at, .. } | Writing::Prepared { at, .. } if too_late(at) => {
                return None;
            }
            Writing::Begun { file, at } => {
                Writing::Prepared { file, at, snapshot: world.prepare(file) }
            }
            Writing::Prepared { file, at, snapshot } => match world.swap(snapshot) {
                true => Writing::Done,
                false => Writing::Begun { file, at },
            },
            Writing::Pinned { .. } | Writing::Committed { .. } | Writing::Done => return None,
        };
        Some(())
    }

    fn restore(&self, world: &mut World) -> Option<()> {
        let too_late = |at: u8| world.now - at >= self.grace;
        world.restore = match world.restore.clone() {
            Writing::Idle => {
                let (walked, _) = world.walk();
                let oldest = *walked.last()?;
                Writing::Begun { file: world.snapshot(oldest).file, at: world.now }
            }
            Writing::Begun { at, .. }
            | Writing::Pinned { at, .. }
            | Writing::Prepared { at, .. }
                if too_late(at) =>
            {
                return None;
            }
            Writing::Begun { file, at } => {
                world.pin = Some(file);
                Writing::Pinned { file, at }
            }
            // A version whose files are gone cannot be restored.
            Writing::Pinned { file, .. } if !world.objects.contains_key(&Key::File(file)) => {
                Writing::Committed { file }
            }
            Writing::Pinned { file, at } => {
                Writing::Prepared { file, at, snapshot: world.prepare(file) }
            }
            Writing::Prepared { file, at, snapshot } => match world.swap(snapshot) {
                true => Writing::Committed { file },
                false => Writing::Pinned { file, at },
            },
            Writing::Committed { .. } => {
                world.pin = None;
                Writing::Done
            }
            Writing::Done => return None,
        };
        Some(())
    }

    /// Expires all versions but the newest.
    fn expire(&self, world: &mut World) -> Option<()> {
        world.expiry = match world.expiry.clone() {
            Expiring::Idle => {
                let (mut kept, _) = world.walk();
                let expired = kept.split_off(kept.len().min(1));
                if expired.is_empty() {
                    return None;
                }
                let stays = world.snapshot(world.header).file;
                let dropped = expired.iter().map(|number| world.snapshot(*number).file);
                let dropped = dropped.filter(|file| *file != stays).collect();
                Expiring::Loaded { oldest: world.snapshot(world.header).version, expired, dropped }
            }
            Expiring::Loaded { oldest, expired, dropped } if self.rules.marks_first => {
                world.marks.push(Mark { oldest, dropped });
                world.write(Key::Mark(world.marks.len() - 1));
                Expiring::Marked { expired }
            }
            Expiring::Loaded { expired, .. } => Expiring::Marked { expired },
            Expiring::Marked { mut expired } => {
                world.objects.remove(&Key::Snapshot(expired.pop()?));
                match expired.is_empty() {
                    true => Expiring::Done,
                    false => Expiring::Marked { expired },
                }
            }
            Expiring::Done => return None,
        };
        Some(())
    }

    fn collect(&self, world: &mut World) -> Option<()> {
        world.collection = match world.collection.clone() {
            Collecting::Idle => {
                Collecting::Listed { now: world.now, listed: world.objects.clone() }
            }
            Collecting::Listed { now, listed } => self.look(world, now, listed),
            Collecting::Looked { now, listed, named, dropped } => {
                let is_named = |key: &Key| {
                    named.contains(key) || world.pin.is_some_and(|file| *key == Key::File(file))
                };
                let is_garbage = |(key, written): &(Key, u8)| {
                    let dropped = match key {
                        Key::File(file) => dropped.get(file).copied(),
                        _ => None,
                    };
                    let Some(before) = now.checked_sub(self.grace) else { return false };
                    (self.rules.is_garbage)(*written, dropped, before, is_named(key))
                };
                let garbage = listed.into_iter().filter(is_garbage).map(|(key, _)| key).collect();
                Collecting::Decided { garbage }
            }
            Collecting::Decided { mut garbage } => {
                if self.rules.looks_again {
                    let named = world.named(&[]);
                    let pinned = |key: &Key| world.pin.is_some_and(|f| *key == Key::File(f));
                    garbage.retain(|key| !named.contains(key) && !pinned(key));
                }
                world.objects.retain(|key, _| !garbage.contains(key));
                Collecting::Done
            }
            Collecting::Done => return None,
        };
        Some(())
    }

    /// Reads the state, the history, and when files were dropped.
    fn look(&self, world: &World, now: u8, listed: BTreeMap<Key, u8>) -> Collecting {
        let (walked, missing) = world.walk();
        let explained = |version: u64| {
            let mut marks = world.marks.iter();
            marks.any(|mark| (self.rules.explains_missing)(mark.oldest, version))
        };
        if missing.is_some_and(|version| !explained(version)) {
            return Collecting::Done;
        }
        let mut named = world.named(&walked);
        let mut dropped: BTreeMap<u8, u8> = BTreeMap::new();
        let mut drop_at = |file: u8, at: u8| {
            let known = dropped.entry(file).or_insert(at);
            *known = (*known).max(at);
        };
        if let Some(oldest) = walked.last()
            && let Some(at) = listed.get(&Key::Snapshot(*oldest))
        {
            world.snapshot(*oldest).removed.into_iter().for_each(|file| drop_at(file, *at));
        }
        for (number, mark) in world.marks.iter().enumerate() {
            // The marks are kept here; the engine keeps the newest.
            named.insert(Key::Mark(number));
            let seen = if self.rules.lists_marks_again { &world.objects } else { &listed };
            if let Some(at) = seen.get(&Key::Mark(number)) {
                mark.dropped.iter().for_each(|file| drop_at(*file, *at));
            }
        }
        Collecting::Looked { now, listed, named, dropped }
    }
}

impl Model for Collections {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let snapshot = |number: u8| Snapshot {
            version: u64::from(number),
            parent: usize::from(number).checked_sub(2),
            file: number,
            removed: (number > 1).then(|| number - 1),
        };
        let numbers = 1..=self.versions;
        let snapshots: Vec<Snapshot> = numbers.clone().map(snapshot).collect();
        let files = numbers.map(|number| (Key::File(number), 0));
        let own = (0..snapshots.len()).map(|number| (Key::Snapshot(number), 0));
        vec![World {
            now: 0,
            header: snapshots.len() - 1,
            objects: files.chain(own).collect(),
            snapshots,
            marks: Vec::new(),
            pin: None,
            writer: Writing::Idle,
            restore: Writing::Idle,
            expiry: Expiring::Idle,
            collection: Collecting::Idle,
            reader: Reading::Idle,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let all = [
            (world.now < self.until, Action::Tick),
            (self.writer, Action::Write),
            (self.restore, Action::Restore),
            (self.expiry, Action::Expire),
            (true, Action::Collect),
            (self.reader && world.reader == Reading::Idle, Action::Pin),
        ];
        actions.extend(all.into_iter().filter(|(can, _)| *can).map(|(_, action)| action));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut world = world.clone();
        match action {
            Action::Tick => world.now += 1,
            Action::Write => self.write(&mut world)?,
            Action::Restore => self.restore(&mut world)?,
            Action::Expire => self.expire(&mut world)?,
            Action::Collect => self.collect(&mut world)?,
            Action::Pin => {
                let file = world.snapshot(world.header).file;
                world.reader = Reading::Pinned { file, at: world.now };
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NAMED, |_, world: &World| {
                let (walked, _) = world.walk();
                world.named(&walked).iter().all(|key| world.objects.contains_key(key))
            }),
            Property::always(GAPS, |_, world: &World| {
                let (_, missing) = world.walk();
                let oldest = world.marks.iter().map(|mark| mark.oldest).max().unwrap_or(0);
                let is_there = |version: u64| {
                    let own = world.snapshots.iter().enumerate();
                    own.filter(|(_, snapshot)| snapshot.version == version)
                        .any(|(n, _)| world.objects.contains_key(&Key::Snapshot(n)))
                };
                missing.is_none_or(|missing| {
                    explains_missing(oldest, missing) && !(1..missing).any(is_there)
                })
            }),
            Property::always(READS, |model: &Self, world: &World| match world.reader {
                Reading::Pinned { file, at } if world.now - at < model.grace => {
                    world.objects.contains_key(&Key::File(file))
                }
                _ => true,
            }),
            Property::sometimes("a file is collected", |_, world: &World| {
                !world.objects.contains_key(&Key::File(1))
            }),
        ]
    }
}

const NAMED: &str = "every key that the header or the history names exists";
const GAPS: &str = "the history has no gap down to where it expired";
const READS: &str = "a reader that began less than the grace period ago reads its files";
