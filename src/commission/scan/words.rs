//! core: what was found, in the words of the person with the screwdriver.

use std::fmt::Write as _;

use super::case::{Case, Verdict};
use super::machine::Scan;
use super::place::Place;
use super::recognise::Fit;
use crate::field::modbus::pdu::{Data, ReadRange};

/// So many templates that fit are named.
const SHOWN_MAX: usize = 4;

/// One line about a unit: what it is, and what is odd about it.
#[must_use]
pub fn unit(scan: &Scan, case: &Case, place: &Place) -> String {
    let mut parts = Vec::new();
    if let Some(name) = place.known(case.unit) {
        parts.push(format!("configured as `{name}`"));
    }
    let fits = scan.fits(case);
    let is_sure = matches!(&fits[..], [one] if one.is_sure());
    let name = case.identity.to_string();
    let has_name = !name.is_empty();
    parts.extend(Some(name).filter(|_| has_name));
    parts.extend(case.first_values().filter(|_| !has_name && !is_sure).map(|it| value(it.0, it.1)));
    parts.extend(kind(&fits));
    if parts.is_empty() && case.garbled() == 0 {
        parts.push(match case.reads.first() {
            Some((range, Err(code))) => {
                format!("it refuses {range} with exception {}", code.code())
            }
            _ => "it answers".to_owned(),
        });
    }
    if case.is_slow {
        parts.push("answers late: give its bus a longer `timeout`".to_owned());
    }
    if !case.also_at.is_empty() {
        let others: Vec<String> =
            case.also_at.iter().filter_map(|it| Some(scan.setting(*it)?.to_string())).collect();
        parts.push(format!("also at {}: it does not look at parity", others.join(", ")));
    }
    // What must be done comes first.
    oddity(scan, case).into_iter().chain(parts).collect::<Vec<String>>().join("; ")
}

/// What kind of device it is by the templates that fit.
fn kind(fits: &[Fit]) -> Option<String> {
    let names: Vec<String> = fits.iter().map(|fit| fit.template.to_string()).collect();
    match fits {
        [] => None,
        [one] if one.is_sure() => Some(format!("{} (template {})", one.title, one.template)),
        some if some.len() <= SHOWN_MAX => {
            Some(format!("may be {} (template)", names.join(" or ")))
        }
        some => Some(format!("{} templates fit", some.len())),
    }
}

/// What is wrong with the answers of a unit id, and what to do about it.
#[must_use]
pub fn oddity(scan: &Scan, case: &Case) -> Option<String> {
    let (spoilt, all) = (case.garbled(), case.garbled() + case.sound);
    let evidence = if case.again > 0 {
        "it answers twice".to_owned()
    } else if case.contradicts_itself {
        "it contradicts itself".to_owned()
    } else if case.damaged > 0 && case.sound == 0 {
        format!("{spoilt} answers came, of the right length and with a wrong check")
    } else {
        format!("{spoilt} of {all} answers came damaged")
    };
    match case.verdict(scan.line_is_weak(case)) {
        Verdict::One => None,
        Verdict::WeakLine => Some(format!(
            "{evidence}: the line is weak (termination, bias, shield, another controller on it?)"
        )),
        Verdict::ProbablyTwo if is_surely_two(scan, case) => Some(format!(
            "probably two devices ({evidence}): disconnect one and give the other another unit id"
        )),
        Verdict::ProbablyTwo if case.damaged > 0 => Some(format!(
            "{evidence}: another parity, stop bits or data bits than were tried, or two devices with this id"
        )),
        Verdict::ProbablyTwo => Some(format!(
            "{evidence}: another baud rate than were tried, a weak line, or two devices with this id"
        )),
    }
}

/// Whether nothing but two devices explains a unit id whose verdict is [`Verdict::ProbablyTwo`]: it or others are
/// understood at this setting, so the setting is right.
#[must_use]
pub fn is_surely_two(scan: &Scan, case: &Case) -> bool {
    scan.found().any(|mate| mate.setting == case.setting)
}

/// `holding 0 is 230`.
fn value(range: ReadRange, data: &Data) -> String {
    let mut text = format!("{range} is ");
    let _ = match data {
        Data::Registers(words) => {
            write!(text, "{}", words.first().copied().unwrap_or_default())
        }
        Data::Bits(bits) => {
            write!(text, "{}", if bits.first() == Some(&true) { "on" } else { "off" })
        }
        Data::Written | Data::ServerId(_) | Data::Identity(_) => Ok(()),
    };
    text
}

/// `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn list(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
