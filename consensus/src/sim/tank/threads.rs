//! Which agents of which members run on threads of their own: stepped apart from the rest of their
//! node, and stalled now and then.

use lockstep_transport::prng::Prng;

/// In one run out of so many all members are as `threading = dedicated` makes them.
const DEDICATED_SEEDS: u64 = 8;

/// Members, one bit each.
pub type MemberBits = u8;

/// By agent, the members of a run that have a thread for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Threads {
    /// Those whose services have.
    pub services: MemberBits,
    /// Those whose archives have: the far ends of their disks.
    pub archives: MemberBits,
    /// Those whose clients' sides have: the far ends of their ports.
    pub clients: MemberBits,
}

/// The agents of one member that run apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberThreads {
    /// Whether its service does.
    pub service: bool,
    /// Whether its archive does.
    pub archive: bool,
    /// Whether its clients' side does.
    pub clients: bool,
}

impl MemberThreads {
    /// Whether any does.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.service || self.archive || self.clients
    }
}

/// All of so many members.
#[must_use]
pub const fn all_of(members: usize) -> MemberBits {
    if members < MemberBits::BITS as usize {
        (1 << members) - 1
    } else {
        MemberBits::MAX
    }
}

impl Threads {
    /// Each agent runs apart at one member at least, and at each with probability one half.
    pub(super) fn draw(members: usize, random: &mut Prng) -> Self {
        let is_dedicated = random.range(0..DEDICATED_SEEDS) == 0;
        let mut some = || {
            let drawn = random.next_u64() as MemberBits & all_of(members);
            let one = 1 << random.range(0..members as u64);
            match drawn {
                _ if is_dedicated => all_of(members),
                0 => one,
                _ => drawn,
            }
        };
        Self {
            services: some(),
            archives: some(),
            clients: some(),
        }
    }

    /// Whether so many members are enough for it.
    #[must_use]
    pub(super) const fn is_of(&self, members: usize) -> bool {
        let bits = self.services | self.archives | self.clients;
        bits & !all_of(members) == 0
    }

    /// Only the first members are left.
    pub(super) const fn keep(&mut self, members: usize) {
        self.services &= all_of(members);
        self.archives &= all_of(members);
        self.clients &= all_of(members);
    }

    /// What of it is of member `id`.
    #[must_use]
    pub(super) const fn of(&self, id: usize) -> MemberThreads {
        MemberThreads {
            service: self.services >> id & 1 == 1,
            archive: self.archives >> id & 1 == 1,
            clients: self.clients >> id & 1 == 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_each_agent_apart_somewhere_and_all_combinations_come() {
        for members in 1..=7 {
            let mut random = Prng::new(members as u64);
            let mut seen = [false; 8];
            for _ in 0..500 {
                let threads = Threads::draw(members, &mut random);
                let each = [threads.services, threads.archives, threads.clients];
                assert!(threads.is_of(members) && each.iter().all(|bits| *bits != 0));
                for id in 0..members {
                    let own = threads.of(id);
                    let bits = [own.service, own.archive, own.clients];
                    let combination = bits.iter().fold(0, |all, bit| all << 1 | usize::from(*bit));
                    seen[combination] = true;
                }
            }
            assert!(members == 1 || seen.iter().all(|seen| *seen), "{members}");
        }
    }

    #[test]
    fn members_that_are_not_there_have_no_threads() {
        let mut threads = Threads {
            archives: 0b1000,
            ..Threads::default()
        };
        assert!(threads.is_of(4) && !threads.is_of(3));
        threads.keep(3);
        assert_eq!(threads, Threads::default());
    }
}
