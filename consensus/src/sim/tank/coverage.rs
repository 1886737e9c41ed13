//! What runs of the node tank reached: every [`Mark`], every [`Invariant`] that was evaluated,
//! everything that a node or client counts.
//!
//! Marks are noted where they happen; counts are looked at when a process ends, be it killed or
//! left running to the end of the run. What cannot happen here is in a table with the reason, and
//! must not: an entry that does is as wrong as a mark that is never reached. What thousands of
//! short runs may miss is in another one, with the tests that make it.

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::counters::ClientCounters;
use lockstep_client::notice::ClientNotice;
use lockstep_transport::invariants::Invariant;
use lockstep_transport::marks::{Mark, MarkSet};
use lockstep_transport::notices::NoticeKind;
use lockstep_transport::sim::SimPort;

use crate::node::counters::Counter;
use crate::notice::NodeNotice;
use crate::sim::tank::impossible::{Excuse, IMPOSSIBLE, RARE};
use crate::sim::tank::tank_node::TankNode;

/// Counters of a node that count events; the others say how it stands.
const NODE_COUNTERS: [(Counter, &str); 3] = [
    (Counter::Elections, "Elections"),
    (Counter::AnswersWaited, "AnswersWaited"),
    (Counter::AnswersUnverified, "AnswersUnverified"),
];

const CLIENT_COUNTERS: usize = 25;

const INVARIANTS_AT: usize = Mark::ALL.len();
const NODE_NOTICES_AT: usize = INVARIANTS_AT + Invariant::ALL.len();
const NODE_COUNTERS_AT: usize = NODE_NOTICES_AT + NodeNotice::COUNT;
const CLIENT_NOTICES_AT: usize = NODE_COUNTERS_AT + NODE_COUNTERS.len();
const CLIENT_COUNTERS_AT: usize = CLIENT_NOTICES_AT + ClientNotice::COUNT;
const WORDS: usize = (CLIENT_COUNTERS_AT + CLIENT_COUNTERS).div_ceil(64);

/// What was reached, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage([u64; WORDS]);

/// Something that runs may reach.
#[derive(Clone, Debug)]
pub struct CoverageItem {
    /// What reports call it.
    pub name: String,
    /// Why it cannot happen here, if it cannot.
    pub impossible: Option<&'static str>,
    /// What makes it where thousands of short runs may not.
    pub rare: Option<&'static str>,
    /// The tests that make what is impossible or rare here, each its file and its name.
    pub tests: &'static [(&'static str, &'static str)],
    place: usize,
}

impl Coverage {
    /// Everything there is to reach.
    #[must_use]
    pub fn items() -> Vec<CoverageItem> {
        let marks = Mark::ALL.iter().map(|mark| (mark.name().to_owned(), 0));
        let marks = marks
            .enumerate()
            .map(|(at, (name, base))| (name, base + at));
        let invariants = Invariant::ALL.iter().enumerate().map(|(at, invariant)| {
            let name = format!("{} {}", invariant.rule(), invariant.name());
            (name, INVARIANTS_AT + at)
        });
        let notices = NodeNotice::rows().map(|row| {
            let name = format!("node notice {:?}", row.kind);
            (name, NODE_NOTICES_AT + row.kind.index())
        });
        let counters = NODE_COUNTERS.iter().enumerate();
        let counters =
            counters.map(|(at, (_, name))| (format!("node counter {name}"), NODE_COUNTERS_AT + at));
        let client_notices = ClientNotice::ALL.iter().map(|kind| {
            let name = format!("client notice {kind:?}");
            (name, CLIENT_NOTICES_AT + kind.index())
        });
        let client_counters = named(&ClientCounters::default()).into_iter().enumerate();
        let client_counters = client_counters
            .map(|(at, (name, _))| (format!("client counter {name}"), CLIENT_COUNTERS_AT + at));
        let all = marks.chain(invariants).chain(notices).chain(counters);
        let all = all.chain(client_notices).chain(client_counters);
        all.map(|(name, place)| {
            let entry_in =
                |table: &[Excuse]| table.iter().find(|(other, ..)| *other == name).copied();
            let (impossible, rare) = (entry_in(IMPOSSIBLE), entry_in(RARE));
            CoverageItem {
                impossible: impossible.map(|(_, reason, _)| reason),
                rare: rare.map(|(_, reason, _)| reason),
                tests: impossible.or(rare).map_or(&[], |(.., tests)| tests),
                name,
                place,
            }
        })
        .collect()
    }

