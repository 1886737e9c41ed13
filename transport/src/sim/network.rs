//! A network of simulated UDP endpoints in virtual time, deterministic from a seed.
//!
//! Every datagram's fate is decided when it is sent; it then waits in one heap until virtual
//! time reaches its delivery. Time is whatever the ports are polled with. Owned by one thread
//! (`Rc`), shared by the tank and all ports. Not a model of capacity: queues are bounded, links
//! have no bandwidth.

use core::net::SocketAddr;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::rc::Rc;

use super::link::{LinkProfile, flip_one_bit};
use crate::datagram_port::{DATAGRAM_LENGTH_MAX, DatagramPort, Received, SendOutcome};
use crate::prng::Prng;
use crate::time::Nanos;

/// Datagrams that wait in one port's queue: about what a 4 MiB socket buffer holds. Beyond it
/// they are dropped, as the kernel does.
pub(crate) const PORT_QUEUE_MAX: usize = 4_096;
/// Datagrams in flight on the whole network; beyond it sends are back-pressured, so that a
/// runaway agent fails its test instead of filling memory.
const DATAGRAMS_IN_FLIGHT_MAX: usize = 65_536;
/// Multiplier of the rolling hash (FNV-1a's prime).
const HASH_PRIME: u64 = 0x0000_0100_0000_01B3;

/// What happened to datagrams so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkCounters {
    /// Handed to the network.
    pub sent: u64,
    /// Put into the queue of a port.
    pub delivered: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Lost to a partition.
    pub partitioned: u64,
    /// Arrived twice.
    pub duplicated: u64,
    /// Arrived with one bit flipped.
    pub corrupted: u64,
    /// Arrived where no port was open.
    pub unreachable: u64,
    /// Arrived at a port whose queue was full.
    pub overflowed: u64,
    /// Longer than the buffer they were received with.
    pub too_long: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct InFlight {
    due: Nanos,
    order: u64,
    from: SocketAddr,
    to: Place,
    bytes: Vec<u8>,
}

/// Number of an address that was ever mentioned: its place in the list of endpoints.
type Place = u32;

#[derive(Debug)]
struct Endpoint {
    address: SocketAddr,
    /// Which opening of the address is open; 0 for none.
    generation: u64,
    waiting: VecDeque<InFlight>,
}

type Path = (Place, Place);

#[derive(Debug)]
struct State {
    prng: Prng,
    profile: LinkProfile,
    profiles: BTreeMap<Path, LinkProfile>,
    partitions: BTreeSet<Path>,
    clogs: BTreeMap<Path, Nanos>,
    places: BTreeMap<SocketAddr, Place>,
    endpoints: Vec<Endpoint>,
    in_flight: BinaryHeap<Reverse<InFlight>>,
    order: u64,
    generation: u64,
    hash: u64,
    counters: NetworkCounters,
    sent: BTreeMap<Path, u64>,
    /// What of a datagram makes it one of those that are counted by what they say.
    words: fn(&[u8]) -> Option<&[u8]>,
    said: BTreeMap<(Path, Vec<u8>), u64>,
}

impl State {
    fn mix(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(HASH_PRIME).rotate_left(29);
    }

