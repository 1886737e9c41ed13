//! Which threads a node has, and how each of them runs.
//!
//! A node's agents decide in turns on one thread, the node's own. What waits for others may have
//! threads of its own: the archive's disk, the clients' socket, the service. Which of these share
//! one is a choice; each thread has a core and a way to wait.

use core::fmt;
use core::str::FromStr;

use lockstep_transport::agent::IdleStrategy;

/// What may have a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentName {
    /// Whoever decides: the node's own thread.
    Consensus,
    /// The disk: what the archive has ordered is carried out.
    Archive,
    /// The clients' socket: what the client side sends and hears.
    Clients,
    /// The user's service.
    Service,
}

impl AgentName {
    /// All of them, in the order in which they are named.
    pub const ALL: [Self; 4] = [Self::Consensus, Self::Archive, Self::Clients, Self::Service];

    /// What it is called in files, on command lines and in thread names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Archive => "archive",
            Self::Clients => "clients",
            Self::Service => "service",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|agent| agent.name() == name)
    }
}

/// Which agents share a thread. Written as one of three names, or as the threads themselves with
/// what is on each: `consensus+clients, archive, service`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threading {
    /// The thread of each agent, counted in the order of [`AgentName::ALL`]; consensus has 0.
    threads: [u8; AgentName::ALL.len()],
}

impl Threading {
    /// All of them share one: the fewest cores, and no hop from thread to thread.
    pub const SHARED: Self = Self {
        threads: [0, 0, 0, 0],
    };
    /// The service has one of its own: however long it takes over a message, heartbeats,
    /// acknowledgements and commit go on.
    pub const SPLIT: Self = Self {
        threads: [0, 0, 0, 1],
    };
    /// Each has one of its own.
    pub(crate) const DEDICATED: Self = Self {
        threads: [0, 1, 2, 3],
    };

    const NAMED: [(&'static str, Self); 3] = [
        ("shared", Self::SHARED),
        ("split", Self::SPLIT),
        ("dedicated", Self::DEDICATED),
    ];

    /// Whether this agent is on another thread than those that decide.
    #[must_use]
    pub(crate) const fn is_apart(self, agent: AgentName) -> bool {
        self.threads[agent as usize] != self.threads[AgentName::Consensus as usize]
    }

    /// Threads there are.
    #[must_use]
    pub fn count(self) -> usize {
        self.threads.into_iter().max().map_or(0, usize::from) + 1
    }

    /// The agents on thread `thread`, in the order of [`AgentName::ALL`]; 0 is the node's own.
    pub fn agents_of(self, thread: usize) -> impl Iterator<Item = AgentName> {
        AgentName::ALL
            .into_iter()
            .filter(move |agent| usize::from(self.threads[*agent as usize]) == thread)
    }

    /// The threads whose agents are named in each of `groups`, counted anew.
    fn of_groups(groups: &[Vec<AgentName>]) -> Self {
        let group_of = |agent| groups.iter().position(|group| group.contains(&agent));
        let mut known = Vec::new();
        let threads = AgentName::ALL.map(|agent| {
            let group = group_of(agent);
            let at = known.iter().position(|seen| *seen == group);
            at.unwrap_or_else(|| {
                known.push(group);
                known.len() - 1
            }) as u8
        });
        Self { threads }
    }
}

impl fmt::Display for Threading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = Self::NAMED.iter().find(|(_, named)| named == self) {
            return f.pad(name);
        }
        for thread in 0..self.count() {
            let names: Vec<_> = self.agents_of(thread).map(AgentName::name).collect();
            let comma = if thread > 0 { ", " } else { "" };
            write!(f, "{comma}{}", names.join("+"))?;
        }
        Ok(())
    }
}

/// What is no threading.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}`: {problem}; use one of `shared`, `split`, `dedicated`, or name all \
     four agents by thread, such as `consensus+clients, archive, service`"
)]
pub struct UnknownThreading {
    /// What was found.
    pub found: String,
    /// What is wrong with it.
    pub problem: String,
}

