//! What a client counts.

/// Counts since the client was made. Plain numbers: the client has one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCounters {
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams that are no frames of the protocol.
    pub datagrams_invalid: u64,
    /// Datagrams of strangers, or of streams that do not concern this client.
    pub datagrams_unexpected: u64,
    /// Messages on egress longer than the client takes.
    pub messages_too_long: u64,
    /// Messages on egress that do not decode.
    pub messages_invalid: u64,
    /// Messages on egress of another session, or from a member that does not serve this one.
    pub messages_unexpected: u64,
    /// Messages of an older leadership term than known: their sender does not lead any more.
    pub messages_stale: u64,
    /// Messages for another process that has, had or asks for this session.
    pub messages_of_other_processes: u64,
    /// Times that a member named members by addresses that are none.
    pub endpoints_invalid: u64,
    /// Times that a member named a number of applied requests that cannot be.
    pub numbers_impossible: u64,
    /// Egress streams that could not be accepted: parameters, room or memory.
    pub images_refused: u64,
    /// Connect requests sent.
    pub connect_requests: u64,
    /// Attempts to connect that a member did not answer in time.
    pub attempts_unanswered: u64,
    /// Answers of members that know no leader.
    pub without_leader: u64,
    /// Redirects received.
    pub redirects: u64,
    /// Times the leader was taken for lost.
    pub leader_losses: u64,
    /// Times a leader took over the session.
    pub leader_changes: u64,
    /// Requests accepted from the application.
    pub requests_offered: u64,
    /// Requests put on the wire, repeats included.
    pub requests_sent: u64,
    /// Times that sending went back to an earlier request.
    pub rewinds: u64,
    /// Responses handed over.
    pub responses: u64,
    /// Responses received again and dropped.
    pub responses_duplicate: u64,
    /// Refusals received.
    pub refusals: u64,
    /// Refusals of requests that were not in flight any more.
    pub refusals_late: u64,
    /// Keepalives sent.
    pub keepalives: u64,
}