    fn mix_bytes(&mut self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn place(&mut self, address: SocketAddr) -> Place {
        *self.places.entry(address).or_insert_with(|| {
            self.endpoints.push(Endpoint {
                address,
                generation: 0,
                waiting: VecDeque::new(),
            });
            self.endpoints.len() as Place - 1
        })
    }

    fn path(&mut self, from: SocketAddr, to: SocketAddr) -> Path {
        (self.place(from), self.place(to))
    }

    fn send(&mut self, now: Nanos, path: Path, datagram: &[u8]) -> SendOutcome {
        if datagram.len() > DATAGRAM_LENGTH_MAX {
            return SendOutcome::Refused;
        }
        if self.in_flight.len() >= DATAGRAMS_IN_FLIGHT_MAX {
            return SendOutcome::BackPressured;
        }
        self.counters.sent += 1;
        *self.sent.entry(path).or_default() += 1;
        if let Some(words) = (self.words)(datagram) {
            *self.said.entry((path, words.to_vec())).or_default() += 1;
        }
        let profile = *self.profiles.get(&path).unwrap_or(&self.profile);
        if self.partitions.contains(&path) {
            self.counters.partitioned += 1;
        } else if self.prng.chance(profile.loss) {
            self.counters.lost += 1;
        } else {
            self.launch(now, path, &profile, datagram);
            if self.prng.chance(profile.duplicate) {
                self.counters.duplicated += 1;
                let late = profile.draw_lateness(&mut self.prng);
                self.launch(now + late, path, &profile, datagram);
            }
        }
        SendOutcome::Sent
    }

    fn launch(&mut self, now: Nanos, path: Path, profile: &LinkProfile, datagram: &[u8]) {
        let mut bytes = datagram.to_vec();
        if self.prng.chance(profile.corrupt) {
            self.counters.corrupted += 1;
            flip_one_bit(&mut self.prng, &mut bytes);
        }
        let start = self.clogs.get(&path).map_or(now, |until| now.max(*until));
        self.order += 1;
        self.in_flight.push(Reverse(InFlight {
            due: start + profile.draw_delay(&mut self.prng),
            order: self.order,
            from: self.endpoints[path.0 as usize].address,
            to: path.1,
            bytes,
        }));
    }

    fn advance(&mut self, now: Nanos) {
        while self
            .in_flight
            .peek()
            .is_some_and(|first| first.0.due <= now)
        {
            if let Some(Reverse(datagram)) = self.in_flight.pop() {
                self.deliver(datagram);
            }
        }
    }

    fn deliver(&mut self, datagram: InFlight) {
        let endpoint = &self.endpoints[datagram.to as usize];
        if endpoint.generation == 0 {
            self.counters.unreachable += 1;
            return;
        }
        if endpoint.waiting.len() >= PORT_QUEUE_MAX {
            self.counters.overflowed += 1;
            return;
        }
        self.counters.delivered += 1;
        let to = endpoint.address.port();
        self.mix(datagram.due as u64);
        self.mix(datagram.order);
        self.mix(u64::from(datagram.from.port()) << 16 | u64::from(to));
        self.mix_bytes(&datagram.bytes);
        self.endpoints[datagram.to as usize]
            .waiting
            .push_back(datagram);
    }

    /// The endpoint at `place`, if it is still the one opened as `generation`.
    fn endpoint(&mut self, place: Place, generation: u64) -> Option<&mut Endpoint> {
        let endpoint = &mut self.endpoints[place as usize];
        (endpoint.generation == generation).then_some(endpoint)
    }
}

/// The network: cheap to clone, all clones are the same network.
#[derive(Clone, Debug)]
pub struct SimNetwork {
    state: Rc<RefCell<State>>,
}

impl SimNetwork {
    /// A network whose links behave like `profile` and whose fates follow from `seed`.
    #[must_use]
    pub fn new(seed: u64, profile: LinkProfile) -> Self {
        Self {
            state: Rc::new(RefCell::new(State {
                prng: Prng::new(seed),
                profile,
                profiles: BTreeMap::new(),
                partitions: BTreeSet::new(),
                clogs: BTreeMap::new(),
                places: BTreeMap::new(),
                endpoints: Vec::new(),
                in_flight: BinaryHeap::new(),
                order: 0,
                generation: 0,
                hash: 0,
                counters: NetworkCounters::default(),
                sent: BTreeMap::new(),
                words: |_| None,
                said: BTreeMap::new(),
            })),
        }
    }

    /// Opens a port at `address` with an empty queue. A port that was open there is closed; its
    /// handle receives nothing any more.
    #[must_use]
    pub fn port(&self, address: SocketAddr) -> SimPort {
        let mut state = self.state.borrow_mut();
        state.generation += 1;
        let generation = state.generation;
        let place = state.place(address);
        let endpoint = &mut state.endpoints[place as usize];
        endpoint.generation = generation;
        endpoint.waiting.clear();
        SimPort {
            network: self.clone(),
            address,
            place,
            generation,
        }
    }

    /// Closes the port at `address` as a crash does: what waits there is gone, and what arrives
    /// before it is opened again vanishes.
    pub fn close(&self, address: SocketAddr) {
        let mut state = self.state.borrow_mut();
        let place = state.place(address);
        let endpoint = &mut state.endpoints[place as usize];
        endpoint.generation = 0;
        endpoint.waiting.clear();
    }

    /// Changes all links that have no profile of their own.
    pub fn set_profile(&self, profile: LinkProfile) {
        self.state.borrow_mut().profile = profile;
    }

    /// Gives the link from `from` to `to` a profile of its own; `None` takes it away.
    pub fn set_link(&self, from: SocketAddr, to: SocketAddr, profile: Option<LinkProfile>) {
        let mut state = self.state.borrow_mut();
        let path = state.path(from, to);
        match profile {
            Some(profile) => state.profiles.insert(path, profile),
            None => state.profiles.remove(&path),
        };
    }

    /// Loses everything sent from `from` to `to` from now on, one way.
    pub fn partition(&self, from: SocketAddr, to: SocketAddr) {
        let mut state = self.state.borrow_mut();
        let path = state.path(from, to);
        state.partitions.insert(path);
    }

    /// Loses everything between `one` and `other` from now on, both ways.
    pub fn partition_both(&self, one: SocketAddr, other: SocketAddr) {
        self.partition(one, other);
        self.partition(other, one);
    }

