//! The table of lengths: for every way a message takes, the most it may carry, and the stream
//! or buffer that follows from it. Checked at start, so that no message that one place accepts
//! is stuck at the next.
//!
//! | way | on top of the message | carried by |
//! |---|---|---|
//! | request, client → leader | 40 bytes | ingress stream: the client's term / 8 |
//! | entry of the log | 48 bytes | log: `term_length` / 8 |
//! | effect, service → log | – | `effect_bytes_per_cause`, twice in `outbox_bytes` |
//! | response, leader → client | 72 bytes | egress stream: a term is computed here |
//!
//! A stream carries messages of up to an eighth of its term and never more than 16 MiB. A node
//! takes in whatever a client's stream can carry, so that what is too long is refused with that
//! reason instead of lost. Pure.

use lockstep_client::protocol::{RequestHeader, ResponseHeader};
use lockstep_service::log_entry::ENTRY_HEADER_LENGTH;
use lockstep_service::outbox::FAILURE_CHARGE;
use lockstep_transport::log_buffer::message_length_max;

use crate::settings::config::{ClusterConfig, ConfigError, ResponsesMode};

/// Shortest term of an ingress stream that every node takes: Aeron's clients use up to 1 MiB
/// unless told otherwise.
const INGRESS_TERM_MIN: usize = 1 << 20;

/// Shortest term of an egress publication: room for half of it in flight to one client.
const EGRESS_TERM_MIN: usize = 1 << 20;

/// The same in direct mode, where a response that finds no room is lost: half of it is more
/// than the responses to a full window of requests.
const EGRESS_TERM_MIN_DIRECT: usize = 4 << 20;

/// Longest body that the module writes itself.
const MODULE_BODY_MAX: usize = 4096;

/// What follows from a cluster's `message_max`. Equal on all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Largest request or response, in bytes.
    pub message_max: usize,
    /// Longest body of a log entry.
    pub entry_body_max: usize,
    /// Longest term of an ingress stream that a node takes.
    pub ingress_term_max: usize,
    /// Longest message taken from an ingress stream: whatever fits its term.
    pub ingress_message_max: usize,
    /// Term length of egress publications.
    pub egress_term_length: usize,
}

impl Lengths {
    /// The lengths that `cluster` needs.
    ///
    /// # Errors
    /// The first way that a message of `message_max` bytes cannot take.
    pub fn of(cluster: &ClusterConfig) -> Result<Self, ConfigError> {
        let message_max = cluster.message_max;
        check(
            message_max,
            ENTRY_HEADER_LENGTH,
            ("the log", message_length_max(cluster.term_length)),
            "use at most an eighth of term_length less 48 bytes, or raise term_length",
        )?;
        let any_stream = message_length_max(usize::MAX);
        check(
            message_max,
            ResponseHeader::LENGTH.max(RequestHeader::LENGTH),
            ("a client's stream", any_stream),
            "use at most 16 MiB less 72 bytes",
        )?;
        let egress_min = match cluster.responses {
            ResponsesMode::Replicated => EGRESS_TERM_MIN,
            ResponsesMode::Direct => EGRESS_TERM_MIN_DIRECT,
        };
        let ingress_term_max = term_for(RequestHeader::LENGTH + message_max, INGRESS_TERM_MIN);
        Ok(Self {
            message_max,
            entry_body_max: message_max.max(MODULE_BODY_MAX),
            ingress_term_max,
            ingress_message_max: message_length_max(ingress_term_max),
            egress_term_length: term_for(ResponseHeader::LENGTH + message_max, egress_min),
        })
    }

    /// Bytes of an outbox that one entry may fill at its worst: its effects, and the word that
    /// one of them failed.
    #[must_use]
    pub(crate) const fn cause_bytes_max(cluster: &ClusterConfig) -> usize {
        cluster
            .effect_bytes_per_cause
            .saturating_add(FAILURE_CHARGE)
    }
}

fn check(
    message_max: usize,
    header: usize,
    (place, limit): (&str, usize),
    remedy: &'static str,
) -> Result<(), ConfigError> {
    if message_max > 0 && message_max <= limit.saturating_sub(header) {
        return Ok(());
    }
    let problem = if message_max == 0 {
        "0 bytes".to_owned()
    } else {
        format!(
            "{message_max} bytes and a header of {header} exceed the {limit} that {place} takes"
        )
    };
    Err(ConfigError {
        key: "message_max",
        problem,
        remedy,
    })
}

/// The shortest term, `least` at least, of a stream that takes messages of `length` bytes.
fn term_for(length: usize, least: usize) -> usize {
    let mut term = least;
    while message_length_max(term) < length {
        term *= 2;
    }
    term
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(term_length: usize, message_max: usize) -> Result<Lengths, ConfigError> {
        Lengths::of(&ClusterConfig {
            term_length,
            message_max,
            ..ClusterConfig::default()
        })
    }

    #[test]
    fn a_message_that_leaves_no_room_for_its_entry_header_is_refused_by_name() {
        let term = 64 * 1024;
        assert!(lengths(term, term / 8 - 48).is_ok());
        for refused in [0, term / 8 - 47, term / 8, usize::MAX] {
            assert_eq!(lengths(term, refused).unwrap_err().key, "message_max");
        }
    }

    #[test]
    fn no_stream_carries_more_than_sixteen_megabytes() {
        let term = 1 << 30;
        assert!(lengths(term, (16 << 20) - 72).is_ok());
        assert!(lengths(term, (16 << 20) - 71).is_err());
    }

    #[test]
    fn every_stream_has_room_for_the_largest_message_with_its_header() {
        for message_max in [1, 1000, 131_000, 131_072, 200_000, 1 << 20, (16 << 20) - 72] {
            let lengths = lengths(1 << 30, message_max).unwrap();
            let egress = message_length_max(lengths.egress_term_length);
            assert!(egress >= message_max + ResponseHeader::LENGTH);
            assert!(lengths.ingress_message_max >= message_max + RequestHeader::LENGTH);
            assert!(lengths.entry_body_max >= message_max);
            assert!(lengths.egress_term_length <= 128 << 20);
        }
    }
}
