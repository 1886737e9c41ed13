//! A helper thread that makes segments while the log goes on.
//!
//! Zeros are really written, synced, and the name made durable before the segment is handed
//! over (`rules.md` A3); none of that happens on the caller's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::directory::NodeDirectory;
use super::open_file::{Folder, OpenFile};
use crate::disk::{Busy, Completion, DiskError, SegmentName, Token};

/// Preparations in flight: a recorder has one at a time.
const PREPARATIONS_MAX: usize = 4;

#[derive(Debug)]
struct Request {
    token: Token,
    name: SegmentName,
    length: u64,
}

type Prepared = (Token, Result<OpenFile, DiskError>);

/// See the module.
#[derive(Debug)]
pub(super) struct Preparer {
    requests: rtrb::Producer<Request>,
    results: rtrb::Consumer<Prepared>,
    in_flight: usize,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Preparer {
    pub(super) fn start(folder: Folder) -> std::io::Result<Self> {
        let (requests, mut incoming) = rtrb::RingBuffer::<Request>::new(PREPARATIONS_MAX);
        let (mut outgoing, results) = rtrb::RingBuffer::<Prepared>::new(PREPARATIONS_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("lockstep-prepare".to_owned())
            .spawn(move || {
                // Acquire; pairs with the Release in `drop`.
                while !stopped.load(Ordering::Acquire) {
                    let Ok(request) = incoming.pop() else {
                        std::thread::park();
                        continue;
                    };
                    let name = request.name.file_name();
                    let result = folder.create(&name, request.length);
                    outgoing
                        .push((request.token, result))
                        .expect("no more results than requests the queue had room for");
                }
            })?;
        Ok(Self {
            requests,
            results,
            in_flight: 0,
            stop,
            thread: Some(thread),
        })
    }

    pub(super) fn submit(
        &mut self,
        token: Token,
        name: SegmentName,
        length: u64,
    ) -> Result<(), Busy> {
        if self.in_flight == PREPARATIONS_MAX {
            return Err(Busy);
        }
        let request = Request {
            token,
            name,
            length,
        };
        self.requests.push(request).map_err(|_| Busy)?;
        self.in_flight += 1;
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        Ok(())
    }

    pub(super) fn poll(&mut self, directory: &mut NodeDirectory) -> Option<Completion> {
        if self.in_flight == 0 {
            return None;
        }
        let (token, result) = self.results.pop().ok()?;
        self.in_flight -= 1;
        Some(Completion {
            token,
            result: result.map(|file| directory.adopt(file)),
        })
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        // Release; pairs with the Acquire in the thread.
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the helper was already printed; there is nothing left to save.
            let _ = thread.join();
        }
    }
}
