//! core: what the state of a bus and its devices together says of the cause: one device alone cannot tell a wrong baud rate
//! from a wrong unit id.

use super::account::{PortTally, Tally};
use super::trouble::Trouble;
use super::view::DeviceView;
use crate::field::health::{Ailment, Condition};

/// Questions that must have ended before anything is said.
const ASKED_MIN: u64 = 4;
/// Failures of one kind that are a pattern.
const PATTERN: u64 = 4;

/// What carries the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// A serial port of this machine.
    Serial,
    /// A converter with a serial line behind it, whose bytes are passed on.
    Converter,
    /// A device or gateway that takes Modbus over the network itself.
    Network,
}

impl Carrier {
    fn settings(self) -> &'static str {
        match self {
            Self::Serial => "baud, parity and stop bits of this bus",
            Self::Converter => "baud, parity and stop bits in the converter",
            Self::Network => "baud, parity and stop bits of the line behind the gateway",
        }
    }
}

/// What is seen on the whole, the likely cause, and what to do; empty when there is nothing to say.
#[must_use]
pub fn hints(
    carrier: Carrier,
    port: &PortTally,
    tally: &Tally,
    devices: &[DeviceView],
) -> Vec<String> {
    let mut hints = Vec::new();
    // A port that is not open is a reason of its own, which is told beside it.
    if port.is_open {
        hints.extend(of_all(carrier, tally, devices));
        if hints.is_empty() {
            hints.extend(devices.iter().filter_map(|device| of_one(device, devices)));
        }
    }
    hints.extend(of_misses(devices));
    hints
}

/// When nobody answers, or everything is damaged.
fn of_all(carrier: Carrier, tally: &Tally, devices: &[DeviceView]) -> Option<String> {
    let is_sick = |device: &DeviceView| matches!(device.tally.condition, Condition::Sick(_));
    if tally.asked < ASKED_MIN || devices.is_empty() || !devices.iter().all(is_sick) {
        return None;
    }
    let of = |trouble| tally.troubles.count(trouble);
    let settings = carrier.settings();
    let is_first = devices.iter().all(|device| device.tally.answered == 0);
    let silent = of(Trouble::NoAnswer);
    let (noise, checksum) = (of(Trouble::Noise) + of(Trouble::Short), of(Trouble::Checksum));
    if is_first && of(Trouble::Echo) >= PATTERN {
        return Some(
            "only own requests come back and nobody answers: the adapter hears itself and the line does not reach the \
             devices; look at the wires behind the adapter, and at the switch for its direction"
                .to_owned(),
        );
    }
    if is_first && noise >= PATTERN && noise >= silent {
        return Some(format!(
            "whatever comes is garbage: most likely the baud rate is wrong; compare {settings} with the devices', then look \
             whether A and B are swapped"
        ));
    }
    if is_first && checksum >= PATTERN && checksum >= silent {
        return Some(format!(
            "answers have the right length and are damaged, all of them: most likely parity or stop bits; compare {settings} \
             with the devices'"
        ));
    }
    if !is_first {
        return (devices.len() > 1).then(|| {
            "all devices fell silent, and they answered before: look at what they share: the cable, the converter or gateway \
             and its power"
                .to_owned()
        });
    }
    if silent < PATTERN {
        return None;
    }
    Some(match carrier {
        Carrier::Serial => {
            "nobody on this line ever answered: is it the right port, are A and B swapped, do the devices have power, are \
             their unit ids and the baud rate right? A lamp at the adapter tells whether it sends"
                .to_owned()
        }
        Carrier::Converter => {
            "the converter takes the connection and nobody behind it ever answered: is it set to pass bytes on (not to Modbus \
             TCP), are its baud rate and parity the devices', are A and B swapped?"
                .to_owned()
        }
        Carrier::Network => {
            "the connection stands and nobody ever answered: is the unit id right (devices with an address of their own often \
             want 1, 0 or 255), and does this port speak Modbus TCP?"
                .to_owned()
        }
    })
}

/// When one of several differs, or a device has a way of its own.
fn of_one(device: &DeviceView, devices: &[DeviceView]) -> Option<String> {
    let DeviceView { name, tally, .. } = device;
    let of = |trouble| tally.troubles.count(trouble);
    let others_are_well = devices
        .iter()
        .any(|other| other.name != *name && other.tally.condition == Condition::Online);
    if tally.needs_rest {
        return Some(format!(
            "{name} answers only when the bus was quiet before: it needs a pause between two questions; give it a longer \
             `every`, or fewer reads by points that lie closer together"
        ));
    }
    let damaged = of(Trouble::Noise) + of(Trouble::Short) + of(Trouble::Checksum);
    if tally.condition == Condition::Sick(Ailment::Garbling)
        && others_are_well
        && damaged >= PATTERN
    {
        return Some(format!(
            "only {name} garbles its answers, others on this bus are well: another device may have its unit id, or its own \
             parity is set differently, or its cable is bad"
        ));
    }
    if of(Trouble::WrongUnit) >= PATTERN && of(Trouble::WrongUnit) * 4 >= tally.asked {
        return Some(format!(
            "others answer in place of {name}: two devices share a unit id, or another master asks on this line"
        ));
    }
    let is_lost = tally.condition == Condition::Sick(Ailment::Silent) && tally.answered == 0;
    (is_lost && others_are_well && of(Trouble::NoAnswer) >= PATTERN).then(|| {
        format!(
            "{name} never answered while others on this bus do: is its unit id right, has it power, has it the same baud rate \
             and parity?"
        )
    })
}

