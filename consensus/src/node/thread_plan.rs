//! How the threads of a node run: as near to what was asked for as the host permits. What it does
//! not permit is done without, and said with what that costs.

use lockstep_transport::agent::{IdleStrategy, PinRefused, check_core};

use crate::settings::threading::{AgentName, ThreadSettings, Threading};

/// One thread, as it is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedThread {
    /// The agents on it, joined by `+`; `node` for the node's own, whoever decides.
    pub name: String,
    /// How it waits.
    pub idle: IdleStrategy,
    /// The core that it is pinned to.
    pub core: Option<usize>,
}

/// All threads of a node. See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ThreadPlan {
    /// The node's own first, the others in the order of [`Threading::agents_of`].
    pub threads: Vec<PlannedThread>,
    /// What is not as it was asked for, and what that costs.
    remarks: Vec<String>,
}

impl ThreadPlan {
    /// Of these threads on the `cores` that this process may use.
    #[must_use]
    pub fn new(threading: Threading, settings: &ThreadSettings, cores: &[usize]) -> Self {
        let count = threading.count();
        let mut remarks = Vec::new();
        let mut threads: Vec<PlannedThread> = Vec::with_capacity(count);
        for thread in 0..count {
            let agents: Vec<AgentName> = threading.agents_of(thread).collect();
            let setting = agents.first().map(|agent| settings.of(*agent));
            let setting = setting.unwrap_or_default();
            let planned = PlannedThread {
                name: name(&agents),
                idle: setting.idle,
                core: setting.core,
            };
            remarks.extend(company_of_service(&agents));
            let unused = cores_unused(&agents, setting.core, settings, &planned.name);
            threads.push(planned);
            pin_last(&mut threads, cores, &mut remarks);
            remarks.extend(unused);
        }
        let is_spinning = |thread: &&PlannedThread| thread.idle == IdleStrategy::BusySpin;
        let spinners = threads.iter().filter(is_spinning).count();
        for thread in &mut threads {
            let (idle, downgrade) = thread.idle.fit(spinners, cores.len());
            thread.idle = idle;
            let remark = downgrade.map(|reason| reason.to_string());
            remarks.extend(remark.filter(|remark| !remarks.contains(remark)));
        }
        if cores.len() < 2 {
            remarks.push("no core is free for other work: costs waiting for turns".to_owned());
        } else if cores.len() < count {
            let on = cores.len();
            remarks.push(format!(
                "{count} threads on {on} cores: costs waiting for turns"
            ));
        }
        Self { threads, remarks }
    }

    /// The host has refused this thread its core, for reasons that nobody could see before.
    pub fn on_refused(&mut self, thread: usize, refused: PinRefused) {
        let PlannedThread { name, core, .. } = &mut self.threads[thread];
        *core = None;
        let remark = format!("{name} not pinned: {refused}; costs moves between cores");
        self.remarks.push(remark);
    }

    /// For the start line.
    #[must_use]
    pub fn words(&self) -> String {
        let of_thread = |thread: &PlannedThread| {
            let (name, idle) = (&thread.name, thread.idle);
            match thread.core {
                Some(core) => format!("{name} {idle} on core {core}"),
                None => format!("{name} {idle}, not pinned"),
            }
        };
        let each: Vec<_> = self.threads.iter().map(of_thread).collect();
        let mut words = match &each[..] {
            [only] => only.replacen("node", "thread", 1),
            _ => format!("threads: {}", each.join("; ")),
        };
        for remark in &self.remarks {
            words.push_str("; ");
            words.push_str(remark);
        }
        words
    }
}

fn name(agents: &[AgentName]) -> String {
    if agents.contains(&AgentName::Consensus) {
        return "node".to_owned();
    }
    let names: Vec<_> = agents.iter().map(|agent| agent.name()).collect();
    names.join("+")
}

/// What waits for the service, which has a thread but not to itself.
fn company_of_service(agents: &[AgentName]) -> Option<String> {
    let (last, others) = agents.split_last()?;
    let is_company = *last == AgentName::Service
        && !others.is_empty()
        && !others.contains(&AgentName::Consensus);
    is_company.then(|| {
        let others = name(others);
        format!("{others} with the service on one thread: costs waiting while it is at a message")
    })
}

