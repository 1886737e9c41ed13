//! Exhaustive model of the lives of one directory as another member knows them: the crate's own
//! [`Lineage`] through every schedule of starts, crashes at any step, and messages that are lost,
//! doubled, late or overtaken (whatever was ever said may be heard at any time, any number of
//! times), with one old state of the directory put back.
//!
//! A member whose directory was never put back is never told that it has lived on, and can always
//! become known. An old state is never taken for known once a life that began after it was.
#![allow(
    clippy::disallowed_types,
    reason = "a set of visited states, never iterated"
)]

use std::collections::HashSet;

use lockstep_consensus::module::formation::Incarnation;
use lockstep_consensus::module::membership::{Lineage, LineageVerdict};

/// Starts in all, at most.
const STARTS_MAX: usize = 6;

/// How much may happen.
#[derive(Clone, Copy)]
struct Bounds {
    /// Starts of the directory.
    starts: usize,
    /// Crashes of the member that knows of them.
    peer_crashes: u8,
    /// Whether an old state of the directory, or of that member's, is put back once.
    old_state: Option<Side>,
    /// The mistake of telling lives apart by their count alone.
    counts_only: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Directory,
    Peer,
}

/// What the directory holds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Content {
    counter: u8,
    /// The life that it knows to be known, by its number from 1; 0 for none.
    named: u8,
}

/// A running process on the directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Process {
    life: u8,
    is_known: bool,
    is_confirmed: bool,
}

/// An old state that was copied.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Copied {
    content: Content,
    peer: Lineage,
    /// How many starts there had been.
    starts: u8,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct World {
    content: Content,
    process: Option<Process>,
    /// The count of each life.
    counters: [u8; STARTS_MAX],
    starts: u8,
    peer: Lineage,
    peer_durable: Lineage,
    peer_crashes: u8,
    /// Hellos ever said, by life and the one it names.
    hellos: u64,
    /// Answers ever given: known, settled, outlived, by life.
    known: u8,
    settled: u8,
    outlived: u8,
    copied: Option<Copied>,
    is_put_back: bool,
    /// A life that began after the copy was confirmed before it was put back.
    has_lived_on: bool,
    is_directory_renamed: bool,
    is_peer_renamed: bool,
}

impl World {
    fn life(&self, number: u8) -> Incarnation {
        match number {
            0 => Incarnation::default(),
            number => Incarnation {
                counter: self.counters[usize::from(number) - 1].into(),
                nonce: number.into(),
            },
        }
    }

    /// A hello of `life` that names `named` arrives.
    fn hear_hello(mut self, bounds: &Bounds, life: u8, named: u8) -> Self {
        let (own, name) = (self.life(life), self.life(named));
        let verdict = match self.peer.judge(own, name) {
            LineageVerdict::Outlived | LineageVerdict::Forgotten if bounds.counts_only => {
                LineageVerdict::New
            }
            verdict => verdict,
        };
        match verdict {
            LineageVerdict::Newest => self.peer.settle(name),
            LineageVerdict::New => self.peer.accept(own, name),
            LineageVerdict::Outlived => self.outlived |= 1 << life,
            LineageVerdict::Forgotten => self.is_peer_renamed = true,
            LineageVerdict::Late | LineageVerdict::Twin => {}
        }
        self
    }

    /// What the peer says of what it durably knows.
    fn answer(mut self) -> Self {
        let newest = self.peer_durable.newest;
        self.known |= 1 << newest.nonce;
        if self.peer_durable.settled == newest {
            self.settled |= 1 << newest.nonce;
        }
        self
    }

    /// An answer about `life` arrives.
    fn hear_answer(mut self, life: u8, is_settled: bool) -> Self {
        let Some(mut process) = self.process else {
            return self;
        };
        if life == process.life {
            process.is_known = true;
            process.is_confirmed |= is_settled;
            let is_later = self.copied.is_some_and(|copied| life > copied.starts);
            self.has_lived_on |= process.is_confirmed && is_later && !self.is_put_back;
        } else if self.life(life).counter >= self.life(process.life).counter {
            self.is_directory_renamed = true;
        }
        self.process = Some(process);
        self
    }

    /// Steps of the process on the directory.
    fn run(self, into: &mut Vec<Self>) {
        let Some(process) = self.process else {
            return;
        };
        let mut said = self;
        said.hellos |= 1 << (process.life * 7 + self.content.named);
        into.push(said);
        if process.is_known {
            let mut written = self;
            written.content.named = process.life;
            into.push(written);
        }
        for life in 1..=self.starts {
            if self.known >> life & 1 == 1 {
                into.push(self.hear_answer(life, false));
            }
            if self.settled >> life & 1 == 1 {
                into.push(self.hear_answer(life, true));
            }
        }
        if self.outlived >> process.life & 1 == 1 {
            let mut told = self;
            told.is_directory_renamed = true;
            into.push(told);
        }
        into.push(Self {
            process: None,
            ..self
        });
    }

    fn start(mut self) -> Self {
        self.starts += 1;
        self.content.counter += 1;
        self.counters[usize::from(self.starts) - 1] = self.content.counter;
        self.process = Some(Process {
            life: self.starts,
            is_known: false,
            is_confirmed: false,
        });
        self
    }

