//! core: why nothing was found, and what to look at next.

use super::machine::Scan;
use super::place::{Place, Way};
use super::setting::Setting;
use super::tally::Tally;
use super::words;

/// What was tried, what was seen, and the next steps, a line each; empty when a unit was found.
#[must_use]
pub fn advice(scan: &Scan, place: &Place) -> Vec<String> {
    if scan.found().next().is_some() {
        return Vec::new();
    }
    let all = scan.tallies().fold(Tally::default(), |sum, (_, tally)| sum.and(tally));
    let mut lines = vec![tried(scan, place, all)];
    for case in scan.suspects() {
        let oddity = words::oddity(scan, case).unwrap_or_default();
        let setting = scan.setting(case.setting).map_or(String::new(), |it| format!(" at {it}"));
        lines.push(format!("unit {}{setting}: {oddity}", case.unit.0));
    }
    if let Some(failure) = scan.failure() {
        lines.push(format!("the port failed: {failure}"));
        return lines;
    }
    lines.extend(seen(scan, place, all));
    lines
}

fn tried(scan: &Scan, place: &Place, all: Tally) -> String {
    let asked: Vec<String> = scan
        .tallies()
        .filter(|(_, tally)| tally.asked > 0)
        .filter_map(|(setting, _)| setting.as_ref().map(Setting::to_string))
        .collect();
    let units = scan.settings().units.len();
    let ids = match &scan.settings().units[..] {
        [one] => format!("unit id {}", one.0),
        [first, .., last] if usize::from(last.0.abs_diff(first.0)) + 1 == units => {
            format!("unit ids {} to {}", first.0, last.0)
        }
        all => format!("{} unit ids", all.len()),
    };
    let at = match &asked[..] {
        [] => String::new(),
        some if some.len() <= 4 => format!(" at {}", words::list(some)),
        some => format!(" at {} settings from {} to {}", some.len(), some[0], some[some.len() - 1]),
    };
    let cut = if scan.is_stopped() { ", then stopped" } else { "" };
    let answers = if all.garbled > 0 { "no unit was understood" } else { "no unit answered" };
    format!(
        "{answers} on {}: tried {ids}{at}{cut} ({} question{})",
        place.address(),
        all.asked,
        if all.asked == 1 { "" } else { "s" }
    )
}

fn seen(scan: &Scan, place: &Place, all: Tally) -> Vec<String> {
    let first = scan.settings().first;
    let other = if first.function() == 4 { "`--ask holding`" } else { "`--ask input`" };
    let other_table = format!(
        "a device that is silent to reads of {first}: try {other} or `--ask coil` (most refuse, which is found)"
    );
    let noisy: Vec<String> = scan
        .tallies()
        .filter(|(_, tally)| tally.noisy_ids > 0)
        .filter_map(|(setting, _)| setting.as_ref().map(Setting::to_string))
        .collect();
    let steps: Vec<String> = if all.garbled > 0 && all.noisy_ids > 0 {
        let at =
            if noisy.is_empty() { String::new() } else { format!(" at {}", words::list(&noisy)) };
        vec![
            format!("bytes came{at} that are no answer, whatever was asked"),
            "another controller talks on this line, at a rate of its own: stop it, or ask through it".to_owned(),
            "A and B swapped, or a line without termination and bias: such a line is never quiet".to_owned(),
            "a baud rate or parity that was not tried: `--baud`, `--parity`, `--stop-bits`; the device's label or menu has them"
                .to_owned(),
        ]
    } else if all.garbled > 0 {
        vec![
            "somebody answers: the port, the wires and the unit id are right".to_owned(),
            "try the parities of that baud rate: `--baud RATE --parity none,even,odd --stop-bits 1,2`".to_owned(),
        ]
    } else if all.echoed > 0 && all.silent == 0 {
        vec![
            "only our own questions came back: the adapter hears itself, and nobody answers".to_owned(),
            "port and adapter work; look beyond them: the wires to the devices, A and B, their power".to_owned(),
            "an adapter for four wires (RS-422) wants its pairs joined for two, or switched to RS-485".to_owned(),
            other_table,
        ]
    } else {
        match place.way() {
            Way::Port => vec![
                "not one byte came back; in the order of how often it is that:".to_owned(),
                "A and B swapped: change them at the adapter, which harms nothing, and scan again".to_owned(),
                "the device has no power, or the wire is broken or in the wrong terminals".to_owned(),
                "another port: `ls -l /dev/serial/by-id` shows the adapters; does its transmit light blink?".to_owned(),
                "settings or an id that were not tried: the device's label or menu has them".to_owned(),
                other_table,
            ],
            Way::Converter => vec![
                "the converter took the connection, and not one byte came back".to_owned(),
                "its serial side has a baud rate and parity of its own: set them to those of the devices".to_owned(),
                "A and B swapped behind it, or devices without power".to_owned(),
                "a converter that speaks Modbus TCP itself: try `--modbus-tcp` and its port 502".to_owned(),
                other_table,
            ],
            Way::Network if all.denied > 0 => vec![
                format!("the Modbus gateway itself said {} times that no unit is there (exception 10 or 11)", all.denied),
                "the serial side of the gateway has a baud rate and parity of its own: set them to those of the devices"
                    .to_owned(),
                "A and B swapped behind it, or devices without power".to_owned(),
            ],
            Way::Network => vec![
                "the connection was taken, and nobody answered".to_owned(),
                "a gateway that waits longer for its units than was waited for it: try `--timeout 3s`".to_owned(),
                "a converter that passes bytes on and speaks no Modbus TCP: try `--modbus-rtu-over-tcp` and its port"
                    .to_owned(),
                other_table,
            ],
        }
    };
    steps
}
