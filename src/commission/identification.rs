//! core: asking a unit what it is: function 43/14 as far as it goes, then function 17.

use std::collections::BTreeMap;

use crate::field::UnitId;
use crate::field::modbus::identity::{IdentityQuery, Objects};
use crate::field::modbus::pdu::Data;
use crate::field::modbus::query::Query;
use crate::field::modbus::transaction::{Failure, Question};

/// Answers of function 43/14 that are gone on after: more than any device needs.
const PARTS_MAX: usize = 32;
/// The first object of the vendor's own.
const EXTENDED_FROM: u8 = 0x80;

/// What a unit says of itself, as far as it was asked. Ask what [`Self::poll_next`] gives and hand in what came of it.
#[derive(Debug)]
pub struct Identification {
    unit: UnitId,
    next: Option<Query>,
    parts: usize,
    objects: BTreeMap<u8, Vec<u8>>,
    server_id: Option<Vec<u8>>,
    failures: Vec<(u8, Failure)>,
}

impl Identification {
    /// Begins to ask `unit`.
    #[must_use]
    pub fn new(unit: UnitId) -> Self {
        let first = IdentityQuery { objects: Objects::Basic, from: 0 };
        Self {
            unit,
            next: Some(Query::Identity(first)),
            parts: 0,
            objects: BTreeMap::new(),
            server_id: None,
            failures: Vec::new(),
        }
    }

    /// What to ask next; `None` when all is said.
    #[must_use]
    pub fn poll_next(&self) -> Option<Question> {
        Some(Question::new(self.unit, self.next.clone()?))
    }

    /// Takes what came of the last question.
    pub fn handle_outcome(&mut self, result: &Result<Data, Failure>) {
        let Some(asked) = self.next.take() else { return };
        if let Err(failure) = result {
            self.failures.push((asked.function(), failure.clone()));
        }
        self.next = match (asked, result) {
            (_, Err(Failure::NotAsked { .. } | Failure::Port { .. })) => None,
            (Query::Identity(query), Ok(Data::Identity(identity))) => {
                self.parts += 1;
                self.objects.extend(identity.objects.iter().cloned());
                let wider = after(query, identity.conformity, identity.more_from);
                let wider = wider.filter(|_| self.parts < PARTS_MAX);
                Some(wider.map_or(Query::ServerId, Query::Identity))
            }
            (Query::Identity(_), _) => Some(Query::ServerId),
            (_, Ok(Data::ServerId(bytes))) => {
                self.server_id = Some(bytes.clone());
                None
            }
            (_, _) => None,
        };
    }

    /// What it said by function 43/14: number and value of each object, in the order of the numbers.
    #[must_use]
    pub fn objects(&self) -> &BTreeMap<u8, Vec<u8>> {
        &self.objects
    }

    /// What it said by function 17.
    #[must_use]
    pub fn server_id(&self) -> Option<&[u8]> {
        self.server_id.as_deref()
    }

    /// Questions that brought nothing: the function, and why.
    #[must_use]
    pub fn failures(&self) -> &[(u8, Failure)] {
        &self.failures
    }

    /// Whether anything came back that shows a device, be it a refusal.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let refused = |(_, failure): &(u8, Failure)| matches!(failure, Failure::Refused { .. });
        !self.objects.is_empty() || self.server_id.is_some() || self.failures.iter().any(refused)
    }
}

/// What to ask after an answer: the rest of it, then the next wider kind that the device says it has.
fn after(asked: IdentityQuery, conformity: u8, more_from: Option<u8>) -> Option<IdentityQuery> {
    // A device that says twice to go on from the same object would never end.
    if let Some(from) = more_from.filter(|from| *from > asked.from) {
        return Some(IdentityQuery { from, ..asked });
    }
    match (asked.objects, conformity & 0x7f) {
        (Objects::Basic, 2..) => Some(IdentityQuery { objects: Objects::Regular, from: 0 }),
        (Objects::Regular, 3..) => {
            Some(IdentityQuery { objects: Objects::Extended, from: EXTENDED_FROM })
        }
        (Objects::Basic | Objects::Regular | Objects::Extended | Objects::One, _) => None,
    }
}

/// The readable part of what a unit says of itself; `None` if there is none.
#[must_use]
pub fn readable(bytes: &[u8]) -> Option<String> {
    let is_text = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let runs = bytes.split(|byte| !is_text(byte));
    let runs: Vec<String> = runs
        .filter(|run| run.len() > 1)
        .map(|run| String::from_utf8_lossy(run).trim().to_owned())
        .filter(|run| !run.is_empty())
        .collect();
    (!runs.is_empty()).then(|| runs.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::modbus::identity::Identity;
    use crate::field::modbus::pdu::ExceptionCode;

    fn said(conformity: u8, more_from: Option<u8>, numbers: &[u8]) -> Result<Data, Failure> {
        let objects = numbers.iter().map(|number| (*number, vec![b'x'])).collect();
        Ok(Data::Identity(Identity { conformity, more_from, objects }))
    }

    fn run(answers: Vec<Result<Data, Failure>>) -> (Vec<String>, Identification) {
        let mut it = Identification::new(UnitId(1));
        let mut asked = Vec::new();
        for answer in answers {
            asked.push(it.poll_next().expect("a question").query.to_string());
            it.handle_outcome(&answer);
        }
        assert_eq!(it.poll_next(), None);
        (asked, it)
    }

    #[test]
    fn a_device_is_asked_as_far_as_it_says_it_goes() {
        let id = || Ok(Data::ServerId(vec![1, 0xff]));
        let basic = said(0x83, Some(2), &[0, 1]);
        let answers = vec![
            basic,
            said(0x83, None, &[2]),
            said(0x83, None, &[0, 4]),
            said(0x83, None, &[128]),
            id(),
        ];
        let (asked, it) = run(answers);
        let parts = ["1 from object 0", "1 from object 2", "2 from object 0", "3 from object 128"];
        for (question, part) in asked.iter().zip(parts) {
            assert!(question.contains(part), "{question}");
        }
        assert_eq!(it.objects().keys().copied().collect::<Vec<_>>(), [0, 1, 2, 4, 128]);
        assert_eq!(it.server_id(), Some(&[1, 0xff][..]));
        assert_eq!(run(vec![said(1, Some(0), &[0]), id()]).0.len(), 2, "it would never end");
    }

    #[test]
    fn a_device_that_does_not_know_one_function_is_asked_the_other() {
        let refused = || Err(Failure::Refused { code: ExceptionCode::IllegalFunction });
        let (_, it) = run(vec![refused(), Ok(Data::ServerId(b"meter\xff".to_vec()))]);
        assert!(it.is_there() && it.failures().len() == 1);
        let (_, it) = run(vec![Err(Failure::NoAnswer), refused()]);
        assert!(it.is_there(), "it refuses, so it is there");
        let (_, it) = run(vec![Err(Failure::NoAnswer), Err(Failure::NoAnswer)]);
        assert!(!it.is_there());
        let (_, it) = run(vec![Err(Failure::NotAsked { reason: "no port".to_owned() })]);
        assert!(!it.is_there(), "nothing else is tried without a port");
    }

    #[test]
    fn what_can_be_read_is_taken_out_of_what_cannot() {
        assert_eq!(readable(b"\x01\xffLMB3.1.10\0"), Some("LMB3.1.10".to_owned()));
        assert_eq!(readable(&[1, 0xff, b'x', 0]), None);
    }
}
