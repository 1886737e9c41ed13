//! Scenario files: one run of the node tank as text, as `--shrink` writes them and `--scenario`
//! repeats them.

use std::path::Path;

use lockstep_consensus::settings::config::ResponsesMode;
use lockstep_consensus::sim::tank::{
    Decision, FaultClass, Load, MemberBits, TankSetup, Target, Threads,
};
use lockstep_consensus::sim::{PlantedFault, Rule};
use lockstep_transport::sim::LinkProfile;
use lockstep_transport::time::Nanos;
use serde::{Deserialize, Serialize};

/// Version of the format.
const VERSION: u32 = 4;

/// A scenario as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioText {
    version: u32,
    seed: u64,
    /// Name of the rule that it breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    breaks: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    planted: Option<String>,
    members: usize,
    responses: String,
    unsynced_members: Vec<usize>,
    services_on_threads: Vec<usize>,
    archives_on_threads: Vec<usize>,
    clients_sides_on_threads: Vec<usize>,
    snapshot_interval: u64,
    slow_service: bool,
    writes_seen_late: bool,
    first_start_ns: Nanos,
    may_lose_all: bool,
    watched_long: bool,
    fault_phase_ns: Nanos,
    #[serde(skip_serializing_if = "Option::is_none")]
    diverging: Option<DivergingText>,
    #[serde(with = "NetworkText")]
    network: LinkProfile,
    #[serde(with = "LoadText")]
    load: Load,
    #[serde(default)]
    fault: Vec<FaultText>,
}

/// A member whose service answers a request otherwise than all others.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DivergingText {
    member: usize,
    request: i64,
}

/// How a [`LinkProfile`] is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "LinkProfile", deny_unknown_fields)]
struct NetworkText {
    delay_ns: Nanos,
    jitter_ns: Nanos,
    loss: f64,
    duplicate: f64,
    late_ns: Nanos,
    reorder: f64,
    corrupt: f64,
}

/// How a [`Load`] is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Load", deny_unknown_fields)]
struct LoadText {
    clients: u64,
    requests: i64,
    window: i64,
    padded: f64,
    pause_ns: Nanos,
    wave_ns: Nanos,
    restarts: u32,
    may_expire: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultText {
    at_ns: Nanos,
    class: String,
    member: TargetText,
    draw: u32,
}

/// The number of a member, or the name of whoever is meant.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a fault's member is the number of one, or \"leader\""
)]
enum TargetText {
    Member(usize),
    Named(TargetName),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TargetName {
    Leader,
}

/// What a scenario file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The run.
    pub setup: TankSetup,
    /// The rule that it broke when the file was written, if the file says so.
    pub breaks: Option<Rule>,
}

/// The text of `setup`, which breaks the rule `breaks`.
///
/// # Errors
/// A sentence: what of it cannot be written.
pub fn to_text(setup: &TankSetup, breaks: Rule) -> Result<String, String> {
    let faults = setup.faults.iter().map(|fault| FaultText {
        at_ns: fault.at,
        class: fault.class.name().to_owned(),
        member: match fault.target {
            Target::Leader => TargetText::Named(TargetName::Leader),
            Target::Member(id) => TargetText::Member(id),
        },
        draw: fault.draw,
    });
    let text = ScenarioText {
        version: VERSION,
        seed: setup.seed,
        breaks: Some(breaks.name().to_owned()),
        planted: setup.planted.map(|fault| fault.name().to_owned()),
        members: setup.members,
        responses: setup.responses.name().to_owned(),
        unsynced_members: numbers(setup.unsynced),
        services_on_threads: numbers(setup.threads.services),
        archives_on_threads: numbers(setup.threads.archives),
        clients_sides_on_threads: numbers(setup.threads.clients),
        snapshot_interval: setup.snapshot_interval,
        slow_service: setup.is_slow,
        writes_seen_late: setup.is_seen_late,
        first_start_ns: setup.first_start_ns,
        may_lose_all: setup.may_lose_all,
        watched_long: setup.is_watched_long,
        fault_phase_ns: setup.fault_phase_ns,
        diverging: setup
            .diverging
            .map(|(member, request)| DivergingText { member, request }),
        network: setup.network,
        load: setup.load,
        fault: faults.collect(),
    };
    let body = toml::to_string(&text).map_err(|error| error.to_string())?;
    Ok(format!(
        "# A run of the node tank. Repeat with: lockstep sim --scenario FILE\n{body}"
    ))
}

