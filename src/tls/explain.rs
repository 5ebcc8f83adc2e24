//! core: what a failed TLS handshake means, in the words of somebody who can do something about it.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

/// The other side of a handshake, and what it is called where it is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Far {
    /// An MQTT broker.
    Broker,
    /// A Modbus device.
    Device,
}

impl Far {
    fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Device => "device",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Broker => 8883,
            Self::Device => 802,
        }
    }

    fn authority(self) -> &'static str {
        match self {
            Self::Broker => "`--cafile`; `ca` in a configuration",
            Self::Device => "`ca` below `tls`",
        }
    }

    fn certificate(self) -> &'static str {
        match self {
            Self::Broker => "`--cert` and `--key`",
            Self::Device => "`certificate` and `key` below `tls`",
        }
    }

    fn host(self) -> &'static str {
        match self {
            Self::Broker => "connect by a name that stands in it",
            Self::Device => "write one that stands in it as `name` below `tls`",
        }
    }
}

/// What went wrong in a handshake and what to look at; the error's own words if nothing better is known.
#[must_use]
pub fn explain(error: &io::Error, far: Far) -> String {
    let port = far.port();
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match cause {
        Some(Error::InvalidCertificate(problem)) => certificate(problem, far),
        Some(Error::AlertReceived(alert)) => refused(*alert, far),
        Some(Error::InvalidMessage(_)) => {
            format!("what came back is not TLS; is this the port with TLS ({port} as a rule)?")
        }
        Some(Error::PeerIncompatible(_)) => {
            format!("{error}; the {} must speak TLS 1.2 or 1.3", far.name())
        }
        _ if [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset]
            .contains(&error.kind()) =>
        {
            format!(
                "closed during the handshake ({error}); is this the port with TLS ({port} as a rule)?"
            )
        }
        _ => error.to_string(),
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "rustls may learn of more")]
fn certificate(problem: &CertificateError, far: Far) -> String {
    let remedy = match problem {
        CertificateError::UnknownIssuer => &format!(
            "no trusted authority has signed it; name the file of the one that did ({})",
            far.authority()
        ),
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
            &format!("it is for another host; {}", far.host())
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
    let error = Error::InvalidCertificate(problem.clone());
    format!("the {}'s certificate: {remedy} ({error})", far.name())
}

#[allow(clippy::wildcard_enum_match_arm, reason = "rustls may learn of more")]
fn refused(alert: AlertDescription, far: Far) -> String {
    let name = far.name();
    let meaning = match alert {
        AlertDescription::CertificateRequired => {
            &format!("the {name} wants a certificate of ours ({})", far.certificate())
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => &format!("the {name} does not take our certificate"),
        AlertDescription::CertificateExpired => "our certificate has expired",
        AlertDescription::CertificateRevoked => "our certificate was revoked",
        AlertDescription::ProtocolVersion => &format!("the {name} speaks neither TLS 1.2 nor 1.3"),
        _ => &format!("the {name} ended the handshake"),
    };
    format!("{meaning} (TLS alert {alert:?})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: Error) -> String {
        explain(&io::Error::new(io::ErrorKind::InvalidData, error), Far::Broker)
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
        assert_eq!(explain(&error, Far::Device), "no route");
    }
}
