//! What a client says about what it refuses: one kind per cause, with its text.
//!
//! The session and the client note a kind and its numbers; whoever takes a notice from
//! [`ClusterClient::take_notice`](crate::cluster_client::ClusterClient::take_notice) prints it
//! as a [`NoticeLine`]. To add a cause: a variant at the end, numbered on, and its two texts.

use core::fmt::{Display, Formatter, Result};

use lockstep_transport::notices::{Notice, NoticeKind, Notices};
use lockstep_transport::time::{Nanos, SECOND};

/// About what an election takes: so long it is normal that no member knows a leader.
const ELECTION_NS: Nanos = SECOND;

/// A member announces the end of a stream that a client has left for five seconds at most; what
/// comes of it for longer is not late.
const LATE_NS: Nanos = 6 * SECOND;

/// What a client counts and tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ClientNotice {
    /// A datagram came from an address that is no member's.
    UnknownSource = 0,
    /// A member's datagram is no frame of the protocol.
    DamagedDatagram = 1,
    /// A member's frame belongs to no stream of this client.
    UnknownStream = 2,
    /// An egress stream could not be accepted: parameters, room or memory.
    EgressRefused = 3,
    /// A message on egress does not decode.
    DamagedMessage = 4,
    /// A message on egress of another session, or from a member that does not serve this one.
    UnexpectedMessage = 5,
    /// The operating system refused to send a datagram to a member.
    SendRefused = 6,
    /// The client's socket or ring reported an error.
    PortTrouble = 7,
    /// A member named other members by addresses that are none.
    DamagedEndpoints = 8,
    /// There is no memory for a stream to a member.
    IngressRefused = 9,
    /// A member that was asked knows no leader.
    NoLeader = 10,
    /// A member that was asked did not answer in time.
    MemberUnheard = 11,
    /// A message on egress is longer than this client takes: it is lost.
    MessageTooLong = 12,
    /// A member says that requests are applied which cannot be, or are not any more.
    ImpossibleNumber = 13,
}

impl NoticeKind for ClientNotice {
    const COUNT: usize = 32;

    fn index(self) -> usize {
        self as usize
    }

    fn patience_ns(self) -> Nanos {
        match self {
            Self::NoLeader => ELECTION_NS,
            Self::UnknownStream | Self::UnexpectedMessage => LATE_NS,
            _ => 0,
        }
    }
}

impl ClientNotice {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::UnknownSource,
        Self::DamagedDatagram,
        Self::UnknownStream,
        Self::EgressRefused,
        Self::DamagedMessage,
        Self::UnexpectedMessage,
        Self::SendRefused,
        Self::PortTrouble,
        Self::DamagedEndpoints,
        Self::IngressRefused,
        Self::NoLeader,
        Self::MemberUnheard,
        Self::MessageTooLong,
        Self::ImpossibleNumber,
    ];

    /// Whether the subject of its notices is a member.
    const fn is_about_member(self) -> bool {
        matches!(
            self,
            Self::DamagedMessage
                | Self::UnexpectedMessage
                | Self::DamagedEndpoints
                | Self::NoLeader
                | Self::MemberUnheard
                | Self::MessageTooLong
                | Self::ImpossibleNumber
        )
    }

    /// What happened.
    const fn text(self) -> &'static str {
        match self {
            Self::UnknownSource => "a datagram came from an address that is no member's",
            Self::DamagedDatagram => "a member sent a datagram that is no frame of the protocol",
            Self::UnknownStream => "a member sent on a stream that this client does not have",
            Self::EgressRefused => "a member's egress stream could not be accepted",
            Self::DamagedMessage => "a member sent a message that does not decode",
            Self::UnexpectedMessage => "a member sent a message that is not for this session",
            Self::SendRefused => "cannot send to a member",
            Self::PortTrouble => "receiving failed",
            Self::DamagedEndpoints => "a member named members by addresses that are none",
            Self::IngressRefused => "there is no memory for a stream to a member",
            Self::NoLeader => "a member that was asked knows no leader",
            Self::MemberUnheard => "a member that was asked did not answer",
            Self::MessageTooLong => "a message was longer than this client takes, and is lost",
            Self::ImpossibleNumber => {
                "a member says that requests of this session are applied which cannot be, or no \
                 longer are; the session has ended"
            }
        }
    }

    /// What to do about it.
    const fn remedy(self) -> &'static str {
        match self {
            Self::UnknownSource => {
                "give the client all members' addresses, as the members themselves name them"
            }
            Self::EgressRefused | Self::MessageTooLong => {
                "raise the client's egress_term_length_max and response_length_max to what the \
                 cluster uses"
            }
            Self::IngressRefused => "lower the client's term_length, or give it more memory",
            Self::DamagedDatagram | Self::DamagedMessage | Self::DamagedEndpoints => {
                "run a client of the same version of lockstep as the cluster"
            }
            Self::SendRefused | Self::PortTrouble => {
                "check the member's address, and this host's routes and firewall"
            }
            Self::ImpossibleNumber => {
                "see that its address is still that of the cluster that opened the session, and \
                 that no other process offers requests in its name"
            }
            Self::NoLeader => {
                "the client asks all members in turn; a majority of them must run and reach each \
                 other: see what they say"
            }
            Self::MemberUnheard => {
                "the client asks all members in turn; see that it runs at that address, and that \
                 firewalls let datagrams pass both ways"
            }
            Self::UnknownStream | Self::UnexpectedMessage => {
                "some are late after a change of leader; if it goes on, give every client an \
                 address of its own"
            }
        }
    }
}

/// A client's counts and what it has to tell.
pub type ClientNotices = Notices<ClientNotice>;

/// A notice as a line: `text (address); remedy (n more since)`.
#[derive(Clone, Copy, Debug)]
pub struct NoticeLine(pub Notice<ClientNotice>);

impl Display for NoticeLine {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let notice = &self.0;
        formatter.write_str(notice.kind.text())?;
        match (notice.detail.source, notice.kind.is_about_member()) {
            (Some(source), true) => {
                write!(formatter, " (member {} at {source})", notice.detail.subject)?
            }
            (Some(source), false) => write!(formatter, " ({source})")?,
            (None, true) => write!(formatter, " (member {})", notice.detail.subject)?,
            (None, false) => {}
        }
        let errno = notice.detail.values[0];
        let has_error = matches!(
            notice.kind,
            ClientNotice::SendRefused | ClientNotice::PortTrouble | ClientNotice::IngressRefused
        );
        if let (true, Ok(errno @ 1..)) = (has_error, i32::try_from(errno)) {
            write!(formatter, ": {}", std::io::Error::from_raw_os_error(errno))?;
        }
        write!(formatter, "; {}", notice.kind.remedy())?;
        match notice.suppressed {
            0 => Ok(()),
            more => write!(formatter, " ({more} more since)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use lockstep_transport::notices::Detail;

    use super::*;

    #[test]
    fn every_kind_is_numbered_in_order_and_makes_a_line_of_its_own() {
        let mut lines = std::collections::BTreeSet::new();
        for (index, kind) in ClientNotice::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
            let notice = Notice {
                kind,
                detail: Detail::at("10.0.0.1:9000".parse().unwrap()),
                suppressed: 2,
                at: 0,
            };
            let line = NoticeLine(notice).to_string();
            assert!(line.contains("10.0.0.1:9000); "), "{line}");
            assert!(line.ends_with(" (2 more since)"), "{line}");
            assert!(lines.insert(line));
        }
    }
}