/// Reads a scenario file.
///
/// # Errors
/// A sentence with the file, the problem and what would be right.
pub fn read(path: &Path) -> Result<Scenario, String> {
    #[allow(clippy::disallowed_methods, reason = "shell: reads what was asked for")]
    let text = std::fs::read_to_string(path);
    let place = path.display();
    let text = text.map_err(|error| {
        format!("cannot read {place}: {error}; give a file that lockstep sim --shrink wrote")
    })?;
    from_text(&text).map_err(|problem| format!("{place}: {problem}"))
}

/// The scenario that `text` describes.
///
/// # Errors
/// A sentence: what is wrong with it.
pub fn from_text(text: &str) -> Result<Scenario, String> {
    let text: ScenarioText = toml::from_str(text).map_err(|error| error.to_string())?;
    if text.version != VERSION {
        let found = text.version;
        return Err(format!(
            "version is {found}, and this lockstep reads version {VERSION}"
        ));
    }
    let faults: Result<Vec<Decision>, String> = text.fault.iter().map(decision).collect();
    let setup = TankSetup {
        seed: text.seed,
        planted: text.planted.as_deref().map(planted).transpose()?,
        members: text.members,
        responses: responses(&text.responses)?,
        diverging: text.diverging.as_ref().map(|odd| (odd.member, odd.request)),
        unsynced: bits("unsynced_members", &text.unsynced_members, text.members)?,
        threads: threads(&text)?,
        snapshot_interval: text.snapshot_interval,
        is_slow: text.slow_service,
        is_seen_late: text.writes_seen_late,
        first_start_ns: text.first_start_ns,
        may_lose_all: text.may_lose_all,
        is_watched_long: text.watched_long,
        network: text.network,
        load: text.load,
        fault_phase_ns: text.fault_phase_ns,
        faults: faults?,
    };
    match setup.problem() {
        Some(problem) => Err(format!("no run can be made of this; it must be {problem}")),
        None => Ok(Scenario {
            setup,
            breaks: text.breaks.as_deref().map(rule).transpose()?,
        }),
    }
}

fn responses(name: &str) -> Result<ResponsesMode, String> {
    let named = name.parse::<ResponsesMode>();
    named.map_err(|error| format!("responses: {error}"))
}

fn threads(text: &ScenarioText) -> Result<Threads, String> {
    let of = |key, members| bits(key, members, text.members);
    Ok(Threads {
        services: of("services_on_threads", &text.services_on_threads)?,
        archives: of("archives_on_threads", &text.archives_on_threads)?,
        clients: of("clients_sides_on_threads", &text.clients_sides_on_threads)?,
    })
}

/// The members that have their bits.
fn numbers(bits: MemberBits) -> Vec<usize> {
    let members = 0..MemberBits::BITS as usize;
    members.filter(|member| bits >> member & 1 == 1).collect()
}

/// The bits of members among so many.
fn bits(key: &str, members: &[usize], count: usize) -> Result<MemberBits, String> {
    let bits = members.iter().try_fold(0, |bits, member| {
        let bit = (1 as MemberBits).checked_shl(*member as u32)?;
        (*member < count).then_some(bits | bit)
    });
    bits.ok_or_else(|| format!("{key}: name members by their numbers"))
}

fn rule(name: &str) -> Result<Rule, String> {
    let named = Rule::ALL.iter().find(|rule| rule.name() == name).copied();
    named.ok_or_else(|| format!("breaks: there is no rule called \"{name}\""))
}

