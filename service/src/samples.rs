//! Services to start from: each is complete, deterministic and allocates nothing per message.

pub mod big_state;
pub mod counter;
pub mod echo;
pub mod order_book;
