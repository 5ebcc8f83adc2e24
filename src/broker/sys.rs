//! core: `$SYS/broker/…` as mosquitto names it (mosquitto(8), "Broker status"): counters in, topics with their values out,
//! and the averages of what went through.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::counters::{BrokerCounters, Seen, Traffic};
use crate::hub::{Counted, Tally};

/// The averages: their names, and the time in seconds after which what was has faded to 1/e.
const AVERAGES: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];
const LOADS: usize = 9;

/// What is told, and what was told last.
#[derive(Debug)]
pub(super) struct Sys {
    started: Instant,
    /// When it was brought up to date last, and what was counted then.
    last: Option<(Instant, [Load; LOADS])>,
    averages: [[f64; AVERAGES.len()]; LOADS],
    told: HashMap<String, String>,
}

/// Something whose rate is averaged.
#[derive(Debug, Clone, Copy)]
struct Load {
    name: &'static str,
    count: u64,
}

impl Sys {
    /// Of a broker that started at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { started: now, last: None, averages: Default::default(), told: HashMap::new() }
    }

    /// Brings everything up to date. Gives topics and values: at first all, then those that have changed.
    pub(super) fn handle_counts(
        &mut self,
        tally: &Tally,
        counters: &BrokerCounters,
        now: Instant,
    ) -> Vec<(String, String)> {
        let mut values = vec![
            ("version".to_owned(), concat!("fieldpost version ", env!("CARGO_PKG_VERSION")).into()),
            (
                "uptime".to_owned(),
                format!("{} seconds", now.saturating_duration_since(self.started).as_secs()),
            ),
        ];
        let named = mosquittos(tally, counters.traffic()).into_iter().chain(ours(tally, counters));
        values.extend(named.map(|(name, count)| (name.to_owned(), count.to_string())));
        self.average(loads(tally, counters), now);
        for (load, averages) in loads(tally, counters).iter().zip(&self.averages) {
            for ((minutes, _), average) in AVERAGES.iter().zip(averages) {
                values.push((format!("load/{}/{minutes}", load.name), format!("{average:.2}")));
            }
        }
        let is_new = |(name, value): &(String, String)| self.told.get(name) != Some(value);
        let changed: Vec<(String, String)> = values.into_iter().filter(is_new).collect();
        self.told.extend(changed.iter().cloned());
        let topic = |(name, value)| (format!("$SYS/broker/{name}"), value);
        changed.into_iter().map(topic).collect()
    }

    /// Rates a minute, the older the less they count, as mosquitto reckons them.
    fn average(&mut self, loads: [Load; LOADS], now: Instant) {
        let Some((last, before)) = self.last.replace((now, loads)) else { return };
        let passed = now.saturating_duration_since(last).max(Duration::from_millis(1));
        let seconds = passed.as_secs_f64();
        for ((load, before), averages) in loads.iter().zip(before).zip(&mut self.averages) {
            #[allow(clippy::cast_precision_loss, reason = "an average needs no 16th digit")]
            let rate = load.count.saturating_sub(before.count) as f64 * 60.0 / seconds;
            for ((_, fades), average) in AVERAGES.iter().zip(averages) {
                *average = rate + (*average - rate) * (-seconds / fades).exp();
            }
        }
    }
}

fn loads(tally: &Tally, counters: &BrokerCounters) -> [Load; LOADS] {
    let Traffic { received, sent } = counters.traffic();
    let counts = &tally.counts;
    // Every CONNECT that came, whatever became of it.
    let connects = [Seen::Connected, Seen::Denied, Seen::Guessing, Seen::Full, Seen::TooOften];
    let connects = connects.into_iter().map(|seen| counters.count(seen)).sum();
    [
        ("messages/received", received.packets),
        ("messages/sent", sent.packets),
        ("publish/received", counts.of(Counted::Received)),
        ("publish/sent", counts.of(Counted::Sent)),
        ("publish/dropped", counts.dropped()),
        ("bytes/received", received.bytes),
        ("bytes/sent", sent.bytes),
        ("sockets", counters.count(Seen::Dialled)),
        ("connections", connects),
    ]
    .map(|(name, count)| Load { name, count })
}

