//! The smallest service and the container that runs it, without a cluster around them.
//!
//! Applies three requests as a node would after they were committed, prints what the service
//! wants to send, and shows that a response leaves the outbox only when its entry is applied.

use lockstep_service::container::{Container, ServiceFault};
use lockstep_service::log_entry::{EntryHeader, EntryKind};
use lockstep_service::outbox::OutboxLimits;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::ids::SessionId;

/// Bytes between the positions of the entries; any multiple of 32 that holds one will do.
const ENTRY_LENGTH: i64 = 128;

fn main() -> Result<(), ServiceFault> {
    let limits = OutboxLimits {
        effects_per_cause: 64,
        effect_bytes_per_cause: 64 * 1024,
        capacity_bytes: 1024 * 1024,
        enabled: true,
        service: 0,
    };
    let mut container = Container::new(Echo::new(), 0, limits, 1024);
    let header = |kind, number| EntryHeader {
        kind,
        service: 0,
        flags: 0,
        ordinal: 0,
        log_time: 1_000_000,
        session: SessionId::new(1),
        number,
        refers_to: 0,
        leader_commit: 0,
    };
    let mut position = 0;
    for (number, text) in (1..).zip(["one", "two", "three"]) {
        let request = header(EntryKind::Request, number);
        let end = position + ENTRY_LENGTH;
        container.apply_request(&request, position, end, text.as_bytes())?;
        position = end;
    }
    while let Some(effect) = container.outputs().outbox().front() {
        let message = effect.message.to_vec();
        println!("{:?}: {}", effect.name, String::from_utf8_lossy(&message));
        let response = header(EntryKind::Response, effect.name.cause);
        container.outputs_mut().apply_response(
            &response,
            position,
            position + ENTRY_LENGTH,
            &message,
        )?;
        position += ENTRY_LENGTH;
    }
    println!(
        "applied up to {}, output hash {:016x}",
        container.outputs().applied(),
        container.outputs().output_hash()
    );
    Ok(())
}
