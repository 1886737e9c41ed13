//! Golden bytes, truncation and mutation of the order book's messages.

use super::*;

fn requests() -> [OrderRequest; 3] {
    let add = OrderRequest {
        action: Action::Add,
        side: Some(Side::Sell),
        symbol: 0x0102_0304,
        order_id: 0x1112_1314_1516_1718,
        price: -2,
        quantity: 0x2122_2324_2526_2728,
    };
    let replace = OrderRequest {
        action: Action::Replace,
        ..add
    };
    let cancel = OrderRequest {
        action: Action::Cancel,
        side: None,
        price: 0,
        quantity: 0,
        ..add
    };
    [add, replace, cancel]
}

fn reports() -> [Report; 4] {
    [
        Report::Ack {
            kind: AckKind::Replaced,
            symbol: 5,
            order_id: 6,
            remaining: 7,
            filled: 8,
        },
        Report::Reject {
            reason: RejectReason::TooManyOrders,
            symbol: 5,
            order_id: 6,
        },
        Report::Fill {
            taker_side: Side::Buy,
            symbol: 1,
            maker_id: 2,
            taker_id: 3,
            price: 4,
            quantity: 5,
            maker_remaining: 6,
            taker_remaining: 7,
        },
        Report::Cancelled {
            reason: CancelReason::BetterPrice,
            symbol: 5,
            order_id: 6,
            quantity: 7,
            filled: 8,
        },
    ]
}

#[test]
fn a_request_has_these_bytes() {
    let mut golden = [0_u8; 32];
    golden[..8].copy_from_slice(&[1, 2, 0, 0, 4, 3, 2, 1]);
    golden[8..16].copy_from_slice(&[0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11]);
    golden[16..24].copy_from_slice(&[0xFE, 255, 255, 255, 255, 255, 255, 255]);
    golden[24..32].copy_from_slice(&[0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21]);
    assert_eq!(requests()[0].encode(), golden);
}

#[test]
fn reports_have_these_bytes() {
    let mut bytes = [0xFF; REPORT_LENGTH_MAX];
    let [ack, reject, fill, cancelled] = reports();
    let words = |head: [u8; 8], words: std::ops::RangeInclusive<u64>| {
        let words = words.flat_map(u64::to_le_bytes);
        head.into_iter().chain(words).collect::<Vec<u8>>()
    };
    let golden = words([1, 3, 0, 0, 5, 0, 0, 0], 6..=8);
    assert_eq!(ack.encode(&mut bytes), golden);
    let golden = words([4, 2, 0, 0, 5, 0, 0, 0], 6..=8);
    assert_eq!(cancelled.encode(&mut bytes), golden);
    let golden = [2, 13, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(reject.encode(&mut bytes), golden);
    let golden = words([3, 1, 0, 0, 1, 0, 0, 0], 2..=7);
    assert_eq!(fill.encode(&mut bytes), golden);
}

#[test]
fn messages_survive_encoding_and_only_whole_ones_decode() {
    for request in requests() {
        let bytes = request.encode();
        assert_eq!(OrderRequest::decode(&bytes), Some(request));
        for length in 0..bytes.len() {
            assert_eq!(OrderRequest::decode(&bytes[..length]), None);
        }
        assert_eq!(OrderRequest::decode(&[&bytes[..], &[0]].concat()), None);
    }
    for report in reports() {
        let mut buffer = [0; REPORT_LENGTH_MAX];
        let bytes = report.encode(&mut buffer);
        assert_eq!(Report::decode(bytes), Some(report));
        for length in 0..bytes.len() {
            assert_eq!(Report::decode(&bytes[..length]), None);
        }
        assert_eq!(Report::decode(&[bytes, &[0]].concat()), None);
    }
}

#[test]
fn a_message_is_split_into_the_reports_it_holds() {
    let mut message = Vec::new();
    let mut buffer = [0; REPORT_LENGTH_MAX];
    for report in reports() {
        message.extend_from_slice(report.encode(&mut buffer));
    }
    let mut rest = &message[..];
    for report in reports() {
        let (found, after) = Report::split_first(rest).unwrap();
        assert_eq!(found, report);
        assert_eq!(Report::decode(rest), after.is_empty().then_some(report));
        rest = after;
    }
    assert_eq!(Report::split_first(rest), None);
}

#[test]
fn whatever_decodes_encodes_to_the_same_bytes() {
    for request in requests() {
        for at in 0..REQUEST_LENGTH {
            for byte in 0..=255 {
                let mut bytes = request.encode();
                bytes[at] = byte;
                if let Some(decoded) = OrderRequest::decode(&bytes) {
                    assert_eq!(decoded.encode(), bytes);
                }
            }
        }
    }
    for report in reports() {
        let mut buffer = [0; REPORT_LENGTH_MAX];
        let whole = report.encode(&mut buffer).to_vec();
        for at in 0..whole.len() {
            for byte in 0..=255 {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                if let Some(decoded) = Report::decode(&bytes) {
                    assert_eq!(decoded.encode(&mut buffer), bytes);
                }
            }
        }
    }
}

#[test]
fn fixed_point_is_printed_as_people_write_it() {
    assert_eq!(decimal_price(995_000), "99.5");
    assert_eq!(decimal_price(-1), "-0.0001");
    assert_eq!(decimal_price(1_000_000), "100");
    assert_eq!(decimal_quantity(10_250), "10.25");
    assert_eq!(decimal_quantity(0), "0");
}
