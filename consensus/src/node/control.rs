//! What a running node can be asked for: by a unix socket in its directory.
//!
//! SHELL. A thread of its own waits for whoever asks, one after the other. It says that it listens,
//! reads one line, hands what that asks for to the node, and writes the line that answers it. The
//! node takes what waits when it publishes its counters, so no duty cycle waits for anybody. What
//! was given up or refused is not done afterwards: who was not listened to has not asked, and what
//! the node has not taken up in time it never takes up.
#![allow(
    clippy::disallowed_methods,
    reason = "shell: starts a thread, owns a socket, reads the clock"
)]

use std::fs::{Permissions, remove_file, set_permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use self::words::NodeAnswer;
pub use self::words::{ControlAnswer, ControlRequest, UnknownRequest};

/// Name of the socket in the node's directory.
pub const CONTROL_SOCKET: &str = "control.sock";

/// Whoever asks has the node write to its disk: its user may.
const CONTROL_MODE: u32 = 0o600;

/// Longest line that is read of whoever asks, and of a node that answers.
const REQUEST_MAX: usize = 256;
const ANSWER_MAX: usize = 4096;

/// How long whoever asks may take to say what for, and the node to take it up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pause when nobody can be let in, for want of descriptors say: at once it would be so again.
const PAUSE: Duration = Duration::from_millis(100);

/// What the node has not taken up: one is asked for at a time, and where the one before it is still
/// there the node stands.
const ASKED_MAX: usize = 1;

/// First line of a node that listens.
const LISTENING: &str = "listening";

/// First word of its answer.
const DONE: &str = "done";
const REFUSED: &str = "refused";

const NO_ANSWER: &str = "the node does not answer: it may be stopped or busy";
const ENDS: &str = "the node ends";
const ENDED_OR_OTHER: &str = "it has ended, or is of another version";

/// What the thread is about: it waits for somebody, or is about to.
const WAITING: u8 = 0;
const SERVING: u8 = 1;
const ENDED: u8 = 2;

/// Somebody asks.
#[derive(Debug)]
pub(crate) struct Asked {
    /// For this.
    pub request: ControlRequest,
    answer: SyncSender<NodeAnswer>,
    claim: Claim,
}

impl Asked {
    /// Answers.
    pub(super) fn answer(self, answer: NodeAnswer) {
        // There is room for one. Nobody waits any more where its patience was at an end.
        let _ = self.answer.try_send(answer);
    }
}

/// Whoever claims first has it: the node, which does what it was asked for then, or who waited for
/// that in vain.
#[derive(Clone, Debug, Default)]
struct Claim(Arc<AtomicBool>);

impl Claim {
    fn is_mine(&self) -> bool {
        // Its partner is the same swap of the other side.
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// What the thread is about. Its partners are the thread, and the node that ends it.
#[derive(Debug)]
struct Turn(AtomicU8);

impl Turn {
    /// Goes on to `next`. Returns false when it has ended instead.
    fn go_on(&self, next: u8) -> bool {
        let go_on = |turn| (turn != ENDED).then_some(next);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        self.0.fetch_update(set, fetch, go_on).is_ok()
    }

    /// Ends it. Returns what it was about.
    fn end(&self) -> u8 {
        self.0.swap(ENDED, Ordering::AcqRel)
    }
}

/// A node's end.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    asked: Receiver<Asked>,
    path: PathBuf,
    turn: Arc<Turn>,
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
        let (sender, asked) = sync_channel(ASKED_MAX);
        let turn = Arc::new(Turn(AtomicU8::new(WAITING)));
        let of_thread = Arc::clone(&turn);
        let accept = move || listener.accept().map(|(stream, _)| stream);
        thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || listen(accept, &sender, &of_thread))?;
        Ok(Ok(Self { asked, path, turn }))
    }

    /// Who has asked, was not answered, and has not given up.
    pub fn take(&self) -> Option<Asked> {
        let mut asked = self.asked.try_iter();
        asked.find(|asked| asked.claim.is_mine())
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if self.turn.end() == WAITING {
            // Wakes the thread, and waits for nothing, however many want to be served: who waits
            // takes one of them first, and then sees that it has ended. A thread that serves
            // somebody sees it afterwards. Where somebody has removed the socket, it ends with the
            // process.
            let _ = UnixStream::connect(&self.path);
        }
        let _ = remove_file(&self.path);
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Err(error) = remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
    let listener = UnixListener::bind(path)?;
    set_permissions(path, Permissions::from_mode(CONTROL_MODE))?;
    Ok(listener)
}

fn listen(
    mut accept: impl FnMut() -> io::Result<UnixStream>,
    node: &SyncSender<Asked>,
    turn: &Turn,
) {
    while turn.go_on(WAITING) {
        let accepted = accept();
        if !turn.go_on(SERVING) {
            return;
        }
        match accepted {
            // Whoever went away before it was heard has nothing to be told.
            Ok(stream) => drop(serve(stream, node)),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

fn serve(mut stream: UnixStream, node: &SyncSender<Asked>) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    writeln!(stream, "{LISTENING}")?;
    let line = read_line(&mut stream, REQUEST_MAX, Instant::now() + PATIENCE)?;
    let answer = match line.parse::<ControlRequest>() {
        Ok(request) => ask_node(request, node, PATIENCE),
        Err(unknown) => Err(unknown.to_string()),
    };
    let (word, text) = match &answer {
        Ok(text) => (DONE, text),
        Err(text) => (REFUSED, text),
    };
    writeln!(stream, "{word} {text}")
}

/// The next line, of `length_max` bytes at most, without what surrounds its words. All of it has
/// to be there at `until`, in however many pieces it comes.
fn read_line(stream: &mut UnixStream, length_max: usize, until: Instant) -> io::Result<String> {
    let mut line = vec![0; length_max];
    let mut length = 0;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut line[length..]) {
            Ok(0) if length == length_max => return Err(ErrorKind::InvalidData.into()),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if let Some(end) = line[..length].iter().position(|byte| *byte == b'\n') {
            return Ok(String::from_utf8_lossy(&line[..end]).trim().to_owned());
        }
    }
}

/// Has the node do it, if it takes it up within `patience`.
fn ask_node(
    request: ControlRequest,
    node: &SyncSender<Asked>,
    patience: Duration,
) -> ControlAnswer {
    let (sender, answer) = sync_channel(1);
    let claim = Claim::default();
    let asked = Asked {
        request,
        answer: sender,
        claim: claim.clone(),
    };
    node.try_send(asked).map_err(|error| match error {
        TrySendError::Full(_) => NO_ANSWER,
        TrySendError::Disconnected(_) => ENDS,
    })?;
    let mut answered = answer.recv_timeout(patience);
    if answered == Err(RecvTimeoutError::Timeout) {
        if claim.is_mine() {
            return Err(NO_ANSWER.to_owned());
        }
        // It was taken up at the last moment.
        answered = answer.recv_timeout(patience);
    }
    match answered {
        Ok(answer) => answer.into_words(),
        Err(RecvTimeoutError::Timeout) => Err("the node has stopped while it did it".to_owned()),
        Err(RecvTimeoutError::Disconnected) => Err(ENDS.to_owned()),
    }
}

/// Asks the node that runs on `directory`.
///
/// # Errors
/// When no node answers there.
pub fn ask(directory: &Path, request: ControlRequest) -> io::Result<ControlAnswer> {
    ask_within(directory, request, PATIENCE)
}

/// Asks; a node that listens takes at most twice `patience`.
fn ask_within(
    directory: &Path,
    request: ControlRequest,
    patience: Duration,
) -> io::Result<ControlAnswer> {
    let mut stream = UnixStream::connect(directory.join(CONTROL_SOCKET))?;
    let greeting = read_line(&mut stream, ANSWER_MAX, Instant::now() + 2 * patience)
        .map_err(|error| in_words(error, "others ask it, and it was asked for nothing"))?;
    if greeting != LISTENING {
        return Err(io::Error::other(ENDED_OR_OTHER));
    }
    writeln!(stream, "{request}")?;
    let line = read_line(&mut stream, ANSWER_MAX, Instant::now() + 3 * patience)
        .map_err(|error| in_words(error, "whether it does what it was asked for is not known"))?;
    match line.split_once(' ') {
        Some((DONE, text)) => Ok(Ok(text.to_owned())),
        Some((REFUSED, text)) => Ok(Err(text.to_owned())),
        _ => Err(io::Error::other(ENDED_OR_OTHER)),
    }
}

/// Such an error of who asks, `late` if nothing came in time.
fn in_words(error: io::Error, late: &str) -> io::Error {
    match error.kind() {
        ErrorKind::TimedOut => io::Error::new(ErrorKind::TimedOut, late),
        ErrorKind::UnexpectedEof => io::Error::other(ENDED_OR_OTHER),
        _ => error,
    }
}

#[cfg(test)]
mod tests;
pub(super) mod words;