    /// Whether the item was reached.
    #[must_use]
    pub const fn has(&self, item: &CoverageItem) -> bool {
        self.0[item.place / 64] >> (item.place % 64) & 1 == 1
    }

    fn note(&mut self, place: usize, is_reached: bool) {
        self.0[place / 64] |= u64::from(is_reached) << (place % 64);
    }

    /// Adds what another run, or another part of this one, reached.
    pub fn add(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }

    /// Adds marks and assertions.
    pub(super) fn add_marks(&mut self, reached: &MarkSet) {
        for (place, mark) in Mark::ALL.iter().enumerate() {
            self.note(place, reached.contains(*mark));
        }
        for (at, invariant) in Invariant::ALL.iter().enumerate() {
            self.note(INVARIANTS_AT + at, reached.has_evaluated(*invariant));
        }
    }

    /// Adds what a node counted in its life.
    pub(super) fn add_node(&mut self, node: &TankNode) {
        for row in NodeNotice::rows() {
            let index = NODE_NOTICES_AT + row.kind.index();
            self.note(index, node.notice_count(row.kind) > 0);
        }
        for (at, (counter, _)) in NODE_COUNTERS.iter().enumerate() {
            self.note(NODE_COUNTERS_AT + at, node.counter(*counter) > 0);
        }
    }

    /// Adds what a client's process counted in its life.
    pub(super) fn add_client(&mut self, client: &ClusterClient<SimPort>) {
        for (index, count) in client.notices().counts().iter().enumerate() {
            self.note(CLIENT_NOTICES_AT + index, *count > 0);
        }
        for (at, (_, count)) in named(client.counters()).into_iter().enumerate() {
            self.note(CLIENT_COUNTERS_AT + at, count > 0);
        }
    }
}

/// All counters of a client by name.
fn named(counters: &ClientCounters) -> [(&'static str, u64); CLIENT_COUNTERS] {
    macro_rules! fields {
        ($($field:ident)+) => {{
            // A counter that is added must be named here.
            let ClientCounters { $($field,)+ } = *counters;
            [$((stringify!($field), $field),)+]
        }};
    }
    fields! {
        datagrams_received datagrams_invalid datagrams_unexpected messages_too_long
        messages_invalid messages_unexpected messages_stale messages_of_other_processes
        endpoints_invalid numbers_impossible images_refused connect_requests
        attempts_unanswered without_leader redirects
        leader_losses leader_changes requests_offered requests_sent rewinds responses
        responses_duplicate refusals refusals_late keepalives
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_has_a_name_and_a_place_of_its_own() {
        let items = Coverage::items();
        let names: std::collections::BTreeSet<_> = items.iter().map(|item| &item.name).collect();
        let places: std::collections::BTreeSet<_> = items.iter().map(|item| item.place).collect();
        assert_eq!((names.len(), places.len()), (items.len(), items.len()));
        let mut coverage = Coverage::default();
        coverage.note(items[3].place, true);
        let reached: Vec<_> = items.iter().filter(|item| coverage.has(item)).collect();
        assert_eq!(reached.len(), 1);
        assert_eq!(reached[0].name, items[3].name);
    }

    #[test]
    fn whatever_is_said_to_be_impossible_or_rare_exists() {
        let items = Coverage::items();
        for (name, reason, tests) in IMPOSSIBLE.iter().chain(RARE) {
            assert!(items.iter().any(|item| item.name == *name), "{name}");
            assert!(!reason.is_empty() && !tests.is_empty(), "{name}");
        }
        let excused = items.iter().filter(|item| item.impossible.is_some());
        assert_eq!(excused.count(), IMPOSSIBLE.len());
        let missed = items.iter().filter(|item| item.rare.is_some());
        assert_eq!(missed.count(), RARE.len());
        assert!(
            items
                .iter()
                .all(|i| i.impossible.is_none() || i.rare.is_none())
        );
    }
}
