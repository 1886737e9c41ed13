//! The state of a node as a stream of bytes, the same on every member that applied the same log
//! (`log.md` 8).
//!
//! A stream is a number of named sections. What a node keeps of its own comes first; a service
//! writes its state as sections of its own behind it, through [`ServiceSnapshot`], and gets it
//! back through [`ServiceSnapshotReader`]. The layout is in `files.md` 11.
//!
//! Pure: a [`SnapshotWriter`] writes to memory that its driver empties, a [`SnapshotReader`] asks
//! a [`SnapshotSource`] for one piece after the other. Neither ever holds a whole snapshot.

mod error;
mod first_section;
mod hash;
mod progress;
mod reader;
mod record;
mod section_list;
mod section_name;
mod service_reader;
mod service_snapshot;
mod source;
mod stream_check;
mod summary;
mod writer;

pub use error::{Place, SnapshotError};
pub use first_section::{first_section, first_section_end};
pub use progress::{STEP_LENGTH, SnapshotProgress};
pub use reader::{SnapshotReader, verify};
pub use record::RECORD_LENGTH_MAX;
pub use section_list::{SECTION_LIST_LENGTH_MAX, first_difference};
pub use section_name::SectionName;
pub use service_reader::ServiceSnapshotReader;
pub use service_snapshot::ServiceSnapshot;
pub use source::SnapshotSource;
pub use stream_check::StreamCheck;
pub use summary::{SectionSummary, SnapshotSummary};
pub use writer::SnapshotWriter;