/// What has a name with mosquitto.
fn mosquittos(tally: &Tally, traffic: Traffic) -> Vec<(&'static str, u64)> {
    let Tally { clients_connected: connected, clients_away: away, .. } = *tally;
    let counts = &tally.counts;
    let stored = tally.queued + tally.retained;
    vec![
        ("clients/total", connected + away),
        ("clients/maximum", tally.clients_peak),
        ("clients/connected", connected),
        ("clients/active", connected),
        ("clients/disconnected", away),
        ("clients/inactive", away),
        ("clients/expired", counts.of(Counted::SessionsExpired)),
        ("messages/received", traffic.received.packets),
        ("messages/sent", traffic.sent.packets),
        ("messages/stored", stored),
        ("store/messages/count", stored),
        ("store/messages/bytes", tally.queued_bytes + tally.retained_bytes),
        ("bytes/received", traffic.received.bytes),
        ("bytes/sent", traffic.sent.bytes),
        ("publish/messages/received", counts.of(Counted::Received)),
        ("publish/messages/sent", counts.of(Counted::Sent)),
        ("publish/messages/dropped", counts.dropped()),
        ("publish/bytes/received", counts.of(Counted::ReceivedBytes)),
        ("publish/bytes/sent", counts.of(Counted::SentBytes)),
        ("subscriptions/count", tally.subscriptions - tally.shared_subscriptions),
        ("shared_subscriptions/count", tally.shared_subscriptions),
        ("retained messages/count", tally.retained),
    ]
}

/// What mosquitto has no name for.
fn ours(tally: &Tally, counters: &BrokerCounters) -> Vec<(&'static str, u64)> {
    let seen =
        Seen::ALL.into_iter().filter_map(|seen| Some((seen_at(seen)?, counters.count(seen))));
    let counts = &tally.counts;
    let counted = Counted::ALL.into_iter();
    let counted = counted.filter_map(|kind| Some((counted_at(kind)?, counts.of(kind))));
    let store =
        [("fieldpost/store/bytes", tally.store_bytes), ("fieldpost/store/commits", tally.commits)];
    seen.chain(counted).chain(store).collect()
}

/// Where it stands how often a door saw something; bounds by the name they have in the configuration.
fn seen_at(seen: Seen) -> Option<&'static str> {
    Some(match seen {
        Seen::Full => "fieldpost/refused/connections",
        Seen::TooManySessions => "fieldpost/refused/sessions",
        Seen::TooOften => "fieldpost/refused/connection_rate",
        Seen::Evicted => "fieldpost/refused/half_open",
        Seen::TooSlow => "fieldpost/refused/connect_timeout",
        Seen::PacketTooLarge => "fieldpost/refused/packet_size",
        Seen::TooManyInflight => "fieldpost/refused/inflight",
        Seen::Guessing => "fieldpost/refused/guesses",
        Seen::Denied => "fieldpost/refused/login",
        Seen::WrongProtocol => "fieldpost/refused/protocol",
        Seen::TlsFailed => "fieldpost/refused/tls",
        Seen::UpgradeRefused => "fieldpost/refused/websocket",
        Seen::ProtocolError => "fieldpost/ended/protocol_error",
        Seen::Silent => "fieldpost/ended/keep_alive",
        Seen::TakenOver => "fieldpost/ended/taken_over",
        Seen::SentAway => "fieldpost/ended/sent_away",
        Seen::Gone => "fieldpost/ended/by_client",
        // Mosquitto averages these two.
        Seen::Dialled | Seen::Connected => return None,
        Seen::CertificateRefused => "fieldpost/certificates_refused",
    })
}