    /// Delays everything sent from `from` to `to` from now on to `until`, one way.
    pub fn clog(&self, from: SocketAddr, to: SocketAddr, until: Nanos) {
        let mut state = self.state.borrow_mut();
        let path = state.path(from, to);
        state.clogs.insert(path, until);
    }

    /// Ends the partition and the clog from `from` to `to`, one way.
    pub fn heal_link(&self, from: SocketAddr, to: SocketAddr) {
        let mut state = self.state.borrow_mut();
        let path = state.path(from, to);
        state.partitions.remove(&path);
        state.clogs.remove(&path);
    }

    /// Ends all partitions and clogs. Profiles stay.
    pub fn heal(&self) {
        let mut state = self.state.borrow_mut();
        state.partitions.clear();
        state.clogs.clear();
    }

    /// Moves what is due at `now` into the queues of the ports. Polling a port does so too.
    pub fn advance(&self, now: Nanos) {
        self.state.borrow_mut().advance(now);
    }

    /// When the next datagram in flight arrives. Those that arrived and wait in a queue are
    /// not meant: ask the port's [`next_deadline`](DatagramPort::next_deadline).
    #[must_use]
    pub fn next_delivery(&self) -> Option<Nanos> {
        let state = self.state.borrow();
        state.in_flight.peek().map(|first| first.0.due)
    }

    /// A hash of every delivery so far: time, order, addresses and bytes. Equal for equal runs.
    #[must_use]
    pub fn event_hash(&self) -> u64 {
        self.state.borrow().hash
    }

    /// What happened to datagrams so far.
    #[must_use]
    pub fn counters(&self) -> NetworkCounters {
        self.state.borrow().counters
    }

    /// Datagrams handed to the network from `from` to `to` so far.
    #[must_use]
    pub fn sent(&self, from: SocketAddr, to: SocketAddr) -> u64 {
        let mut state = self.state.borrow_mut();
        let path = state.path(from, to);
        state.sent.get(&path).copied().unwrap_or_default()
    }

    /// Datagrams handed to the network so far, by path: from whom, to whom.
    #[must_use]
    pub fn sent_by_path(&self) -> Vec<((SocketAddr, SocketAddr), u64)> {
        let state = self.state.borrow();
        let address = |place: Place| state.endpoints[place as usize].address;
        let paths = state.sent.iter();
        let named = paths.map(|((from, to), count)| ((address(*from), address(*to)), *count));
        named.collect()
    }

    /// Counts datagrams of which `words` says so by what it returns of them.
    pub fn count_words(&self, words: fn(&[u8]) -> Option<&[u8]>) {
        self.state.borrow_mut().words = words;
    }

    /// How often each of those words was sent on each path since this was last asked.
    #[must_use]
    pub fn take_said(&self) -> Vec<((SocketAddr, SocketAddr), u64)> {
        let mut state = self.state.borrow_mut();
        let said = core::mem::take(&mut state.said);
        let address = |place: Place| state.endpoints[place as usize].address;
        let said = said.into_iter();
        said.map(|(((from, to), _), count)| ((address(from), address(to)), count))
            .collect()
    }

    /// Sends a datagram in the name of `from`, whoever has a port there: its source is forged. No
    /// partition of the path between the two holds it up.
    pub fn forge(&self, now: Nanos, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        let profile = LinkProfile::default();
        let mut state = self.state.borrow_mut();
        let path = state.path(from, to);
        state.launch(now, path, &profile, datagram);
    }
}

/// One endpoint of a [`SimNetwork`]. Dropping it does not close it: a crash is the tank's act.
#[derive(Debug)]
pub struct SimPort {
    network: SimNetwork,
    address: SocketAddr,
    place: Place,
    generation: u64,
}

impl DatagramPort for SimPort {
    fn local_address(&self) -> SocketAddr {
        self.address
    }

    fn receive(&mut self, now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        let mut state = self.network.state.borrow_mut();
        state.advance(now);
        loop {
            let endpoint = state.endpoint(self.place, self.generation)?;
            let datagram = endpoint.waiting.pop_front()?;
            let length = datagram.bytes.len();
            if length > buffer.len() {
                state.counters.too_long += 1;
                continue;
            }
            buffer[..length].copy_from_slice(&datagram.bytes);
            return Some(Received {
                source: datagram.from,
                length,
            });
        }
    }

    fn send(&mut self, now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        let mut state = self.network.state.borrow_mut();
        if state.endpoint(self.place, self.generation).is_none() {
            return SendOutcome::Refused;
        }
        let path = (self.place, state.place(to));
        state.send(now, path, datagram)
    }

    fn next_deadline(&self) -> Option<Nanos> {
        let mut state = self.network.state.borrow_mut();
        let endpoint = state.endpoint(self.place, self.generation)?;
        endpoint.waiting.front().map(|datagram| datagram.due)
    }
}
