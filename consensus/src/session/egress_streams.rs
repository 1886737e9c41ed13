//! What the streams to clients are called: session id and initial term id are drawn at random for
//! each, in each life of the node from another seed, for clients may still have images of the
//! streams of its former life.

use core::net::SocketAddr;

use lockstep_client::protocol::MTU_DEFAULT;
use lockstep_transport::prng::Prng;
use lockstep_transport::stream::PublicationConfig;

use crate::settings::config::NodeConfig;

/// Names streams to clients.
#[derive(Debug)]
pub struct EgressStreams {
    term_length: usize,
    seed: u64,
}

impl EgressStreams {
    /// Streams with terms of this length, of `node` in the life that this random number stands
    /// for.
    #[must_use]
    pub fn new(node: &NodeConfig, nonce: u64, term_length: usize) -> Self {
        let seed = node.seed ^ u64::from(node.member) << 56 ^ nonce << 32;
        Self {
            term_length,
            seed: Prng::new(seed).next_u64(),
        }
    }

    /// Parameters of a new publication, with a fresh session id and initial term id.
    #[must_use]
    pub fn publication(&mut self, destination: SocketAddr, stream_id: i32) -> PublicationConfig {
        let mut random = Prng::new(self.seed);
        let session_id = random.next_u64() as i32;
        let initial_term_id = random.next_u64() as i32;
        self.seed = random.next_u64();
        PublicationConfig {
            session_id,
            stream_id,
            initial_term_id,
            term_length: self.term_length,
            mtu: MTU_DEFAULT,
            destination,
        }
    }
}
