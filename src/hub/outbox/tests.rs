//! core: the outbox alone; what it does among everything else is simulated in `tests/sim`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::hub::clock::Clock;
use crate::model::{ClockState, Message, Moment, Timestamp, TopicName};
use crate::store::Target;

fn out(seq: u64, qos: QoS) -> Outgoing {
    let message = Message {
        topic: TopicName::new("t").unwrap(),
        payload: Bytes::new(),
        qos,
        retain: false,
        properties: None,
        accepted: Timestamp::default(),
        expires: None,
        body: crate::model::Body::Foreign,
    };
    let (retain, subscription_ids) = (false, Vec::new());
    let (shared, stored, batch, late) = (false, None, 0, false);
    Outgoing {
        seq: Seq(seq),
        message: message.into(),
        qos,
        retain,
        subscription_ids,
        shared,
        stored,
        batch,
        late,
    }
}

fn stored(seq: u64, qos: QoS) -> Outgoing {
    let target = Target { session: SessionId(1), qos, retain: false, shared: false };
    Outgoing { stored: Some(Arc::from([target])), batch: 1, ..out(seq, qos) }
}

fn poll(outbox: &mut Outbox) -> Option<Transmit> {
    poll_at(outbox, start())
}

#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
fn start() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}

fn poll_at(outbox: &mut Outbox, mono: Instant) -> Option<Transmit> {
    let now = Moment { mono, wall: Timestamp::default(), boot_ms: 0 };
    let limits = PickLimits {
        now,
        clock: Clock::new(ClockState::default(), Seq(0), now),
        batch: 1,
        leaves: None,
        congested: false,
        trimming: false,
        qos_max: QoS::ExactlyOnce,
        peer: None,
    };
    outbox.poll_transmit(limits, |_| {}, |_| None, &mut Vec::new(), &mut Vec::new())
}

fn next_id(outbox: &mut Outbox) -> NonZeroU16 {
    match poll(outbox) {
        Some(Transmit { what: Send::Publish { packet_id: Some(id), .. }, .. }) => id,
        other => panic!("{other:?}"),
    }
}

fn durable(cursor: u64, last: u64, flights: Vec<StoredFlight>) -> Outbox {
    Outbox::durable(SessionId(1), 10, Seq(cursor), Seq(last), 0, Vec::new(), flights)
}

#[test]
fn an_id_that_is_open_is_passed_over_when_the_ids_begin_again() {
    let mut outbox = Outbox::new(10);
    for seq in 0..3 {
        outbox.push(out(seq, QoS::ExactlyOnce));
    }
    let open = [next_id(&mut outbox), next_id(&mut outbox), next_id(&mut outbox)];
    let mut seen = BTreeSet::new();
    for seq in 3..140_000 {
        outbox.push(out(seq, QoS::AtLeastOnce));
        let id = next_id(&mut outbox);
        assert!(!open.contains(&id), "{id} is given while it is open");
        seen.insert(id.get());
        assert!(matches!(outbox.handle_puback(id, false), Acknowledged::Settled(_)));
    }
    // All but those that are open and the one that is left to an uplink's SUBSCRIBE.
    assert_eq!(seen.len(), 65_535 - 3 - 1);
    assert!(!seen.contains(&u16::MAX));
}

#[test]
fn the_cursor_stays_behind_what_was_not_read_since_the_start() {
    let flight = |seq: u64, id| StoredFlight {
        seq: Seq(seq),
        packet_id: NonZeroU16::new(id).unwrap(),
        phase: Phase::Assigned,
        stored: Some(crate::store::StoredMessage {
            seq: Seq(seq),
            message: stored(seq, QoS::ExactlyOnce).message,
            targets: stored(seq, QoS::ExactlyOnce).stored.unwrap(),
        }),
    };
    let mut outbox = durable(4, 9, vec![flight(6, 1), flight(8, 2)]);
    outbox.handle_resumed(10);
    let (first, _) = (next_id(&mut outbox), next_id(&mut outbox));
    let mut changes = Vec::new();
    outbox.handle_pubrec(first, false, 1, &mut changes);
    assert!(matches!(outbox.handle_pubcomp(first), Acknowledged::Settled(_)));
    changes.clear();
    outbox.checkpoint(&mut changes);
    let settled = Change::Settled { session: SessionId(1), first: Seq(6), last: Seq(6) };
    assert_eq!(changes, [settled]);
    assert!(!outbox.is_settled(Seq(5)) && outbox.is_settled(Seq(6)) && !outbox.is_settled(Seq(7)));
    // What was settled before it was read is not sent again.
    assert_eq!(outbox.poll_fetch(Seq(9)), Some(Seq(4)));
    outbox.handle_fetched((5..=9).map(|seq| stored(seq, QoS::AtLeastOnce)), None);
    let mut rest = Vec::new();
    while let Some(Transmit { what: Send::Publish { out, .. }, .. }) = poll(&mut outbox) {
        rest.push(out.seq.0);
    }
    assert_eq!(rest, [5, 7, 9]);
}

