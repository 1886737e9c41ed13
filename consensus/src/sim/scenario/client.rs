//! A client of a scenario, and what it was told.

use core::net::SocketAddr;

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::event::EgressEvent;
use lockstep_client::protocol::{RefusalReason, ResponseFailure};
use lockstep_client::session::CloseReason;
use lockstep_transport::ids::RequestNumber;
use lockstep_transport::sim::SimPort;
use lockstep_transport::time::Nanos;

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A response.
    Response {
        /// To which of its requests.
        number: RequestNumber,
        /// Log time of the response.
        log_time: i64,
        /// What it says.
        payload: Vec<u8>,
    },
    /// A request was refused.
    Refused(RequestNumber, RefusalReason),
    /// A response to this request could not be said.
    Failed(RequestNumber, ResponseFailure),
    /// Its session has ended for it.
    Closed(CloseReason),
    /// Anything else, in words.
    Other(String),
}

impl Told {
    /// What a response says.
    fn payload(&self) -> Option<&[u8]> {
        match self {
            Self::Response { payload, .. } => Some(payload),
            _ => None,
        }
    }

    fn of(event: &EgressEvent<'_>) -> Self {
        match event {
            EgressEvent::Response {
                number,
                log_time,
                payload,
                ..
            } => Self::Response {
                number: *number,
                log_time: *log_time,
                payload: payload.to_vec(),
            },
            EgressEvent::Refused { number, reason } => Self::Refused(*number, *reason),
            EgressEvent::ResponseFailed { number, reason, .. } => Self::Failed(*number, *reason),
            EgressEvent::Closed { reason } => Self::Closed(*reason),
            other => Self::Other(format!("{other:?}")),
        }
    }
}

/// A client, and what it was told so far.
#[derive(Debug)]
pub struct Client {
    /// The client.
    pub client: ClusterClient<SimPort>,
    /// What it was told, in order.
    pub told: Vec<Told>,
    /// Its process does nothing: it has died, or is stopped.
    pub is_stopped: bool,
    /// Where it hears.
    pub(super) address: SocketAddr,
}

impl Client {
    /// How many responses it has.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.told.iter().filter_map(Told::payload).count()
    }

    /// To which of its requests the responses are that it was told of, from the one with this
    /// place in `told` on.
    #[must_use]
    pub(crate) fn answered_numbers(&self, from: usize) -> Vec<RequestNumber> {
        let number = |told: &Told| match told {
            Told::Response { number, .. } => Some(*number),
            _ => None,
        };
        self.told[from..].iter().filter_map(number).collect()
    }

    /// The payloads of the responses so far.
    #[must_use]
    pub fn responses(&self) -> Vec<&[u8]> {
        self.told.iter().filter_map(Told::payload).collect()
    }

    /// Why its session has ended for it, if it has.
    #[must_use]
    pub fn closed(&self) -> Option<CloseReason> {
        self.told.iter().find_map(|told| match told {
            Told::Closed(reason) => Some(*reason),
            _ => None,
        })
    }

    pub(super) fn run(&mut self, now: Nanos) {
        if self.is_stopped {
            return;
        }
        self.client.do_work(now);
        let told = &mut self.told;
        self.client
            .poll_egress(now, 64, &mut |event| told.push(Told::of(&event)));
    }
}
