//! Writers of a table swap its header, and answers are lost.
//!
//! The header names the history and lists the last `recent` commits. Each writer makes its appends
//! one after the other: it loads the header, writes the side objects of an attempt (snapshot and
//! index files), and swaps. The store may apply a write and lose the answer, lose the write, apply
//! it late, answer the repetition of a request that it has applied, refuse it for another reason,
//! or apply it without making it durable. It may fail to be read.

use std::collections::BTreeSet;

use partita_core::ErrorKind;
use partita_core::store::protocol::{
    AfterRead, AfterWrite, Answer, after_read, after_write, proves_no_commit, writes_again,
};
use partita_table::protocol::{committed_after, made_by_header, made_by_history, remembered};
use stateright::{Model, Property};

use crate::check::{fails, holds};

/// One attempt of a writer at one of its appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Token {
    writer: usize,
    append: u8,
    attempt: u8,
}

/// The objects that a commit names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Object {
    Data { writer: usize, append: u8 },
    Side(Token),
}

/// A write of the header that replaces the version `base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Write {
    base: usize,
    token: Token,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Ready,
    Writing { base: usize, left: u8, doubtful: bool },
    Reading { base: usize, left: u8, doubtful: bool, answer: Answer },
    Settling { base: usize },
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Ended {
    Acknowledged,
    Failed,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Writer {
    phase: Phase,
    attempt: u8,
    /// How its appends ended so far.
    ended: Vec<Ended>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    /// The commits that the header is made of, the oldest first. Their number is its version.
    history: Vec<Token>,
    /// The list in the header.
    recent: Vec<Token>,
    objects: BTreeSet<Object>,
    /// Writes that may still be applied.
    late: BTreeSet<Write>,
    writers: Vec<Writer>,
    faults: u8,
}

/// The ways in which the store may treat a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    AppliedLost,
    Lost,
    Late,
    Repeated,
    Denied,
    NotDurable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Load(usize),
    Write(usize, Fate),
    Read(usize, bool),
    Settle(usize, bool),
    Arrive(Write),
}

/// The decisions; those of the engine, or one that is wrong.
#[derive(Clone, Copy)]
struct Rules {
    after_write: fn(Answer, bool) -> AfterWrite,
    made_by_header: fn(u64, u64, Option<bool>) -> Option<bool>,
    proves_no_commit: fn(ErrorKind) -> bool,
}

const RULES: Rules = Rules { after_write, made_by_header, proves_no_commit };

#[derive(Clone, Copy)]
struct Swaps {
    rules: Rules,
    writers: usize,
    appends: u8,
    /// Entries of the list in the header.
    recent: usize,
    /// Writes of one swap.
    writes: u8,
    faults: u8,
}

const SMALL: Swaps =
    Swaps { rules: RULES, writers: 2, appends: 2, recent: 2, writes: 2, faults: 2 };

impl World {
    /// Applies a write if its condition holds.
    fn apply(&mut self, write: Write, recent: usize) -> bool {
        let holds = self.history.len() == write.base;
        if holds {
            self.history.push(write.token);
            self.recent = remembered(&self.recent, write.token, recent);
        }
        holds
    }

    fn token(&self, writer: usize) -> Token {
        let Writer { ended, attempt, .. } = &self.writers[writer];
        Token { writer, append: ended.len() as u8, attempt: *attempt }
    }

    fn contains(&self, writer: usize, append: usize) -> bool {
        let own = |token: &&Token| (token.writer, usize::from(token.append)) == (writer, append);
        self.history.iter().filter(own).count() > 0
    }

    fn ended(&self) -> impl Iterator<Item = (usize, usize, Ended)> {
        let each = |(writer, own): (usize, &Writer)| {
            let ended = own.ended.clone().into_iter().enumerate();
            ended.map(move |(append, ended)| (writer, append, ended))
        };
        self.writers.iter().enumerate().flat_map(each)
    }
}

impl Swaps {
    fn load(&self, world: &mut World, writer: usize) {
        let token = world.token(writer);
        world.objects.insert(Object::Data { writer, append: token.append });
        world.objects.insert(Object::Side(token));
        let base = world.history.len();
        world.writers[writer].phase = Phase::Writing { base, left: self.writes, doubtful: false };
    }

