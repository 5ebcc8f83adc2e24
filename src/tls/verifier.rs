//! core: what the other side's certificate is asked: who signed it, its dates, and the name of the host.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    crypto::CryptoProvider,
};

/// Takes a certificate that a trusted authority signed, and one that stands in the file of those itself: what
/// `openssl req -x509` makes is an authority and the broker's certificate in one.
#[derive(Debug)]
pub(super) struct BrokerVerifier {
    chain: Arc<WebPkiServerVerifier>,
    /// What the file of authorities holds.
    named: Vec<CertificateDer<'static>>,
    /// Takes it whatever host it names.
    any_name: bool,
}

impl BrokerVerifier {
    /// A verifier that trusts `roots`, of which there is at least one, and `named` without anybody's signature; an error
    /// if rustls refuses them.
    pub(super) fn new(
        roots: RootCertStore,
        named: Vec<CertificateDer<'static>>,
        any_name: bool,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { chain, named, any_name })
    }
}

impl ServerCertVerifier for BrokerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = &self.chain;
        let verified =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        // Its dates are looked at first, so whoever fails on being an authority is in date.
        let verified = match verified {
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.named.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)
                    .map(|()| ServerCertVerified::assertion())
            }
            verified => verified,
        };
        match verified {
            // The name is looked at last, so whoever fails on it has passed everything else.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_name => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
    use tokio_rustls::rustls::crypto::ring;

    use super::*;

    /// As `openssl req -x509` makes it: signed by itself, and an authority. Valid in 2030.
    fn own(host: &str) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2030, 1, 1);
        params.not_after = date_time_ymd(2031, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
    }

    fn verifies(
        named: &CertificateDer<'static>,
        shown: &CertificateDer<'static>,
        any_name: bool,
        year: u64,
    ) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        roots.add(named.clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = BrokerVerifier::new(roots, vec![named.clone()], any_name, provider)?;
        // The middle of the year.
        let seconds = (year - 1970) * 31_557_600 + 15_778_800;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let host = ServerName::try_from("broker.test").unwrap();
        verifier.verify_server_cert(shown, &[], &host, &[], now).map(|_| ())
    }

    #[test]
    fn a_certificate_signed_by_itself_is_taken_where_it_is_named_itself() {
        let (ours, theirs) = (own("broker.test"), own("broker.test"));
        assert_eq!(verifies(&ours, &ours, false, 2030), Ok(()));
        assert!(verifies(&ours, &theirs, false, 2030).is_err());
        assert!(verifies(&ours, &theirs, true, 2030).is_err());
    }

    #[test]
    fn it_must_be_in_date_and_for_the_host_still() {
        let (ours, elsewhere) = (own("broker.test"), own("other.test"));
        for year in [2029, 2032] {
            assert!(verifies(&ours, &ours, false, year).is_err(), "{year}");
            assert!(verifies(&ours, &ours, true, year).is_err(), "{year}");
        }
        let refused = verifies(&elsewhere, &elsewhere, false, 2030);
        let is_name = matches!(
            refused,
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }))
        );
        assert!(is_name, "{refused:?}");
        assert_eq!(verifies(&elsewhere, &elsewhere, true, 2030), Ok(()));
    }
}
