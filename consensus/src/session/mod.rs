//! Sessions of clients: the table that is a function of the log, and what a leader knows of
//! them besides: who asks, what is admitted, where answers go.

pub mod callers;
pub mod client_agent;
pub mod client_egress;
pub(crate) mod client_news;
pub mod closed_session;
pub mod connecting;
pub mod egress_channel;
pub mod egress_channels;
pub(crate) mod egress_floor;
pub mod egress_rows;
pub mod egress_streams;
pub mod half_open;
pub mod ingress;
pub mod ingress_images;
pub mod leader_session;
pub mod leader_sessions;
pub(crate) mod owed;
pub mod pending_connect;
pub mod response_egress;
pub mod session_events;
pub mod session_table;
