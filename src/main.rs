//! The `fieldpost` program: parse and call.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fieldpost::cli::{self, ExitStatus};

/// Edge gateway: polls Modbus devices, keeps their readings, delivers them over MQTT
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway in the foreground until SIGTERM or Ctrl-C
    Run(cli::RunArgs),
    /// Show the main job in one process: simulated devices, a gateway and a stand-in upstream
    Demo(cli::DemoArgs),
    /// Run an MQTT broker alone, from a few options, until SIGTERM or Ctrl-C
    Broker(cli::BrokerArgs),
    /// Measure this machine, or kill a gateway again and again and count what was lost
    Bench(cli::BenchArgs),
    /// Find the units of a bus: line settings, unit ids, what they are; prints configuration to paste
    Scan(cli::ScanArgs),
    /// Look at the durable queue, hand it out, remove from it, verify it
    Queue(cli::QueueArgs),
    /// List the broker's clients: who, from where, what waits for them; or send one away
    Clients(cli::ClientsArgs),
    /// Show how the running gateway is doing: its buses, devices, uplinks and queue
    Status(cli::StatusArgs),
    /// Show what passed on a bus of the running gateway, byte by byte, or write it for Wireshark
    Frames(cli::FramesArgs),
    /// Set the password of a user of the broker, or take the user out
    Passwd(cli::PasswdArgs),
    /// Print what is published at a broker: a small MQTT client with mosquitto_sub's options
    #[command(disable_help_flag = true)]
    Sub(cli::SubArgs),
    /// Publish to a broker: a small MQTT client with mosquitto_pub's options
    #[command(disable_help_flag = true)]
    Pub(cli::PubArgs),
    /// Read registers of a device in every interpretation, or what it says of itself
    Read(cli::ReadArgs),
    /// Write one value to a device, read back and confirmed
    Write(cli::WriteArgs),
    /// Make a configuration of a mosquitto.conf and name each line that needs a look
    Import(cli::ImportArgs),
    /// Check a configuration file and say everything that is wrong with it
    Check(cli::CheckArgs),
    /// List the devices that are known by name, or show what is known of one
    Templates(cli::TemplatesArgs),
}

fn main() -> ExitCode {
    // clap ends with 2 when the command line is wrong.
    let result = match Arguments::parse().command {
        Command::Run(args) => cli::run(&args),
        Command::Demo(args) => cli::demo(&args),
        Command::Broker(args) => cli::broker(&args),
        Command::Bench(args) => cli::bench(&args, &mut std::io::stdout().lock()),
        Command::Scan(args) => cli::scan(&args, &mut std::io::stdout().lock()),
        Command::Queue(args) => cli::queue(&args, &mut std::io::stdout().lock()),
        Command::Clients(args) => cli::clients(&args, &mut std::io::stdout().lock()),
        Command::Status(args) => cli::status(&args, &mut std::io::stdout().lock()),
        Command::Frames(args) => cli::frames(&args, &mut std::io::stdout().lock()),
        Command::Passwd(args) => cli::passwd(&args),
        Command::Sub(args) => cli::subscribe(&args),
        Command::Pub(args) => cli::publish(&args),
        Command::Read(args) => cli::read(&args, &mut std::io::stdout().lock()),
        Command::Write(args) => cli::write(&args, &mut std::io::stdout().lock()),
        Command::Import(args) => cli::import(&args, &mut std::io::stdout().lock()),
        Command::Check(args) => cli::check(&args, &mut std::io::stdout().lock()),
        Command::Templates(args) => cli::templates(&args, &mut std::io::stdout().lock()),
    };
    match result {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("fieldpost: {}", told(&error));
            ExitStatus::Failed.into()
        }
    }
}

/// An error and what lies behind it, without what has been said already.
fn told(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| {
        let cause = cause.to_string();
        match text.as_str() {
            "" => cause,
            so_far if so_far.contains(&cause) => text,
            _ => format!("{text}: {cause}"),
        }
    })
}
