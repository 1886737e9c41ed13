//! The log as an archive keeps it: written to segment files, read back, recovered.

pub mod budget;
pub mod chain;
pub mod log_memory;
pub mod log_reader;
pub mod log_view;
pub mod recorder;
pub mod recovery;
pub mod segment;
pub mod token;
