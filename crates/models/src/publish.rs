//! Publishers of a collection that overlap, and requests that are carried out late.
//!
//! There is one partition with two names, and a sequence of commits that change it. A publisher
//! looks at the head, the note and the published objects, sends copies and deletes one after the
//! other, compares, writes its note and swaps the head. Two publishers may do so at the same time,
//! which is more than the lease permits. A request may be carried out once more at any later time,
//! or only then, after its publisher has stopped. Versions of published objects are those of their
//! content, as the ETags of S3 are. A reader takes a snapshot, reads both names, and looks whether
//! there was a commit meanwhile.

use std::collections::BTreeSet;

use partita_array::protocol::{Judged, Noted, Source, compare, goes, judge, source};
use stateright::{Model, Property};

mod tests;

const NAMES: [usize; 2] = [0, 1];

/// The content of each name: the number of the commit that staged it.
type Contents = [Option<usize>; 2];

/// The change of a commit: the names that it stages, and those that it replaces; all if none are
/// given.
#[derive(Debug, Clone, Copy)]
struct Change {
    staged: &'static [usize],
    replaced: Option<&'static [usize]>,
}

const WHOLE: Change = Change { staged: &NAMES, replaced: None };
const PATCH: Change = Change { staged: &[0], replaced: Some(&[0]) };
const SHORTER: Change = Change { staged: &[1], replaced: None };
const REMOVAL: Change = Change { staged: &[], replaced: Some(&[1]) };
/// The delete of the second commit may be carried out while the last one is published.
const DELETED: [Change; 4] = [WHOLE, REMOVAL, WHOLE, PATCH];

/// A request that changes a published object: a copy of what a commit has staged, or a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Request {
    name: usize,
    content: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Note {
    number: usize,
    versions: Contents,
    foreign: bool,
}

/// The number of the last commit that is published, with its note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Head {
    published: usize,
    note: Option<Note>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Publishing {
    Idle,
    Placing { head: Head, todo: Vec<Request>, foreign: bool, attempts: u8 },
    Noted { head: Head, note: Note },
}

/// The verdict of a reader on published objects that are not as the note says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Standing {
    AsItLies,
    Managed { elsewhere: [bool; 2], removed: [bool; 2] },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Reading {
    Idle,
    Begun {
        head: Head,
    },
    Taken {
        head: Head,
        latest: usize,
        standing: Option<Standing>,
        found: Vec<Option<usize>>,
    },
    /// The reader has finished: the newest commit that it saw, and the content of each object.
    Done {
        latest: usize,
        found: Vec<Option<usize>>,
    },
    /// An object has another digest than was committed.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    committed: usize,
    head: Head,
    live: Contents,
    /// Requests that may still be carried out.
    late: BTreeSet<Request>,
    publishers: Vec<Publishing>,
    reader: Reading,
    faults: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    CarriedOut,
    /// It is carried out, and once more later.
    Twice,
    /// It is carried out later, and its publisher stops.
    Late,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Commit,
    Look(usize),
    Send(usize, Fate),
    Compare(usize),
    Advance(usize),
    Stop(usize),
    Arrive(Request),
    Read,
}

/// The comparison of a version that a store shows with the one that the note has.
type Compare = fn(Option<Option<&usize>>, Option<Option<&usize>>, bool) -> Noted;

/// The decisions; those of the engine, or one that is wrong.
#[derive(Clone, Copy)]
struct Rules {
    compare: Compare,
    judge: fn(bool, bool) -> Judged,
    /// A published object that was right is read where it is.
    trusts: bool,
    /// Readers do not compare published objects that they read where they are staged.
    skips_pending: bool,
    /// Readers compare the digests of whole objects.
    digests: bool,
    /// Readers look whether there were commits meanwhile.
    looks_again: bool,
}

const RULES: Rules = Rules {
    compare: compare::<usize>,
    judge,
    trusts: false,
    skips_pending: true,
    digests: true,
    looks_again: true,
};

#[derive(Clone)]
struct Publishers {
    rules: Rules,
    changes: Vec<Change>,
    publishers: usize,
    faults: u8,
}

fn small(changes: &[Change]) -> Publishers {
    Publishers { rules: RULES, changes: changes.to_vec(), publishers: 2, faults: 1 }
}

impl Publishers {
    fn change(&self, number: usize) -> Change {
        self.changes[number - 1]
    }

    /// Whether a commit replaces a name.
    fn has(&self, number: usize, name: usize) -> bool {
        self.change(number).replaced.is_none_or(|replaced| replaced.contains(&name))
    }

    /// The state after a commit: what every reader must see.
    fn after(&self, number: usize) -> Contents {
        let mut contents = [None, None];
        for number in 1..=number {
            let Change { staged, replaced } = self.change(number);
            for name in NAMES {
                if replaced.is_none_or(|replaced| replaced.contains(&name)) {
                    contents[name] = staged.contains(&name).then_some(number);
                }
            }
        }
        contents
    }

    fn was_committed(&self, number: usize, name: usize, content: usize) -> bool {
        (1..=number).any(|number| self.after(number)[name] == Some(content))
    }

