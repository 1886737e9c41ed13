//! Nothing is allocated per message: echo and order book through the container.

use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::container::Container;
use lockstep_service::log_entry::{EntryHeader, EntryKind};
use lockstep_service::outbox::OutboxLimits;
use lockstep_service::samples::counter::Counter;
use lockstep_service::samples::echo::Echo;
use lockstep_service::samples::order_book::OrderBook;
use lockstep_service::samples::order_book::codec::{Action, OrderRequest, Side};
use lockstep_service::samples::order_book::csv::parse_line;
use lockstep_transport::allocations::{CountingAllocator, count_of_thread};
use lockstep_transport::ids::SessionId;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// One node that is leader and cluster at once: requests are applied, and their responses
/// appended, "replicated" and applied a little later.
struct Node<S> {
    container: Container<S>,
    position: i64,
    response: Vec<u8>,
}

impl<S: ClusteredService> Node<S> {
    fn new(service: S, enabled: bool) -> Self {
        let limits = OutboxLimits {
            effects_per_cause: 64,
            effect_bytes_per_cause: 64 * 1024,
            capacity_bytes: 256 * 1024,
            enabled,
            service: 0,
        };
        let mut container = Container::new(service, 0, limits, 4096);
        container.outputs_mut().outbox_mut().start_append_cursor();
        Self {
            container,
            position: 0,
            response: Vec::with_capacity(4096),
        }
    }

    fn header(kind: EntryKind, number: i64, ordinal: u32) -> EntryHeader {
        EntryHeader {
            kind,
            service: 0,
            flags: 0,
            ordinal,
            log_time: 0,
            session: SessionId::new(1),
            number,
            refers_to: 0,
            leader_commit: 0,
        }
    }

    fn request(&mut self, message: &[u8]) {
        let header = Self::header(EntryKind::Request, 0, 0);
        let end = self.position + 2048;
        self.container
            .apply_request(&header, self.position, end, message)
            .expect("the entry is in order");
        self.position = end;
        let delivered: usize = self
            .container
            .outputs()
            .outbox()
            .direct()
            .map(|e| e.message.len())
            .sum();
        assert!(delivered < 64 * 1024);
        while self.container.outputs().outbox().next_to_append().is_some() {
            self.container.outputs_mut().outbox_mut().mark_appended();
        }
        while self.container.outputs().outbox().len() > 8 {
            self.apply_front();
        }
    }

    fn apply_front(&mut self) {
        let effect = self
            .container
            .outputs()
            .outbox()
            .front()
            .expect("not empty");
        let header = Self::header(EntryKind::Response, effect.name.cause, effect.name.ordinal);
        self.response.clear();
        self.response.extend_from_slice(effect.message);
        let (position, end) = (self.position, self.position + 2048);
        self.container
            .outputs_mut()
            .apply_response(&header, position, end, &self.response)
            .expect("the entry is in order");
        self.position = end;
    }
}

/// Allocations while `messages` are handled.
fn count<'a, S: ClusteredService>(
    node: &mut Node<S>,
    messages: impl Iterator<Item = &'a [u8]>,
) -> u64 {
    let before = count_of_thread();
    for message in messages {
        node.request(message);
    }
    count_of_thread() - before
}

#[test]
fn the_counter_of_allocations_counts() {
    let before = count_of_thread();
    drop(std::hint::black_box(vec![0_u8; 100]));
    assert!(count_of_thread() > before);
}

#[test]
fn echo_and_counter_allocate_nothing_per_message() {
    let messages = [[7_u8; 288]; 64];
    for enabled in [true, false] {
        let mut echo = Node::new(Echo::new(), enabled);
        let all = || messages.iter().cycle().take(10_000).map(|m| &m[..]);
        assert_eq!(count(&mut echo, all()), 0);
        let mut counter = Node::new(Counter::new(), enabled);
        assert_eq!(count(&mut counter, all().map(|m| &m[..8])), 0);
        assert_eq!(
            counter.container.service().sum(),
            0x0707_0707_0707_0707_i64.wrapping_mul(10_000)
        );
    }
}

#[test]
fn the_largest_trade_and_a_closing_session_allocate_nothing() {
    let add = |id: u64, side: Side, price: i64, lots: u64| OrderRequest {
        action: Action::Add,
        side: Some(side),
        symbol: 0,
        order_id: id,
        price,
        quantity: lots * 1_000_000,
    };
    let makers = (1..=600).map(|id| add(id, Side::Sell, 100 + id as i64 % 7, 1));
    let takers = (601..=603).map(|id| add(id, Side::Buy, 200, 190));
    let requests: Vec<_> = makers.chain(takers).map(|order| order.encode()).collect();
    let mut node = Node::new(OrderBook::default(), true);
    let messages = requests.iter().map(|request| &request[..]);
    assert_eq!(count(&mut node, messages), 0);
    assert_eq!(node.container.service().totals().fills, 570);
    let header = Node::<OrderBook>::header(EntryKind::SessionClose, 0, 0);
    let before = count_of_thread();
    let closed = node
        .container
        .apply_session_close(&header, node.position, node.position + 128);
    assert_eq!(count_of_thread() - before, 0);
    closed.expect("the entry is in order");
    assert_eq!(node.container.service().totals().orphans, 30);
}

#[test]
fn the_order_book_allocates_nothing_per_message() {
    let text = include_str!("../examples/data/orders.csv");
    let lines = (1..).zip(text.lines());
    let requests: Vec<_> = lines
        .filter_map(|(number, line)| parse_line(number, line).unwrap())
        .map(|line| line.request.encode())
        .collect();
    let mut node = Node::new(OrderBook::default(), true);
    let malformed = [&b"malformed"[..], &[]];
    let messages = requests.iter().map(|request| &request[..]).chain(malformed);
    assert_eq!(count(&mut node, messages), 0);
    assert!(node.container.service().totals().fills > 10_000);
    assert_eq!(node.container.service().totals().messages_lost, 0);
}
