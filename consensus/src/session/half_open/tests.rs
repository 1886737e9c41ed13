//! What a stranger's SETUP is answered, how often, and whose stream gives way to whose.

use lockstep_transport::position::Geometry;
use lockstep_transport::protocol::{Packet, parse};
use lockstep_transport::sim::{LinkProfile, SimNetwork, SimPort};

use super::*;

const STREAM: i32 = 101;
const TERM_LENGTH: usize = 1 << 16;
const START: Position = 4096;

fn geometry() -> Geometry {
    Geometry::new(3, TERM_LENGTH).unwrap()
}

fn source(port: u16) -> SocketAddr {
    ([10, 0, 0, 9], port).into()
}

fn set_up(
    streams: &mut HalfOpenStreams,
    source: SocketAddr,
    session_id: i32,
) -> Result<SetupOutcome, ImageError> {
    let setup = Setup::new(session_id, STREAM, geometry(), 1408, START);
    streams.on_setup(source, &setup, &ImageLimits::default())
}

/// Streams, the port they are answered through, and the port of `source(7)`.
fn streams() -> (HalfOpenStreams, SimPort, SimPort) {
    let network = SimNetwork::new(1, LinkProfile::default());
    let own = network.port(([10, 0, 0, 1], 1).into());
    (HalfOpenStreams::new(4, 5, 1), own, network.port(source(7)))
}

/// Places in a stream, each with how many bytes it is about.
type Places = Vec<(Position, usize)>;

/// Status messages and NAKs that have arrived.
fn arrived(port: &mut SimPort) -> (Places, Places) {
    let (mut statuses, mut naks, mut buffer) = (Vec::new(), Vec::new(), [0; 2048]);
    while let Some(received) = port.receive(Nanos::MAX, &mut buffer) {
        match parse(&buffer[..received.length]).unwrap() {
            Packet::StatusMessage(status) => {
                assert_eq!((status.session_id(), status.receiver_id()), (1, 5));
                statuses.push((status.position(geometry()).unwrap(), status.window()));
            }
            Packet::Nak(nak) => {
                assert_eq!((nak.session_id(), nak.stream_id()), (1, STREAM));
                naks.push((nak.position(geometry()).unwrap(), nak.length() as usize));
            }
            other => panic!("{other:?}"),
        }
    }
    (statuses, naks)
}

const NEW: SetupOutcome = SetupOutcome::Taken { displaced: None };

#[test]
fn three_setups_of_a_stream_are_answered_and_no_more() {
    let (mut streams, mut port, mut client) = streams();
    for _ in 0..3 {
        assert_eq!(set_up(&mut streams, source(7), 1).unwrap(), NEW);
        assert!(streams.has_answers());
        assert_eq!(streams.do_work(0, &mut port), 1);
        assert_eq!(
            arrived(&mut client),
            (vec![(START, TERM_LENGTH / 2)], vec![])
        );
        assert!(!streams.has_answers());
    }
    assert_eq!(
        set_up(&mut streams, source(7), 1).unwrap(),
        SetupOutcome::Exhausted
    );
    assert_eq!((streams.do_work(0, &mut port), streams.visits()), (0, 3));
    // Two in one cycle are answered once; another stream has answers of its own.
    for _ in 0..2 {
        assert_eq!(set_up(&mut streams, source(8), 1).unwrap(), NEW);
    }
    assert_eq!(streams.do_work(0, &mut port), 1);
}

#[test]
fn what_is_missing_of_a_stream_is_asked_for_three_times_as_far_as_it_is_taken() {
    let (mut streams, mut port, mut client) = streams();
    assert!(
        streams.on_missing(source(7), 1, START + 64),
        "nothing is known of it"
    );
    assert!(!streams.has_answers());
    set_up(&mut streams, source(7), 1).unwrap();
    streams.do_work(0, &mut port);
    arrived(&mut client);
    assert!(streams.on_missing(source(7), 1, START));
    assert!(!streams.has_answers(), "nothing is missing");
    let far = START + TERM_LENGTH as Position;
    for (end, length) in [(START + 1, 1), (START + 640, 640), (far, TERM_LENGTH / 2)] {
        assert!(streams.on_missing(source(7), 1, end));
        assert_eq!(streams.do_work(0, &mut port), 1);
        assert_eq!(arrived(&mut client), (vec![], vec![(START, length)]));
    }
    assert!(!streams.on_missing(source(7), 1, far));
    assert_eq!(streams.do_work(0, &mut port), 0);
}

