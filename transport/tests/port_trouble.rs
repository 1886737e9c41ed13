//! What the operating system refuses is kept with its error number until it is asked for.

use lockstep_transport::datagram_port::{DatagramPort, SendOutcome};
use lockstep_transport::fault::FaultyPort;
use lockstep_transport::media::{Backend, NetworkPort, SocketOptions};
use lockstep_transport::port_trouble::TroubleKind;

#[test]
fn a_refused_send_tells_where_it_was_to_go_and_why_it_did_not() {
    let address = "127.0.0.1:0".parse().unwrap();
    let port = NetworkPort::bind(address, SocketOptions::default(), Backend::Syscall).unwrap();
    let mut port = FaultyPort::new(port, 1);
    assert_eq!(port.take_trouble(), None);
    // From the loopback interface there is no way to any other host.
    let elsewhere = "192.0.2.1:9000".parse().unwrap();
    for _ in 0..3 {
        assert_eq!(port.send(0, elsewhere, b"hello"), SendOutcome::Refused);
    }
    let trouble = port.take_trouble().unwrap();
    assert_eq!(trouble.kind, TroubleKind::SendRefused);
    assert_eq!((trouble.peer, trouble.count), (Some(elsewhere), 3));
    assert!(trouble.errno > 0);
    assert_eq!(port.take_trouble(), None);
}
