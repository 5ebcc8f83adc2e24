//! Every packet of the malformed tables, sent to a running broker: before CONNECT and after it. Its connection ends, with
//! the right reason where the version can say one, and nobody else's.

use fieldpost::mqtt::{Packet, Version, connect_version};

use crate::client::{Client, QOS0, QOS1, connect};
use crate::gateway::Gateway;
use crate::malformed::TABLES;
use crate::malformed::notation::{Row, wire};

/// What the broker said before it closed: `CONNACK 0x84`, `DISCONNECT 0x81`, or nothing.
type Said = Option<(&'static str, u8)>;

const CONNECT: u8 = 0x10;
const PROTOCOL_ERROR: u8 = 0x82;
const UNSUPPORTED_VERSION: u8 = 0x84;
const CLIENT_ID_NOT_VALID: u8 = 0x85;

/// 3.1.1 [MQTT-3.1.4-1] closes without a word, but for a version (3.1.2-2) or a client id (3.1.3-8) it does not take; 5.0
/// [MQTT-3.1.4-1] may say why. To whoever has not said CONNECT nothing is said.
fn said_before_connect(bytes: &[u8], reason: u8) -> Said {
    let told = reason == UNSUPPORTED_VERSION
        || reason == CLIENT_ID_NOT_VALID
        || connect_version(bytes) == Some(Version::V5);
    (bytes[0] == CONNECT && told).then_some(("CONNACK", reason))
}

/// 5.0 section 4.13: DISCONNECT with the reason. Before 5.0 a server has no DISCONNECT.
fn said_after_connect(version: Version, bytes: &[u8], reason: u8) -> Said {
    // A second CONNECT is a protocol error whatever is in it; DISCONNECT has no word for some of it.
    let connect_only = [UNSUPPORTED_VERSION, CLIENT_ID_NOT_VALID].contains(&reason);
    let reason = if bytes[0] == CONNECT && connect_only { PROTOCOL_ERROR } else { reason };
    (version == Version::V5).then_some(("DISCONNECT", reason))
}

/// Waits for the end of the connection.
fn until_closed(client: &mut Client) -> Result<Said, Vec<Packet>> {
    let packets = client.until_closed();
    match &packets[..] {
        [] => Ok(None),
        [Packet::ConnAck(ack)] if !ack.session_present => Ok(Some(("CONNACK", ack.reason.byte()))),
        [Packet::Disconnect(why)] => Ok(Some(("DISCONNECT", why.reason.byte()))),
        _ => Err(packets),
    }
}

/// A client that behaves and is served all the time.
struct Bystander(Client);

impl Bystander {
    fn new(port: u16) -> Self {
        let (mut client, _) = Client::connect(port, connect(Version::V5, "bystander"));
        client.subscribe(&[crate::client::subscription("still/here", QOS0)]);
        Self(client)
    }

    fn is_served(&mut self) {
        self.0.send(Packet::Publish(crate::client::publish(QOS1, 1, "still/here", "x")));
        let mut names = [self.0.receive().name(), self.0.receive().name()];
        names.sort_unstable();
        assert_eq!(names, ["PUBACK", "PUBLISH"]);
    }
}

/// Runs every row of a table in each of its versions; `play` gives what was said and what should have been.
fn each_row(
    mut play: impl FnMut(u16, Version, &[u8], u8) -> (Result<Said, Vec<Packet>>, Said),
) -> usize {
    let gateway = Gateway::start();
    let mut bystander = Bystander::new(gateway.port);
    let (mut wrong, mut count) = (Vec::new(), 0);
    for &(table, rows) in TABLES {
        for &(versions, text, reason, words) in rows as &[Row] {
            for &version in versions {
                let (got, expected) = play(gateway.port, version, &wire(text), reason);
                if got != Ok(expected) {
                    wrong.push(format!(
                        "{table}: {words}: {version}: {text}: {got:?}, not {expected:?}"
                    ));
                }
                bystander.is_served();
                count += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    count
}

#[test]
fn what_is_malformed_before_connect_ends_the_connection() {
    let count = each_row(|port, _, bytes, reason| {
        let spoken = connect_version(bytes).unwrap_or(Version::V311);
        let mut client = Client::dial(port, spoken);
        client.send_bytes(bytes);
        (until_closed(&mut client), said_before_connect(bytes, reason))
    });
    assert!(count >= 500, "{count}");
}

#[test]
fn what_is_malformed_after_connect_ends_the_connection_with_its_reason() {
    let count = each_row(|port, version, bytes, reason| {
        let (mut client, _) = Client::connect(port, connect(version, "hostile"));
        client.send_bytes(bytes);
        (until_closed(&mut client), said_after_connect(version, bytes, reason))
    });
    assert!(count >= 500, "{count}");
}