#[test]
fn a_stream_is_known_by_its_source_and_session_until_it_is_forgotten() {
    let (mut streams, ..) = streams();
    set_up(&mut streams, source(7), 1).unwrap();
    set_up(&mut streams, source(7), 2).unwrap();
    let row = streams.get(source(7), 2).unwrap();
    assert_eq!(
        (row.source, row.setup.session_id(), row.position()),
        (source(7), 2, START)
    );
    assert!(streams.get(source(8), 1).is_none() && streams.get(source(7), 3).is_none());
    streams.forget(source(8), 1);
    streams.forget(source(7), 2);
    assert!(streams.get(source(7), 2).is_none() && streams.get(source(7), 1).is_some());
}

#[test]
fn streams_of_any_source_and_session_have_hashes_of_their_own() {
    let streams = streams().0;
    let ports = (1..100).flat_map(|port| (-50..50).map(move |session| (port, session)));
    let hashes = ports.map(|(port, session)| streams.hash(source(port), session));
    let hashes: std::collections::BTreeSet<u64> = hashes.collect();
    assert_eq!(hashes.len(), 99 * 100, "else strangers make searches long");
}

#[test]
fn a_stream_that_cannot_be_had_takes_no_row() {
    let (mut streams, ..) = streams();
    let setup = Setup::new(1, STREAM, geometry(), 1408, START);
    let limits = ImageLimits {
        window_length: 1000,
        ..ImageLimits::default()
    };
    assert!(streams.on_setup(source(7), &setup, &limits).is_err());
    assert!(streams.get(source(7), 1).is_none() && !streams.has_answers());
}

#[test]
fn a_host_with_too_many_streams_displaces_the_oldest_of_its_own_group() {
    let (mut streams, mut port, _) = streams();
    let host = |host: u8| SocketAddr::from(([10, 0, 1, host], 7));
    let group = |host: SocketAddr| host_group(1, host.ip());
    let other = (0..)
        .map(host)
        .find(|host| group(*host) != group(source(7)));
    set_up(&mut streams, other.unwrap(), 0).unwrap();
    for number in 0..1024 {
        assert_eq!(
            set_up(&mut streams, source(7), number).unwrap(),
            NEW,
            "{number}"
        );
    }
    let displacing = SetupOutcome::Taken {
        displaced: Some(source(7)),
    };
    for number in 1024..1026 {
        assert_eq!(set_up(&mut streams, source(7), number).unwrap(), displacing);
        assert!(streams.get(source(7), number - 1024).is_none());
        assert!(streams.get(source(7), number - 1023).is_some());
    }
    assert!(streams.get(other.unwrap(), 0).is_some());
    // Of one that has gone nobody is told.
    streams.forget(source(7), 2);
    assert_eq!(set_up(&mut streams, source(7), 1026).unwrap(), NEW);
    // So many are answered in one cycle.
    assert_eq!(streams.do_work(0, &mut port), 256);
    assert!(streams.has_answers());
}

#[test]
fn hosts_of_each_group_have_places_of_their_own() {
    let (mut streams, ..) = streams();
    let host = |host: u8| SocketAddr::from(([10, 0, 1, host], 7));
    for group in 0..HOST_GROUPS {
        let mut hosts = (0..).map(host);
        let host = hosts
            .find(|host| host_group(1, host.ip()) == group)
            .unwrap();
        for number in 0..1024 {
            assert_eq!(set_up(&mut streams, host, number).unwrap(), NEW);
        }
    }
}

#[test]
fn an_answer_that_the_port_puts_off_is_sent_in_the_next_cycle() {
    let (mut streams, mut port, mut client) = streams();
    set_up(&mut streams, source(7), 1).unwrap();
    set_up(&mut streams, source(8), 1).unwrap();
    streams.on_missing(source(7), 1, START + 64);
    // Full: it takes no datagram more.
    while port.send(0, source(9), &[0; 64]) != SendOutcome::BackPressured {}
    for _ in 0..5 {
        assert_eq!(streams.do_work(0, &mut port), 0);
    }
    assert!(streams.has_answers());
    let later = lockstep_transport::time::SECOND;
    assert!(
        port.receive(later, &mut [0; 2048]).is_none(),
        "time has passed"
    );
    assert_eq!(streams.do_work(later, &mut port), 2);
    let expected = (vec![(START, TERM_LENGTH / 2)], vec![(START, 64)]);
    assert_eq!(arrived(&mut client), expected);
}
