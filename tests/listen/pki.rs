//! core: authorities and what they sign, as files.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};

/// An authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, as PEM.
pub struct Signed {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = named("an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for this machine.
    pub fn server(&self) -> Signed {
        let mut params = named("broker");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        params.subject_alt_names = CertificateParams::new(names).expect("names").subject_alt_names;
        self.sign(&params)
    }

    pub fn client(&self, name: &str) -> Signed {
        self.sign(&named(name))
    }

    fn sign(&self, params: &CertificateParams) -> Signed {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Signed { certificate, key: key.serialize_pem() }
    }

    /// Its certificate as a file.
    pub fn write(&self, dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, &self.pem).expect("a file");
        path
    }
}

impl Signed {
    /// Both as files, each put in place in one step.
    pub fn write(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let put = |extension: &str, text: &str| {
            let (path, beside) = (dir.join(format!("{name}.{extension}")), dir.join("beside"));
            fs::write(&beside, text).expect("a file");
            fs::rename(beside, &path).expect("it takes its place");
            path
        };
        (put("pem", &self.certificate), put("key", &self.key))
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
