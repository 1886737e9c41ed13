//! What a running node can be asked for: by a unix socket in its directory.
//!
//! SHELL. A thread of its own waits for whoever asks, reads one line, hands it to the node and
//! writes the line that it is answered with. The node takes what waits when it publishes its
//! counters, so no duty cycle waits for anybody.
#![allow(
    clippy::disallowed_methods,
    reason = "shell: starts a thread, owns a socket"
)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use lockstep_transport::named_setting;

/// Name of the socket in the node's directory.
pub const CONTROL_SOCKET: &str = "control.sock";

/// Longest line that is read of whoever asks.
const LINE_MAX: u64 = 256;

/// How long whoever asks may take to say what for, and the node to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRequest {
    /// All members take a snapshot.
    Snapshot,
}

named_setting!(ControlRequest {
    Snapshot => "snapshot",
});

/// The answer of a node: in words, whether it does it or refuses.
pub type ControlAnswer = Result<String, String>;

/// Somebody asks.
#[derive(Debug)]
pub(crate) struct Asked {
    /// For this.
    pub request: ControlRequest,
    answer: SyncSender<ControlAnswer>,
}

impl Asked {
    /// Answers.
    pub fn answer(self, answer: ControlAnswer) {
        // There is room for one. Nobody waits any more where its patience was at an end.
        let _ = self.answer.try_send(answer);
    }
}

/// A node's end.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    asked: Receiver<Asked>,
    path: PathBuf,
    has_ended: Arc<AtomicBool>,
}

impl ControlSocket {
    /// Opens the socket in `directory`, which is locked: one that is there is of a process that has
    /// ended. The inner error is that of the socket, whose path may be too long: a node can do
    /// without.
    ///
    /// # Errors
    /// The operating system has no thread to give.
    pub fn open(directory: &Path) -> io::Result<Result<Self, io::Error>> {
        let path = directory.join(CONTROL_SOCKET);
        let listener = match bind(&path) {
            Ok(listener) => listener,
            Err(error) => return Ok(Err(error)),
        };
        let (sender, asked) = channel();
        let has_ended = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&has_ended);
        thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || listen(&listener, &sender, &flag))?;
        Ok(Ok(Self {
            asked,
            path,
            has_ended,
        }))
    }

    /// Who has asked and was not answered.
    pub fn take(&self) -> Option<Asked> {
        self.asked.try_recv().ok()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
        // Wakes the thread. Where somebody has removed the socket, it ends with the process.
        let _ = UnixStream::connect(&self.path);
        let _ = std::fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(path),
    }
}

fn listen(listener: &UnixListener, node: &Sender<Asked>, has_ended: &AtomicBool) {
    for stream in listener.incoming() {
        if has_ended.load(Ordering::Relaxed) {
            return;
        }
        // Whoever went away before it was heard has nothing to be told.
        let _ = stream.and_then(|stream| serve(stream, node));
    }
}

fn serve(mut stream: UnixStream, node: &Sender<Asked>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(Read::take(&stream, LINE_MAX)).read_line(&mut line)?;
    let answer = match line.trim().parse::<ControlRequest>() {
        Ok(request) => ask_node(request, node),
        Err(unknown) => Err(unknown.to_string()),
    };
    let (word, text) = match &answer {
        Ok(text) => (DONE, text),
        Err(text) => (REFUSED, text),
    };
    writeln!(stream, "{word} {text}")
}

fn ask_node(request: ControlRequest, node: &Sender<Asked>) -> ControlAnswer {
    let (sender, answer) = sync_channel(1);
    let asked = Asked {
        request,
        answer: sender,
    };
    node.send(asked).map_err(|_| "the node ends".to_owned())?;
    let late = |_| Err("the node does not answer: it may be stopped or busy".to_owned());
    answer.recv_timeout(PATIENCE).unwrap_or_else(late)
}

/// First word of an answer.
const DONE: &str = "done";
const REFUSED: &str = "refused";

/// Asks the node that runs on `directory`.
///
/// # Errors
/// When no node answers there.
pub fn ask(directory: &Path, request: ControlRequest) -> io::Result<ControlAnswer> {
    let mut stream = UnixStream::connect(directory.join(CONTROL_SOCKET))?;
    stream.set_read_timeout(Some(2 * PATIENCE))?;
    writeln!(stream, "{}", request.name())?;
    let mut line = String::new();
    BufReader::new(Read::take(&stream, 1 << 16)).read_line(&mut line)?;
    match line.trim().split_once(' ') {
        Some((DONE, text)) => Ok(Ok(text.to_owned())),
        Some((REFUSED, text)) => Ok(Err(text.to_owned())),
        _ => Err(io::Error::other(
            "the node has ended, or is of another version",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_gets_the_answer_of_the_node() {
        let place = tempfile::tempdir().unwrap();
        let socket = ControlSocket::open(place.path()).unwrap().unwrap();
        let path = place.path().to_owned();
        let asking = thread::spawn(move || ask(&path, ControlRequest::Snapshot));
        let asked = socket.asked.recv_timeout(PATIENCE).unwrap();
        assert_eq!(asked.request, ControlRequest::Snapshot);
        asked.answer(Err("not now".to_owned()));
        let answer = asking.join().unwrap().unwrap();
        assert_eq!(answer, Err("not now".to_owned()));
    }

    #[test]
    fn nonsense_is_refused_by_name_and_a_socket_left_behind_is_taken_over() {
        let place = tempfile::tempdir().unwrap();
        let left = UnixListener::bind(place.path().join(CONTROL_SOCKET)).unwrap();
        drop(left);
        let socket = ControlSocket::open(place.path()).unwrap().unwrap();
        let mut stream = UnixStream::connect(&socket.path).unwrap();
        writeln!(stream, "dance").unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
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
}
