//! Records of a collection whose numbers become free again, and staged objects that are discarded.
//!
//! Each writer stages an object and a manifest, looks for the last commit, checks the age of what it
//! has staged, and creates the record of the next number. The store may lose the answer, carry the
//! request out late, or refuse it. A publisher moves the mark, clean-up removes the staged copies of
//! what is published, and garbage collection removes old records and what nobody has committed. A
//! writer that has lost a race may give up: it removes what it staged object by object, and may be
//! stopped in between.
//!
//! A writer may sleep at any point. The engine promises that no number gets a second commit even if
//! it sleeps without end. That a commit is complete it promises only if less than half of the grace
//! period lies between the check of the age and the record, so writers are faster than that in the
//! models that ask for it.

use std::collections::{BTreeMap, BTreeSet};

use partita_array::protocol::{Counts, counts, is_dead, is_fresh, keeps_staged};
use partita_core::store::protocol::{
    AfterRead, AfterWrite, Answer, after_read, after_write, writes_again,
};
use stateright::{Model, Property};

use crate::check::{fails, holds};

/// The objects that a writer stages: the chunk and the manifest.
const ALL: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Staging,
    Staged,
    /// It is going to create the record of this number.
    Ready {
        number: u64,
        left: u8,
        doubtful: bool,
    },
    Reading {
        number: u64,
        left: u8,
        doubtful: bool,
    },
    /// The record is there. Whether it counts is still to be learned.
    Created {
        number: u64,
    },
    /// Another commit has its number.
    Lost,
    Discarding,
    Done {
        number: u64,
    },
    Failed,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Writer {
    phase: Phase,
    /// When it began to stage, when it staged its last object, and how many there are.
    began: u8,
    staged_at: u8,
    objects: u8,
    /// The age was checked.
    checked: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Collecting {
    Idle,
    Listed { now: u8, writers: BTreeSet<usize> },
    Decided { writers: BTreeSet<usize>, dead: BTreeSet<u64> },
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    now: u8,
    /// The records: the writer, and when it was created.
    log: BTreeMap<u64, (usize, u8)>,
    /// The commits that were published, and how many of them clean-up has looked at.
    published: Vec<usize>,
    cleaned: u64,
    /// The changes that notes name.
    noted: BTreeSet<usize>,
    /// Records that may still be created.
    late: BTreeSet<(u64, usize)>,
    writers: Vec<Writer>,
    collection: Collecting,
    faults: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    AppliedLost,
    Late,
    Denied,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Tick,
    Step(usize),
    Create(usize, Fate),
    GiveUp(usize),
    Arrive(u64, usize),
    Publish,
    Clean,
    Collect,
}

/// The decisions; those of the engine, or one that is wrong.
#[derive(Clone, Copy)]
struct Rules {
    counts: fn(u64, u64, Option<bool>) -> Counts,
    keeps_staged: fn(bool, bool) -> bool,
    /// After an error of the request, what was staged is left to garbage collection.
    leaves_after_errors: bool,
}

const RULES: Rules = Rules { counts, keeps_staged, leaves_after_errors: true };

#[derive(Clone, Copy)]
struct Records {
    rules: Rules,
    writers: usize,
    /// Published commits that the head names.
    recent: usize,
    grace: u8,
    until: u8,
    /// Requests that create one record.
    writes: u8,
    faults: u8,
    sleeps: bool,
}

const SMALL: Records = Records {
    rules: RULES,
    writers: 2,
    recent: 1,
    grace: 2,
    until: 3,
    writes: 1,
    faults: 1,
    sleeps: false,
};

impl World {
    fn mark(&self) -> u64 {
        self.published.len() as u64
    }

    /// The writers whose records count, in order.
    fn counting(&self) -> Vec<usize> {
        let pending = self.log.range(self.mark() + 1..).map(|(_, (writer, _))| *writer);
        self.published.iter().copied().chain(pending).collect()
    }

    fn create(&mut self, number: u64, writer: usize) -> bool {
        let is_free = !self.log.contains_key(&number);
        if is_free {
            self.log.insert(number, (writer, self.now));
        }
        is_free
    }
}

impl Records {
    /// A writer that does not sleep has committed, or given up, by then.
    fn is_awake(&self, world: &World, writer: usize) -> bool {
        self.sleeps || world.now - world.writers[writer].began < self.grace
    }

    fn step(&self, world: &mut World, writer: usize) -> Option<()> {
        let own = world.writers[writer].clone();
        let phase = match own.phase {
            Phase::Staging => {
                let objects = own.objects + 1;
                let staged_at = world.now;
                let began = if own.objects == 0 { staged_at } else { own.began };
                world.writers[writer] = Writer { objects, began, staged_at, ..own };
                if objects == ALL { Phase::Staged } else { Phase::Staging }
            }
            Phase::Staged | Phase::Lost => {
                let age = u64::from(world.now - own.began);
                if !own.checked && !is_fresh(age, u64::from(self.grace)) {
                    world.writers[writer].phase = Phase::Discarding;
                    return Some(());
                }
                world.writers[writer].checked = true;
                let last = world.log.keys().next_back().copied().unwrap_or(0);
                let number = last.max(world.mark()) + 1;
                Phase::Ready { number, left: self.writes, doubtful: false }
            }
            Phase::Reading { number, left, doubtful } => {
                let found = world.log.get(&number).map(|(own, _)| *own);
                let is_own = found == Some(writer);
                match after_read(is_own, is_own, found.is_none()) {
                    AfterRead::Made | AfterRead::BuiltUpon => Phase::Created { number },
                    AfterRead::Lost => Phase::Lost,
                    AfterRead::Unchanged if left > 0 => Phase::Ready { number, left, doubtful },
                    AfterRead::Unchanged if doubtful => Phase::Unknown,
                    AfterRead::Unchanged => Phase::Failed,
                }
            }
            Phase::Created { number } => self.check(world, writer, number),
            Phase::Discarding if own.objects > 0 => {
                world.writers[writer].objects -= 1;
                Phase::Discarding
            }
            Phase::Discarding => Phase::Failed,
            Phase::Ready { .. } | Phase::Done { .. } | Phase::Failed | Phase::Unknown => {
                return None;
            }
        };
        world.writers[writer].phase = phase;
        Some(())
    }

    /// Learns whether the record that the writer has created counts.
    fn check(&self, world: &mut World, writer: usize, number: u64) -> Phase {
        let mark = world.mark();
        let is_named = number <= mark && mark - number < self.recent as u64;
        let is_published = is_named.then(|| world.published[number as usize - 1] == writer);
        match (self.rules.counts)(number, mark, is_published) {
            Counts::Yes => Phase::Done { number },
            Counts::No => {
                world.log.remove(&number);
                Phase::Lost
            }
            Counts::Unknown => Phase::Unknown,
        }
    }

    fn create(&self, world: &mut World, writer: usize, fate: Fate) -> Option<()> {
        let Phase::Ready { number, left, doubtful } = world.writers[writer].phase else {
            return None;
        };
        world.faults += u8::from(fate != Fate::Answered);
        let answer = match fate {
            Fate::Answered => match world.create(number, writer) {
                true => {
                    world.writers[writer].phase = Phase::Created { number };
                    return Some(());
                }
                false => Answer::Refused,
            },
            Fate::AppliedLost => {
                world.create(number, writer);
                Answer::Lost
            }
            Fate::Late => {
                world.late.insert((number, writer));
                Answer::Lost
            }
            Fate::Denied => Answer::Failed,
        };
        world.writers[writer].phase = match after_write(answer, !doubtful) {
            AfterWrite::NotMade => Phase::Failed,
            AfterWrite::Unknown => Phase::Unknown,
            AfterWrite::ReadBack { doubtful: more } => {
                let left = if writes_again(answer) { left - 1 } else { 0 };
                Phase::Reading { number, left, doubtful: doubtful || more }
            }
        };
        Some(())
    }

    /// Ends a commit that others were always faster than, or that failed.
    fn give_up(&self, world: &mut World, writer: usize) {
        world.writers[writer].phase = Phase::Discarding;
    }

    fn publish(world: &mut World) -> Option<()> {
        let (writer, _) = *world.log.get(&(world.mark() + 1))?;
        // Of objects that are missing nothing can be published.
        if world.writers[writer].objects < ALL {
            return None;
        }
        world.published.push(writer);
        world.noted.insert(writer);
        Some(())
    }

    fn clean(&self, world: &mut World) -> Option<()> {
        let number = world.cleaned + 1;
        if number > world.mark() {
            return None;
        }
        let created = world.log.get(&number).map_or(0, |(_, at)| *at);
        if created + self.grace > world.now {
            return None;
        }
        world.cleaned = number;
        world.writers[world.published[number as usize - 1]].objects = 0;
        Some(())
    }

    fn collect(&self, world: &mut World) -> Option<()> {
        world.collection = match world.collection.clone() {
            Collecting::Idle => {
                let writers = world.writers.iter().enumerate();
                let writers = writers.filter(|(_, own)| own.objects > 0).map(|(own, _)| own);
                Collecting::Listed { now: world.now, writers: writers.collect() }
            }
            Collecting::Listed { now, writers } => {
                let old = |at: u8| at + self.grace < now;
                let is_kept = |writer: &usize| {
                    let is_recorded = world.log.values().any(|(own, _)| own == writer);
                    (self.rules.keeps_staged)(is_recorded, world.noted.contains(writer))
                };
                let doomed =
                    |writer: &usize| old(world.writers[*writer].staged_at) && !is_kept(writer);
                let dead = world.log.iter();
                let dead =
                    dead.filter(|(number, (_, at))| is_dead(**number, world.cleaned, old(*at)));
                let dead = dead.map(|(number, _)| *number).collect();
                Collecting::Decided { writers: writers.into_iter().filter(doomed).collect(), dead }
            }
            Collecting::Decided { writers, dead } => {
                writers.into_iter().for_each(|writer| world.writers[writer].objects = 0);
                world.log.retain(|number, _| !dead.contains(number));
                Collecting::Done
            }
            Collecting::Done => return None,
        };
        Some(())
    }
}

impl Model for Records {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let (phase, objects, checked) = (Phase::Staging, 0, false);
        let writer = Writer { phase, began: 0, staged_at: 0, objects, checked };
        vec![World {
            now: 0,
            log: BTreeMap::new(),
            published: Vec::new(),
            cleaned: 0,
            noted: BTreeSet::new(),
            late: BTreeSet::new(),
            writers: vec![writer; self.writers],
            collection: Collecting::Idle,
            faults: 0,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.now < self.until {
            actions.push(Action::Tick);
        }
        for (number, writer) in world.writers.iter().enumerate() {
            match writer.phase {
                Phase::Ready { .. } if self.is_awake(world, number) => {
                    actions.push(Action::Create(number, Fate::Answered));
                    if world.faults < self.faults {
                        let fates = [Fate::AppliedLost, Fate::Late, Fate::Denied];
                        actions.extend(fates.map(|fate| Action::Create(number, fate)));
                    }
                }
                Phase::Ready { .. } => {}
                Phase::Lost => {
                    actions.extend([Action::Step(number), Action::GiveUp(number)]);
                }
                Phase::Failed | Phase::Unknown
                    if !self.rules.leaves_after_errors && writer.objects > 0 =>
                {
                    actions.push(Action::GiveUp(number));
                }
                _ => actions.push(Action::Step(number)),
            }
        }
        let late = world.late.iter().filter(|(_, writer)| self.is_awake(world, *writer));
        actions.extend(late.map(|(number, writer)| Action::Arrive(*number, *writer)));
        actions.extend([Action::Publish, Action::Clean, Action::Collect]);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut world = world.clone();
        match action {
            Action::Tick => world.now += 1,
            Action::Step(writer) => self.step(&mut world, writer)?,
            Action::Create(writer, fate) => self.create(&mut world, writer, fate)?,
            Action::GiveUp(writer) => self.give_up(&mut world, writer),
            Action::Arrive(number, writer) => {
                world.late.remove(&(number, writer));
                world.create(number, writer);
            }
            Action::Publish => Self::publish(&mut world)?,
            Action::Clean => self.clean(&mut world)?,
            Action::Collect => self.collect(&mut world)?,
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always(ONE_ID, |_, world: &World| {
                let counting = world.counting();
                let done = world.writers.iter().enumerate();
                done.filter_map(|(writer, own)| match own.phase {
                    Phase::Done { number } => Some((writer, number)),
                    _ => None,
                })
                .all(|(writer, number)| counting.get(number as usize - 1) == Some(&writer))
            }),
            Property::always(ONCE, |_, world: &World| {
                let counting = world.counting();
                counting.iter().collect::<BTreeSet<_>>().len() == counting.len()
            }),
            Property::always(FAILED, |_, world: &World| {
                let failed = |writer: &usize| world.writers[*writer].phase == Phase::Failed;
                !world.counting().iter().any(failed)
            }),
            Property::always(COMPLETE, |model: &Self, world: &World| {
                let mut pending = world.log.range(world.mark() + 1..);
                model.sleeps
                    || pending.all(|(_, (writer, _))| world.writers[*writer].objects == ALL)
            }),
            Property::sometimes("two commits are made", |_, world: &World| {
                let done = |own: &&Writer| matches!(own.phase, Phase::Done { .. });
                world.writers.iter().filter(done).count() == 2
            }),
            Property::sometimes("uncommitted objects are collected", |_, world: &World| {
                let waits = |own: &Writer| matches!(own.phase, Phase::Ready { .. });
                world.writers.iter().any(|own| waits(own) && own.objects == 0)
            }),
        ];
        if self.sleeps {
            all.push(Property::sometimes("a number is used again", |_, world: &World| {
                let mut dead = world.log.range(..=world.mark());
                dead.any(|(number, (own, _))| world.published[*number as usize - 1] != *own)
            }));
        }
        all
    }
}

const ONE_ID: &str = "each number has one commit that counts, which its writer knows";
const ONCE: &str = "each commit counts at most once";
const FAILED: &str = "a commit that failed with another error than unknown never counts";
const COMPLETE: &str = "every record that counts has complete objects";

#[test]
fn commits_are_complete_beside_discards_and_collection() {
    holds("records, complete", SMALL);
}

#[test]
fn numbers_have_one_commit_though_writers_sleep() {
    holds("records, sleeping writers", Records { sleeps: true, faults: 0, ..SMALL });
}

#[test]
#[ignore = "run by make soak"]
fn larger_models() {
    holds("records, two faults", Records { faults: 2, writes: 2, ..SMALL });
    holds("records, more time", Records { until: 4, ..SMALL });
    let sleeps = Records { sleeps: true, ..SMALL };
    holds("records, sleeping writers and a fault", sleeps);
    holds("records, three writers", Records { writers: 3, faults: 0, ..sleeps });
}

#[test]
fn a_record_that_counts_whatever_the_mark_is_is_found() {
    let rules = Rules { counts: |_, _, _| Counts::Yes, ..RULES };
    fails(Records { sleeps: true, faults: 0, rules, ..SMALL }, ONE_ID);
}

#[test]
fn removing_what_was_staged_after_an_error_is_found() {
    fails(Records { rules: Rules { leaves_after_errors: false, ..RULES }, ..SMALL }, COMPLETE);
}

#[test]
fn collecting_what_a_record_names_is_found() {
    let rules = Rules { keeps_staged: |_, is_noted| is_noted, ..RULES };
    fails(Records { rules, ..SMALL }, COMPLETE);
}
