//! shell: `fieldpost broker`: the broker alone, from a few flags instead of a file.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use tracing::warn;

use super::ExitStatus;
use super::reload::Reload;
use super::run::{runtime, serve};
use crate::access::{AclSettings, UsersSettings};
use crate::app::Gateway;
use crate::broker::{
    ClientCa, ListenAt, ListenerRules, ListenerSettings, ListenerTls, Origins, WebSocketSettings,
};
use crate::config::{self, Settings, SystemSecrets};
use crate::demo::scratch::Scratch;
use crate::service::{self, start_logging};
use crate::step;

/// Everything that has no flag is as in a configuration that leaves it out.
const BASE: &str =
    "{ gateway: { id: broker }, broker: { listeners: [ { tcp: 127.0.0.1:0, anonymous: true } ] } }";
const PORT_DEFAULT: u16 = 1883;

const NOTES: &str = "\
Ready when it prints one line: `listening mqtt://127.0.0.1:1883 ws://127.0.0.1:9001`, first what --listen says, then --ws, --tls, --wss and --unix, with real ports (port 0 takes a free one). The log goes to standard error. SIGTERM stops it in order, SIGHUP reads certificates again. Whatever else a listener can do stands in a configuration file: `broker:`, for `fieldpost run`.

Exit status: 0 after SIGTERM or Ctrl-C; 1 if it failed; 2 if the command line is wrong.";

/// Arguments of `broker`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = NOTES)]
pub struct BrokerArgs {
    /// Listen for MQTT over TCP; PORT alone is one of 127.0.0.1 [default: 127.0.0.1:1883 if there is no other listener]
    #[arg(short = 'p', long, alias = "port", value_name = "[ADDRESS:]PORT", value_parser = address)]
    pub listen: Vec<SocketAddr>,
    /// Listen for MQTT over WebSocket
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = address)]
    pub ws: Vec<SocketAddr>,
    /// Listen for MQTT over TLS
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = address, requires_all = ["cert", "key"])]
    pub tls: Vec<SocketAddr>,
    /// Listen for MQTT over secure WebSocket
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = address, requires_all = ["cert", "key"])]
    pub wss: Vec<SocketAddr>,
    /// Listen for MQTT on a Unix socket, open to the user and group of this process
    #[arg(long, value_name = "PATH")]
    pub unix: Vec<PathBuf>,
    /// PEM file with the certificate chain of --tls and --wss; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// PEM file with the key of --cert
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Take only clients with a certificate signed by this authority; its common name is the user name
    #[arg(long, value_name = "FILE")]
    pub client_ca: Option<PathBuf>,
    /// Password file, as mosquitto_passwd or `fieldpost passwd` writes it; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub users: Vec<PathBuf>,
    /// Who may publish and subscribe to what, a file as mosquitto's acl_file; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub acl: Option<PathBuf>,
    /// Let clients connect without a name, from this machine
    #[arg(long)]
    pub anonymous: bool,
    /// Let clients connect without a name from everywhere
    #[arg(long)]
    pub anonymous_beyond_loopback: bool,
    /// Keep sessions, retained and queued messages in this directory; without it they last as long as this process
    #[arg(long, value_name = "DIRECTORY")]
    pub state_dir: Option<PathBuf>,
    /// Clients at once
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: Option<u32>,
    /// What is logged: error, warn, info, debug, trace, or filter directives
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log: String,
    /// For those who know mosquitto's: they are told where configurations go
    #[arg(short, long, value_name = "FILE", hide = true)]
    pub config: Option<PathBuf>,
}

impl BrokerArgs {
    /// Who may from everywhere may from this machine.
    fn is_anonymous(&self) -> bool {
        self.anonymous || self.anonymous_beyond_loopback
    }
}

/// Runs the broker until SIGTERM or SIGINT; a second signal ends it at once.
///
/// # Errors
/// A listener, the log or the store cannot be started.
pub fn broker(args: &BrokerArgs) -> anyhow::Result<ExitStatus> {
    if let Err(error) = step::arm_from_environment() {
        eprintln!("fieldpost: {error}");
        return Ok(ExitStatus::Wrong);
    }
    let mut settings = match settings(args) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("fieldpost: {error}");
            return Ok(ExitStatus::Wrong);
        }
    };
    let _log = start_logging(&args.log).context("cannot start the log")?;
    // Removed when the broker has ended.
    let scratch = match &args.state_dir {
        Some(state_dir) => {
            settings.queue.state_dir.clone_from(state_dir);
            settings.queue.runtime_dir = service::runtime_dir();
            None
        }
        None => {
            let scratch = Scratch::new().context("cannot make a directory for the sessions")?;
            settings.queue.state_dir = scratch.path().to_owned();
            warn!("no --state-dir: sessions, retained and queued messages end with this process");
            Some(scratch)
        }
    };
    let runtime = runtime()?;
    let reload = Reload::without_file(settings.clone());
    let result = runtime.block_on(serve(settings, reload, tell_addresses));
    runtime.shutdown_background();
    drop(scratch);
    result
}

/// Tells whoever waits for it that clients are served, and where.
fn tell_addresses(gateway: &Gateway) -> anyhow::Result<()> {
    let addresses: Vec<String> = gateway.addresses().iter().map(ToString::to_string).collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening {}", addresses.join(" "))
        .and_then(|()| out.flush())
        .context("cannot say where the broker listens")
}

