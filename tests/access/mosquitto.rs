//! Mosquitto and our broker with the same users file and the same `acl_file`: the same may be said and heard.

use std::fs;
use std::path::Path;
use std::process::Command;

use fieldpost::mqtt::{Connect, Packet, Version};

use crate::broker::{ANYBODY, Broker, with_password};
use crate::client::{Client, QOS0, QOS1, connect, publish, subscription};
use crate::support::{Mosquitto, Site, require_peers};

const ACL: &str = "\
# anonymous clients
topic read public/#
topic write drop/+
topic deny public/secret

user admin
topic readwrite #

user ann
topic readwrite house/#
topic deny house/secret/#
topic write only/write
topic read only/read
topic own
topic  read   spaced
user bob smith
topic write a b/c d
topic read dev/+/deny
user ann
topic late
topic deny late/not
topic u/%u
pattern readwrite dev/%c/#
pattern read u/%u/x
pattern deny dev/+/deny
pattern readwrite mix/%u-%c
pattern read all/#
pattern deny all/but
";

const USERS: [&str; 4] = ["admin", "ann", "bob smith", "we+ird"];

/// Who the others are: user name and client id.
const WHO: [(Option<&str>, &str); 7] = [
    (None, "c1"),
    (Some("ann"), "c1"),
    (Some("ann"), "c2"),
    (Some("bob smith"), "c1"),
    (Some("we+ird"), "c1"),
    (None, "c+"),
    (Some("ann"), "#"),
];

const TOPICS: [&str; 27] = [
    "public",
    "public/a",
    "public/secret",
    "drop/a",
    "drop/a/b",
    "drop",
    "house",
    "house/a",
    "house/secret",
    "house/secret/a",
    "only/write",
    "only/read",
    "own",
    "own/a",
    "spaced",
    "late",
    "late/not",
    "a b/c d",
    "u/%u",
    "u/ann",
    "u/ann/x",
    "dev/c1/a",
    "dev/c2",
    "dev/c1/deny",
    "mix/ann-c1",
    "all/a",
    "all/but",
];

fn as_whom((user, client_id): (Option<&str>, &str)) -> Connect {
    match user {
        Some(user) => with_password(Version::V311, client_id, user, "pw"),
        None => connect(Version::V311, client_id),
    }
}

/// What every client may publish and hear, and hears when it subscribes to everything.
fn outcomes(port: u16) -> Vec<String> {
    let admin = |name: &str| Client::connect(port, as_whom((Some("admin"), name))).0;
    let (mut listener, mut speaker) = (admin("listener"), admin("speaker"));
    listener.subscribe(&[subscription("#", QOS0)]);
    let mut outcomes = Vec::new();
    for who in WHO {
        let (mut client, _) = Client::connect(port, as_whom(who));
        for topic in TOPICS {
            // Before 5.0 what is denied is acknowledged as well.
            client.send(Packet::Publish(publish(QOS1, 1, topic, topic)));
            loop {
                if matches!(client.receive(), Packet::PubAck(_)) {
                    break;
                }
            }
        }
        outcomes.push(format!("{who:?} says {:?}", listener.payloads()));
        for topic in TOPICS {
            client.subscribe(&[subscription(topic, QOS0)]);
        }
        let mut say_all = |listener: &mut Client| {
            for topic in TOPICS {
                speaker.publish(QOS1, 1, topic, topic);
            }
            listener.so_far();
        };
        say_all(&mut listener);
        outcomes.push(format!("{who:?} hears {:?}", client.payloads()));
        drop(client);
        let (mut client, _) = Client::connect(port, as_whom(who));
        client.subscribe(&[subscription("#", QOS0)]);
        say_all(&mut listener);
        outcomes.push(format!("{who:?} hears of everything {:?}", client.payloads()));
    }
    outcomes
}

fn write(dir: &Path) {
    fs::write(dir.join("acl"), ACL).unwrap();
    let users = dir.join("users");
    fs::write(&users, "").unwrap();
    for user in USERS {
        let done = Command::new("mosquitto_passwd")
            .args(["-b", users.to_str().unwrap(), user, "pw"])
            .output()
            .expect("it runs");
        assert!(done.status.success(), "{done:?}");
    }
}

#[test]
fn the_same_files_allow_the_same_as_with_mosquitto() {
    require_peers();
    let site = Site::new();
    write(site.path());
    let dir = site.path().display();
    let theirs = Mosquitto::start_with(&format!(
        "allow_anonymous true\npassword_file {dir}/users\nacl_file {dir}/acl\n"
    ));
    let expected = outcomes(theirs.port());
    let ours = Broker::start(site, ANYBODY, crate::broker::USERS, "acl_file: {dir}/acl");
    let found = outcomes(ours.port);
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(found, expected);
    }
    // The comparison is worth something.
    assert!(expected.iter().any(|line| line.contains("\"house/a\"")), "{expected:#?}");
}