/// When periods are not kept.
fn of_misses(devices: &[DeviceView]) -> Option<String> {
    let groups = devices.iter().flat_map(|device| &device.groups);
    let missed: u64 = groups.map(|(_, skipped)| skipped).sum();
    let asked: u64 = devices.iter().map(|device| device.tally.asked).sum();
    (missed >= 10 && missed * 20 >= asked).then(|| {
        format!(
            "{missed} reads were left out: the bus or a device is too slow for its periods; `fieldpost check --plan` says what \
             they take, a longer `every` or a higher baud rate gives room"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::field::modbus::transaction::Failure;
    use crate::field::watch::account::{Account, DeviceAccount};

    /// A bus whose devices' questions ended so, each again and again.
    fn told(carrier: Carrier, devices: &[(&str, Condition, &[Option<Failure>])]) -> Vec<String> {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        let now = Instant::now();
        let mut bus = Account::new(now);
        bus.handle_port_up(now);
        let view = |(name, condition, ends): &(&str, Condition, &[Option<Failure>])| {
            let mut account = DeviceAccount::new(now);
            for end in (0..8).flat_map(|_| ends.iter()) {
                bus.handle_asked(now);
                bus.handle_ended(end.as_ref().and_then(Trouble::of), 0, now);
                account.handle_ended(end.as_ref(), Duration::from_secs(1), now);
            }
            account.handle_condition(*condition, now);
            let tally = account.tally(now);
            DeviceView { name: (*name).into(), unit: None, tally, learnt: vec![], groups: vec![] }
        };
        let views: Vec<DeviceView> = devices.iter().map(view).collect();
        hints(carrier, &bus.port(now), &bus.tally(now), &views)
    }

    const SILENT: Condition = Condition::Sick(Ailment::Silent);
    const GARBLING: Condition = Condition::Sick(Ailment::Garbling);

    #[track_caller]
    fn says(hints: &[String], words: &[&str]) {
        assert_eq!(hints.len(), 1, "{hints:?}");
        assert!(
            words.iter().all(|word| hints[0].contains(word)),
            "{hints:?} lacks one of {words:?}"
        );
    }

    #[test]
    fn causes_that_only_the_whole_bus_can_tell_are_told() {
        let crc = Failure::Crc { received: 1, computed: 2 };
        let noise = Failure::Noise { bytes: 9 };
        let serial = Carrier::Serial;
        let none: &[Option<Failure>] = &[Some(Failure::NoAnswer)];
        says(&told(serial, &[("a", SILENT, none)]), &["nobody", "A and B", "power"]);
        says(&told(Carrier::Converter, &[("a", SILENT, none)]), &["converter", "pass bytes on"]);
        says(&told(Carrier::Network, &[("a", SILENT, none)]), &["unit id", "255"]);
        says(&told(serial, &[("a", GARBLING, &[Some(noise)])]), &["garbage", "baud rate"]);
        says(&told(serial, &[("a", GARBLING, &[Some(crc.clone())])]), &["parity or stop bits"]);
        says(
            &told(serial, &[("a", SILENT, &[Some(Failure::EchoOnly)])]),
            &["adapter", "direction"],
        );
        let before: &[Option<Failure>] = &[None, Some(Failure::NoAnswer)];
        says(&told(serial, &[("a", SILENT, before), ("b", SILENT, before)]), &["cable", "power"]);
        let well = ("b", Condition::Online, [None].as_slice());
        says(
            &told(serial, &[("a", GARBLING, &[Some(crc)]), well]),
            &["only a", "unit id", "cable"],
        );
        says(&told(serial, &[("a", SILENT, none), well]), &["a never answered", "unit id"]);
        let wrong = [Some(Failure::WrongUnit { asked: 3, answered: 7 })];
        says(&told(serial, &[("a", GARBLING, &wrong), well]), &["share a unit id", "master"]);
    }

    #[test]
    fn a_bus_that_is_well_needs_no_hint() {
        let well = [("a", Condition::Online, [None].as_slice()), ("b", Condition::Online, &[None])];
        assert_eq!(told(Carrier::Serial, &well), Vec::<String>::new());
    }
}