/// Where a count of the hub's stands.
fn counted_at(counted: Counted) -> Option<&'static str> {
    Some(match counted {
        Counted::DeniedPublish => "fieldpost/denied/publish",
        Counted::DeniedWill => "fieldpost/denied/will",
        Counted::DeniedSubscribe => "fieldpost/denied/subscribe",
        Counted::DeniedDelivery => "fieldpost/denied/delivery",
        Counted::TooManySubscriptions => "fieldpost/refused/subscriptions",
        Counted::TopicTooDeep => "fieldpost/refused/topic_levels",
        Counted::TopicTooLong => "fieldpost/refused/topic_length",
        Counted::NotRetained => "fieldpost/refused/retained",
        Counted::NotStored => "fieldpost/refused/queue",
        Counted::DroppedWaiting => "fieldpost/dropped/queued",
        Counted::DroppedStored => "fieldpost/dropped/stored",
        Counted::QueueFull => "fieldpost/dropped/queue_full",
        Counted::DiskFull => "fieldpost/dropped/disk_full",
        Counted::TooOld => "fieldpost/dropped/too_old",
        Counted::Thinned => "fieldpost/dropped/thinned",
        Counted::Expired => "fieldpost/dropped/expired",
        Counted::TooLarge => "fieldpost/dropped/too_large",
        Counted::Purged => "fieldpost/dropped/purged",
        Counted::RefusedByOthers => "fieldpost/dropped/refused_by_receiver",
        Counted::Returning => "fieldpost/dropped/returning",
        // These have a name with mosquitto, or another place here.
        Counted::Received
        | Counted::ReceivedBytes
        | Counted::Sent
        | Counted::SentBytes
        | Counted::SessionsExpired
        | Counted::TakenOver => return None,
    })
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::mqtt::Carried;

    fn values(said: Vec<(String, String)>) -> BTreeMap<String, String> {
        said.into_iter().collect()
    }

    #[test]
    fn everything_is_said_at_first_and_then_what_has_changed() {
        let start = Instant::now();
        let (mut sys, counters) = (Sys::new(start), BrokerCounters::default());
        let tally = Tally { clients_connected: 2, clients_away: 1, ..Tally::default() };
        let first = values(sys.handle_counts(&tally, &counters, start));
        assert_eq!(first["$SYS/broker/uptime"], "0 seconds");
        assert!(first["$SYS/broker/version"].starts_with("fieldpost version "));
        assert_eq!(first["$SYS/broker/clients/total"], "3");
        assert_eq!(first["$SYS/broker/clients/inactive"], "1");
        assert_eq!(first["$SYS/broker/load/messages/received/15min"], "0.00");
        assert!(first.len() > 75, "{}", first.len());
        let later = start + Duration::from_secs(10);
        let again = sys.handle_counts(&tally, &counters, later);
        assert_eq!(again, [("$SYS/broker/uptime".to_owned(), "10 seconds".to_owned())]);
    }

    #[test]
    fn averages_are_reckoned_as_mosquitto_does() {
        let start = Instant::now();
        let (mut sys, counters) = (Sys::new(start), BrokerCounters::default());
        let tally = Tally::default();
        sys.handle_counts(&tally, &counters, start);
        let received = Carried { packets: 100, bytes: 0 };
        counters.carry(Traffic { received, ..Traffic::default() });
        let said = values(sys.handle_counts(&tally, &counters, start + Duration::from_secs(10)));
        let load = |said: &BTreeMap<String, String>, minutes: &str| {
            said[&format!("$SYS/broker/load/messages/received/{minutes}")].clone()
        };
        // 600 a minute for ten seconds: 600 (1 - e^(-10/60)), and so on.
        assert_eq!(load(&said, "1min"), "92.11");
        assert_eq!(load(&said, "5min"), "19.67");
        assert_eq!(load(&said, "15min"), "6.63");
        let said = values(sys.handle_counts(&tally, &counters, start + Duration::from_secs(70)));
        assert_eq!(load(&said, "1min"), "33.89");
    }

    #[test]
    fn no_two_counts_have_one_name() {
        let (tally, counters) = (Tally::default(), BrokerCounters::default());
        let mut sys = Sys::new(Instant::now());
        let said = sys.handle_counts(&tally, &counters, Instant::now());
        assert_eq!(values(said.clone()).len(), said.len());
    }
}
