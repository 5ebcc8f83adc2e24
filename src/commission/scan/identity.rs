//! core: what a unit says it is, by functions 43/14 and 17.

use std::fmt;

use crate::field::modbus::identity as wire;

/// What a unit says it is; empty when it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The objects of function 43/14 by their ids: 0 vendor, 1 product code, 2 revision, 4 product, 5 model (application
    /// protocol 1.1b3, section 6.21).
    pub objects: Vec<(u8, String)>,
    /// The data of the answer to function 17 (application protocol 1.1b3, section 6.13).
    pub server_id: Option<Vec<u8>>,
}

/// Letters that make a word of an answer to function 17: anything shorter is chance.
const WORD_MIN: usize = 4;

impl Identity {
    /// What an answer to function 43/14 says.
    #[must_use]
    pub fn of(part: &wire::Identity) -> Self {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let objects = part.objects.iter().map(|(id, bytes)| (*id, text(bytes))).collect();
        Self { objects, server_id: None }
    }

    /// What an answer to function 17 says.
    #[must_use]
    pub fn of_server_id(id: Vec<u8>) -> Self {
        Self { objects: Vec::new(), server_id: Some(id) }
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.server_id.is_none()
    }

    /// An object of function 43/14, without spaces around it; `None` if it is empty.
    #[must_use]
    pub fn object(&self, id: u8) -> Option<&str> {
        let (_, text) = self.objects.iter().find(|(known, _)| *known == id)?;
        let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
        (!text.is_empty()).then_some(text)
    }

    /// Vendor and product in a few words, without the revision.
    #[must_use]
    pub fn product(&self) -> Option<String> {
        let vendor = self.object(0);
        let product = self.object(5).or(self.object(4)).or(self.object(1));
        match (vendor, product) {
            // Many a product's name begins with that of its vendor.
            (Some(vendor), Some(product)) if !product.starts_with(vendor) => {
                Some(format!("{vendor} {product}"))
            }
            (Some(text), None) | (_, Some(text)) => Some(text.to_owned()),
            (None, None) => self.server_words(),
        }
    }

    /// What of an answer to function 17 are words.
    pub(super) fn server_words(&self) -> Option<String> {
        let bytes = self.server_id.as_deref()?;
        let mut words: Vec<String> = vec![String::new()];
        for byte in bytes {
            let is_text = byte.is_ascii_graphic() || *byte == b' ';
            match words.last_mut() {
                Some(word) if is_text => word.push(char::from(*byte)),
                _ => words.push(String::new()),
            }
        }
        words.retain(|word| word.trim().len() >= WORD_MIN);
        let words: Vec<&str> = words.iter().map(|word| word.trim()).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }

    pub(super) fn contradicts(&self, other: &Self) -> bool {
        let differs = |(id, text): &(u8, String)| {
            other.objects.iter().any(|(its, other)| its == id && other != text)
        };
        // An answer to function 17 may hold what changes; only another length counts.
        let server = self.server_id.as_ref().zip(other.server_id.as_ref());
        self.objects.iter().any(differs)
            || server.is_some_and(|(one, other)| one.len() != other.len())
    }

    pub(super) fn take_over(&mut self, other: Self) {
        self.objects.retain(|(id, _)| !other.objects.iter().any(|(its, _)| its == id));
        self.objects.extend(other.objects);
        self.objects.sort_unstable_by_key(|(id, _)| *id);
        self.server_id = other.server_id.or(self.server_id.take());
    }
}

impl fmt::Display for Identity {
    /// `ABB B23 112-100, revision 1.2`; nothing when it says nothing in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(product) = self.product() else { return Ok(()) };
        let clean: String = product.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        f.write_str(&clean)?;
        match self.object(2) {
            Some(revision) => write!(f, ", revision {revision}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(objects: &[(u8, &str)]) -> Identity {
        let objects = objects.iter().map(|(id, text)| (*id, (*text).to_owned())).collect();
        Identity { objects, server_id: None }
    }

    #[test]
    fn vendor_and_product_are_said_once() {
        let says = |it: &[(u8, &str)]| objects(it).to_string();
        assert_eq!(
            says(&[(0, "ABB "), (1, "B23 112-100"), (2, "1.2")]),
            "ABB B23 112-100, revision 1.2"
        );
        assert_eq!(says(&[(0, "Acme"), (5, "Acme X1")]), "Acme X1");
        assert_eq!(says(&[(0, "Acme"), (1, "\0")]), "Acme");
        assert_eq!(says(&[]), "");
    }

    #[test]
    fn words_are_found_in_an_answer_to_function_17() {
        let server =
            |bytes: &[u8]| Identity { server_id: Some(bytes.to_vec()), ..Identity::default() };
        assert_eq!(server(b"\x01\xffPT100-8 v2\x00\x07ab").to_string(), "PT100-8 v2");
        assert_eq!(server(&[1, 0xff]).to_string(), "");
        assert!(!server(&[1, 0xff]).is_empty());
    }

    #[test]
    fn two_identities_of_one_unit_contradict_each_other() {
        let one = objects(&[(0, "Acme")]);
        assert!(one.contradicts(&objects(&[(0, "Other")])));
        assert!(!one.contradicts(&one.clone()));
        assert!(!one.contradicts(&Identity::default()));
    }
}
