//! One entry of a log: as a line of a table, and as an object.

use lockstep_consensus::log::entry_assembler::Entry;
use lockstep_consensus::log::entry_body::ClusterAction;
use lockstep_consensus::log::log_entry::LogEntry;
use lockstep_service::log_entry::{EntryHeader, EntryKind, RESPONSE_FAILED};
use lockstep_transport::ids::{LeadershipTermId, SessionId};
use serde_json::{Value, json};

use crate::utc::utc;

/// The head of the table.
pub const HEAD: &str = "      position            end  term kind              \
                        time (UTC)                     session     number  cause/ordinal      \
                        length flags";

/// A line.
pub fn line(entry: &Entry<'_>, term: LeadershipTermId) -> String {
    let header = &entry.header;
    let session = match header.session {
        SessionId::NONE => "-".to_owned(),
        session => session.get().to_string(),
    };
    let number = match header.kind {
        EntryKind::Request => header.number.to_string(),
        EntryKind::Response if header.refers_to != 0 => header.refers_to.to_string(),
        _ => "-".to_owned(),
    };
    let cause = match header.kind {
        EntryKind::Response => format!("{}/{}", header.number, header.ordinal),
        _ => "-".to_owned(),
    };
    let line = format!(
        "{:>14} {:>14} {:>5} {:<17} {} {session:>7} {number:>10}  {cause:<16} {:>8} {:<5} {}",
        entry.position,
        entry.end,
        term.get(),
        name(header.kind),
        utc(header.log_time),
        entry.body.len(),
        flags(header).unwrap_or("-"),
        detail(entry),
    );
    line.trim_end().to_owned()
}

/// An object; with its body, if that is wanted.
pub fn object(entry: &Entry<'_>, term: LeadershipTermId, has_payload: bool) -> Value {
    let header = &entry.header;
    let mut object = json!({
        "position": entry.position,
        "end": entry.end,
        "term": term.get(),
        "kind": name(header.kind),
        "time": utc(header.log_time),
        "log_time_ns": header.log_time,
        "session": header.session.get(),
        "length": entry.body.len(),
        "flags": header.flags,
        "leader_commit": header.leader_commit,
    });
    match header.kind {
        EntryKind::Request => {
            object["number"] = json!(header.number);
            object["acknowledged"] = json!(header.refers_to);
        }
        EntryKind::Response => {
            object["service"] = json!(header.service);
            object["cause"] = json!(header.number);
            object["ordinal"] = json!(header.ordinal);
            object["number"] = json!(header.refers_to);
        }
        _ => {}
    }
    let detail = detail(entry);
    if !detail.is_empty() {
        object["detail"] = json!(detail);
    }
    if has_payload {
        object["payload_hex"] = json!(hex(entry.body));
        object["payload_text"] = json!(text(entry.body));
    }
    object
}

/// The bytes of the body below its line: hexadecimal, and what of them can be printed.
pub fn payload_lines(body: &[u8]) -> impl Iterator<Item = String> {
    body.chunks(16).enumerate().map(|(row, bytes)| {
        let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = text(bytes);
        format!("    {:06x}  {:<47}  |{text}|", row * 16, pairs.join(" "))
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(bytes: &[u8]) -> String {
    let printable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let character = |byte: &u8| {
        if printable(byte) {
            char::from(*byte)
        } else {
            '.'
        }
    };
    bytes.iter().map(character).collect()
}

/// The kind's name.
pub const fn name(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::NewLeadershipTerm => "NewLeadershipTerm",
        EntryKind::SessionOpen => "SessionOpen",
        EntryKind::SessionClose => "SessionClose",
        EntryKind::SessionAck => "SessionAck",
        EntryKind::Request => "Request",
        EntryKind::Response => "Response",
        EntryKind::Topic => "Topic",
        EntryKind::ServiceMessage => "ServiceMessage",
        EntryKind::Timer => "Timer",
        EntryKind::Action => "Action",
        EntryKind::Membership => "Membership",
    }
}

fn flags(header: &EntryHeader) -> Option<&'static str> {
    (header.flags & RESPONSE_FAILED != 0).then_some("failed")
}

/// What an entry of the consensus module says, in words. A client's nonce is its secret and no
/// part of them.
fn detail(entry: &Entry<'_>) -> String {
    match LogEntry::decode(&entry.header, entry.body) {
        Ok(LogEntry::NewLeadershipTerm(term)) => format!(
            "member {} leads term {}, id {:032x}",
            term.leader, term.term, term.id
        ),
        Ok(LogEntry::SessionOpen(open)) => {
            let (address, stream) = (open.response_address, open.response_stream_id);
            let epoch = open.connect_epoch;
            match open.resume_session {
                SessionId::UNKNOWN => {
                    format!("opened at {address} stream {stream}, connect epoch {epoch}")
                }
                session => format!(
                    "session {session} continued at {address} stream {stream}, connect epoch \
                     {epoch}"
                ),
            }
        }
        Ok(LogEntry::SessionClose { reason, .. }) => reason.event().1.to_owned(),
        Ok(LogEntry::SessionAck(acks)) => {
            let acks: Vec<String> = acks
                .iter()
                .map(|ack| format!("{}:{}", ack.session, ack.position))
                .collect();
            format!("session:position {}", acks.join(" "))
        }
        Ok(LogEntry::Action(ClusterAction::Snapshot)) => "snapshot".to_owned(),
        Ok(LogEntry::Request(_) | LogEntry::Response(_)) => String::new(),
        Err(error) => format!("NOT KNOWN: {error}"),
    }
}
