//! core: what `fieldpost clients` shows to a person.

use std::fmt::Write as _;
use std::time::Duration;

use super::queue_text::{parse, size, span, table};
use crate::control::{ClientReport, ClientsReport};
use crate::model::Timestamp;

const HEAD: [&str; 13] = [
    "client id",
    "state",
    "for",
    "user",
    "address",
    "listener",
    "mqtt",
    "keep alive",
    "subs",
    "in flight",
    "queued",
    "lost",
    "refused",
];

/// The clients under one another, the sum below.
pub(super) fn list(clients: &[ClientReport], sum: &ClientsReport, now: Timestamp) -> String {
    let mut text = String::new();
    if clients.is_empty() {
        text.push_str("no client is connected, and no session waits\n");
        return text;
    }
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(clients.iter().map(|client| row(client, now)));
    text.push_str(&table(&rows));
    let ClientsReport { connected, away } = sum;
    let _ = writeln!(text, "\n{connected} connected, {away} away");
    text
}

fn row(client: &ClientReport, now: Timestamp) -> [String; 13] {
    let or_none = |text: Option<&str>| shown(text.unwrap_or("-"));
    let since = client.since.as_deref().and_then(parse).filter(|since| now >= *since);
    let queued = match client.queued_bytes {
        0 => client.queued.to_string(),
        bytes => format!("{} ({})", client.queued, size(bytes)),
    };
    let totals = &client.totals;
    let lost = totals.dropped + totals.expired + totals.too_large + totals.refused + totals.purged;
    let refused = client.publications_refused + client.subscriptions_refused;
    [
        shown(&client.client_id),
        if client.connected { "connected" } else { "away" }.to_owned(),
        since.map_or("-".to_owned(), |since| span(now.since(since))),
        or_none(client.user.as_deref()),
        or_none(client.address.as_deref()),
        or_none(client.listener.as_deref()),
        or_none(client.version.as_deref()),
        match client.keep_alive_s {
            None | Some(0) => "-".to_owned(),
            Some(seconds) => span(Duration::from_secs(seconds.into())),
        },
        client.subscriptions.to_string(),
        client.in_flight.to_string(),
        queued,
        lost.to_string(),
        (totals.denied + refused).to_string(),
    ]
}

/// A client may call itself what it likes: nothing of that moves the cursor.
fn shown(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::TotalsReport;

    fn client() -> ClientReport {
        ClientReport {
            client_id: "pump-7".to_owned(),
            connected: true,
            address: Some("192.0.2.7:50123".to_owned()),
            user: Some("pump".to_owned()),
            listener: Some("mqtts://192.0.2.1:8883".to_owned()),
            version: Some("5.0".to_owned()),
            keep_alive_s: Some(60),
            clean_start: Some(false),
            session_expiry_s: Some(3600),
            since: Some("2026-11-21T03:10:00.123Z".to_owned()),
            subscriptions: 3,
            in_flight: 1,
            queued: 12,
            queued_bytes: 2048,
            totals: TotalsReport { dropped: 4, denied: 1, ..TotalsReport::default() },
            publications_refused: 2,
            subscriptions_refused: 0,
        }
    }

    #[test]
    fn clients_stand_in_columns() {
        let away = ClientReport {
            client_id: "meter\u{1b}[2J".to_owned(),
            connected: false,
            address: None,
            user: None,
            listener: None,
            version: None,
            keep_alive_s: None,
            since: None,
            queued_bytes: 0,
            ..client()
        };
        let now = Timestamp::from_unix_ms(1_795_230_600_123 + 3_725_000);
        let text = list(&[client(), away], &ClientsReport { connected: 1, away: 1 }, now);
        let words: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        let expected = [
            "pump-7 connected 1h 2m pump 192.0.2.7:50123 mqtts://192.0.2.1:8883 5.0 1m 3 1 12 (2 KiB) 4 3",
            "meter\\u{1b}[2J away - - - - - - 3 1 12 4 3",
        ];
        for (line, expected) in words[1..].iter().zip(expected) {
            assert_eq!(line.join(" "), expected, "\n{text}");
        }
        assert!(text.ends_with("\n\n1 connected, 1 away\n"), "{text}");
    }
}