    /// Steps of the peer.
    fn run_peer(self, bounds: &Bounds, into: &mut Vec<Self>) {
        for life in 1..=self.starts {
            for named in 0..=self.starts {
                if self.hellos >> (life * 7 + named) & 1 == 1 {
                    into.push(self.hear_hello(bounds, life, named));
                }
            }
        }
        into.push(self.answer());
        into.push(Self {
            peer_durable: self.peer,
            ..self
        });
        if self.peer_crashes < bounds.peer_crashes {
            into.push(Self {
                peer: self.peer_durable,
                peer_crashes: self.peer_crashes + 1,
                ..self
            });
        }
    }

    /// What operators do.
    fn tamper(self, bounds: &Bounds, into: &mut Vec<Self>) {
        let Some(side) = bounds.old_state else {
            return;
        };
        match self.copied {
            None => into.push(Self {
                copied: Some(Copied {
                    content: self.content,
                    peer: self.peer_durable,
                    starts: self.starts,
                }),
                ..self
            }),
            Some(copied) if !self.is_put_back => match side {
                Side::Directory if self.process.is_none() => into.push(Self {
                    content: copied.content,
                    is_put_back: true,
                    ..self
                }),
                Side::Peer => into.push(Self {
                    peer: copied.peer,
                    peer_durable: copied.peer,
                    is_put_back: true,
                    ..self
                }),
                Side::Directory => {}
            },
            Some(_) => {}
        }
    }

    fn steps(self, bounds: &Bounds, into: &mut Vec<Self>) {
        if self.is_directory_renamed || self.is_peer_renamed {
            return;
        }
        self.run(into);
        if self.process.is_none() && usize::from(self.starts) < bounds.starts {
            into.push(self.start());
        }
        self.run_peer(bounds, into);
        self.tamper(bounds, into);
    }

    /// What is promised and does not hold.
    fn broken(&self, bounds: &Bounds) -> Option<&'static str> {
        let is_sound = bounds.old_state != Some(Side::Directory) || !self.is_put_back;
        if self.is_directory_renamed && is_sound {
            return Some("a directory that was never put back is taken for an old state");
        }
        if self.is_peer_renamed && bounds.old_state != Some(Side::Peer) {
            return Some("a member that has forgotten nothing is taken for an old state");
        }
        let is_old = self.is_put_back && !is_sound && self.has_lived_on;
        let counts = |process: &Process| process.is_confirmed;
        let begun_since = self.process.filter(|_| is_old).as_ref().is_some_and(counts);
        if begun_since {
            return Some("an old state counts");
        }
        let may_wait = self.is_put_back || self.process.is_none();
        (!may_wait && !self.becomes_known(bounds)).then_some("a member never becomes known")
    }

    /// Whether the process becomes known when everything that it and the peer say now arrives.
    fn becomes_known(mut self, bounds: &Bounds) -> bool {
        for _ in 0..2 {
            let Some(process) = self.process else {
                return false;
            };
            self = self.hear_hello(bounds, process.life, self.content.named);
            self.peer_durable = self.peer;
            let is_settled = self.peer_durable.settled == self.peer_durable.newest;
            let newest = self.peer_durable.newest.nonce as u8;
            self = self.hear_answer(newest, is_settled);
            if self.process.is_some_and(|process| process.is_known) {
                self.content.named = process.life;
            }
        }
        !self.is_directory_renamed && self.process.is_some_and(|process| process.is_confirmed)
    }
}

/// Visits every state; how many there are, or which promise is broken.
fn explore(bounds: &Bounds) -> Result<usize, &'static str> {
    let mut seen = HashSet::new();
    let mut open = vec![World::default()];
    seen.insert(open[0]);
    let mut steps = Vec::new();
    while let Some(world) = open.pop() {
        if let Some(what) = world.broken(bounds) {
            return Err(what);
        }
        world.steps(bounds, &mut steps);
        for next in steps.drain(..) {
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    Ok(seen.len())
}

fn expect_sound(bounds: &Bounds) {
    let states = explore(bounds).expect("no promise is broken");
    println!(
        "{states} states with {} starts and {} crashes of the peer",
        bounds.starts, bounds.peer_crashes
    );
}

const BOUNDS: Bounds = Bounds {
    starts: 4,
    peer_crashes: 1,
    old_state: None,
    counts_only: false,
};

#[test]
fn a_crash_at_any_step_and_late_messages_make_no_member_an_old_state() {
    expect_sound(&BOUNDS);
}

#[test]
fn an_old_state_never_counts_again_however_often_it_is_started() {
    for (starts, peer_crashes) in [(4, 0), (3, 1)] {
        expect_sound(&Bounds {
            starts,
            peer_crashes,
            old_state: Some(Side::Directory),
            ..BOUNDS
        });
    }
}

#[test]
fn a_member_that_was_put_back_itself_takes_no_other_for_an_old_state() {
    expect_sound(&Bounds {
        starts: 3,
        old_state: Some(Side::Peer),
        ..BOUNDS
    });
}

#[test]
fn counting_starts_alone_lets_an_old_state_count() {
    let outcome = explore(&Bounds {
        old_state: Some(Side::Directory),
        counts_only: true,
        ..BOUNDS
    });
    assert_eq!(outcome, Err("an old state counts"));
}
