//! Finds slots by a hash of what they are known as. Whether a slot is the one meant, the
//! caller decides: hashes may be equal.
//!
//! Open addressing with linear probing, at most half full, so that a search ends after a step
//! or two. Hashes are seeded, so that strangers cannot choose addresses that collide.

use core::net::{IpAddr, SocketAddr};

use lockstep_transport::prng::mix;

use super::NONE;

/// Groups of hosts. What is kept for strangers has a part for each, so that whoever is not in the
/// same group as a flood does not feel it.
pub const HOST_GROUPS: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    slot: u32,
}

const EMPTY: Entry = Entry {
    hash: 0,
    slot: NONE,
};

/// A hash table from hashes to slots. Several slots may have one hash.
#[derive(Debug)]
pub struct SlotIndex {
    entries: Vec<Entry>,
    mask: usize,
    count: usize,
}

impl SlotIndex {
    /// An empty index for at most `capacity` slots.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let length = (2 * capacity.max(1)).next_power_of_two();
        Self {
            entries: vec![EMPTY; length],
            mask: length - 1,
            count: 0,
        }
    }

    /// Adds `slot` under `hash`.
    ///
    /// # Panics
    /// When it has more slots than it was made for.
    pub fn insert(&mut self, hash: u64, slot: u32) {
        assert!(self.count <= self.mask / 2, "an index of {}", self.count);
        let mut place = hash as usize & self.mask;
        while self.entries[place].slot != NONE {
            place = (place + 1) & self.mask;
        }
        self.entries[place] = Entry { hash, slot };
        self.count += 1;
    }

    /// The first slot under `hash` that is the one meant.
    #[must_use]
    pub fn find(&self, hash: u64, mut is_meant: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut place = hash as usize & self.mask;
        loop {
            let entry = self.entries[place];
            if entry.slot == NONE {
                return None;
            }
            if entry.hash == hash && is_meant(entry.slot) {
                return Some(entry.slot);
            }
            place = (place + 1) & self.mask;
        }
    }

    /// Takes `slot` out from under `hash`. Returns whether it was there.
    pub fn remove(&mut self, hash: u64, slot: u32) -> bool {
        let mut place = hash as usize & self.mask;
        loop {
            let entry = self.entries[place];
            if entry.slot == NONE {
                return false;
            }
            if entry.hash == hash && entry.slot == slot {
                break;
            }
            place = (place + 1) & self.mask;
        }
        self.count -= 1;
        self.close_gap(place);
        true
    }

    /// Moves what follows a removed entry up, as far as a search for it allows.
    fn close_gap(&mut self, mut gap: usize) {
        let mut place = gap;
        loop {
            place = (place + 1) & self.mask;
            let entry = self.entries[place];
            if entry.slot == NONE {
                break;
            }
            let home = entry.hash as usize & self.mask;
            let from_home = place.wrapping_sub(home) & self.mask;
            let from_gap = place.wrapping_sub(gap) & self.mask;
            if from_home >= from_gap {
                self.entries[gap] = entry;
                gap = place;
            }
        }
        self.entries[gap] = EMPTY;
    }

    /// Takes all slots out.
    pub fn clear(&mut self) {
        self.entries.fill(EMPTY);
        self.count = 0;
    }
}

/// Group of a host, seeded: below [`HOST_GROUPS`]. Of a 128-bit address the network counts, not the
/// host in it: whoever has one has all of its network.
#[must_use]
pub fn host_group(seed: u64, host: IpAddr) -> usize {
    let hash = match host {
        IpAddr::V4(host) => mix(seed ^ u64::from(host.to_bits())),
        IpAddr::V6(host) => mix(seed ^ mix((host.to_bits() >> 64) as u64)),
    };
    hash as usize % HOST_GROUPS
}

/// Hash of an address, seeded.
#[must_use]
pub fn address_hash(seed: u64, address: SocketAddr) -> u64 {
    let host = match address.ip() {
        IpAddr::V4(host) => u64::from(host.to_bits()),
        IpAddr::V6(host) => {
            let bits = host.to_bits();
            mix((bits >> 64) as u64) ^ bits as u64
        }
    };
    mix(mix(seed ^ host) ^ u64::from(address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_transport::prng::Prng;

    #[test]
    fn what_was_put_in_is_found_until_it_is_taken_out() {
        let (mut random, mut index) = (Prng::new(1), SlotIndex::new(64));
        // Few hashes, all at the end of the table: collisions, and runs that wrap around.
        let mut model: Vec<(u64, u32)> = Vec::new();
        for _ in 0..50_000 {
            let slot = random.range(0..64) as u32;
            let hash = 0x7F_FFF0 + random.range(0..24);
            let at = model.iter().position(|entry| entry.1 == slot);
            match at {
                None => {
                    index.insert(hash, slot);
                    model.push((hash, slot));
                }
                Some(at) => {
                    let (hash, slot) = model.swap_remove(at);
                    assert!(!index.remove(hash + 1, slot));
                    assert!(index.remove(hash, slot));
                }
            }
            let (hash, slot) = (hash, random.range(0..64) as u32);
            let is_there = model.contains(&(hash, slot));
            assert_eq!(index.find(hash, |found| found == slot).is_some(), is_there);
        }
        for &(hash, slot) in &model {
            assert_eq!(index.find(hash, |found| found == slot), Some(slot));
        }
        index.clear();
        assert!(
            model
                .iter()
                .all(|entry| index.find(entry.0, |_| true).is_none())
        );
    }

    #[test]
    fn hosts_of_one_network_are_one_host_and_addresses_are_not() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (one, other) = (address("[2001:db8::1]:7"), address("[2001:db8::2]:7"));
        assert_eq!(host_group(3, one.ip()), host_group(3, other.ip()));
        assert_ne!(address_hash(3, one), address_hash(3, other));
        let (one, other) = (address("10.0.0.1:7"), address("10.0.0.1:8"));
        assert_eq!(host_group(3, one.ip()), host_group(3, other.ip()));
        assert_ne!(address_hash(3, one), address_hash(3, other));
        assert_ne!(address_hash(3, one), address_hash(4, one));
    }

    #[test]
    fn addresses_of_any_network_host_and_port_have_hashes_of_their_own() {
        let mut hashes = std::collections::BTreeSet::new();
        let mut groups = [0; HOST_GROUPS];
        let mut all = 0;
        for (network, host) in
            (0..64_u128).flat_map(|network| (0..16).map(move |host| (network, host)))
        {
            let low = IpAddr::from(((10 << 24) | (network << 8 | host) as u32).to_be_bytes());
            let wide = IpAddr::from((0x2001_0db8_u128 << 96 | network << 64 | host).to_be_bytes());
            for port in [1, 2, 0x8001] {
                for address in [low, wide] {
                    hashes.insert(address_hash(3, (address, port).into()));
                    all += 1;
                }
            }
            for address in [low, wide] {
                groups[host_group(3, address)] += 1;
            }
        }
        assert_eq!(hashes.len(), all);
        // Evenly: 256 hosts in each, by fours and by networks of sixteen.
        assert!(
            groups.iter().all(|hosts| (130..=450).contains(hosts)),
            "{groups:?}"
        );
    }
}
