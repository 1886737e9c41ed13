//! The pure heart: elections, joining, commit, membership and what members agree on about
//! their output. Events in, actions out.

pub mod action;
pub mod consensus_module;
pub mod event;
pub mod formation;
pub mod leadership_term;
pub mod member;
pub mod membership;
pub mod output_agreement;
