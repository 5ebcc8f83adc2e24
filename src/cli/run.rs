//! shell: `fieldpost run`: the gateway in the foreground, until it is asked to stop.

use std::path::PathBuf;

use anyhow::Context as _;
use tracing::{error, info, warn};

use super::ExitStatus;
use super::reload::Reload;
use crate::app::Gateway;
use crate::config::{self, Parsed, Settings, SystemSecrets};
use crate::service::{self, Signals, Stop, Wish, start_logging};
use crate::step;

/// Arguments of `run`.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/fieldpost/fieldpost.yaml")]
    pub config: PathBuf,
}

/// Runs the gateway until SIGTERM or SIGINT; a second signal ends it at once.
///
/// # Errors
/// The log or the store cannot be started.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitStatus> {
    if let Err(error) = step::arm_from_environment() {
        eprintln!("fieldpost: {error}");
        return Ok(ExitStatus::Wrong);
    }
    let Parsed { mut settings, warnings, templates } =
        match config::load(&args.config, &SystemSecrets::for_run()) {
            Ok(parsed) => parsed,
            Err(complaints) => {
                eprintln!("{complaints}");
                let file = args.config.display();
                eprintln!("{file}: not started; `fieldpost check {file}` says this again");
                return Ok(ExitStatus::Wrong);
            }
        };
    let reload = Reload::of(args.config.clone(), settings.clone());
    // What the file says goes before what systemd gives.
    if settings.queue.runtime_dir.is_none() {
        settings.queue.runtime_dir = service::runtime_dir();
    }
    let _log = start_logging(&settings.log.level).context("cannot start the log")?;
    for warning in warnings.iter() {
        let (line, message) = (warning.line, &warning.message);
        warn!(file = %warning.file, line, path = %warning.path, "{message}");
    }
    for it in templates.iter().filter(|it| it.is_instead) {
        let (device, template, file) = (&it.device, &it.template, it.file.as_deref());
        info!(
            device,
            template, file, "template of your own taken instead of the one that is built in"
        );
    }
    let runtime = runtime()?;
    let result = runtime.block_on(serve(settings, reload, |_| Ok(())));
    // A look-up of a name that is under way cannot be called off: it is left behind.
    runtime.shutdown_background();
    result
}

/// One thread is enough for everything but the store, which has its own.
///
/// # Errors
/// The system gives no event queue.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()
        .context("cannot start the event loop")
}

/// Runs a gateway until it is asked to stop; `ready` is called when its clients are served.
///
/// # Errors
/// As [`Gateway::start`]; the signals cannot be taken over; `ready`'s.
pub(super) async fn serve(
    settings: Settings,
    mut reload: Reload,
    ready: impl FnOnce(&Gateway) -> anyhow::Result<()>,
) -> anyhow::Result<ExitStatus> {
    let mut signals = Signals::listen().context("cannot take over SIGTERM")?;
    let mut gateway = Gateway::start(settings).await?;
    ready(&gateway)?;
    service::ready();
    loop {
        let access = tokio::select! {
            wish = signals.next() => match wish {
                Wish::Stop(_) => break,
                Wish::Reload => {
                    gateway.reload();
                    reload.read()
                }
            },
            access = reload.changed() => access,
            part = gateway.broken() => {
                error!(part, "part of the gateway ended by itself; everything committed is kept");
                return Ok(ExitStatus::Failed);
            }
        };
        if let Some(access) = access {
            gateway.change_access(access).await;
        }
    }
    info!("stopping: a second signal ends at once");
    service::stopping();
    tokio::select! {
        () = gateway.stop() => Ok(ExitStatus::Done),
        stop = signals.next_stop() => {
            debug_assert_eq!(stop, Stop::AtOnce);
            warn!("stopped at once; everything committed is kept");
            Ok(ExitStatus::Failed)
        }
    }
}
