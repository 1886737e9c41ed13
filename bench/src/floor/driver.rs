//! Drives participants: a group until it is told to stop, the client until its last answer.

use std::io;
use std::time::Instant;

use lockstep_transport::agent::{IdleStrategy, Idler};

use super::block_writer::BlockWriter;
use super::participant::{Client, Participant};
use super::plan::{FloorConfig, FloorError, STALL};

/// Idle polls between two looks at the clock for [`STALL`].
const STALL_CHECK_POLLS: u32 = 4_096;

/// The block writer of node `node` (0 the leader), when the floor is durable.
pub fn writer_of(config: &FloorConfig, node: usize) -> io::Result<Option<BlockWriter>> {
    let path = config.directory.join(format!("floor-{node}.dat"));
    config
        .is_durable
        .then(|| BlockWriter::create(&path))
        .transpose()
}

/// What is said of a thread that panicked.
pub fn panicked() -> io::Error {
    io::Error::other("a thread of the floor panicked")
}

/// Polls a group until told to stop.
pub fn serve(
    group: &mut [Participant],
    idle: IdleStrategy,
    is_stopped: impl Fn() -> bool,
) -> io::Result<()> {
    let mut idle = Idler::new(idle);
    loop {
        let mut work = false;
        for participant in group.iter_mut() {
            work |= participant.poll()?;
        }
        if !work && (is_stopped() || group.iter().any(Participant::is_stopped)) {
            return Ok(());
        }
        idle.idle(usize::from(work));
    }
}

/// Runs the client, with what shares its thread, to its last answer.
pub fn run_client(
    client: Client,
    mut beside: Vec<Participant>,
    idle: IdleStrategy,
) -> Result<Client, FloorError> {
    let mut idle = Idler::new(idle);
    let mut this = Participant::Client(Box::new(client));
    let mut idle_polls = 0;
    let mut progress = (0, Instant::now());
    loop {
        let mut work = this.poll()?;
        for participant in &mut beside {
            work |= participant.poll()?;
        }
        idle.idle(usize::from(work));
        if work {
            if this.is_stopped() {
                break;
            }
            continue;
        }
        idle_polls += 1;
        if idle_polls % STALL_CHECK_POLLS == 0
            && let Participant::Client(client) = &this
        {
            if client.completed() != progress.0 {
                progress = (client.completed(), Instant::now());
            } else if progress.1.elapsed() > STALL {
                let completed = client.completed();
                return Err(FloorError::Stalled { completed });
            }
        }
    }
    match this {
        Participant::Client(client) => Ok(*client),
        _ => Err(panicked().into()),
    }
}
