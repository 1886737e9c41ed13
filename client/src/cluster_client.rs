//! The cluster client: one socket, one session, one duty cycle.
//!
//! An agent: the application (or a runner) calls [`ClusterClient::do_work`] and
//! [`ClusterClient::poll_egress`] in turn and [`ClusterClient::offer`] whenever it likes. The
//! ingress stream leaves from the port and egress arrives on it, since the cluster answers to
//! the address a request came from.
//!
//! What is said and made of answers is the `ClusterSession`'s; this file only carries it.
//! Connecting makes and drops stream buffers; while a leader serves the session, neither
//! `offer` nor `poll_egress` nor `do_work` allocates.

use core::net::SocketAddr;

use lockstep_transport::datagram_port::{DATAGRAM_LENGTH_MAX, DATAGRAMS_PER_CYCLE, DatagramPort};
#[cfg(feature = "sim")]
use lockstep_transport::fill::Fill;
use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::notices::{Detail, Notice};
use lockstep_transport::port_trouble::TroubleKind;
use lockstep_transport::protocol::{Packet, STATUS_MESSAGE_LENGTH_MAX, parse};
use lockstep_transport::stream::{ImageLimits, PollAction, PublicationConfig};
use lockstep_transport::time::{Nanos, earliest};
use lockstep_transport::trace::Tracer;

use crate::cluster_session::{ClusterSession, LeaderHealth};
use crate::config::{ClientConfig, ConfigError, PRINCIPAL_LENGTH_MAX, ResumePoint};
use crate::counters::ClientCounters;
use crate::egress::{Admitted, EgressImages};
use crate::event::{EgressEvent, OfferResult};
use crate::identity::ClientIdentity;
use crate::ingress::IngressStreams;
use crate::notice::{ClientNotice, ClientNotices};
use crate::protocol::{ConnectRequest, INGRESS_STREAM_ID};
use crate::session::SessionState;

/// Requests sent again per duty cycle, so that a long window does not keep the client from
/// receiving.
const REQUESTS_PER_CYCLE: usize = 256;

/// Messages about the session taken per duty cycle: while it has no leader little else comes.
const CONTROL_PER_CYCLE: usize = 16;

/// A connect request with the longest principal.
const CONNECT_LENGTH_MAX: usize = ConnectRequest::LENGTH + 4 + PRINCIPAL_LENGTH_MAX;

/// A client of one cluster, over the port `P`. See the module.
#[derive(Debug)]
pub struct ClusterClient<P> {
    cluster_session: ClusterSession,
    ingress: IngressStreams,
    egress: EgressImages,
    port: P,
    buffer: Box<[u8]>,
}

impl<P: DatagramPort> ClusterClient<P> {
    /// A client that connects from its first [`do_work`](Self::do_work) on. `identity` is its
    /// alone, and not to be guessed: it proves whose session it is.
    ///
    /// # Errors
    /// When `config` has a value that cannot work.
    pub fn new(
        config: ClientConfig,
        port: P,
        identity: ClientIdentity,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let limits = ImageLimits {
            term_length_max: config.egress_term_length_max,
            message_max: config.response_length_max,
            window_length: config.window_length,
        };
        let stream_id = config.response_stream_id;
        let mut cluster_session = ClusterSession::new(config, &identity);
        let receiver_id = i64::from(cluster_session.session_mut().next_stream_id());
        Ok(Self {
            cluster_session,
            ingress: IngressStreams::new(),
            egress: EgressImages::new(stream_id, receiver_id, limits),
            port,
            buffer: vec![0; DATAGRAM_LENGTH_MAX].into_boxed_slice(),
        })
    }

    /// Where the session stands.
    #[must_use]
    pub const fn state(&self) -> SessionState {
        self.cluster_session.session().state()
    }

    /// The session id, once known.
    #[must_use]
    pub const fn session_id(&self) -> Option<SessionId> {
        self.cluster_session.session().id()
    }