#[test]
fn qos_0_under_way_goes_back_to_its_place_when_the_other_side_lost_the_session() {
    let mut outbox = durable(0, 0, Vec::new());
    for seq in 1..=4 {
        let qos = if seq % 2 == 0 { QoS::ExactlyOnce } else { QoS::AtMostOnce };
        outbox.push(stored(seq, qos));
    }
    for _ in 0..3 {
        poll(&mut outbox);
    }
    let mut changes = Vec::new();
    let lost = outbox.handle_session_lost(10, false, &mut changes);
    assert_eq!((lost.republished, outbox.queued(), outbox.inflight()), (3, 4, 0));
    assert_eq!(changes, [Change::Recall { session: SessionId(1), seq: Seq(2) }]);
    let mut again = Vec::new();
    while let Some(Transmit { what: Send::Publish { out, .. }, .. }) = poll(&mut outbox) {
        again.push(out.seq.0);
    }
    assert_eq!(again, [1, 2, 3, 4]);
}

#[test]
fn what_was_received_counts_as_delivered_if_the_operator_trusts_that() {
    let mut outbox = durable(0, 0, Vec::new());
    outbox.push(stored(1, QoS::ExactlyOnce));
    outbox.push(stored(2, QoS::ExactlyOnce));
    let first = next_id(&mut outbox);
    next_id(&mut outbox);
    outbox.handle_pubrec(first, false, 1, &mut Vec::new());
    let lost = outbox.handle_session_lost(10, true, &mut Vec::new());
    assert_eq!((lost.republished, lost.trusted.len(), outbox.queued()), (1, 1, 1));
    assert!(outbox.is_settled(Seq(1)) && !outbox.is_settled(Seq(2)));
}

#[test]
fn what_is_dropped_from_the_store_is_not_sent_and_not_counted() {
    let mut outbox = durable(0, 0, Vec::new());
    for seq in 1..=READY_MAX as u64 + 10 {
        outbox.push(stored(seq, QoS::AtLeastOnce));
    }
    next_id(&mut outbox);
    let dropped: BTreeSet<Seq> = (2..=READY_MAX as u64 + 5).map(Seq).collect();
    outbox.handle_dropped(&dropped);
    assert_eq!((outbox.ready_len(), outbox.queued()), (0, 6));
    assert_eq!(outbox.poll_fetch(Seq(2000)), Some(Seq(READY_MAX as u64)));
}

/// The places of what is sent next and whether it is late, each acknowledged at once.
fn sent(outbox: &mut Outbox, at: Instant) -> Vec<(u64, bool)> {
    let mut sent = Vec::new();
    while let Some(Transmit { what: Send::Publish { out, packet_id, .. }, .. }) =
        poll_at(outbox, at)
    {
        sent.push((out.seq.0, out.late));
        outbox.handle_puback(packet_id.unwrap(), false);
    }
    sent
}

fn with_backlog(pause: Option<Duration>) -> Outbox {
    let mut outbox = durable(0, 0, Vec::new());
    outbox.set_live_first(Some(LiveFirst { pause }));
    for seq in 1..=3 {
        outbox.push(stored(seq, QoS::AtLeastOnce));
    }
    outbox.handle_resumed(10);
    outbox
}