/// Cores that are named for agents of a thread which has another one, or none, by the first of
/// them.
fn cores_unused(
    agents: &[AgentName],
    core: Option<usize>,
    settings: &ThreadSettings,
    thread: &str,
) -> Vec<String> {
    let unused = |agent: &AgentName| {
        let (named, agent) = (settings.of(*agent).core?, agent.name());
        let is_unused = core != Some(named);
        is_unused
            .then(|| format!("{agent}_core {named} pins nobody: {agent} is on thread {thread}"))
    };
    agents.iter().skip(1).filter_map(unused).collect()
}

/// Takes the core of the last thread away if it may not have it. Where two want one, neither may
/// keep it to itself.
fn pin_last(threads: &mut [PlannedThread], cores: &[usize], remarks: &mut Vec<String>) {
    let Some((last, earlier)) = threads.split_last_mut() else {
        return;
    };
    let Some(core) = last.core else { return };
    if let Err(refused) = check_core(core, cores) {
        last.core = None;
        remarks.push(format!("{} {refused}", last.name));
    } else if let Some(other) = earlier.iter_mut().find(|other| other.core == Some(core)) {
        last.core = None;
        let mut remark = format!(
            "{} not pinned: {} has core {core}; costs moves between cores",
            last.name, other.name
        );
        for thread in [last, other] {
            if thread.idle == IdleStrategy::BusySpin {
                thread.idle = IdleStrategy::Yield;
                let words = format!(", {} has yield instead of busy-spin", thread.name);
                remark.push_str(&words);
            }
        }
        remarks.push(remark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::threading::ThreadSetting;

    const SPIN: IdleStrategy = IdleStrategy::BusySpin;

    fn on(core: usize) -> ThreadSetting {
        let core = Some(core);
        ThreadSetting { core, idle: SPIN }
    }

    fn spinning(cores: [usize; 4]) -> ThreadSettings {
        ThreadSettings {
            node: on(cores[0]),
            archive: on(cores[1]),
            clients: on(cores[2]),
            service: on(cores[3]),
        }
    }

    fn idles(plan: &ThreadPlan) -> Vec<IdleStrategy> {
        plan.threads.iter().map(|thread| thread.idle).collect()
    }

    #[test]
    fn each_thread_runs_as_asked_for_where_the_host_permits() {
        let settings = spinning([4, 1, 2, 3]);
        let plan = ThreadPlan::new(Threading::DEDICATED, &settings, &[0, 1, 2, 3, 4]);
        assert_eq!(
            plan.words(),
            "threads: node busy-spin on core 4; archive busy-spin on core 1; clients \
             busy-spin on core 2; service busy-spin on core 3"
        );
        let settings = ThreadSettings {
            node: on(4),
            ..ThreadSettings::default()
        };
        let plan = ThreadPlan::new(Threading::SHARED, &settings, &[3, 4]);
        assert_eq!(plan.words(), "thread busy-spin on core 4");
    }

    #[test]
    fn threads_that_do_not_spin_leave_a_core_to_those_that_do() {
        let settings = ThreadSettings {
            node: on(1),
            ..ThreadSettings::waiting(IdleStrategy::Adaptive)
        };
        let plan = ThreadPlan::new(Threading::DEDICATED, &settings, &[0, 1, 2, 3]);
        assert_eq!(
            plan.words(),
            "threads: node busy-spin on core 1; archive adaptive, not pinned; clients adaptive, \
             not pinned; service adaptive, not pinned"
        );
    }

    #[test]
    fn a_core_named_for_an_agent_that_is_on_anothers_thread_is_said_to_pin_nobody() {
        let settings = spinning([0, 1, 2, 0]);
        let plan = ThreadPlan::new(Threading::SHARED, &settings, &[0, 1, 2]);
        assert_eq!(
            plan.words(),
            "thread busy-spin on core 0; archive_core 1 pins nobody: archive is on thread node; \
             clients_core 2 pins nobody: clients is on thread node"
        );
        let threading: Threading = "consensus, archive+clients, service".parse().unwrap();
        let plan = ThreadPlan::new(threading, &settings, &[0, 1, 2]);
        let said = "clients_core 2 pins nobody: clients is on thread archive+clients";
        assert!(plan.words().contains(said), "{}", plan.words());
    }

    #[test]
    fn what_waits_for_the_service_on_its_thread_is_named() {
        let plan_of = |threading: &str| {
            let threading = threading.parse().unwrap();
            ThreadPlan::new(threading, &ThreadSettings::default(), &[0, 1, 2, 3]).words()
        };
        let words = plan_of("consensus, archive+clients+service");
        let said = "; archive+clients with the service on one thread: costs waiting while it is";
        assert!(words.contains(said), "{words}");
        for threading in [
            "dedicated",
            "split",
            "shared",
            "consensus+clients+service, archive",
        ] {
            let words = plan_of(threading);
            assert!(!words.contains("with the service"), "{words}");
        }
    }

    #[test]
    fn a_core_that_may_not_be_used_pins_nobody_to_it_and_is_named() {
        let settings = spinning([0, 1, 2, 9]);
        let plan = ThreadPlan::new(Threading::SPLIT, &settings, &[0, 1, 2]);
        assert_eq!(
            (plan.threads[0].core, plan.threads[1].core),
            (Some(0), None)
        );
        let said = "service not pinned: this process may not use core 9, only [0, 1, 2]";
        assert!(plan.words().contains(said), "{}", plan.words());
    }

    #[test]
    fn a_thread_that_the_host_refuses_its_core_is_not_said_to_be_on_it() {
        let settings = ThreadSettings {
            service: on(3),
            ..ThreadSettings::default()
        };
        let mut plan = ThreadPlan::new(Threading::SPLIT, &settings, &[0, 1, 2, 3]);
        plan.on_refused(1, PinRefused { core: 3 });
        assert_eq!(
            plan.words(),
            "threads: node yield, not pinned; service busy-spin, not pinned; service not pinned: \
             the host refused core 3 to a thread: choose one that this process may use, or none; \
             costs moves between cores"
        );
    }

    #[test]
    fn of_two_threads_on_one_core_both_yield_and_the_later_is_not_pinned() {
        let settings = spinning([1, 2, 3, 1]);
        let plan = ThreadPlan::new(Threading::SPLIT, &settings, &[0, 1, 2, 3]);
        assert_eq!(idles(&plan), [IdleStrategy::Yield; 2]);
        assert_eq!(
            (plan.threads[0].core, plan.threads[1].core),
            (Some(1), None)
        );
        assert!(
            plan.words().ends_with(
                "; service not pinned: node has core 1; costs moves between cores, service \
                 has yield instead of busy-spin, node has yield instead of busy-spin"
            ),
            "{}",
            plan.words()
        );
    }

    #[test]
    fn threads_that_would_leave_no_core_free_yield_and_it_is_said_once() {
        let settings = spinning([0, 1, 2, 3]);
        let plan = ThreadPlan::new(Threading::DEDICATED, &settings, &[0, 1]);
        assert_eq!(idles(&plan), [IdleStrategy::Yield; 4]);
        let said = plan.words().matches("instead of busy-spin").count();
        assert_eq!(said, 1, "{}", plan.words());
        assert!(
            plan.words()
                .ends_with("; 4 threads on 2 cores: costs waiting for turns")
        );
    }

    #[test]
    fn agents_on_one_thread_have_the_settings_of_the_first_of_them() {
        let threading: Threading = "consensus, archive+clients, service".parse().unwrap();
        let plan = ThreadPlan::new(threading, &spinning([0, 1, 2, 3]), &[0, 1, 2, 3]);
        assert_eq!(plan.threads[1].name, "archive+clients");
        assert_eq!(plan.threads[1].core, Some(1));
    }

    #[test]
    fn the_only_core_is_named_as_such() {
        let plan = ThreadPlan::new(Threading::SHARED, &ThreadSettings::default(), &[0]);
        assert!(plan.words().contains("no core is free"), "{}", plan.words());
    }
}