impl FromStr for Threading {
    type Err = UnknownThreading;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((_, threading)) = Self::NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(*threading);
        }
        let refuse = |problem| UnknownThreading {
            found: text.to_owned(),
            problem,
        };
        let mut groups = Vec::new();
        for thread in text.split(',') {
            let mut group = Vec::new();
            for name in thread.split('+').map(str::trim) {
                let agent = AgentName::of_name(name)
                    .ok_or_else(|| refuse(format!("no agent is called \"{name}\"")))?;
                let is_named = groups.iter().flatten().chain(&group).any(|a| *a == agent);
                if is_named {
                    return Err(refuse(format!("{name} is named twice")));
                }
                group.push(agent);
            }
            groups.push(group);
        }
        let is_missing = |agent: &AgentName| !groups.iter().flatten().any(|a| a == agent);
        if let Some(missing) = AgentName::ALL.into_iter().find(is_missing) {
            return Err(refuse(format!("{} is missing", missing.name())));
        }
        Ok(Self::of_groups(&groups))
    }
}

/// How a thread runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadSetting {
    /// Core to pin it to.
    pub core: Option<usize>,
    /// How it waits.
    pub idle: IdleStrategy,
}

impl Default for ThreadSetting {
    fn default() -> Self {
        Self {
            core: None,
            idle: IdleStrategy::Yield,
        }
    }
}

/// How each of a node's threads runs, by agent. Where agents share a thread, the settings of the
/// first of them count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadSettings {
    /// Of the node's own thread.
    pub node: ThreadSetting,
    /// Of the archive's, if it has one.
    pub archive: ThreadSetting,
    /// Of the client side's, if it has one.
    pub clients: ThreadSetting,
    /// Of the service's, if it has one.
    pub service: ThreadSetting,
}

impl ThreadSettings {
    /// All threads wait like this, and run where they like.
    #[must_use]
    pub const fn waiting(idle: IdleStrategy) -> Self {
        let thread = ThreadSetting { core: None, idle };
        Self {
            node: thread,
            archive: thread,
            clients: thread,
            service: thread,
        }
    }

    /// Of this agent.
    #[must_use]
    pub const fn of(&self, agent: AgentName) -> ThreadSetting {
        match agent {
            AgentName::Consensus => self.node,
            AgentName::Archive => self.archive,
            AgentName::Clients => self.clients,
            AgentName::Service => self.service,
        }
    }

    /// The same, to set it.
    pub const fn of_mut(&mut self, agent: AgentName) -> &mut ThreadSetting {
        match agent {
            AgentName::Consensus => &mut self.node,
            AgentName::Archive => &mut self.archive,
            AgentName::Clients => &mut self.clients,
            AgentName::Service => &mut self.service,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threading_is_read_by_the_words_it_is_written_with() {
        let texts = [
            "shared",
            "split",
            "dedicated",
            "consensus+clients, archive, service",
            "consensus, archive+clients+service",
            "consensus+service, archive, clients",
        ];
        for text in texts {
            assert_eq!(text.parse::<Threading>().unwrap().to_string(), text);
        }
        // However it is written, one threading has one name.
        let written = "service,archive , clients, consensus".parse::<Threading>();
        assert_eq!(written, Ok(Threading::DEDICATED));
    }

    #[test]
    fn what_names_no_thread_for_each_agent_is_refused_by_what_is_wrong() {
        for (text, problem) in [
            ("dedicatd", "no agent is called \"dedicatd\""),
            ("consensus, archive, service", "clients is missing"),
            (
                "consensus+archive, archive, clients, service",
                "archive is named twice",
            ),
            ("", "no agent is called \"\""),
        ] {
            let refused = text.parse::<Threading>().unwrap_err();
            assert_eq!(refused.problem, problem);
        }
    }

    #[test]
    fn each_agent_is_on_one_thread_and_consensus_is_on_the_first() {
        let threading: Threading = "archive+clients, consensus, service".parse().unwrap();
        assert_eq!(threading.count(), 3);
        let on = |thread| threading.agents_of(thread).collect::<Vec<_>>();
        assert_eq!(on(0), [AgentName::Consensus]);
        assert_eq!(on(1), [AgentName::Archive, AgentName::Clients]);
        assert_eq!(on(2), [AgentName::Service]);
        assert!(threading.is_apart(AgentName::Archive));
        assert!(!Threading::SPLIT.is_apart(AgentName::Archive));
    }
}