    fn write(&self, world: &mut World, writer: usize, fate: Fate) {
        let Phase::Writing { base, left, mut doubtful } = world.writers[writer].phase else {
            unreachable!()
        };
        let write = Write { base, token: world.token(writer) };
        world.faults += u8::from(fate != Fate::Answered);
        let applied = match fate {
            Fate::Lost | Fate::Denied => false,
            Fate::Late => {
                world.late.insert(write);
                false
            }
            _ => world.apply(write, self.recent),
        };
        let answer = match fate {
            Fate::Answered if applied => return self.end(world, writer, Ended::Acknowledged),
            Fate::Answered | Fate::Repeated => Answer::Refused,
            Fate::AppliedLost | Fate::Lost | Fate::Late => Answer::Lost,
            Fate::Denied => Answer::Failed,
            Fate::NotDurable => Answer::NotDurable,
        };
        let certain = !doubtful && fate != Fate::Repeated;
        match (self.rules.after_write)(answer, certain) {
            AfterWrite::NotMade => self.end(world, writer, Ended::Failed),
            AfterWrite::Unknown => self.end(world, writer, Ended::Unknown),
            AfterWrite::ReadBack { doubtful: more } => {
                doubtful |= more;
                let left = left - 1;
                world.writers[writer].phase = Phase::Reading { base, left, doubtful, answer };
            }
        }
    }

    fn read(&self, world: &mut World, writer: usize, fails: bool) {
        let Phase::Reading { base, left, doubtful, answer } = world.writers[writer].phase else {
            unreachable!()
        };
        if fails {
            world.faults += 1;
            return self.end(world, writer, Ended::Unknown);
        }
        let token = world.token(writer);
        let version = world.history.len();
        let is_new = version == base + 1 && world.history.last() == Some(&token);
        match after_read(is_new, world.recent.contains(&token), version == base) {
            AfterRead::Made | AfterRead::BuiltUpon => {
                self.end(world, writer, Ended::Acknowledged);
            }
            AfterRead::Unchanged if writes_again(answer) && left > 0 => {
                world.writers[writer].phase = Phase::Writing { base, left, doubtful };
            }
            AfterRead::Unchanged if doubtful => self.end(world, writer, Ended::Unknown),
            AfterRead::Unchanged => self.end(world, writer, Ended::Failed),
            AfterRead::Lost => world.writers[writer].phase = Phase::Settling { base },
        }
    }

    fn settle(&self, world: &mut World, writer: usize, fails: bool) {
        let Phase::Settling { base } = world.writers[writer].phase else { unreachable!() };
        if fails {
            world.faults += 1;
            return self.end(world, writer, Ended::Unknown);
        }
        let token = world.token(writer);
        let (before, newest) = (base as u64, world.history.len() as u64);
        let version = before + 1;
        let is_listed = committed_after(&world.recent, newest, before).map(|one| *one == token);
        let made = (self.rules.made_by_header)(version, newest, is_listed).or_else(|| {
            made_by_history(version, Some(version), world.history.get(base) == Some(&token))
        });
        match made {
            Some(true) => self.end(world, writer, Ended::Acknowledged),
            Some(false) => {
                world.objects.remove(&Object::Side(token));
                world.writers[writer].attempt += 1;
                world.writers[writer].phase = Phase::Ready;
            }
            None => self.end(world, writer, Ended::Unknown),
        }
    }

    /// Ends an append, and removes what it wrote where that is allowed.
    fn end(&self, world: &mut World, writer: usize, ended: Ended) {
        let token = world.token(writer);
        let kind = match ended {
            Ended::Acknowledged => None,
            Ended::Failed => Some(ErrorKind::Store),
            Ended::Unknown => Some(ErrorKind::CommitUnknown),
        };
        if kind.is_some_and(self.rules.proves_no_commit) {
            world.objects.remove(&Object::Side(token));
            world.objects.remove(&Object::Data { writer, append: token.append });
        }
        let own = &mut world.writers[writer];
        own.ended.push(ended);
        own.attempt = 0;
        own.phase = match own.ended.len() == usize::from(self.appends) {
            true => Phase::Finished,
            false => Phase::Ready,
        };
    }
}

