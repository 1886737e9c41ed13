//! Files that are right, and what is said of those that are not.

use super::*;

const GOOD: &str = r#"
[cluster]
responses = "direct"
term_length = "1m"
session_timeout = "5s"
members = [{ ingress = "127.0.0.1:9001", member = "127.0.0.1:9002" }]

[node]
member = 0
directory = "data/0"
sync = "none"
disk_delay = "200us"
service = "ledger"
faults = { loss = "0.1%" }
"#;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Choice {
    #[default]
    Echo,
    Ledger,
}

lockstep_transport::named_setting!(Choice {
    Echo => "echo",
    Ledger => "ledger",
});

impl ServiceKey for Choice {
    fn key(&self) -> Option<String> {
        Some(self.name().to_owned())
    }

    fn validate(&self, _cluster: &ClusterConfig) -> Result<(), ConfigError> {
        Ok(())
    }
}

fn parse(text: &str) -> Result<NodeFile<Choice>, NodeFileError> {
    NodeFile::parse(Path::new("node.toml"), text)
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_what_is_configured() {
    let file = parse(GOOD).unwrap();
    assert_eq!(file.cluster.responses, ResponsesMode::Direct);
    assert_eq!(file.cluster.term_length, 1 << 20);
    assert_eq!(file.cluster.session_timeout_ns, 5_000_000_000);
    assert_eq!(file.node.sync, SyncMode::None);
    assert_eq!(file.node.disk_delay_ns, 200_000);
    assert!((file.node.faults.loss - 0.001).abs() < 1e-12);
    assert_eq!(file.service, Choice::Ledger);
    assert_eq!(file.node.threads, ThreadSettings::default());
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_a_proposal() {
    assert_eq!(
        refused(&GOOD.replace("disk_delay", "disc_delay")),
        "node.toml:12: unknown key \"disc_delay\": did you mean \"disk_delay\"?"
    );
}

#[test]
fn an_unknown_value_is_named_with_its_line_and_a_proposal() {
    assert_eq!(
        refused(&GOOD.replace("\"ledger\"", "\"leger\"")),
        "node.toml:13: unknown value \"leger\": did you mean \"ledger\"?"
    );
    let message = refused(&GOOD.replace("sync = \"none\"", "idle = \"sleepily\""));
    assert!(
        message.contains("use one of busy-spin, yield, backoff, park"),
        "{message}"
    );
}

#[test]
fn a_bad_quantity_is_named_with_its_line() {
    let message = refused(&GOOD.replace("200us", "200"));
    assert!(message.starts_with("node.toml:12: "), "{message}");
    assert!(message.contains("needs a unit"), "{message}");
}

#[test]
fn a_value_that_cannot_work_is_refused_by_the_crate_it_configures() {
    let message = refused(&GOOD.replace("\"1m\"", "\"1000\""));
    assert!(message.contains("term_length"), "{message}");
    let message = refused(&GOOD.replace("member = 0", "member = 3"));
    assert!(message.contains("member"), "{message}");
}

#[test]
fn a_program_with_a_service_of_its_own_has_no_key_for_it() {
    let parse = |text: &str| NodeFile::<OwnService>::parse(Path::new("node.toml"), text);
    assert_eq!(
        parse(GOOD).unwrap_err().to_string(),
        "node.toml:13: this program has one service: leave the key out in: service = \"ledger\""
    );
    let file = parse(&GOOD.replace("service = \"ledger\"\n", "")).unwrap();
    let again = NodeFile::parse(Path::new("node.toml"), &file.text().unwrap());
    assert_eq!(again.unwrap(), file);
}

#[test]
fn what_is_written_of_a_configuration_is_read_back_the_same() {
    let endpoints = |id: u16| MemberEndpoints {
        ingress: SocketAddr::from(([127, 0, 0, 1], 7001 + 2 * id)),
        member: SocketAddr::from(([127, 0, 0, 1], 7002 + 2 * id)),
    };
    let file = NodeFile {
        cluster: ClusterConfig {
            name: "round-trip".to_owned(),
            members: (0..3).map(endpoints).collect(),
            responses: ResponsesMode::Direct,
            ..ClusterConfig::default()
        },
        node: NodeConfig {
            member: 2,
            directory: PathBuf::from("some \"odd\" place"),
            sync: SyncMode::None,
            io: IoChoice::Uring,
            disk_delay_ns: 1_234,
            service_time_ns: 20_000,
            service_pause_ns: 4_000_000,
            faults: Faults {
                loss: 0.001,
                jitter_ns: 5,
                ..Faults::default()
            },
            seed: 77,
            trace_every: 16,
            threading: Threading::SPLIT,
            threads: ThreadSettings {
                node: ThreadSetting {
                    core: Some(1),
                    idle: IdleStrategy::Backoff,
                },
                service: ThreadSetting {
                    core: Some(3),
                    idle: IdleStrategy::Park,
                },
                ..ThreadSettings::waiting(IdleStrategy::BusySpin)
            },
            ..NodeConfig::default()
        },
        service: Choice::Ledger,
    };
    assert_eq!(parse(&file.text().unwrap()).unwrap(), file);
}
