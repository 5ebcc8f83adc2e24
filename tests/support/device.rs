//! shell: Modbus devices by libraries that are not ours.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::peers;
use super::process::Process;

/// What the registers of a device hold: table (`coil`, `discrete`, `holding`, `input`), address from 0, value.
pub type Bank<'a> = &'a [(&'a str, u16, u16)];

/// A Modbus server of the test's own.
#[derive(Debug)]
pub struct ModbusServer {
    process: Process,
    dir: tempfile::TempDir,
    place: String,
}

impl ModbusServer {
    /// pymodbus on a free TCP port, answering as unit 1. Registers outside the bank are refused with exception 2.
    #[track_caller]
    pub fn pymodbus_tcp(bank: Bank<'_>, counter: Option<u16>) -> Self {
        let mut command = peers::script("pymodbus_server.py");
        command.arg("--tcp");
        Self::pymodbus(command, bank, counter)
    }

    /// pymodbus in another way: the arguments that say which, answering as unit 1.
    #[track_caller]
    pub fn pymodbus_by(way: &[&str], bank: Bank<'_>) -> Self {
        let mut command = peers::script("pymodbus_server.py");
        command.args(way);
        Self::pymodbus(command, bank, None)
    }

    /// pymodbus as `unit` on the serial port `tty`; other units of the line stay silent.
    #[track_caller]
    pub fn pymodbus_rtu(tty: &Path, unit: u8, bank: Bank<'_>, counter: Option<u16>) -> Self {
        let mut command = peers::script("pymodbus_server.py");
        command.arg("--rtu").arg(tty).args(["--unit", &unit.to_string()]);
        Self::pymodbus(command, bank, counter)
    }

    #[track_caller]
    fn pymodbus(mut command: Command, bank: Bank<'_>, counter: Option<u16>) -> Self {
        let mut tables = serde_json::Map::new();
        for (table, address, value) in bank {
            tables.entry(*table).or_insert_with(|| serde_json::json!({}))[address.to_string()] =
                (*value).into();
        }
        let dir = tempfile::tempdir().expect("a directory for the device");
        command.arg("--bank").arg(serde_json::Value::from(tables).to_string());
        command.arg("--log").arg(dir.path().join("counted"));
        if let Some(address) = counter {
            command.args(["--counter", &address.to_string()]);
        }
        Self::start(command, dir)
    }

    /// libmodbus on a free TCP port. It answers whatever the unit id, and every register, with 0 outside the bank.
    #[track_caller]
    pub fn libmodbus_tcp(bank: Bank<'_>) -> Self {
        let mut command = peers::libmodbus_server();
        command.arg("tcp").args(words(bank));
        Self::start(command, tempfile::tempdir().expect("a directory for the device"))
    }

    /// libmodbus as `unit` on the serial port `tty`, 9600 baud, no parity; other units of the line stay silent.
    #[track_caller]
    pub fn libmodbus_rtu(tty: &Path, unit: u8, bank: Bank<'_>) -> Self {
        let mut command = peers::libmodbus_server();
        command.arg("rtu").arg(tty).args(["9600", "N", &unit.to_string()]).args(words(bank));
        Self::start(command, tempfile::tempdir().expect("a directory for the device"))
    }

    #[track_caller]
    fn start(command: Command, dir: tempfile::TempDir) -> Self {
        let mut process = Process::spawn(command, &dir.path().join("log"));
        process.wait_for_log("ready ");
        let log = process.log();
        let place = log.lines().find_map(|line| line.strip_prefix("ready ")).expect("just seen");
        Self { process, place: place.to_owned(), dir }
    }

    /// The TCP port.
    #[track_caller]
    pub fn port(&self) -> u16 {
        self.place.parse().expect("a server on TCP")
    }

    /// The values the counter has answered, oldest first (pymodbus).
    pub fn counted(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.dir.path().join("counted")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Ends the device without a word.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Freezes the device: it stays connected and does not answer.
    pub fn freeze(&mut self) {
        self.process.signal("STOP");
    }

    /// Lets a frozen device go on.
    pub fn thaw(&mut self) {
        self.process.signal("CONT");
    }
}

fn words(bank: Bank<'_>) -> Vec<String> {
    bank.iter().map(|(table, address, value)| format!("{table}:{address}={value}")).collect()
}
