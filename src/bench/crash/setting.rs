//! core: the configurations of the processes of a run.

use std::path::Path;

use crate::model::QoS;
use crate::mqtt::Version;

/// What goes from the LAN to the upstream.
pub const UP: &str = "lan/crash";
/// What goes from the upstream to the LAN.
pub const DOWN: &str = "down/crash";
/// What mosquitto has when nobody sets it: how often it saves its sessions and queues, in seconds.
pub const AUTOSAVE_S: u32 = 1800;

/// What a run is about, and where everybody listens on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The version everybody speaks: 3.1.1 or 5.
    pub version: Version,
    /// The QoS of both lanes, 1 or 2.
    pub qos: QoS,
    /// The port of the gateway's LAN broker.
    pub lan: u16,
    /// The port of the wire to the upstream.
    pub wire: u16,
    /// The port of the upstream.
    pub upstream: u16,
}

impl Setting {
    /// The configuration of a Fieldpost in `dir` with the runtime directory `run`.
    #[must_use]
    pub fn gateway(&self, dir: &Path, run: &Path, commits_at_once: bool) -> String {
        let Self { lan, wire, .. } = self;
        let (dir, run, qos) = (dir.display(), run.display(), self.qos as u8);
        let version = if self.version == Version::V5 { "5" } else { "3.1.1" };
        let commit_every = if commits_at_once { "0s" } else { "1s" };
        format!(
            "gateway: {{ id: crash, state_dir: \"{dir}\", runtime_dir: \"{run}\" }}\n\
             broker: {{ listeners: [ {{ tcp: 127.0.0.1:{lan}, anonymous: true }} ] }}\n\
             uplinks:\n  upstream:\n    url: \"mqtt://127.0.0.1:{wire}\"\n    version: {version}\n    \
             forward: [ {{ filter: \"{UP}\", qos: {qos} }} ]\n    \
             accept: [ {{ filter: \"{DOWN}\", qos: {qos} }} ]\n\
             queue: {{ commit_every: {commit_every} }}\n"
        )
    }

    /// The configuration of a Fieldpost in `dir` that stands in for the upstream.
    #[must_use]
    pub fn upstream_of_ours(&self, dir: &Path) -> String {
        let (dir, port) = (dir.display(), self.upstream);
        format!(
            "gateway: {{ id: upstream, state_dir: \"{dir}\" }}\n\
             broker: {{ listeners: [ {{ tcp: 127.0.0.1:{port}, anonymous: true }} ] }}\n"
        )
    }

    /// The configuration of a mosquitto in `dir` as the upstream. It is never killed, so it loses nothing.
    #[must_use]
    pub fn upstream(&self, dir: &Path) -> String {
        mosquitto(dir, self.upstream)
    }

    /// The configuration of a mosquitto in `dir` in the gateway's place: a bridge that keeps its session.
    #[must_use]
    pub fn bridge(&self, dir: &Path) -> String {
        let Self { wire, .. } = self;
        let qos = self.qos as u8;
        let version = if self.version == Version::V5 { "mqttv50" } else { "mqttv311" };
        mosquitto(dir, self.lan)
            + &format!(
                "autosave_interval {AUTOSAVE_S}\n\
                 connection upstream\n\
                 address 127.0.0.1:{wire}\n\
                 bridge_protocol_version {version}\n\
                 cleansession false\n\
                 restart_timeout 1\n\
                 notifications false\n\
                 remote_clientid crash\n\
                 topic {UP} out {qos}\n\
                 topic {DOWN} in {qos}\n"
            )
    }
}

fn mosquitto(dir: &Path, port: u16) -> String {
    // Without `user` one started by root changes to a user who may not write here.
    format!(
        "listener {port} 127.0.0.1\n\
         allow_anonymous true\n\
         user root\n\
         persistence true\n\
         persistence_location {}/\n\
         max_queued_messages 1000000\n\
         set_tcp_nodelay true\n\
         log_dest stderr\n\
         log_type error\nlog_type warning\nlog_type notice\n\
         connection_messages true\n",
        dir.display()
    )
}
