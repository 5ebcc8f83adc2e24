//! shell: builds everything a run needs: devices, upstream, and the text the gateway is started from.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tracing::warn;

use super::bank::{serial_devices, tcp_devices};
use super::line::Line;
use super::scratch::Scratch;
use super::tcp::Devices;
use super::upstream::Upstream;
use crate::config::{self, Settings, SystemSecrets};
use crate::field::SerialSettings;
use crate::model::QoS;
use crate::mqtt::Version;

/// The gateway's configuration but for what a run fills in.
const TEMPLATE: &str = include_str!("demo.yaml");

/// Everything around the gateway.
#[derive(Debug)]
pub(super) struct Stage {
    /// The broker the gateway delivers to.
    pub(super) upstream: Upstream,
    /// What the gateway runs on.
    pub(super) settings: Settings,
    /// What must be kept as long as they run.
    pub(super) props: Props,
}

/// Devices, which end with this value, and a directory, which goes with it.
#[derive(Debug)]
pub(super) struct Props {
    _devices: JoinSet<()>,
    _scratch: Scratch,
}

impl Stage {
    /// Lets devices and upstream begin.
    pub(super) async fn build(qos: QoS, version: Version) -> anyhow::Result<Self> {
        let scratch = Scratch::new().context("cannot make a directory for the queues")?;
        let directory = |name| scratch.directory(name).context("cannot make a directory");
        let upstream = Upstream::start(&directory("upstream")?).await?;
        let line = Line::open().context("cannot open a pseudo-terminal for the serial devices")?;
        let tcp = Devices::bind().await.context("cannot listen for the gateway")?;
        let tcp_address = tcp.address().context("cannot listen for the gateway")?;
        let blanks = Blanks {
            state: directory("gateway")?,
            rtu: line.path().to_owned(),
            tcp: tcp_address,
            upstream: upstream.address(),
            qos,
            version,
        };
        let settings = parse(&blanks.fill())?;
        let serial = serial(&settings).context("demo.yaml has no serial bus")?;
        let mut devices = JoinSet::new();
        devices.spawn(async move {
            if let Err(cause) = line.serve(serial_devices(), serial).await {
                warn!(%cause, "the simulated serial devices ended");
            }
        });
        devices.spawn(async move {
            if let Err(cause) = tcp.serve(tcp_devices()).await {
                warn!(%cause, "the simulated TCP devices ended");
            }
        });
        let props = Props { _devices: devices, _scratch: scratch };
        Ok(Self { upstream, settings, props })
    }
}

/// Writes the configuration of a run, with names in place of what each run makes for itself.
///
/// # Errors
/// `out` cannot be written to.
pub fn show_config(qos: QoS, version: Version, out: &mut impl Write) -> anyhow::Result<()> {
    let blanks = Blanks {
        state: "/tmp/fieldpost-demo/gateway".into(),
        rtu: "/dev/pts/9".to_owned(),
        tcp: SocketAddr::from(([127, 0, 0, 1], 5020)),
        upstream: SocketAddr::from(([127, 0, 0, 1], 1883)),
        qos,
        version,
    };
    out.write_all(blanks.fill().as_bytes()).context("cannot write the configuration")
}

/// What a run fills into the template.
#[derive(Debug)]
struct Blanks {
    state: PathBuf,
    rtu: String,
    tcp: SocketAddr,
    upstream: SocketAddr,
    qos: QoS,
    version: Version,
}

impl Blanks {
    fn fill(&self) -> String {
        let version = if self.version == Version::V5 { "5" } else { "3.1.1" };
        TEMPLATE
            .replace("@STATE@", &self.state.display().to_string())
            .replace("@RTU@", &self.rtu)
            .replace("@TCP@", &self.tcp.to_string())
            .replace("@UPSTREAM@", &self.upstream.to_string())
            .replace("@QOS@", &self.qos.level().to_string())
            .replace("@VERSION@", version)
    }
}

fn parse(text: &str) -> anyhow::Result<Settings> {
    let parsed = config::parse("demo.yaml", text, &SystemSecrets::for_run());
    Ok(parsed.map_err(|complaints| anyhow::anyhow!("{complaints}"))?.settings)
}

fn serial(settings: &Settings) -> Option<SerialSettings> {
    settings.buses.iter().find_map(|bus| bus.port.serial().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_shown_has_no_complaints() {
        for (qos, version) in [(QoS::ExactlyOnce, Version::V5), (QoS::AtMostOnce, Version::V311)] {
            let mut text = Vec::new();
            show_config(qos, version, &mut text).expect("memory can be written to");
            let text = String::from_utf8(text).expect("text");
            assert!(!text.lines().skip(1).any(|line| line.contains('@')), "{text}");
            let parsed = config::parse("demo.yaml", &text, &SystemSecrets::for_run());
            let parsed = parsed.unwrap_or_else(|complaints| panic!("{complaints}"));
            assert_eq!(parsed.warnings.iter().count(), 0);
            let uplink = &parsed.settings.uplinks[0];
            assert_eq!((uplink.version, uplink.forward[0].qos), (version, qos));
        }
    }
}