    /// The member that serves the session, if one does.
    #[must_use]
    pub const fn leader(&self) -> Option<usize> {
        match self.state() {
            SessionState::Connected { leader } => Some(leader),
            _ => None,
        }
    }

    /// Whether a leader serves the session.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.cluster_session.session().is_connected()
    }

    /// Requests offered and not known to be applied.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.cluster_session.requests().in_flight()
    }

    /// Number of the last request known to be applied.
    #[must_use]
    pub const fn applied_number(&self) -> RequestNumber {
        self.cluster_session.requests().applied_number()
    }

    /// What is needed to continue this session after a restart; taken after a poll, it names
    /// the last response handed over.
    #[must_use]
    pub fn resume_point(&self) -> Option<ResumePoint> {
        self.cluster_session.resume_point()
    }

    /// The text that came with the end of the session, if any.
    #[must_use]
    pub fn close_detail(&self) -> &[u8] {
        self.cluster_session.close_detail()
    }

    /// Counts.
    #[must_use]
    pub const fn counters(&self) -> &ClientCounters {
        self.cluster_session.counters()
    }

    /// What it has refused, counted by cause.
    #[must_use]
    pub const fn notices(&self) -> &ClientNotices {
        self.cluster_session.refusals()
    }

    /// The oldest of what this client has to tell about datagrams and messages it refused; print
    /// it as a [`NoticeLine`](crate::notice::NoticeLine).
    pub fn take_notice(&mut self) -> Option<Notice<ClientNotice>> {
        self.cluster_session.refusals_mut().take()
    }

    /// Everything in this client that has a bound and is not a piece of memory of fixed length.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn fills(&self) -> [Fill; 6] {
        let (requests, config) = (self.cluster_session.requests(), self.config());
        let (images, elicited) = self.egress.fills();
        [
            Fill::of(
                "requests under way",
                requests.in_flight(),
                config.in_flight_max,
            ),
            Fill::of(
                "bytes of requests",
                requests.bytes(),
                config.in_flight_bytes_max,
            ),
            images,
            elicited,
            self.ingress.fill(),
            self.notices().fill(),
        ]
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &ClientConfig {
        self.cluster_session.config()
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> &P {
        &self.port
    }

    /// The port, for instance to inject faults.
    pub const fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }

    /// The trace.
    #[must_use]
    pub const fn tracer(&self) -> &Tracer {
        self.cluster_session.tracer()
    }

    /// Records trace points into `tracer` from now on.
    pub fn set_tracer(&mut self, tracer: Tracer) {
        self.cluster_session.set_tracer(tracer);
    }

    /// One duty cycle: takes what has arrived, follows the leader, sends what is due. Returns
    /// the work done.
    pub fn do_work(&mut self, now: Nanos) -> usize {
        let mut work = self.receive(now);
        if !self.cluster_session.session().is_closed() {
            if !self.is_connected() {
                work += self.poll_control(now);
            }
            work += self.cluster_session.tick(now, self.health(now));
            work += self.follow(now);
            work += self.speak(now);
        } else {
            self.ingress.end();
            self.egress.close(now);
        }
        work += self.ingress.do_work(now, &mut self.port);
        work += self.egress.do_work(now, &mut self.port);
        self.port.flush(now);
        self.hear_port(now);
        if let Some((member, count)) = self.egress.take_too_long() {
            self.cluster_session
                .on_too_long_messages(now, member, count);
        }
        work
    }

    /// Offers a request; when a leader serves the session it is on the wire when this returns.
    pub fn offer(&mut self, now: Nanos, payload: &[u8]) -> OfferResult {
        let result = self.cluster_session.offer(now, payload);
        if matches!(result, OfferResult::Accepted(_)) {
            self.speak_requests(now);
            self.ingress.send(now, &mut self.port);
            self.port.flush(now);
        }
        result
    }

    /// Hands responses and news to `handler`: at most `limit` messages are taken. Returns the
    /// work done.
    pub fn poll_egress(
        &mut self,
        now: Nanos,
        limit: usize,
        handler: &mut impl FnMut(EgressEvent<'_>),
    ) -> usize {
        let cluster_session = &mut self.cluster_session;
        let work = cluster_session.deliver_events(handler);
        if cluster_session.session().is_closed() {
            return work;
        }
        work + self.egress.poll(limit, &mut |origin, bytes| {
            cluster_session.on_message(now, origin, bytes, handler);
            PollAction::Continue
        })
    }

    /// Ends the session: tells the leader, drops what is in flight. Further duty cycles carry
    /// the close request until [`is_done`](Self::is_done).
    pub fn close(&mut self, now: Nanos) {
        if let Some(close) = self.cluster_session.close() {
            self.ingress.offer(now, &[&close]);
        }
        self.ingress.end();
        self.ingress.do_work(now, &mut self.port);
        self.port.flush(now);
    }

    /// Whether the session is over and nothing is left to be sent.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.cluster_session.session().is_closed() && self.ingress.is_done()
    }

    /// When [`do_work`](Self::do_work) has something to do even if nothing arrives.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let streams = earliest(self.ingress.next_deadline(), self.egress.next_deadline());
        let last_heard = self
            .egress
            .health(0, self.cluster_session.image())
            .map_or(0, |(last_heard, _)| last_heard);
        let until = self.ingress.connected_until();
        let own = self
            .cluster_session
            .next_deadline(last_heard, until.is_some());
        // To a leader that does not receive, nothing can be said.
        let words = until.filter(|_| self.is_current());
        let words =
            words.and_then(|until| earliest(Some(until), self.cluster_session.next_words()));
        let own = earliest(own, words);
        earliest(earliest(streams, own), self.port.next_deadline())
    }

    fn receive(&mut self, now: Nanos) -> usize {
        let mut count = 0;
        while count < DATAGRAMS_PER_CYCLE {
            let Some(received) = self.port.receive(now, &mut self.buffer) else {
                break;
            };
            count += 1;
            let endpoints = self.cluster_session.session().endpoints();
            let member = endpoints.member_at(received.source);
            let image = self.cluster_session.image();
            let source = received.source;
            self.cluster_session.counters_mut().datagrams_received += 1;
            let Some(member) = member else {
                self.refuse(now, source, ClientNotice::UnknownSource);
                continue;
            };
            let Ok(packet) = parse(&self.buffer[..received.length]) else {
                self.refuse(now, source, ClientNotice::DamagedDatagram);
                continue;
            };
            let admitted = match packet {
                Packet::Setup(_) | Packet::Data(_) | Packet::Heartbeat(_) => {
                    let from = (source, member);
                    self.egress.on_packet(now, from, &packet, image)
                }
                _ if self.ingress.on_packet(now, source, &packet) => Admitted::Yes,
                _ => Admitted::Unexpected,
            };
            match admitted {
                Admitted::Yes => {}
                Admitted::Elicit(request) => {
                    let mut bytes = [0; STATUS_MESSAGE_LENGTH_MAX];
                    self.port.send(now, source, request.encode(&mut bytes));
                }
                Admitted::Unexpected => self.refuse(now, source, ClientNotice::UnknownStream),
                Admitted::Refused => self.refuse(now, source, ClientNotice::EgressRefused),
            }
        }
        count
    }

    fn hear_port(&mut self, now: Nanos) {
        while let Some(trouble) = self.port.take_trouble() {
            let kind = match trouble.kind {
                TroubleKind::SendRefused => ClientNotice::SendRefused,
                _ => ClientNotice::PortTrouble,
            };
            let detail = Detail {
                subject: trouble.kind as u8,
                source: trouble.peer,
                values: [i64::from(trouble.errno), 0, 0, 0],
            };
            let refusals = self.cluster_session.refusals_mut();
            refusals.note_many(now, kind, detail, trouble.count);
        }
    }

    fn refuse(&mut self, now: Nanos, source: SocketAddr, kind: ClientNotice) {
        let counters = self.cluster_session.counters_mut();
        // Each is noted with its cause below.
        match kind {
            ClientNotice::DamagedDatagram => counters.datagrams_invalid += 1,
            ClientNotice::EgressRefused => counters.images_refused += 1,
            _ => counters.datagrams_unexpected += 1,
        }
        let refusals = self.cluster_session.refusals_mut();
        refusals.note(now, kind, Detail::at(source));
    }

    /// While no leader serves the session its events are taken at once; responses wait for the
    /// application.
    fn poll_control(&mut self, now: Nanos) -> usize {
        let cluster_session = &mut self.cluster_session;
        self.egress.poll(CONTROL_PER_CYCLE, &mut |origin, bytes| {
            if cluster_session.on_control(now, origin, bytes) {
                PollAction::Continue
            } else {
                PollAction::Abort
            }
        })
    }

    fn health(&self, now: Nanos) -> LeaderHealth {
        let health = self.egress.health(now, self.cluster_session.image());
        let (last_heard, is_ended) = health.unwrap_or((0, true));
        LeaderHealth {
            last_heard,
            is_ended,
            is_ingress_connected: self.ingress.is_connected(now),
        }
    }

    /// Opens the ingress stream that the session wants.
    fn follow(&mut self, now: Nanos) -> usize {
        let session = self.cluster_session.session_mut();
        let epoch = session.epoch();
        if epoch == self.ingress.epoch() {
            return 0;
        }
        let Some(destination) = session.address() else {
            return 0;
        };
        let session_id = session.next_stream_id();
        let initial_term_id = session.next_stream_id();
        let config = self.cluster_session.config();
        let publication = PublicationConfig {
            session_id,
            stream_id: INGRESS_STREAM_ID,
            initial_term_id,
            term_length: config.term_length,
            mtu: config.mtu,
            destination,
        };
        // Without memory for a stream the attempt times out, and the next one tries again.
        let opened = self.ingress.open(epoch, publication);
        if let Err(error) = &opened {
            let errno = i64::from(error.raw_os_error().unwrap_or_default());
            let detail = Detail::at(destination).with_values([errno, 0, 0, 0]);
            let refusals = self.cluster_session.refusals_mut();
            refusals.note(now, ClientNotice::IngressRefused, detail);
        }
        usize::from(opened.is_ok()) + self.ingress.do_work(now, &mut self.port)
    }

    fn speak(&mut self, now: Nanos) -> usize {
        if !self.is_current() || !self.ingress.is_connected(now) {
            return 0;
        }
        if let Some(request) = self.cluster_session.connect_request() {
            let mut bytes = [0; CONNECT_LENGTH_MAX];
            let length = request
                .encode(&mut bytes)
                .expect("the principal was checked to fit");
            if self.ingress.offer(now, &[&bytes[..length]]) {
                self.cluster_session.on_connect_request_sent(now);
                return 1;
            }
            return 0;
        }
        let mut work = self.speak_requests(now);
        if let Some(keep_alive) = self.cluster_session.keep_alive(now)
            && self.ingress.offer(now, &[&keep_alive])
        {
            self.cluster_session.on_keep_alive_sent(now);
            work += 1;
        }
        work
    }

    /// Whether the ingress stream leads to the member that the session talks to: a new leader
    /// may have been heard of that has no stream yet.
    const fn is_current(&self) -> bool {
        self.ingress.epoch() == self.cluster_session.session().epoch()
    }

    fn speak_requests(&mut self, now: Nanos) -> usize {
        let mut count = 0;
        while self.is_current() && count < REQUESTS_PER_CYCLE {
            let Some((header, payload)) = self.cluster_session.next_request(now) else {
                break;
            };
            if !self.ingress.offer(now, &[&header, payload]) {
                break;
            }
            self.cluster_session.on_request_sent(now);
            count += 1;
        }
        count
    }
}
