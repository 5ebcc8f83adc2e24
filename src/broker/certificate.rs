//! core: what is read out of a certificate: whose it is and how long it is valid. RFC 5280 section 4.1.2.

use std::sync::Arc;

use x509_cert::Certificate;
use x509_cert::der::{self, Decode as _};
use x509_cert::ext::pkix::name::DirectoryString;

/// id-at-commonName.
const COMMON_NAME: der::asn1::ObjectIdentifier = der::asn1::ObjectIdentifier::new_unwrap("2.5.4.3");

/// The common name of the subject of a certificate in DER; `None` if there is none, or several, or if it cannot be a user
/// name.
pub(super) fn common_name(certificate: &[u8]) -> Option<Arc<str>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let subject = certificate.tbs_certificate().subject();
    let mut names = subject.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    let name = names.next().filter(|_| names.next().is_none())?;
    let name = DirectoryString::try_from(&name.value).ok()?;
    let name = name.value();
    // A control character in it could make it another name in a log or a rule.
    let is_name = !name.is_empty() && !name.chars().any(char::is_control);
    is_name.then(|| name.into())
}

/// The last second in which a certificate in DER is valid, since 1970.
///
/// # Errors
/// It is no certificate; what the decoder says.
pub(super) fn valid_until(certificate: &[u8]) -> Result<u64, der::Error> {
    let certificate = Certificate::from_der(certificate)?;
    Ok(certificate.tbs_certificate().validity().not_after.to_unix_duration().as_secs())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;

    fn certificate(names: &[DnValue]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "pumps");
        for name in names {
            params.distinguished_name.push(DnType::CommonName, name.clone());
        }
        params.not_after = rcgen::date_time_ymd(2030, 1, 2);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    fn name(name: DnValue) -> Option<Arc<str>> {
        common_name(&certificate(&[name]))
    }

    #[test]
    fn the_common_name_is_read_in_each_spelling() {
        assert_eq!(name(DnValue::Utf8String("Wärter 3".into())).as_deref(), Some("Wärter 3"));
        let printable = DnValue::PrintableString("meter-1".try_into().expect("printable"));
        assert_eq!(name(printable).as_deref(), Some("meter-1"));
        let bmp = DnValue::BmpString("Ω".try_into().expect("a character"));
        assert_eq!(name(bmp).as_deref(), Some("Ω"));
    }

    #[test]
    fn what_cannot_be_a_user_name_is_none() {
        assert_eq!(common_name(&certificate(&[])), None);
        assert_eq!(name(DnValue::Utf8String(String::new())), None);
        assert_eq!(name(DnValue::Utf8String("admin\n".into())), None);
        assert_eq!(common_name(b"\x30\x03\x02\x01\x00"), None);
    }

    #[test]
    fn the_last_second_of_a_certificate_is_known() {
        // 2030-01-02T00:00:00Z
        assert_eq!(valid_until(&certificate(&[])), Ok(1_893_542_400));
        assert!(valid_until(b"").is_err());
    }
}
