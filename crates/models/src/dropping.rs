//! The drop of a table beside creations at its place.
//!
//! The header of a table has one of two encodings, under a key of its own each. The first creation
//! records the encoding in the object of the form, which the others follow; tables of plateau have
//! no such object. A creation looks whether there is a table, stages its data, follows or creates
//! the form, writes its snapshot, and creates the header. A drop deletes the headers, what the table
//! named or what is older, and then the form if there is no new table. Time passes between any two
//! requests.

use std::collections::{BTreeMap, BTreeSet};

use partita_table::protocol::is_of_dropped;
use stateright::{Model, Property};

use crate::check::{fails, holds};

/// The table that is dropped. Those that are created have the numbers after it.
const OLD: usize = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Data(usize),
    Snapshot(usize),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Dropping {
    Idle,
    /// The headers in this order are to be deleted, the last one first.
    Begun {
        before: u8,
        named: BTreeSet<Key>,
        headers: Vec<usize>,
    },
    Listed {
        doomed: BTreeSet<Key>,
    },
    Removed,
    /// There was no header then.
    Vacant,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Creating {
    Idle,
    Vacant,
    Staged,
    Formed { encoding: usize },
    Prepared { encoding: usize },
    Created,
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    now: u8,
    /// The table of the header in each encoding.
    headers: [Option<usize>; 2],
    form: Option<usize>,
    objects: BTreeMap<Key, u8>,
    dropping: Dropping,
    creations: Vec<Creating>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Tick,
    Drop,
    Create(usize),
}

#[derive(Clone)]
struct Drops {
    is_of_dropped: fn(bool, bool) -> bool,
    /// The encodings that the creations want.
    wanted: Vec<usize>,
    /// The encoding of the table that is dropped, and whether its form is recorded.
    old: usize,
    is_recorded: bool,
    /// The header of the other encoding is deleted before that of the table.
    own_last: bool,
    until: u8,
}

fn small(wanted: &[usize]) -> Drops {
    let wanted = wanted.to_vec();
    Drops { is_of_dropped, wanted, old: 0, is_recorded: true, own_last: true, until: 4 }
}

impl Drops {
    fn drop_table(&self, world: &mut World) -> Option<()> {
        world.dropping = match world.dropping.clone() {
            Dropping::Idle => {
                // The clocks of stores are coarse: what was written in the last tick may be newer.
                let before = world.now.checked_sub(1)?;
                let named = [Key::Data(OLD), Key::Snapshot(OLD)].into();
                let (own, other) = (self.old, 1 - self.old);
                let headers = if self.own_last { vec![own, other] } else { vec![other, own] };
                Dropping::Begun { before, named, headers }
            }
            Dropping::Begun { before, named, mut headers } => match headers.pop() {
                Some(encoding) => {
                    world.headers[encoding] = None;
                    Dropping::Begun { before, named, headers }
                }
                None => {
                    let goes = |(key, written): &(&Key, &u8)| {
                        (self.is_of_dropped)(**written < before, named.contains(*key))
                    };
                    let doomed = world.objects.iter().filter(goes).map(|(key, _)| *key).collect();
                    Dropping::Listed { doomed }
                }
            },
            Dropping::Listed { doomed } => {
                world.objects.retain(|key, _| !doomed.contains(key));
                Dropping::Removed
            }
            Dropping::Removed if world.headers == [None, None] => Dropping::Vacant,
            Dropping::Removed => Dropping::Done,
            Dropping::Vacant => {
                world.form = None;
                Dropping::Done
            }
            Dropping::Done => return None,
        };
        Some(())
    }

    fn create(&self, world: &mut World, number: usize) -> Option<()> {
        let table = number + 1;
        world.creations[number] = match world.creations[number] {
            Creating::Idle if world.headers == [None, None] => Creating::Vacant,
            Creating::Idle | Creating::Created | Creating::Refused => return None,
            Creating::Vacant => {
                world.objects.insert(Key::Data(table), world.now);
                Creating::Staged
            }
            Creating::Staged => {
                let encoding = *world.form.get_or_insert(self.wanted[number]);
                Creating::Formed { encoding }
            }
            Creating::Formed { encoding } => {
                world.objects.insert(Key::Snapshot(table), world.now);
                Creating::Prepared { encoding }
            }
            Creating::Prepared { encoding } if world.headers[encoding].is_none() => {
                world.headers[encoding] = Some(table);
                Creating::Created
            }
            Creating::Prepared { .. } => {
                world.objects.remove(&Key::Data(table));
                world.objects.remove(&Key::Snapshot(table));
                Creating::Refused
            }
        };
        Some(())
    }
}

impl Model for Drops {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut headers = [None, None];
        headers[self.old] = Some(OLD);
        vec![World {
            now: 1,
            headers,
            form: self.is_recorded.then_some(self.old),
            objects: [(Key::Data(OLD), 0), (Key::Snapshot(OLD), 1)].into(),
            dropping: Dropping::Idle,
            creations: vec![Creating::Idle; self.wanted.len()],
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.now < self.until {
            actions.push(Action::Tick);
        }
        actions.push(Action::Drop);
        actions.extend((0..self.wanted.len()).map(Action::Create));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut world = world.clone();
        match action {
            Action::Tick => world.now += 1,
            Action::Drop => self.drop_table(&mut world)?,
            Action::Create(number) => self.create(&mut world, number)?,
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE, |_, world: &World| {
                let created = world.creations.iter().filter(|one| **one == Creating::Created);
                created.count() <= 1 && world.headers.iter().flatten().count() <= 1
            }),
            Property::always(STAYS, |_, world: &World| {
                let created = world.creations.iter().enumerate();
                let mut created = created.filter(|(_, one)| **one == Creating::Created);
                created.all(|(number, _)| world.headers.contains(&Some(number + 1)))
            }),
            Property::always(NAMED, |_, world: &World| {
                let mut tables = world.headers.iter().flatten().filter(|table| **table != OLD);
                tables.all(|table| {
                    let keys = [Key::Data(*table), Key::Snapshot(*table)];
                    keys.iter().all(|key| world.objects.contains_key(key))
                })
            }),
            Property::sometimes(
                "a table is created while the other is dropped",
                |_, world: &World| {
                    matches!(world.dropping, Dropping::Listed { .. })
                        && world.creations.contains(&Creating::Created)
                },
            ),
            Property::sometimes("nothing is left of the table", |_, world: &World| {
                let own = |key: &Key| matches!(key, Key::Data(OLD) | Key::Snapshot(OLD));
                world.dropping == Dropping::Done && !world.objects.keys().any(own)
            }),
        ]
    }
}

const ONE: &str = "at most one creation succeeds";
const STAYS: &str = "a table that was created stays";
const NAMED: &str = "every key that the new table names exists";

#[test]
fn a_drop_beside_two_creations() {
    for old in [0, 1] {
        holds("dropping, recorded", Drops { old, ..small(&[old, old]) });
        for wanted in [[0, 0], [1, 1]] {
            holds("dropping, not recorded", Drops { old, is_recorded: false, ..small(&wanted) });
        }
    }
}

/// A drop removes the form while a creation may have followed it. Another creation may then choose
/// the other encoding. CORRECTNESS.md says so.
#[test]
fn creations_in_different_encodings_may_both_succeed_beside_a_drop() {
    fails(small(&[0, 1]), ONE);
}

#[test]
fn a_drop_of_everything_that_it_lists_is_found() {
    fails(Drops { is_of_dropped: |_, _| true, ..small(&[0]) }, NAMED);
}

#[test]
fn deleting_the_header_of_the_table_first_is_found() {
    fails(Drops { is_recorded: false, own_last: false, ..small(&[1]) }, STAYS);
}
