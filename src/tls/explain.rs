//! core: what a failed TLS handshake means, in the words of somebody who can do something about it.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

/// What went wrong in a handshake and what to look at; the error's own words if nothing better is known.
#[must_use]
pub fn explain(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match cause {
        Some(Error::InvalidCertificate(problem)) => certificate(problem),
        Some(Error::AlertReceived(alert)) => refused(*alert),
        Some(Error::InvalidMessage(_)) => {
            "what came back is not TLS; is this the port with TLS (8883 as a rule)?".to_owned()
        }
        Some(Error::PeerIncompatible(_)) => {
            format!("{error}; the broker must speak TLS 1.2 or 1.3")
        }
        _ if [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset]
            .contains(&error.kind()) =>
        {
            format!(
                "closed during the handshake ({error}); is this the port with TLS (8883 as a rule)?"
            )
        }
        _ => error.to_string(),
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "rustls may learn of more")]
fn certificate(problem: &CertificateError) -> String {
    let remedy = match problem {
        CertificateError::UnknownIssuer => {
            "no trusted authority has signed it; name the file of the one that did (`--cafile`; `ca` in a configuration)"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired; renew it, or set this machine's clock right"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; is this machine's clock right?"
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "no host stands in it as subjectAltName, and its common name is not looked at; have one made with the name \
             you connect by"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another host; connect by a name that stands in it"
        }
        CertificateError::Revoked => "its authority has revoked it",
        CertificateError::BadSignature | CertificateError::BadEncoding => "it is damaged or forged",
        // What it fails on then is that it is an authority's, mostly.
        CertificateError::Other(_) => {
            "it is not one a host may have; if the broker signed it itself, name this very certificate (`--cafile`; `ca` in \
             a configuration)"
        }
        _ => "it cannot be accepted",
    };
    format!("the broker's certificate: {remedy} ({})", Error::InvalidCertificate(problem.clone()))
}

#[allow(clippy::wildcard_enum_match_arm, reason = "rustls may learn of more")]
fn refused(alert: AlertDescription) -> String {
    let meaning = match alert {
        AlertDescription::CertificateRequired => {
            "the broker wants a certificate of ours (`--cert` and `--key`)"
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => "the broker does not take our certificate",
        AlertDescription::CertificateExpired => "our certificate has expired",
        AlertDescription::CertificateRevoked => "our certificate was revoked",
        AlertDescription::ProtocolVersion => "the broker speaks neither TLS 1.2 nor 1.3",
        _ => "the broker ended the handshake",
    };
    format!("{meaning} (TLS alert {alert:?})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: Error) -> String {
        explain(&io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn each_trouble_with_a_certificate_says_what_to_do() {
        let unknown = told(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert!(unknown.contains("--cafile"), "{unknown}");
        let expired = told(Error::InvalidCertificate(CertificateError::Expired));
        assert!(expired.contains("clock"), "{expired}");
        let wanted = told(Error::AlertReceived(AlertDescription::CertificateRequired));
        assert!(wanted.contains("--cert"), "{wanted}");
    }

    #[test]
    fn an_error_that_is_not_of_tls_keeps_its_own_words() {
        let error = io::Error::new(io::ErrorKind::HostUnreachable, "no route");
        assert_eq!(explain(&error), "no route");
    }
}
