//! core: what a device says of itself (Modbus application protocol 1.1b3, sections 6.13 and 6.21).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::length::{Length, MEI_IDENTIFICATION, answer_length};
use super::pdu::{Data, Mismatch};

/// Which objects of a device are asked for (section 6.21, read device id code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Objects {
    /// 1: vendor, product code and version, which every device has that knows the function.
    Basic,
    /// 2: the others the specification names: URL, product name, model, application.
    Regular,
    /// 3: those of the vendor's own, from 128 on.
    Extended,
    /// 4: one alone.
    One,
}

impl Objects {
    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Basic => 1,
            Self::Regular => 2,
            Self::Extended => 3,
            Self::One => 4,
        }
    }

    /// The inverse of [`Self::code`].
    #[must_use]
    pub fn of_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Basic),
            2 => Some(Self::Regular),
            3 => Some(Self::Extended),
            4 => Some(Self::One),
            _ => None,
        }
    }
}

/// A question for the identification of a device (function 43, kind 14).
///
/// ```
/// use fieldpost::field::modbus::identity::{IdentityQuery, Objects};
/// let query = IdentityQuery { objects: Objects::Basic, from: 0 };
/// assert_eq!(query.request(), [43, 14, 1, 0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdentityQuery {
    /// Which objects.
    pub objects: Objects,
    /// The first of them, or the one alone; 0 begins, and an answer that says so is gone on with from
    /// [`Identity::more_from`].
    pub from: u8,
}

/// A part of what a device says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Which questions it answers: 1 basic, 2 regular, 3 extended, and 0x80 more if it also answers for one object.
    pub conformity: u8,
    /// The object to go on from, if it did not all fit.
    pub more_from: Option<u8>,
    /// The objects by number; 0 is the vendor, 1 the product code, 2 the version (section 6.21, table of objects).
    pub objects: Vec<(u8, Vec<u8>)>,
}

impl IdentityQuery {
    /// The PDU of the request.
    #[must_use]
    pub fn request(self) -> Vec<u8> {
        vec![43, MEI_IDENTIFICATION, self.objects.code(), self.from]
    }

    /// Reads the PDU of an answer.
    pub(super) fn data(self, pdu: &[u8]) -> Result<Data, Mismatch> {
        let &[_, _, code, conformity, more, next, _, ref rest @ ..] = pdu else {
            return Err(Mismatch::Malformed);
        };
        // Another code is what an older question asked for.
        if answer_length(pdu) != Length::Is(pdu.len()) || code != self.objects.code() {
            return Err(Mismatch::Malformed);
        }
        let mut objects = Vec::new();
        let mut rest = rest;
        while let &[number, length, ref after @ ..] = rest {
            let (value, after) =
                after.split_at_checked(length.into()).ok_or(Mismatch::Malformed)?;
            objects.push((number, value.to_vec()));
            rest = after;
        }
        let is_asked = |objects: &[(u8, Vec<u8>)]| match objects {
            [(number, _)] => *number == self.from,
            _ => false,
        };
        if self.objects == Objects::One && !is_asked(&objects) {
            return Err(Mismatch::Malformed);
        }
        let more_from = (more == 0xff).then_some(next);
        Ok(Data::Identity(Identity { conformity, more_from, objects }))
    }
}

impl fmt::Display for IdentityQuery {
    /// For logs: `identification 1 from object 0 (function 43/14)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "identification {} from object {} (function 43/14)",
            self.objects.code(),
            self.from
        )
    }
}

/// What an object of an identification is called; `None` for one of the vendor's own.
#[must_use]
pub fn object_name(number: u8) -> Option<&'static str> {
    match number {
        0 => Some("vendor"),
        1 => Some("product code"),
        2 => Some("version"),
        3 => Some("vendor URL"),
        4 => Some("product name"),
        5 => Some("model"),
        6 => Some("application"),
        _ => None,
    }
}

/// What the answer to function 17 says after its function code: bytes of the vendor's choice, of which one says whether
/// the device runs.
pub(super) fn server_id(body: &[u8]) -> Result<Data, Mismatch> {
    match body {
        &[count, ref data @ ..] if count > 0 && usize::from(count) == data.len() => {
            Ok(Data::ServerId(data.to_vec()))
        }
        _ => Err(Mismatch::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(objects: Objects, from: u8) -> IdentityQuery {
        IdentityQuery { objects, from }
    }

    fn answer(head: [u8; 7], objects: &[(u8, &[u8])]) -> Vec<u8> {
        let mut pdu = head.to_vec();
        for (number, value) in objects {
            pdu.extend_from_slice(&[*number, u8::try_from(value.len()).expect("short")]);
            pdu.extend_from_slice(value);
        }
        pdu
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        // Section 6.21: basic identification in one answer, then in two.
        let company: &[u8] = b"Company identification";
        let product: &[u8] = b"Product code XX";
        let objects = [(0, company), (1, product), (2, &b"V2.11"[..])];
        let owned = |objects: &[(u8, &[u8])]| -> Vec<(u8, Vec<u8>)> {
            objects.iter().map(|(number, value)| (*number, value.to_vec())).collect()
        };
        let whole = answer([43, 14, 1, 1, 0, 0, 3], &objects);
        let asked = query(Objects::Basic, 0);
        let identity = Identity { conformity: 1, more_from: None, objects: owned(&objects) };
        assert_eq!(asked.data(&whole), Ok(Data::Identity(identity)));

        let first = answer([43, 14, 1, 1, 0xff, 2, 2], &objects[..2]);
        let identity =
            Identity { conformity: 1, more_from: Some(2), objects: owned(&objects[..2]) };
        assert_eq!(asked.data(&first), Ok(Data::Identity(identity)));
        let second = answer([43, 14, 1, 1, 0, 0, 1], &objects[2..]);
        let identity = Identity { conformity: 1, more_from: None, objects: owned(&objects[2..]) };
        assert_eq!(query(Objects::Basic, 2).data(&second), Ok(Data::Identity(identity)));

        assert_eq!(asked.data(&whole[..whole.len() - 1]), Err(Mismatch::Malformed));
        assert_eq!(asked.data(&[whole.clone(), vec![0]].concat()), Err(Mismatch::Malformed));
        assert_eq!(query(Objects::Regular, 0).data(&whole), Err(Mismatch::Malformed));
    }

    #[test]
    fn one_object_must_be_the_one_that_was_asked_for() {
        let pdu = answer([43, 14, 4, 0x81, 0, 0, 1], &[(2, b"V1")]);
        let identity =
            Identity { conformity: 0x81, more_from: None, objects: vec![(2, b"V1".to_vec())] };
        assert_eq!(query(Objects::One, 2).data(&pdu), Ok(Data::Identity(identity)));
        assert_eq!(query(Objects::One, 1).data(&pdu), Err(Mismatch::Malformed));
    }

    #[test]
    fn a_server_id_is_as_long_as_it_says() {
        assert_eq!(server_id(&[3, 9, 0xff, b'x']), Ok(Data::ServerId(vec![9, 0xff, b'x'])));
        for wrong in [&[][..], &[0], &[2, 1], &[1, 1, 1]] {
            assert_eq!(server_id(wrong), Err(Mismatch::Malformed));
        }
    }
}