/// What the flags mean, as a configuration file would say it.
fn settings(args: &BrokerArgs) -> anyhow::Result<Settings> {
    if let Some(file) = args.config.as_ref().map(|file| file.display()) {
        bail!(
            "`broker` takes no configuration: `fieldpost run -c {file}` does, and `fieldpost import {file}` makes one of \
             mosquitto's"
        );
    }
    if args.tls.is_empty() && args.wss.is_empty() {
        ensure!(args.client_ca.is_none(), "--client-ca is for --tls and --wss: add one of them");
        ensure!(args.cert.is_none(), "--cert and --key are for --tls and --wss: add one of them");
    }
    let mut settings = base()?;
    let users = UsersSettings { files: args.users.clone(), client_id_prefix: None };
    settings.broker.access.users = Some(users).filter(|users| !users.files.is_empty());
    if let Some(acl) = &args.acl {
        settings.broker.access.acl = AclSettings::File(acl.clone());
    }
    let limits = &mut settings.broker.limits;
    limits.connections = args.max_connections.unwrap_or(limits.connections);
    let rules = ListenerRules {
        anonymous: args.is_anonymous(),
        limits: *limits,
        ..ListenerRules::default()
    };
    let tls = args.cert.clone().zip(args.key.clone()).map(|(certificate, key)| {
        let client_ca = args.client_ca.clone().map(|path| ClientCa { path, required: true });
        ListenerTls { certificate, key, client_ca }
    });
    let certified = ListenerRules { certificate_user: args.client_ca.is_some(), ..rules.clone() };
    let origins = if args.is_anonymous() { Origins::SameHost } else { Origins::Any };
    let websocket = WebSocketSettings { origins };
    let open = |address: &SocketAddr| ListenerSettings {
        at: ListenAt::Address(*address),
        tls: None,
        websocket: None,
        rules: rules.clone(),
    };
    let secure = |address: &SocketAddr| ListenerSettings {
        tls: tls.clone(),
        rules: certified.clone(),
        ..open(address)
    };
    let in_frames = |listener: ListenerSettings| ListenerSettings {
        websocket: Some(websocket.clone()),
        ..listener
    };
    let at_path = |path: &PathBuf| ListenerSettings {
        at: ListenAt::Path { path: path.clone(), mode: 0o660 },
        ..open(&default_address())
    };
    let mut listeners: Vec<ListenerSettings> = args.listen.iter().map(open).collect();
    listeners.extend(args.ws.iter().map(open).map(in_frames));
    listeners.extend(args.tls.iter().map(secure));
    listeners.extend(args.wss.iter().map(secure).map(in_frames));
    listeners.extend(args.unix.iter().map(at_path));
    if listeners.is_empty() {
        listeners.push(open(&default_address()));
    }
    listeners.iter().try_for_each(|listener| check(listener, args))?;
    settings.broker.listeners = listeners;
    Ok(settings)
}

/// The settings of a broker before any flag.
pub(super) fn base() -> anyhow::Result<Settings> {
    let parsed = config::parse("fieldpost broker", BASE, &SystemSecrets::for_run());
    Ok(parsed.map_err(|complaints| anyhow::anyhow!("{complaints}"))?.settings)
}

/// Closed by default, as a configuration file is.
fn check(listener: &ListenerSettings, args: &BrokerArgs) -> anyhow::Result<()> {
    let scheme = listener.scheme();
    let place = match &listener.at {
        ListenAt::Address(address) => format!("{scheme}://{address}"),
        ListenAt::Path { path, .. } => format!("{scheme}:{}", path.display()),
    };
    let is_closed = !listener.rules.anonymous && !listener.rules.certificate_user;
    if is_closed && args.users.is_empty() {
        bail!(
            "{place} would let nobody in: add --users FILE, or --anonymous if all of this machine may, or --tls with \
             --client-ca for clients with certificates"
        );
    }
    let open = listener.rules.anonymous && !listener.requires_certificate();
    if open && listener.is_beyond_loopback() && !args.anonymous_beyond_loopback {
        bail!(
            "everybody who can reach {place} could connect without a name: listen on 127.0.0.1, or add \
             --anonymous-beyond-loopback if that is meant"
        );
    }
    Ok(())
}

fn default_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, PORT_DEFAULT).into()
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix("localhost:").unwrap_or(text);
    if let Ok(port) = port.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() {
            return "a port is 1 to 65535, or 0 for a free one".to_owned();
        }
        // What is one address as it stands may have been meant as another with a port.
        if text.parse::<Ipv6Addr>().is_ok() {
            return format!(
                "an IPv6 address has brackets, and a port behind them: `[{text}]:1883`"
            );
        }
        if text.parse::<IpAddr>().is_ok() {
            return format!("add the port: `{text}:1883`");
        }
        if let Some((_, place)) = text.split_once("://") {
            return format!("leave out what stands before `//`: `{place}`");
        }
        "write an address of this machine and a port: `127.0.0.1:1883`, `0.0.0.0:1883` for all"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_listen_is_a_port_or_an_address_with_one() {
        let local = |port| Ok((Ipv4Addr::LOCALHOST, port).into());
        assert_eq!(address("1884"), local(1884));
        assert_eq!(address("localhost:1884"), local(1884));
        assert_eq!(address("[::1]:1884"), Ok((Ipv6Addr::LOCALHOST, 1884).into()));
        for (text, remedy) in [
            ("99999", "65535"),
            ("localhost:99999", "65535"),
            ("0.0.0.0", "`0.0.0.0:1883`"),
            ("::1", "`[::1]:1883`"),
            ("mqtt://127.0.0.1:1883", "`127.0.0.1:1883`"),
            (":1883", "`0.0.0.0:1883` for all"),
            ("eth0", "`0.0.0.0:1883` for all"),
        ] {
            let told = address(text).unwrap_err();
            assert!(told.contains(remedy), "{text}: {told}");
        }
    }
}
