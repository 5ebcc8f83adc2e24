//! core: what was found as configuration to paste.

use std::fmt::Write as _;

use super::case::{Case, Verdict};
use super::machine::Scan;
use super::place::{Place, Way};
use super::setting::Setting;
use super::words;
use crate::field::modbus::pdu::{Data, ReadRange};
use crate::field::{Parity, UnitId};

/// Letters of a name that is made of a product's.
const NAME_LEN_MAX: usize = 40;
/// So many templates are suggested that may fit.
const GUESSES_MAX: usize = 3;

/// `buses:` and `devices:` with comments; without a unit, nothing. Units at another setting than the first stand in comments:
/// one line has one setting.
#[must_use]
pub fn paste(scan: &Scan, place: &Place) -> String {
    let mut settings: Vec<usize> = scan.found().map(|case| case.setting).collect();
    settings.dedup();
    let Some((first, others)) = settings.split_first() else { return String::new() };
    let mut text = summary(scan, place);
    let mut names = Vec::new();
    text += &group(scan, place, *first, &mut names);
    for setting in others {
        let words = scan.setting(*setting).map_or(String::new(), |it| format!(" at {it}"));
        let _ = writeln!(
            text,
            "\n# These units are{words}. One line has one setting: set them to that of the others, or those to theirs."
        );
        for line in group(scan, place, *setting, &mut names).lines() {
            let _ = writeln!(text, "# {line}");
        }
    }
    text
}

/// Everything that was found, as comments.
fn summary(scan: &Scan, place: &Place) -> String {
    let mut text = String::new();
    let found = if scan.answers_to_any() { 1 } else { usize::MAX };
    for case in scan.found().take(found).chain(scan.suspects()) {
        let setting = scan.setting(case.setting).map_or(String::new(), |it| format!(" at {it}"));
        let _ =
            writeln!(text, "# unit {}{setting}: {}", case.unit.0, words::unit(scan, case, place));
    }
    if scan.answers_to_any() {
        let _ = writeln!(text, "# It answers to every unit id: this is one device.");
    }
    if scan.is_stopped() || scan.failure().is_some() {
        let progress = scan.progress();
        let _ = writeln!(
            text,
            "# Not everything was asked: {} of {} questions.",
            progress.asked, progress.total
        );
    }
    text
}

/// The bus and its devices at one setting.
fn group(scan: &Scan, place: &Place, setting: usize, names: &mut Vec<String>) -> String {
    let mut text = String::new();
    let of_setting = |case: &&Case| case.setting == setting;
    let cases: Vec<&Case> = scan.found().filter(of_setting).collect();
    if !place.is_configured {
        let _ = writeln!(text, "buses:\n  {}: {}", place.bus, bus(scan, place, setting, &cases));
    }
    let is_known = |case: &Case| place.known(case.unit).is_some();
    // Nobody can say which of two is polled.
    let is_one = |case: &&Case| case.verdict(scan.line_is_weak(case)) != Verdict::ProbablyTwo;
    // Of a device that answers to every id, one is enough.
    let wanted = if scan.answers_to_any() { 1 } else { cases.len() };
    let usable: Vec<&Case> = cases.into_iter().filter(is_one).take(wanted).collect();
    let fresh: Vec<&Case> = usable.iter().copied().filter(|case| !is_known(case)).collect();
    if fresh.is_empty() {
        let why = if usable.is_empty() {
            "none of them can be polled"
        } else {
            "all of them are configured"
        };
        let _ = writeln!(text, "# No device to add: {why}.");
        return text;
    }
    text += "devices:\n";
    for case in fresh {
        let fits = scan.fits(case);
        let template = match &fits[..] {
            [one] if one.is_sure() => Some(&one.template),
            _ => None,
        };
        let name = free_name(case, template.map(|it| &**it), names);
        let _ = writeln!(text, "  {name}:\n    bus: {}\n    unit: {}", place.bus, case.unit.0);
        match template {
            Some(template) => {
                let _ = writeln!(text, "    template: {template}");
            }
            None => {
                // Plausible values alone are no proof.
                for fit in fits.iter().take(GUESSES_MAX) {
                    let _ = writeln!(
                        text,
                        "    # template: {}  # {}? Instead of `points`",
                        fit.template, fit.title
                    );
                }
                text += &points(case);
            }
        }
        names.push(name);
    }
    text
}

fn bus(scan: &Scan, place: &Place, setting: usize, cases: &[&Case]) -> String {
    let mut text = format!("{{ {}: {}", place.key(), scalar(&place.address()));
    let line = scan.setting(setting).filter(|_| place.way() == Way::Port);
    if let Some(Setting { baud, data_bits, parity, stop_bits }) = line {
        let parity = match parity {
            Parity::None => "none",
            Parity::Even => "even",
            Parity::Odd => "odd",
        };
        let _ = write!(text, ", baud: {baud}, parity: {parity}");
        if stop_bits != 1 {
            let _ = write!(text, ", stop_bits: {stop_bits}");
        }
        if place.key() == "modbus-ascii" {
            let _ = write!(text, ", data_bits: {data_bits}");
        }
    }
    if cases.iter().any(|case| case.is_slow) {
        text += ", timeout: 1s";
    }
    text + " }"
}

/// A point to begin with: what answered, or what was asked.
fn points(case: &Case) -> String {
    let entry = |range: ReadRange, hint: String| {
        let (table, address) = (range.table().key(), range.address());
        format!(
            "    points:\n      {table}-{address}: {{ {table}: {address} }}  # {hint}; its manual names the others\n"
        )
    };
    if let Some((range, data)) = case.first_values() {
        let value = match data {
            Data::Registers(words) => words.first().copied().unwrap_or_default(),
            Data::Bits(bits) => u16::from(bits.first() == Some(&true)),
            Data::Written | Data::ServerId(_) | Data::Identity(_) => 0,
        };
        return entry(range, format!("{value} when scanned"));
    }
    match case.reads.first() {
        Some((range, Err(code))) => {
            entry(*range, format!("refused with exception {}", code.code()))
        }
        _ => "    points:\n      holding-0: { holding: 0 }  # its manual names the others\n"
            .to_owned(),
    }
}

/// A name that says what it is, and that no other has.
fn free_name(case: &Case, template: Option<&str>, taken: &[String]) -> String {
    let Case { unit: UnitId(unit), .. } = *case;
    let product = template.map(str::to_owned).or_else(|| case.identity.product());
    let kind = product.map(|it| slug(&it)).filter(|it| !it.is_empty());
    let name = format!("{}-{unit}", kind.as_deref().unwrap_or("unit"));
    // The same id at two settings.
    if taken.contains(&name) { format!("{name}-b") } else { name }
}

/// Lower-case letters, digits and single dashes.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    slug.truncate(NAME_LEN_MAX);
    slug.trim_end_matches('-').to_owned()
}

/// A text as YAML has it: quoted where it could be anything else.
fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.');
    let has_port = text.split_once(':').is_some_and(|(host, port)| {
        host.chars().all(is_plain) && port.chars().all(|c| c.is_ascii_digit())
    });
    if text.chars().all(is_plain) || has_port {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}