    /// The verdict on the published objects with these names, by the note.
    fn standing(&self, note: Note, live: Contents, names: &[usize]) -> Standing {
        if note.foreign {
            return Standing::AsItLies;
        }
        let contents = self.after(note.number);
        let (mut elsewhere, mut removed) = ([false; 2], [false; 2]);
        for name in names.iter().copied() {
            let Some(content) = live[name] else {
                elsewhere[name] = contents[name].is_some();
                continue;
            };
            if live[name] == note.versions[name] {
                continue;
            }
            let was_committed = self.was_committed(note.number, name, content);
            match (self.rules.judge)(contents[name] == Some(content), was_committed) {
                Judged::Current => {}
                Judged::Foreign => return Standing::AsItLies,
                Judged::Late => match contents[name] {
                    Some(_) => elsewhere[name] = true,
                    None => removed[name] = true,
                },
            }
        }
        Standing::Managed { elsewhere, removed }
    }

    fn look(&self, world: &mut World, publisher: usize) -> Option<()> {
        let head = world.head;
        let number = head.published + 1;
        if number > world.committed {
            return None;
        }
        let Change { staged, replaced } = self.change(number);
        let stays = |name: &usize| replaced.is_some_and(|replaced| !replaced.contains(name));
        let kept: Vec<usize> = NAMES.into_iter().filter(stays).collect();
        let standing = head.note.map(|note| self.standing(note, world.live, &kept));
        let mut todo: Vec<Request> =
            staged.iter().map(|name| Request { name: *name, content: Some(number) }).collect();
        let mut is_late = [false; 2];
        if let Some(Standing::Managed { elsewhere, removed }) = standing {
            let contents = self.after(head.published);
            // Missing objects, and those that a late request has overwritten, are copied again.
            let again = kept.iter().filter(|name| elsewhere[**name]);
            todo.extend(again.map(|name| Request { name: *name, content: contents[*name] }));
            is_late = removed;
        }
        let is_gone = |name: &usize| {
            let is_new = todo.iter().any(|request| request.name == *name);
            world.live[*name].is_some() && goes(is_new, !stays(name), is_late[*name])
        };
        let gone: Vec<usize> = NAMES.into_iter().filter(is_gone).collect();
        todo.extend(gone.into_iter().map(|name| Request { name, content: None }));
        let is_managed = matches!(standing, Some(Standing::Managed { .. }));
        let foreign = replaced.is_some() && !is_managed;
        world.publishers[publisher] = Publishing::Placing { head, todo, foreign, attempts: 2 };
        Some(())
    }

    fn send(&self, world: &mut World, publisher: usize, fate: Fate) -> Option<()> {
        let Publishing::Placing { todo, .. } = &mut world.publishers[publisher] else {
            return None;
        };
        let request = todo.pop()?;
        if fate != Fate::CarriedOut {
            world.faults += 1;
            world.late.insert(request);
        }
        match fate {
            Fate::Late => world.publishers[publisher] = Publishing::Idle,
            Fate::CarriedOut | Fate::Twice => world.live[request.name] = request.content,
        }
        Some(())
    }

    /// Compares what is published with the manifest by names and sizes, and writes the note.
    fn compare(&self, world: &mut World, publisher: usize) {
        let Publishing::Placing { head, foreign, attempts, .. } =
            world.publishers[publisher].clone()
        else {
            unreachable!()
        };
        let number = head.published + 1;
        let missing = self.change(number).staged.iter().filter(|name| world.live[**name].is_none());
        let todo: Vec<Request> =
            missing.map(|name| Request { name: *name, content: Some(number) }).collect();
        let note = Note { number, versions: world.live, foreign };
        world.publishers[publisher] = match (todo.is_empty(), attempts) {
            (true, _) => Publishing::Noted { head, note },
            (false, 0) => Publishing::Idle,
            (false, left) => Publishing::Placing { head, todo, foreign, attempts: left - 1 },
        };
    }

    fn advance(&self, world: &mut World, publisher: usize) {
        let Publishing::Noted { head, note } = world.publishers[publisher] else { unreachable!() };
        if world.head.published == head.published {
            world.head = Head { published: note.number, note: Some(note) };
        }
        world.publishers[publisher] = Publishing::Idle;
    }

    fn read(&self, world: &mut World) -> Option<()> {
        world.reader = match world.reader.clone() {
            Reading::Idle => Reading::Begun { head: world.head },
            Reading::Begun { head } => {
                let (latest, found) = (world.committed, Vec::new());
                Reading::Taken { head, latest, standing: None, found }
            }
            Reading::Taken { latest, found, .. } if found.len() == NAMES.len() => {
                match self.rules.looks_again && world.committed > latest {
                    true => Reading::Idle,
                    false => Reading::Done { latest, found },
                }
            }
            Reading::Taken { head, latest, standing, found } => {
                self.read_name(world, head, latest, standing, found)
            }
            Reading::Done { .. } | Reading::Refused => return None,
        };
        Some(())
    }

