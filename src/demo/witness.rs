//! shell: a client at the upstream that takes everything at QoS 2, acknowledges it and hands it on.

use std::num::NonZeroU16;

use anyhow::Context as _;

use crate::access::Principal;
use crate::hub::{AttachClient, ConnectionEvent, ConnectionId, HubHandle, Inbound};
use crate::model::{QoS, TopicFilter};
use crate::mqtt::{
    Ack, Packet, PacketId, Publish, ReasonCode, RetainHandling, Subscribe, SubscribeFilter, Version,
};

/// The upstream's own subscriber.
#[derive(Debug)]
pub(crate) struct Witness {
    hub: HubHandle,
    connection: ConnectionId,
    inbound: Inbound,
}

impl Witness {
    /// Subscribes to everything.
    pub(crate) async fn subscribe(hub: &HubHandle) -> anyhow::Result<Self> {
        let client = AttachClient {
            client_id: "witness".into(),
            clean_start: true,
            expiry: 0,
            version: Version::V5,
            receive_maximum: NonZeroU16::MAX,
            packet_bytes_max: None,
            will: None,
            principal: Principal::unnamed("witness"),
            caller: std::sync::Arc::default(),
            bridge: false,
            peer: None,
        };
        let (attached, inbound) = hub.attach_client(client).await?;
        let filter = SubscribeFilter {
            filter: TopicFilter::new("#").context("# is a filter")?,
            qos: QoS::ExactlyOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        };
        let subscribe = Subscribe {
            packet_id: PacketId(NonZeroU16::MIN),
            subscription_id: None,
            user_properties: Vec::new(),
            filters: vec![filter],
        };
        let connection = attached.connection;
        hub.packets(connection, vec![Packet::Subscribe(subscribe)]).await?;
        Ok(Self { hub: hub.clone(), connection, inbound })
    }

    /// Waits for the next event, which belongs into [`Self::take`]. A call that is dropped loses nothing.
    pub(crate) async fn next(&mut self) -> anyhow::Result<ConnectionEvent> {
        self.inbound.recv().await.context("the upstream has stopped")
    }

    /// Acknowledges `first` and everything that has come after it; hands over the messages.
    pub(crate) async fn take(
        &mut self,
        first: Option<ConnectionEvent>,
    ) -> anyhow::Result<Vec<Publish>> {
        let (mut messages, mut answers) = (Vec::new(), Vec::new());
        let mut next = first.or_else(|| self.inbound.try_recv());
        while let Some(event) = next {
            match event {
                ConnectionEvent::Packet(packet) => {
                    answers.extend(answer(&packet));
                    if let Packet::Publish(publish) = packet {
                        messages.push(publish);
                    }
                }
                ConnectionEvent::Said => {}
                ConnectionEvent::Close(reason) => {
                    anyhow::bail!("the upstream sent its own subscriber away: {reason}")
                }
            }
            next = self.inbound.try_recv();
        }
        if !answers.is_empty() {
            self.hub.packets(self.connection, answers).await?;
        }
        Ok(messages)
    }
}

/// What a receiver answers (MQTT 5.0 section 4.3).
fn answer(packet: &Packet) -> Option<Packet> {
    if let Packet::PubRel(ack) = packet {
        return Some(Packet::PubComp(Ack::new(ack.packet_id, ReasonCode::Success)));
    }
    let Packet::Publish(publish) = packet else { return None };
    let ack = Ack::new(publish.packet_id?, ReasonCode::Success);
    match publish.qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce => Some(Packet::PubAck(ack)),
        QoS::ExactlyOnce => Some(Packet::PubRec(ack)),
    }
}
