//! The lives of a directory form a chain, and an old state of it that is put back breaks it.
//!
//! A count of starts does not tell an old state from a later one: the old one may be started as
//! often. So each member keeps the newest life it heard of two directories of each other member
//! (the one that counts, and one more), and of the one that counts the life that is *settled*: of
//! which that directory durably knows that this member knows it. A new life names the life that it
//! durably knows to be known here; it continues the directory if that is one of the two, or if
//! nothing is settled. An old state names an older one, however often it has been started: its
//! directory has lived on. Where a life is named that is newer than both, it is this member that
//! has forgotten something: its own directory is the old one.
//!
//! A start is known for good once it is settled, and only then does it count as known. Until then
//! a crash at any step leaves a directory that names the settled life or the newest one, both of
//! which are good: see `consensus/tests/lineage_model.rs`. Pure.

use crate::module::formation::Incarnation;

/// What one member knows of the lives of another's directory. All zeros: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lineage {
    /// The newest life of which both sides durably know that it is known here.
    pub settled: Incarnation,
    /// The newest life heard.
    pub newest: Incarnation,
}

/// What a life is in a lineage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LineageVerdict {
    /// The newest one.
    Newest,
    /// It continues the directory.
    New,
    /// An earlier one: late.
    Late,
    /// Another one with the count of the newest.
    Twin,
    /// One of an old state: the directory has lived on.
    Outlived,
    /// It continues a life that was known here once: it is this member that has forgotten it.
    Forgotten,
}

impl Lineage {
    /// What `life` is, which durably knows that `named` is known here (all zeros: none).
    #[must_use]
    pub fn judge(&self, life: Incarnation, named: Incarnation) -> LineageVerdict {
        let Self { settled, newest } = *self;
        if life == newest {
            LineageVerdict::Newest
        } else if life.counter < newest.counter {
            LineageVerdict::Late
        } else if life.counter == newest.counter {
            LineageVerdict::Twin
        } else if settled == Incarnation::default() || named == settled || named == newest {
            LineageVerdict::New
        } else if named.counter > newest.counter {
            LineageVerdict::Forgotten
        } else {
            LineageVerdict::Outlived
        }
    }

    /// A life that continues the directory is heard for the first time.
    pub fn accept(&mut self, life: Incarnation, named: Incarnation) {
        self.settle(named);
        self.newest = life;
    }

    /// The directory durably knows that `named` is known here.
    pub fn settle(&mut self, named: Incarnation) {
        if named == self.newest {
            self.settled = named;
        }
    }
}
