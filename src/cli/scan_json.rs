//! core: what a scan came to, as JSON.

use serde_json::{Value, json};

use crate::commission::scan::case::{Case, Standing, Verdict};
use crate::commission::scan::setting::Setting;
use crate::commission::scan::{Place, Scan, advice, paste, words};
use crate::field::Parity;
use crate::field::modbus::pdu::Data;

/// All of it.
pub(super) fn to_json(scan: &Scan, place: &Place) -> Value {
    let progress = scan.progress();
    let units = scan.found().chain(scan.suspects()).map(|case| unit(scan, case, place));
    let settings = scan.tallies().filter(|(_, tally)| tally.asked > 0).map(|(it, tally)| {
        json!({
            "line": it.map(line),
            "asked": tally.asked,
            "silent": tally.silent,
            "echoed": tally.echoed,
            "garbled": tally.garbled,
            "denied": tally.denied,
            "sound": tally.sound,
            "left_for_noise": tally.is_left,
        })
    });
    json!({
        "bus": &*place.bus,
        "kind": place.key(),
        "address": place.address(),
        "asked": progress.asked,
        "total": progress.total,
        "stopped": scan.is_stopped(),
        "failure": scan.failure(),
        "answers_to_any_unit": scan.answers_to_any(),
        "units": units.collect::<Vec<_>>(),
        "settings": settings.collect::<Vec<_>>(),
        "yaml": paste(scan, place),
        "advice": advice(scan, place),
    })
}

fn unit(scan: &Scan, case: &Case, place: &Place) -> Value {
    let verdict = match (case.standing, case.verdict(scan.line_is_weak(case))) {
        (Standing::Found, Verdict::One) => "unit",
        (_, Verdict::ProbablyTwo) if words::is_surely_two(scan, case) => "probably two devices",
        (Standing::Found, _) => "weak line",
        (_, _) => "not understood",
    };
    let (identity, fits) = (&case.identity, scan.fits(case));
    let reads = case.reads.iter().map(|(range, read)| {
        let (value, exception) = match read {
            Ok(Data::Registers(words)) => (json!(words.first()), None),
            Ok(Data::Bits(bits)) => (json!(bits.first()), None),
            Ok(_) => (Value::Null, None),
            Err(code) => (Value::Null, Some(code.code())),
        };
        let (table, address) = (range.table().key(), range.address());
        json!({ "table": table, "address": address, "value": value, "exception": exception })
    });
    json!({
        "unit": case.unit.0,
        "line": scan.setting(case.setting).map(line),
        "verdict": verdict,
        "words": words::unit(scan, case, place),
        "configured_as": place.known(case.unit),
        "sound_answers": case.sound,
        "garbled_answers": case.garbled(),
        "answers_twice": case.again > 0,
        "slow": case.is_slow,
        "vendor": identity.object(0),
        "product": identity.object(5).or(identity.object(4)).or(identity.object(1)),
        "revision": identity.object(2),
        "server_id": identity.server_id,
        "templates": fits.iter().map(|it| json!({ "name": &*it.template, "sure": it.is_sure() })).collect::<Vec<_>>(),
        "reads": reads.collect::<Vec<_>>(),
    })
}

fn line(setting: Setting) -> Value {
    let parity = match setting.parity {
        Parity::None => "none",
        Parity::Even => "even",
        Parity::Odd => "odd",
    };
    json!({
        "baud": setting.baud,
        "data_bits": setting.data_bits,
        "parity": parity,
        "stop_bits": setting.stop_bits,
    })
}
