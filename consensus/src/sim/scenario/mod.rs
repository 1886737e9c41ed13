//! Scenarios as text: a whole cluster in virtual time, driven by a test in the field's words.
//!
//! A [`Scenario`] says what the cluster is made of; [`led_by`](Scenario::led_by) begins it. A
//! [`SimCluster`] has the verbs of all ([`run`](SimCluster::run), [`answer`](SimCluster::answer),
//! [`cut`](SimCluster::cut)); [`member`](SimCluster::member) is a handle with those of one host
//! ([`kill`](Members::kill), [`wipe`](Members::wipe), [`rot`](Members::rot)), and the same for
//! several at once. Verbs take effect at once, chain, and draw nothing at random that the
//! scenario does not fix; expectations look at this moment and fail with what they found, the
//! state of every member, and the history so far. After every step a `watch` that no scenario
//! has to ask for looks at what must hold in all of them. What a scenario takes from the cluster
//! beyond what any rule promises, it says: [`overlook`](Members::overlook),
//! [`lose_history`](SimCluster::lose_history), [`faulty_service`](Scenario::faulty_service).
//! Everything is generic over the service, so that users drive their own.

pub mod boot;
mod builder;
mod client;
mod clients;
mod cluster;
mod damage;
mod expectations;
mod host;
mod links;
mod members;
mod records;
mod setup;
mod verb_history;
mod watch;

pub use crate::sim::shared_memory::SharedMemory;
pub use builder::Scenario;
pub use client::{Client, Told};
pub use cluster::SimCluster;
pub use damage::{OldState, StartEnd};
pub use members::Members;
pub use setup::{Pace, Setup};