#[test]
fn new_messages_pass_what_waited_and_that_keeps_its_order() {
    let mut outbox = with_backlog(None);
    outbox.push(stored(4, QoS::AtLeastOnce));
    outbox.push(stored(5, QoS::AtLeastOnce));
    let order = [(4, false), (5, false), (1, true), (2, true), (3, true)];
    assert_eq!(sent(&mut outbox, start()), order);
    // Once the backlog is through nothing is late.
    outbox.push(stored(6, QoS::AtLeastOnce));
    assert_eq!(sent(&mut outbox, start()), [(6, false)]);
    let mut changes = Vec::new();
    outbox.checkpoint(&mut changes);
    assert_eq!(changes, [Change::Cursor { session: SessionId(1), cursor: Seq(6) }]);
}

#[test]
fn a_backlog_follows_at_its_rate_and_says_when() {
    let pause = Duration::from_secs(1);
    let mut outbox = with_backlog(Some(pause));
    assert_eq!(sent(&mut outbox, start()), [(1, true)]);
    assert_eq!(sent(&mut outbox, start()), []);
    let due = outbox.poll_timeout().expect("it waits for its time");
    assert!(due >= start() + pause && due < start() + pause * 2);
    outbox.push(stored(4, QoS::AtLeastOnce));
    assert_eq!(sent(&mut outbox, start()), [(4, false)]);
    assert_eq!(sent(&mut outbox, due), [(2, true)]);
    // A long time without need makes up for no more than a moment.
    assert_eq!(sent(&mut outbox, start() + pause * 100), [(3, true)]);
    assert_eq!(outbox.poll_timeout(), None);
}

#[test]
fn the_id_of_what_is_too_large_to_be_sent_again_is_released_durably() {
    let mut outbox = durable(0, 0, Vec::new());
    outbox.handle_resumed(10);
    outbox.push(stored(1, QoS::ExactlyOnce));
    let open = next_id(&mut outbox);
    outbox.handle_disconnected();
    outbox.handle_resumed(10);
    let now = Moment { mono: start(), wall: Timestamp::default(), boot_ms: 0 };
    let clock = Clock::new(ClockState::default(), Seq(0), now);
    let (batch, qos_max) = (1, QoS::ExactlyOnce);
    let limits = PickLimits {
        now,
        clock,
        batch,
        leaves: None,
        congested: false,
        trimming: false,
        qos_max,
        peer: None,
    };
    let (mut changes, mut settled) = (Vec::new(), Vec::new());
    let unfit = |_: &Outgoing| Some(Outcome::TooLarge);
    let next = outbox.poll_transmit(limits, |_| {}, unfit, &mut changes, &mut settled);
    assert_eq!(next, Some(Transmit { what: Send::PubRel { packet_id: open }, needs: batch }));
    let (session, seq, phase) = (SessionId(1), Seq(1), Phase::Released);
    assert_eq!(changes, [Change::Flight { session, seq, packet_id: open, phase }]);
    assert!(
        settled.is_empty() && outbox.queued() == 1,
        "a start must find that its id may be open"
    );
    let Acknowledged::Settled(settled) = outbox.handle_pubcomp(open) else { panic!("settled") };
    assert_eq!((settled.outcome, outbox.queued()), (Outcome::TooLarge, 0));
}

#[test]
fn a_backlog_that_waits_for_more_than_its_rate_has_no_time() {
    let pause = Duration::from_secs(1);
    let mut outbox = with_backlog(Some(pause));
    assert_eq!(sent(&mut outbox, start()).len(), 1);
    let due = outbox.poll_timeout().expect("it waits for its time");
    // By then the store is dropping messages.
    let now = Moment { mono: due, wall: Timestamp::default(), boot_ms: 0 };
    let clock = Clock::new(ClockState::default(), Seq(0), now);
    let (batch, qos_max) = (1, QoS::ExactlyOnce);
    let limits = PickLimits {
        now,
        clock,
        batch,
        leaves: None,
        congested: false,
        trimming: true,
        qos_max,
        peer: None,
    };
    let (mut changes, mut settled) = (Vec::new(), Vec::new());
    let next = outbox.poll_transmit(limits, |_| {}, |_| None, &mut changes, &mut settled);
    assert_eq!(next, None);
    assert_eq!(outbox.poll_timeout(), None, "it would be woken again and again");
    assert_eq!(sent(&mut outbox, due).len(), 1);
    assert!(outbox.poll_timeout().is_some());
    outbox.handle_disconnected();
    assert_eq!(outbox.poll_timeout(), None);
}