    /// Reads the next name.
    fn read_name(
        &self,
        world: &World,
        head: Head,
        latest: usize,
        standing: Option<Standing>,
        mut found: Vec<Option<usize>>,
    ) -> Reading {
        let name = found.len();
        // The newest commit that is not published and has the name.
        let mut pending = (head.published + 1..=latest).rev();
        if let Some(number) = pending.find(|number| self.has(*number, name)) {
            found.push(self.change(number).staged.contains(&name).then_some(number));
            return Reading::Taken { head, latest, standing, found };
        }
        let live = world.live[name];
        let Some(note) = head.note.filter(|note| !note.foreign) else {
            found.push(live);
            return Reading::Taken { head, latest, standing, found };
        };
        let committed = self.after(note.number)[name];
        let is_intact = |content: Option<usize>| !self.rules.digests || content == committed;
        let Some(standing) = standing else {
            let noted = note.versions[name].as_ref().map(Some);
            return match (self.rules.compare)(noted, live.as_ref().map(Some), committed.is_some()) {
                Noted::AsNoted if live.is_some() && !is_intact(live) => Reading::Refused,
                Noted::AsNoted => {
                    found.push(live);
                    Reading::Taken { head, latest, standing, found }
                }
                Noted::Different => {
                    // Commits that are not published may have been put into place in part.
                    let is_below = |name: &usize| {
                        let pending = head.published + 1..=latest;
                        !self.rules.skips_pending || !pending.clone().any(|n| self.has(n, *name))
                    };
                    let below: Vec<usize> = NAMES.into_iter().filter(is_below).collect();
                    let standing = Some(self.standing(note, world.live, &below));
                    Reading::Taken { head, latest, standing, found }
                }
            };
        };
        found.push(match standing {
            Standing::AsItLies => live,
            Standing::Managed { elsewhere, removed }
                if self.rules.trusts && !elsewhere[name] && !removed[name] =>
            {
                live
            }
            Standing::Managed { removed, .. } => {
                match source(committed.is_some(), true, removed[name]) {
                    Source::Immutable => committed,
                    Source::Nowhere => None,
                    Source::Published => live,
                }
            }
        });
        Reading::Taken { head, latest, standing: Some(standing), found }
    }
}

impl Model for Publishers {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            committed: 0,
            head: Head { published: 0, note: None },
            live: [None, None],
            late: BTreeSet::new(),
            publishers: vec![Publishing::Idle; self.publishers],
            reader: Reading::Idle,
            faults: 0,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.committed < self.changes.len() {
            actions.push(Action::Commit);
        }
        for (number, publisher) in world.publishers.iter().enumerate() {
            match publisher {
                Publishing::Idle => actions.push(Action::Look(number)),
                Publishing::Placing { todo, .. } if todo.is_empty() => {
                    actions.push(Action::Compare(number));
                }
                Publishing::Placing { .. } => {
                    actions.push(Action::Send(number, Fate::CarriedOut));
                    if world.faults < self.faults {
                        actions.push(Action::Send(number, Fate::Twice));
                        actions.push(Action::Send(number, Fate::Late));
                    }
                }
                Publishing::Noted { .. } => {
                    actions.push(Action::Advance(number));
                    actions.push(Action::Stop(number));
                }
            }
        }
        actions.extend(world.late.iter().map(|request| Action::Arrive(*request)));
        actions.push(Action::Read);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut world = world.clone();
        match action {
            Action::Commit => world.committed += 1,
            Action::Look(publisher) => self.look(&mut world, publisher)?,
            Action::Send(publisher, fate) => self.send(&mut world, publisher, fate)?,
            Action::Compare(publisher) => self.compare(&mut world, publisher),
            Action::Advance(publisher) => self.advance(&mut world, publisher),
            Action::Stop(publisher) => world.publishers[publisher] = Publishing::Idle,
            Action::Arrive(request) => {
                world.late.remove(&request);
                world.live[request.name] = request.content;
            }
            Action::Read => self.read(&mut world)?,
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_STATE, |model: &Self, world: &World| match &world.reader {
                Reading::Done { latest, found } => model.after(*latest)[..] == found[..],
                _ => true,
            }),
            Property::always(MARK, |_, world: &World| {
                let note = world.head.note.map_or(0, |note| note.number);
                note == world.head.published && note <= world.committed
            }),
            Property::always("no program but the publishers is seen", |_, world: &World| {
                !world.head.note.is_some_and(|note| note.foreign)
            }),
            Property::sometimes("everything is published", |model: &Self, world: &World| {
                world.head.published == model.changes.len()
            }),
            Property::sometimes(
                "a read finds what a late request left",
                |model: &Self, world: &World| {
                    let is_late = world.head.published > 1 && world.live[0] == Some(1);
                    let is_other = model.after(world.head.published)[0] != Some(1);
                    is_late && is_other && matches!(world.reader, Reading::Done { .. })
                },
            ),
        ]
    }
}

const ONE_STATE: &str = "what a reader returns is the state after one commit";
const MARK: &str = "the mark is that of its note, and of a commit";
