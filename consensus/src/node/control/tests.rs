//! Who asks by the control socket, who gives up, and what a node that ends leaves.

use super::*;
use crate::node::consensus_agent::snapshots::SnapshotRefusal;

/// Short, for what is not to happen.
const MOMENT: Duration = Duration::from_millis(50);

fn open(place: &Path) -> ControlSocket {
    ControlSocket::open(place).unwrap().unwrap()
}

/// Somebody whom the socket listens to.
fn served(socket: &ControlSocket) -> UnixStream {
    let mut stream = UnixStream::connect(&socket.path).unwrap();
    assert_eq!(line_of(&mut stream), LISTENING);
    stream
}

fn line_of(stream: &mut UnixStream) -> String {
    read_line(stream, ANSWER_MAX, Instant::now() + PATIENCE).unwrap()
}

/// The next one that the node takes.
fn taken(socket: &ControlSocket) -> Asked {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(asked) = socket.take() {
            return asked;
        }
        assert!(Instant::now() < until, "nobody asks");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Somebody asks at `place` by a thread of its own.
fn asking(place: &Path) -> thread::JoinHandle<io::Result<ControlAnswer>> {
    let path = place.to_owned();
    thread::spawn(move || ask(&path, ControlRequest::Snapshot))
}

#[test]
fn who_asks_gets_the_answer_of_the_node_in_words() {
    let place = tempfile::tempdir().unwrap();
    let socket = open(place.path());
    let leader = SnapshotRefusal::NotLeading { leader: Some(2) };
    for (answer, words) in [
        (Ok(640), Ok("asked all members for a snapshot at 640")),
        (Err(leader), Err("this member does not lead: ask member 2")),
    ] {
        let asking = asking(place.path());
        let asked = taken(&socket);
        assert_eq!(asked.request, ControlRequest::Snapshot);
        asked.answer(NodeAnswer::Snapshot(answer));
        let told = asking.join().unwrap().unwrap();
        assert_eq!(told.as_deref().map_err(String::as_str), words);
    }
}

#[test]
fn nonsense_is_refused_by_name_and_a_socket_left_behind_is_taken_over() {
    let place = tempfile::tempdir().unwrap();
    let left = UnixListener::bind(place.path().join(CONTROL_SOCKET)).unwrap();
    drop(left);
    let socket = open(place.path());
    let mut stream = served(&socket);
    writeln!(stream, "dance").unwrap();
    let line = line_of(&mut stream);
    assert!(
        line.starts_with("refused ") && line.contains("dance"),
        "{line}"
    );
    drop(socket);
    assert!(ask(place.path(), ControlRequest::Snapshot).is_err());
}

#[test]
fn a_directory_whose_path_is_too_long_for_a_socket_has_none() {
    let place = tempfile::tempdir().unwrap();
    let deep = place.path().join("d".repeat(200));
    std::fs::create_dir(&deep).unwrap();
    assert!(ControlSocket::open(&deep).unwrap().is_err());
}

#[test]
fn only_the_user_of_the_node_may_ask_it() {
    let place = tempfile::tempdir().unwrap();
    let socket = open(place.path());
    let mode = socket.path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_the_node_has_not_taken_up_in_time_it_never_does() {
    let (node, asked) = sync_channel(ASKED_MAX);
    let (path, turn) = (PathBuf::new(), Arc::new(Turn(AtomicU8::new(SERVING))));
    let socket = ControlSocket { asked, path, turn };
    let ask = || ask_node(ControlRequest::Snapshot, &node, MOMENT);
    assert_eq!(ask(), Err(NO_ANSWER.to_owned()));
    assert_eq!(ask(), Err(NO_ANSWER.to_owned()), "the first is still there");
    assert!(
        socket.take().is_none(),
        "both were told that it is not done"
    );
    drop(socket);
    assert_eq!(ask(), Err(ENDS.to_owned()));
}

#[test]
fn what_the_node_takes_up_at_the_last_moment_is_answered() {
    let (node, asked) = sync_channel::<Asked>(ASKED_MAX);
    let answering = thread::spawn(move || {
        let asked = asked.recv().unwrap();
        assert!(asked.claim.is_mine());
        thread::sleep(MOMENT + MOMENT / 2);
        asked.answer(NodeAnswer::Snapshot(Ok(640)));
    });
    let answer = ask_node(ControlRequest::Snapshot, &node, MOMENT);
    answering.join().unwrap();
    assert!(answer.is_ok_and(|words| words.contains("640")));
}

#[test]
fn who_gives_up_behind_another_has_asked_for_nothing() {
    let place = tempfile::tempdir().unwrap();
    let socket = open(place.path());
    let first = served(&socket);
    let error = ask_within(place.path(), ControlRequest::Snapshot, MOMENT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let last = asking(place.path());
    drop(first);
    taken(&socket).answer(NodeAnswer::Snapshot(Ok(640)));
    let told = last.join().unwrap().unwrap();
    assert!(told.is_ok(), "it is the last one that was taken: {told:?}");
    assert!(socket.take().is_none());
}

#[test]
fn a_line_that_comes_byte_by_byte_has_no_more_time_than_another() {
    let (mut near, mut far) = UnixStream::pair().unwrap();
    let begun = Instant::now();
    let dribbling = thread::spawn(move || {
        while far.write_all(b"s").is_ok() {
            thread::sleep(MOMENT / 5);
        }
    });
    let error = read_line(&mut near, REQUEST_MAX, begun + MOMENT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    drop(near);
    dribbling.join().unwrap();
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn where_nobody_can_be_let_in_the_thread_pauses() {
    let (node, _asked) = sync_channel(ASKED_MAX);
    let turn = Arc::new(Turn(AtomicU8::new(WAITING)));
    let of_thread = Arc::clone(&turn);
    let listening = thread::spawn(move || {
        let mut tries = 0;
        let accept = || {
            tries += 1;
            Err(io::Error::other("no descriptors"))
        };
        listen(accept, &node, &of_thread);
        tries
    });
    thread::sleep(3 * PAUSE);
    turn.end();
    let tries = listening.join().unwrap();
    assert!((1..=4).contains(&tries), "{tries}");
}

#[test]
fn the_end_of_a_node_waits_for_nobody_who_asks() {
    let place = tempfile::tempdir().unwrap();
    let socket = open(place.path());
    let _first = served(&socket);
    // In the place of a queue that is full, to which whoever connects waits.
    remove_file(&socket.path).unwrap();
    let queue = UnixListener::bind(&socket.path).unwrap();
    queue.set_nonblocking(true).unwrap();
    drop(socket);
    let woken = queue.accept().map(|_| ());
    assert_eq!(woken.unwrap_err().kind(), ErrorKind::WouldBlock);
}