impl Model for Swaps {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let writer = Writer { phase: Phase::Ready, attempt: 0, ended: Vec::new() };
        vec![World {
            history: Vec::new(),
            recent: Vec::new(),
            objects: BTreeSet::new(),
            late: BTreeSet::new(),
            writers: vec![writer; self.writers],
            faults: 0,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let faulty = world.faults < self.faults;
        for (number, writer) in world.writers.iter().enumerate() {
            match writer.phase {
                Phase::Ready => actions.push(Action::Load(number)),
                Phase::Writing { base, .. } => {
                    actions.push(Action::Write(number, Fate::Answered));
                    let applies = [Fate::AppliedLost, Fate::Repeated, Fate::NotDurable];
                    let fates = applies.into_iter().filter(|_| world.history.len() == base);
                    let fates = fates.chain([Fate::Lost, Fate::Late, Fate::Denied]);
                    actions.extend(fates.filter(|_| faulty).map(|f| Action::Write(number, f)));
                }
                Phase::Reading { .. } => {
                    let fates = [false, true].into_iter().filter(|fails| faulty || !fails);
                    actions.extend(fates.map(|fails| Action::Read(number, fails)));
                }
                Phase::Settling { .. } => {
                    let fates = [false, true].into_iter().filter(|fails| faulty || !fails);
                    actions.extend(fates.map(|fails| Action::Settle(number, fails)));
                }
                Phase::Finished => {}
            }
        }
        actions.extend(world.late.iter().map(|write| Action::Arrive(*write)));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut world = world.clone();
        match action {
            Action::Load(writer) => self.load(&mut world, writer),
            Action::Write(writer, fate) => self.write(&mut world, writer, fate),
            Action::Read(writer, fails) => self.read(&mut world, writer, fails),
            Action::Settle(writer, fails) => self.settle(&mut world, writer, fails),
            Action::Arrive(write) => {
                world.late.remove(&write);
                world.apply(write, self.recent);
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NAMED, |_, world: &World| {
                world.history.iter().all(|token| {
                    let Token { writer, append, .. } = *token;
                    world.objects.contains(&Object::Data { writer, append })
                        && world.objects.contains(&Object::Side(*token))
                })
            }),
            Property::always(ONCE, |_, world: &World| {
                let appends = world.history.iter().map(|token| (token.writer, token.append));
                appends.collect::<BTreeSet<_>>().len() == world.history.len()
            }),
            Property::always(ACKNOWLEDGED, |_, world: &World| {
                let mut ended = world.ended();
                ended.all(|(w, append, e)| e != Ended::Acknowledged || world.contains(w, append))
            }),
            Property::always(FAILED, |_, world: &World| {
                world.ended().all(|(w, append, e)| e != Ended::Failed || !world.contains(w, append))
            }),
            Property::always(
                "an append that is not acknowledged is owed to a fault",
                |_, world: &World| {
                    let failed =
                        world.ended().filter(|(_, _, ended)| *ended != Ended::Acknowledged);
                    failed.count() <= usize::from(world.faults)
                },
            ),
            Property::eventually("every writer comes to an end", |_, world: &World| {
                world.writers.iter().all(|writer| writer.phase == Phase::Finished)
            }),
            Property::sometimes("a commit is found in the history alone", |_, world: &World| {
                let older = |writer: usize| {
                    let token = world.token(writer);
                    world.history.contains(&token) && !world.recent.contains(&token)
                };
                let settles =
                    |(_, own): &(usize, &Writer)| matches!(own.phase, Phase::Settling { .. });
                world.writers.iter().enumerate().filter(settles).any(|(writer, _)| older(writer))
            }),
            Property::sometimes("a commit happens whose outcome is unknown", |_, world: &World| {
                world.ended().any(|(w, append, e)| e == Ended::Unknown && world.contains(w, append))
            }),
        ]
    }
}

const NAMED: &str = "every key that the header or the history names exists";
const ONCE: &str = "each append is in the history at most once";
const ACKNOWLEDGED: &str = "an append that was acknowledged is in the history";
const FAILED: &str = "an append that failed with another error than unknown never is";

#[test]
fn two_writers_whose_answers_are_lost() {
    holds("swap, two writers", SMALL);
}

#[test]
#[ignore = "run by make soak"]
fn larger_models() {
    holds("swap, three writers", Swaps { writers: 3, appends: 1, faults: 3, ..SMALL });
    holds("swap, three appends", Swaps { appends: 3, faults: 2, ..SMALL });
    holds("swap, four faults", Swaps { writes: 3, faults: 4, ..SMALL });
}

#[test]
fn removing_after_an_unknown_outcome_is_found() {
    fails(Swaps { rules: Rules { proves_no_commit: |_| true, ..RULES }, ..SMALL }, NAMED);
}

#[test]
fn trusting_a_refusal_of_a_repetition_is_found() {
    let rules = Rules { after_write: |answer, _| after_write(answer, true), ..RULES };
    fails(Swaps { rules, ..SMALL }, FAILED);
}

#[test]
fn taking_a_commit_that_is_not_listed_for_none_is_found() {
    let rules = Rules { made_by_header: |_, _, listed| Some(listed == Some(true)), ..RULES };
    fails(Swaps { rules, ..SMALL }, ONCE);
}
