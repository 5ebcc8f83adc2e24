//! core: which templates fit what a unit answers.

use std::sync::Arc;

use super::case::Case;
use crate::field::modbus::decode::decode;
use crate::field::modbus::pdu::ReadRange;
use crate::field::{Fingerprint, Identity as Which, PointSettings, Sign};

/// What a sign weighs that is more than plausible.
const SURE: u32 = 10;
/// What must speak for a template: a single plausible value is chance.
const PLAUSIBLE_MIN: u32 = 2;

/// A template that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// Its name.
    pub template: Arc<str>,
    /// Maker and family.
    pub title: Arc<str>,
    /// How much speaks for it.
    pub weight: u32,
}

impl Fit {
    /// Whether more than plausible values speak for it.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        self.weight >= SURE
    }
}

/// The reads that tell templates apart, each once.
#[must_use]
pub fn reads(fingerprints: &[Fingerprint]) -> Vec<ReadRange> {
    let mut reads = Vec::new();
    for sign in fingerprints.iter().flat_map(|it| &it.signs) {
        if let Sign::Value(point, _) = sign
            && let Some(read) = read_of(point)
            && !reads.contains(&read)
        {
            reads.push(read);
        }
    }
    reads
}

/// The templates that fit, those for which most speaks.
#[must_use]
pub fn fits(fingerprints: &[Fingerprint], case: &Case) -> Vec<Fit> {
    let mut fits: Vec<Fit> = fingerprints.iter().filter_map(|it| fit(it, case)).collect();
    let most = fits.iter().map(|fit| fit.weight).max().unwrap_or_default();
    fits.retain(|fit| fit.weight == most);
    fits
}

/// `None` when a sign speaks against it, or too little for it.
fn fit(fingerprint: &Fingerprint, case: &Case) -> Option<Fit> {
    let mut weight = 0;
    for sign in &fingerprint.signs {
        match holds(sign, case) {
            Some(true) => weight += sign.weight(),
            Some(false) => return None,
            None => {}
        }
    }
    let Fingerprint { template, title, .. } = fingerprint;
    (weight >= PLAUSIBLE_MIN).then(|| Fit {
        template: template.clone(),
        title: title.clone(),
        weight,
    })
}

/// Whether a sign holds; `None` when the unit says nothing about it.
fn holds(sign: &Sign, case: &Case) -> Option<bool> {
    match sign {
        Sign::Value(point, _) => {
            let wanted = read_of(point)?;
            let (range, read) = case.reads.iter().find(|(range, _)| *range == wanted)?;
            let (value, _) = decode(point, *range, read.as_ref().ok()?);
            // No value, or one that means that there is none, is not what the sign wants.
            value.map_or(Some(false), |value| sign.holds_for(&value))
        }
        Sign::Text(which, _) => {
            let identity = &case.identity;
            let texts: Vec<String> = match which {
                Which::Vendor => identity.object(0).map(str::to_owned).into_iter().collect(),
                Which::Product => [1, 4, 5]
                    .iter()
                    .filter_map(|id| identity.object(*id))
                    .map(str::to_owned)
                    .collect(),
                Which::ServerId => identity.server_words().into_iter().collect(),
            };
            let holds = |text: &String| sign.holds_for_text(*which, text) == Some(true);
            (!texts.is_empty()).then(|| texts.iter().any(holds))
        }
    }
}

fn read_of(point: &PointSettings) -> Option<ReadRange> {
    ReadRange::new(point.place.table, point.place.address, point.width()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::commission::scan::identity::Identity;
    use crate::field::modbus::pdu::{Data, ExceptionCode};
    use crate::field::{Expected, Place, Table, UnitId, ValueType};

    fn sign(address: u16, expected: Expected) -> Sign {
        let place = Place { table: Table::Holding, address, bit: None };
        let point = PointSettings::new("x".into(), place, ValueType::U16, Duration::from_secs(1));
        Sign::Value(Box::new(point), expected)
    }

    fn print(template: &str, signs: Vec<Sign>) -> Fingerprint {
        Fingerprint { template: template.into(), title: "T".into(), signs }
    }

    fn case(registers: &[(u16, Option<u16>)]) -> Case {
        let mut case = Case::new(UnitId(1), 0);
        for (address, value) in registers {
            let range = ReadRange::new(Table::Holding, *address, 1).expect("allowed");
            let read = value.map(|value| Data::Registers(vec![value]));
            case.note_read(range, read.ok_or(ExceptionCode::IllegalDataAddress));
        }
        case
    }

    fn names(fits: &[Fit]) -> Vec<&str> {
        fits.iter().map(|fit| &*fit.template).collect()
    }

    #[test]
    fn what_speaks_most_wins_and_what_speaks_against_it_excludes() {
        let plausible = |address| sign(address, Expected::Between(45.0, 65.0));
        let prints = [
            print("lone", vec![plausible(1)]),
            print("likely", vec![plausible(1), plausible(3)]),
            print("sure", vec![plausible(1), sign(2, Expected::Number(vec![112.0]))]),
            print("other", vec![plausible(1), sign(2, Expected::Number(vec![113.0]))]),
        ];
        assert_eq!(reads(&prints).len(), 3);
        let fit = fits(&prints, &case(&[(1, Some(50)), (2, Some(112)), (3, Some(50))]));
        assert_eq!(names(&fit), ["sure"]);
        assert!(fit[0].is_sure());
        let fit = fits(&prints, &case(&[(1, Some(50)), (2, None), (3, Some(50))]));
        assert_eq!(names(&fit), ["likely"]);
        assert!(!fit[0].is_sure());
        assert!(fits(&prints, &case(&[(1, Some(50))])).is_empty(), "one plausible value is chance");
        assert!(fits(&prints, &case(&[(1, Some(50)), (3, Some(7))])).is_empty());
    }

    #[test]
    fn texts_of_an_identification_are_signs() {
        let prints = [
            print("acme", vec![Sign::Text(Which::Vendor, "acme".into())]),
            print("server", vec![Sign::Text(Which::ServerId, "PT100".into())]),
        ];
        let mut it = case(&[]);
        assert!(fits(&prints, &it).is_empty());
        it.identity = Identity { objects: vec![(0, "ACME Ltd".to_owned())], server_id: None };
        assert_eq!(names(&fits(&prints, &it)), ["acme"]);
        it.identity = Identity::of_server_id(b"\x01PT100-8".to_vec());
        assert_eq!(names(&fits(&prints, &it)), ["server"]);
    }
}
