//! A partition in local files that cannot be exchanged as a whole, and crashes between any two
//! steps.
//!
//! A publisher renames the new files into place one at a time, removes what they replace, syncs,
//! and moves the mark. It may be killed after any step, or the power may fail: then of what was not
//! synced any part is on the disk. The next publisher repeats the whole. The steps are those of
//! `store::local_place`, written down again, since there they are calls of the system; what is
//! removed is decided by the function that publishers run on other stores.

use partita_array::protocol::goes;
use stateright::{Model, Property};

use crate::check::{fails, holds};

/// The files that there may be.
const FILES: usize = 4;

/// The content of each file: the number of the commit that staged it.
type Files = [Option<u8>; FILES];

/// The change of a commit: the files that it stages, and those that it replaces; all if none are
/// given.
#[derive(Debug, Clone, Copy)]
struct Change {
    staged: &'static [usize],
    replaced: Option<&'static [usize]>,
}

const FIRST: Change = Change { staged: &[0, 1, 2], replaced: None };
const PATCH: Change = Change { staged: &[0, 3], replaced: Some(&[0, 2]) };
const WHOLE: Change = Change { staged: &[1, 3], replaced: None };

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Publishing {
    Idle,
    /// These files are still to be put into place, then these removed.
    Placing {
        number: u8,
        new: Vec<usize>,
        gone: Vec<usize>,
    },
    Placed {
        number: u8,
    },
    Synced {
        number: u8,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    committed: u8,
    /// The files that programs see, and those that are on the disk for certain.
    live: Files,
    disk: Files,
    mark: u8,
    publisher: Publishing,
    crashes: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Commit,
    Publish,
    Kill,
    /// The power fails. What was done to the files in the mask is on the disk all the same.
    PowerCut(u8),
}

#[derive(Clone)]
struct Renames {
    changes: Vec<Change>,
    crashes: u8,
    /// The files are synced before the mark is moved.
    syncs: bool,
    /// A file takes the place of another in one step.
    replaces: bool,
}

fn small(changes: &[Change]) -> Renames {
    Renames { changes: changes.to_vec(), crashes: 2, syncs: true, replaces: true }
}

impl Renames {
    fn after(&self, number: u8) -> Files {
        let mut files = [None; FILES];
        for (Change { staged, replaced }, number) in self.changes.iter().zip(1..=number) {
            for (file, content) in files.iter_mut().enumerate() {
                let is_new = staged.contains(&file);
                if is_new || replaced.is_none_or(|replaced| replaced.contains(&file)) {
                    *content = is_new.then_some(number);
                }
            }
        }
        files
    }

    fn publish(&self, world: &mut World) -> Option<()> {
        world.publisher = match world.publisher.clone() {
            Publishing::Idle if world.mark == world.committed => return None,
            Publishing::Idle => {
                let number = world.mark + 1;
                let Change { staged, replaced } = self.changes[usize::from(world.mark)];
                let is_gone = |file: &usize| {
                    let is_new = self.replaces && staged.contains(file);
                    let is_replaced = replaced.is_none_or(|replaced| replaced.contains(file));
                    world.live[*file].is_some() && goes(is_new, is_replaced, false)
                };
                let gone = (0..FILES).filter(is_gone).collect();
                Publishing::Placing { number, new: staged.to_vec(), gone }
            }
            Publishing::Placing { number, mut new, mut gone } => {
                let removes = new.is_empty() || (!self.replaces && !gone.is_empty());
                let next = if removes { gone.pop() } else { new.pop() };
                match next {
                    Some(file) => {
                        world.live[file] = (!removes).then_some(number);
                        Publishing::Placing { number, new, gone }
                    }
                    None => Publishing::Placed { number },
                }
            }
            Publishing::Placed { number } => {
                if self.syncs {
                    world.disk = world.live;
                }
                Publishing::Synced { number }
            }
            // The mark is written with a sync of its own.
            Publishing::Synced { number } => {
                world.mark = number;
                Publishing::Idle
            }
        };
        Some(())
    }
}

impl Model for Renames {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            committed: 0,
            live: [None; FILES],
            disk: [None; FILES],
            mark: 0,
            publisher: Publishing::Idle,
            crashes: 0,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if usize::from(world.committed) < self.changes.len() {
            actions.push(Action::Commit);
        }
        actions.push(Action::Publish);
        if world.crashes < self.crashes {
            if world.publisher != Publishing::Idle {
                actions.push(Action::Kill);
            }
            actions.extend((0..1 << FILES).map(Action::PowerCut));
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut world = world.clone();
        match action {
            Action::Commit => world.committed += 1,
            Action::Publish => self.publish(&mut world)?,
            Action::Kill => {
                world.crashes += 1;
                world.publisher = Publishing::Idle;
            }
            Action::PowerCut(mask) => {
                world.crashes += 1;
                for file in (0..FILES).filter(|file| mask & (1 << file) == 0) {
                    world.live[file] = world.disk[file];
                }
                world.disk = world.live;
                world.publisher = Publishing::Idle;
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(PUBLISHED, |model: &Self, world: &World| {
                let is_published =
                    world.publisher == Publishing::Idle && world.mark == world.committed;
                !is_published || world.live == model.after(world.mark)
            }),
            Property::always(OLD_OR_NEW, |model: &Self, world: &World| {
                let (old, new) = (model.after(world.mark), model.after(world.mark + 1));
                let is_known = |file: usize| [old[file], new[file]].contains(&world.live[file]);
                (0..FILES).all(is_known)
            }),
            Property::always(STAYS, |model: &Self, world: &World| {
                let (old, new) = (model.after(world.mark), model.after(world.mark + 1));
                let stays = |file: &usize| old[*file].is_some() && new[*file].is_some();
                (0..FILES).filter(stays).all(|file| world.live[file].is_some())
            }),
            Property::sometimes(BETWEEN, |model: &Self, world: &World| {
                let (old, new) = (model.after(world.mark), model.after(world.mark + 1));
                world.publisher == Publishing::Idle && ![old, new].contains(&world.live)
            }),
            Property::sometimes("everything is published", |model: &Self, world: &World| {
                usize::from(world.mark) == model.changes.len()
            }),
        ]
    }
}

const PUBLISHED: &str = "what is published is the state after the last commit";
const OLD_OR_NEW: &str = "each file is as before the commit that is published, or as after it";
const STAYS: &str = "a file that is there before a commit and after it is never missing";
const BETWEEN: &str = "a crash leaves the directory in between";

#[test]
fn crashes_between_any_two_renames() {
    holds("renames", small(&[FIRST, PATCH, WHOLE]));
}

#[test]
#[ignore = "run by make soak"]
fn larger_models() {
    holds("renames, more crashes", Renames { crashes: 4, ..small(&[FIRST, PATCH, WHOLE, FIRST]) });
}

#[test]
fn a_mark_before_the_sync_is_found() {
    fails(Renames { syncs: false, ..small(&[FIRST, PATCH]) }, PUBLISHED);
}

#[test]
fn removing_a_file_before_it_is_replaced_is_found() {
    fails(Renames { replaces: false, ..small(&[FIRST, PATCH]) }, STAYS);
}