#[test]
fn what_passed_a_backlog_and_was_not_sent_waits_behind_it_after_the_next_outage() {
    let mut outbox = with_backlog(None);
    outbox.push(stored(4, QoS::AtLeastOnce));
    outbox.handle_disconnected();
    outbox.push(stored(5, QoS::AtLeastOnce));
    outbox.handle_resumed(10);
    outbox.push(stored(6, QoS::AtLeastOnce));
    assert_eq!(sent(&mut outbox, start())[..4], [(6, false), (1, true), (2, true), (3, true)]);
    assert_eq!(outbox.poll_fetch(Seq(6)), Some(Seq(3)));
    outbox.handle_fetched((4..=6).map(|seq| stored(seq, QoS::AtLeastOnce)), None);
    assert_eq!(sent(&mut outbox, start()), [(4, true), (5, true)]);
    assert_eq!(outbox.queued(), 0);
}

#[test]
fn a_link_slower_than_the_readings_still_has_the_newest_first() {
    let mut outbox = durable(0, 0, Vec::new());
    outbox.set_live_first(Some(LiveFirst::default()));
    outbox.handle_resumed(1);
    let last = READY_MAX as u64 * 2 + 50;
    for seq in 1..=last {
        outbox.push(stored(seq, QoS::AtLeastOnce));
    }
    let first = next_id(&mut outbox);
    assert!(matches!(outbox.handle_puback(first, false), Acknowledged::Settled(settled)
        if settled.out.seq == Seq(READY_MAX as u64 * 2 + 1)));
    assert!(outbox.ready_len() <= READY_MAX * 2, "memory is bounded");
}

#[test]
fn a_queue_that_was_only_estimated_at_the_start_is_not_taken_for_full() {
    let estimated = |queued| {
        let mut outbox =
            Outbox::durable(SessionId(1), 10, Seq(0), Seq(200_000), queued, Vec::new(), Vec::new());
        outbox.set_queued_bytes(None);
        outbox
    };
    let mut outbox = estimated(200_000);
    assert!(!outbox.is_full(3, 100), "they may all be for others");
    (200_001..200_003).for_each(|seq| outbox.push(stored(seq, QoS::AtLeastOnce)));
    assert!(!outbox.is_full(3, 100));
    outbox.push(stored(200_003, QoS::AtLeastOnce));
    assert!(outbox.is_full(3, 100), "three have come since");
    // The store had nothing else for it.
    outbox.poll_fetch(Seq(200_003));
    let found = (200_001..=200_003).map(|seq| stored(seq, QoS::AtLeastOnce));
    outbox.handle_fetched(found, None);
    assert_eq!(outbox.queued(), 3);
    assert!(outbox.is_full(3, 100) && !outbox.is_full(4, 100));
}

#[test]
fn what_waits_is_counted_in_bytes_until_it_is_settled_dropped_or_gone() {
    let of_ten = |mut out: Outgoing| {
        let message = Message { payload: Bytes::from_static(&[7; 10]), ..(*out.message).clone() };
        out.message = message.into();
        out
    };
    let mut outbox = durable(0, 0, Vec::new());
    outbox.set_queued_bytes(Some(0));
    outbox.handle_resumed(10);
    (1..=5).for_each(|seq| outbox.push(of_ten(stored(seq, QoS::AtLeastOnce))));
    outbox.push(of_ten(out(6, QoS::AtMostOnce)));
    let holds =
        |outbox: &Outbox, bytes| outbox.is_full(99, bytes) && !outbox.is_full(99, bytes + 1);
    assert!(holds(&outbox, 60));
    let first = next_id(&mut outbox);
    assert!(holds(&outbox, 60), "it is under way");
    outbox.handle_puback(first, false);
    assert!(holds(&outbox, 50));
    outbox.handle_dropped(&BTreeSet::from([Seq(2)]));
    assert!(holds(&outbox, 40));
    outbox.handle_disconnected();
    assert!(holds(&outbox, 30), "what lived in memory is gone");
    // What is not in memory counts as the average.
    outbox.handle_purged(&BTreeSet::from([Seq(3)]), &[], None);
    assert!(holds(&outbox, 20));
}
