//! Prints what nodes and clients say about themselves, on a thread of its own: whoever reads the
//! standard error slowly, or not at all, must not hold a duty cycle.
//!
//! SHELL. A [`NoticeSink`] belongs to a node's shell, a [`ClientSink`] to a client's; neither ever
//! waits. What it cannot take stays with whoever said it, counted, and is told later.
#![allow(clippy::disallowed_methods, reason = "shell: starts a thread")]

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::Duration;

use lockstep_client::notice::{self as client_notice, ClientNotice};
use lockstep_transport::allocations::leave_out_this_thread;
use lockstep_transport::notices::Notice;

use crate::notice::{NodeNotice, NoticeLine, Place};

/// Lines under way to the printer: all that seven nodes may say within a second or so.
const LINES_MAX: usize = 64;

/// How long the end of a process waits for the last lines to be taken.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// A line to be made and printed.
#[derive(Debug)]
enum QueuedNotice {
    ByNode {
        place: Arc<Place>,
        notice: Notice<NodeNotice>,
    },
    ByClient(Notice<ClientNotice>),
}

/// The printing thread.
#[derive(Debug)]
pub struct NoticePrinter {
    sender: SyncSender<QueuedNotice>,
    done: Receiver<()>,
}

/// Where one node's notices go.
#[derive(Clone, Debug)]
pub struct NoticeSink {
    sender: SyncSender<QueuedNotice>,
    place: Arc<Place>,
}

/// Where a client's notices go.
#[derive(Clone, Debug)]
pub struct ClientSink {
    sender: SyncSender<QueuedNotice>,
}

impl NoticePrinter {
    /// Starts the thread; it prints to the standard error.
    ///
    /// # Errors
    /// The operating system's, when it has no thread to give.
    pub fn start() -> io::Result<Self> {
        let (sender, lines) = sync_channel(LINES_MAX);
        let (finished, done) = channel();
        thread::Builder::new()
            .name("notices".to_owned())
            .spawn(move || {
                leave_out_this_thread();
                print(&lines, &mut io::stderr());
                // Nobody waits any more where the process gave up waiting.
                let _ = finished.send(());
            })?;
        Ok(Self { sender, done })
    }

    /// Where the notices of the node at `place` go.
    #[must_use]
    pub fn sink(&self, place: Place) -> NoticeSink {
        NoticeSink {
            sender: self.sender.clone(),
            place: Arc::new(place),
        }
    }

    /// Where the notices of a client go.
    #[must_use]
    pub fn client_sink(&self) -> ClientSink {
        ClientSink {
            sender: self.sender.clone(),
        }
    }

    /// Waits until what was said is printed, for a moment at most, once all sinks are dropped.
    pub fn finish(self) {
        drop(self.sender);
        // In vain where nobody reads the standard error: the process ends all the same.
        let _ = self.done.recv_timeout(FLUSH_TIMEOUT);
    }
}

impl NoticeSink {
    /// Has the notice printed. Returns false, and takes nothing, when there is no room now.
    #[must_use]
    pub fn offer(&self, notice: Notice<NodeNotice>) -> bool {
        let place = Arc::clone(&self.place);
        is_taken(&self.sender, QueuedNotice::ByNode { place, notice })
    }
}

impl ClientSink {
    /// Has the notice printed. Returns false, and takes nothing, when there is no room now.
    #[must_use]
    pub fn offer(&self, notice: Notice<ClientNotice>) -> bool {
        is_taken(&self.sender, QueuedNotice::ByClient(notice))
    }
}

/// Whether there was room; where nobody is left to print, what is said is as good as printed.
fn is_taken(sender: &SyncSender<QueuedNotice>, spoken: QueuedNotice) -> bool {
    !matches!(sender.try_send(spoken), Err(TrySendError::Full(_)))
}

fn print(lines: &Receiver<QueuedNotice>, output: &mut impl Write) {
    for spoken in lines {
        // Whoever closed the standard error does not want to read it; the counters remain.
        let _ = match spoken {
            QueuedNotice::ByNode { place, notice } => {
                let place = &*place;
                let line = NoticeLine { notice, place };
                writeln!(output, "lockstep: node-{}: {line}", place.member)
            }
            QueuedNotice::ByClient(notice) => {
                let line = client_notice::NoticeLine(notice);
                writeln!(output, "lockstep: client: {line}")
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use lockstep_transport::notices::Detail;

    use super::*;

    fn notice(kind: NodeNotice) -> Notice<NodeNotice> {
        Notice {
            kind,
            detail: Detail::default(),
            suppressed: 0,
            at: 0,
        }
    }

    #[test]
    fn a_line_names_the_node_and_its_place() {
        let (sender, lines) = sync_channel(LINES_MAX);
        let place = Place {
            member: 2,
            directory: "/data/two".to_owned(),
            ..Place::default()
        };
        let place = Arc::new(place);
        let sink = NoticeSink { sender, place };
        assert!(sink.offer(notice(NodeNotice::LogFull)));
        drop(sink);
        let mut printed = Vec::new();
        print(&lines, &mut printed);
        let printed = String::from_utf8(printed).unwrap();
        let start = "lockstep: node-2: no room for more log in /data/two";
        assert!(printed.starts_with(start), "{printed}");
    }

    #[test]
    fn a_clients_line_names_the_client() {
        let (sender, lines) = sync_channel(LINES_MAX);
        let sink = ClientSink { sender };
        let source = "10.0.0.1:7".parse().unwrap();
        assert!(sink.offer(Notice {
            kind: ClientNotice::UnknownSource,
            detail: Detail::at(source),
            suppressed: 0,
            at: 0,
        }));
        drop(sink);
        let mut printed = Vec::new();
        print(&lines, &mut printed);
        let printed = String::from_utf8(printed).unwrap();
        let start = "lockstep: client: a datagram came from an address that is no member's (10.";
        assert!(printed.starts_with(start), "{printed}");
    }

    #[test]
    fn a_sink_that_nobody_reads_refuses_and_does_not_wait() {
        let (sender, lines) = sync_channel(1);
        let place = Arc::new(Place::default());
        let sink = NoticeSink { sender, place };
        assert!(sink.offer(notice(NodeNotice::LogFull)));
        assert!(!sink.offer(notice(NodeNotice::LogFull)));
        drop(lines);
        assert!(
            sink.offer(notice(NodeNotice::LogFull)),
            "nobody is left to read"
        );
    }
}
