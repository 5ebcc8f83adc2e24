//! core: words of the command line that mean what they mean in the configuration: they are read as a piece of one.

use std::fmt::Write as _;

use crate::config::{self, Complaint, SecretAnswer, SecretReference, SecretSource, Severity};
use crate::field::{BusSettings, DeviceSettings};

/// What the only point of a piece is called.
pub(super) const POINT: &str = "value";

/// A key and its value as YAML.
pub(super) type Key = (&'static str, String);

/// What a piece of a configuration says.
#[derive(Debug)]
pub(super) struct Snippet {
    pub(super) bus: BusSettings,
    /// Its only point is called [`POINT`].
    pub(super) device: DeviceSettings,
    /// What somebody should look at all the same.
    pub(super) warnings: Vec<String>,
}

/// A text as YAML.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A value as it would stand in a file: quoted only where it must be.
pub(super) fn plain(key: &str, value: &str) -> String {
    let bare = value.trim_matches('"');
    let is_plain =
        !bare.is_empty() && bare.chars().all(|c| c.is_alphanumeric() || "./-_".contains(c));
    format!("{key}: {}", if is_plain { bare } else { value })
}

/// Reads the keys of a bus and of a point of its `unit`.
///
/// # Errors
/// What is wrong with them, and the remedy.
pub(super) fn parse(bus: &[Key], unit: u8, point: &[Key]) -> Result<Snippet, String> {
    let group = |keys: &[Key]| -> String {
        let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        format!("{{ {} }}", keys.join(", "))
    };
    let text = format!(
        "gateway: {{ id: it }}\nbuses: {{ bus: {} }}\ndevices: {{ device: {{ bus: bus, unit: {unit}, points: {{ {POINT}: {} }} }} }}\n",
        group(bus),
        group(point)
    );
    let said =
        |complaint: &Complaint| format!("{}\n  = help: {}", complaint.message, complaint.remedy);
    // The rest of the file is of no concern here.
    let is_ours = |complaint: &&Complaint| {
        ["buses.", "devices."].iter().any(|part| complaint.path.starts_with(part))
    };
    match config::parse("command line", &text, &NoSecrets) {
        Ok(parsed) => {
            let warnings = parsed.warnings.iter().filter(is_ours).map(said).collect();
            let (mut buses, mut devices) = (parsed.settings.buses, parsed.settings.devices);
            match (buses.pop(), devices.pop()) {
                (Some(bus), Some(device)) => Ok(Snippet { bus, device, warnings }),
                _ => Err("this is no Modbus bus".to_owned()),
            }
        }
        Err(complaints) => {
            let mut text = String::new();
            for complaint in complaints.iter().filter(|it| it.severity == Severity::Error) {
                let _ = writeln!(text, "{}", said(complaint));
            }
            Err(text.trim_end().to_owned())
        }
    }
}

/// Nothing on the command line names a secret.
struct NoSecrets;

impl SecretSource for NoSecrets {
    fn secret(&self, _: &SecretReference) -> SecretAnswer {
        SecretAnswer::Absent {
            severity: Severity::Error,
            message: "a secret cannot be named here".to_owned(),
            remedy: "put the bus into a configuration, and name that with --config".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::{Parity, PortSettings, Table};

    fn key(key: &'static str, value: &str) -> Key {
        (key, value.to_owned())
    }

    #[test]
    fn words_mean_what_they_mean_in_the_configuration() {
        let bus = [key("modbus-rtu", &quoted("/dev/ttyUSB0")), key("parity", "none")];
        let point = [key("holding", "110"), key("type", "i16"), key("scale", "0.1")];
        let Snippet { bus, device, warnings } = parse(&bus, 3, &point).expect("it is right");
        let PortSettings::Rtu(serial) = bus.port else { panic!("{bus:?}") };
        assert_eq!(
            (serial.baud, serial.parity, &*serial.path),
            (9600, Parity::None, "/dev/ttyUSB0")
        );
        let point = &device.points[0];
        assert_eq!((point.place.table, point.place.address), (Table::Holding, 110));
        assert!(warnings.is_empty(), "{warnings:?}");

        let tcp = [key("modbus-tcp", &quoted("plc.example"))];
        let manual = parse(&tcp, 1, &[key("holding", "40101")]).expect("it is a warning");
        assert!(manual.warnings[0].contains("100"), "{:?}", manual.warnings);
        let wrong = parse(&tcp, 1, &[key("holding", "70000")]).expect_err("it is above");
        assert!(wrong.contains("70000") && wrong.contains("help"), "{wrong}");
        assert!(parse(&[key("modbus-rtu", &quoted("COM3"))], 1, &point_at()).is_err());
        assert!(parse(&bus_rtu(), 248, &point_at()).is_err(), "no unit of a serial line");
    }

    fn point_at() -> [Key; 1] {
        [key("holding", "0")]
    }

    fn bus_rtu() -> [Key; 1] {
        [key("modbus-rtu", &quoted("/dev/ttyS0"))]
    }
}