fn planted(name: &str) -> Result<PlantedFault, String> {
    let mut all = PlantedFault::ALL.into_iter();
    let named = all.find(|fault| fault.name() == name && fault.is_of_node());
    named.ok_or_else(|| format!("planted: the node tank has no fault called \"{name}\""))
}

fn decision(fault: &FaultText) -> Result<Decision, String> {
    let class = FaultClass::named(&fault.class)
        .ok_or_else(|| format!("there is no class of faults called \"{}\"", fault.class))?;
    let target = match fault.member {
        TargetText::Named(TargetName::Leader) => Target::Leader,
        TargetText::Member(id) => Target::Member(id),
    };
    Ok(Decision {
        at: fault.at_ns,
        class,
        target,
        draw: fault.draw,
    })
}

#[cfg(test)]
mod tests {
    use lockstep_consensus::sim::tank::TankOptions;

    use super::*;

    #[test]
    fn a_setup_survives_its_text() {
        for seed in [0, 3, 77, i64::MAX as u64] {
            let mut setup = TankSetup::draw(seed, &TankOptions::default());
            setup.planted = Some(PlantedFault::AckBeforeFsync);
            setup.members = 3;
            setup.keep_members();
            setup.diverging = Some((0, 5));
            let text = to_text(&setup, Rule::C1).unwrap();
            let breaks = Some(Rule::C1);
            assert_eq!(from_text(&text), Ok(Scenario { setup, breaks }), "{text}");
        }
    }

    /// What is said of a good file in which `from` is `to`.
    fn refusal(from: &str, to: &str) -> String {
        let mut setup = TankSetup::draw(3, &TankOptions::default());
        setup.members = 3;
        setup.keep_members();
        setup.diverging = Some((0, 5));
        let good = to_text(&setup, Rule::C1).unwrap();
        assert!(good.contains(from), "{good}");
        from_text(&good.replacen(from, to, 1)).unwrap_err()
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let faults = TankSetup::draw(3, &TankOptions::default()).faults;
        let class = faults[0].class.name();
        for (from, to, expected) in [
            ("version = 4", "version = 1", "reads version 4"),
            ("seed = 3", "sed = 3", "sed"),
            ("draw = ", "draw = -", "invalid value"),
            ("members = ", "members = 9", "members: 1 to 7"),
            (
                "services_on_threads = [",
                "services_on_threads = [3, ",
                "services_on_threads: name members",
            ),
            (
                "unsynced_members = [",
                "unsynced_members = [3, ",
                "unsynced_members: name members",
            ),
            (
                "archives_on_threads = [",
                "archives_on_threads = [8, ",
                "archives_on_threads: name members",
            ),
            (
                "clients_sides_on_threads = [",
                "clients_sides_on_threads = [5, ",
                "clients_sides_on_threads: name members",
            ),
            ("breaks = \"C1 ", "breaks = \"", "no rule called"),
            (class, "gremlins", "gremlins"),
            (
                "request = 5",
                "request = 8",
                "a member that answers otherwise",
            ),
            (
                "request = 5",
                "request = 500",
                "a member that answers otherwise",
            ),
            ("requests = 120", "requests = 20000", "load: "),
            (
                "fault_phase_ns = 5000000000",
                "fault_phase_ns = 1000000000",
                "before the phase of faults ends",
            ),
            ("[[fault]]", "[[fault]]\nmembr = 3", "membr"),
        ] {
            let told = refusal(from, to);
            assert!(told.contains(expected), "{from} -> {to}: {told}");
        }
    }

    #[test]
    fn a_fault_is_meant_for_a_number_or_for_the_leader() {
        let read = |member: &str| {
            let text = format!("at_ns = 1\nclass = \"kill\"\nmember = {member}\ndraw = 0\n");
            toml::from_str::<FaultText>(&text).map_err(|error| error.to_string())
        };
        let target = |member| decision(&read(member).unwrap()).unwrap().target;
        assert_eq!(target("2"), Target::Member(2));
        assert_eq!(target("\"leader\""), Target::Leader);
        assert!(read("\"2\"").unwrap_err().contains("or \"leader\""));
    }
}
