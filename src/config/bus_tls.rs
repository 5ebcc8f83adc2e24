//! core: TLS towards a device, as written.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use super::fields::{Field, Later};
use super::notes::{At, Given, Notes};
use super::uplink::{client_certificate, pem_path};
use crate::field::NamedTls;
use crate::tls::TlsSettings;

const EXAMPLE: &str = "write `{ ca: /PATH/TO/CA.pem, certificate: /PATH/TO/CERTIFICATE.pem, key: /PATH/TO/KEY.pem }`; \
                       `{}` trusts the authorities of the system and shows no certificate";

const LATER: &[Later] =
    &[("insecure", "remove it: certificates are always verified; `ca` names your own authority")];

const INSTEAD: &[Later] = &[
    ("cert", "certificate"),
    ("ca_file", "ca"),
    ("host", "name"),
    ("server_name", "name"),
    ("key_file", "key"),
];

/// What stands below `tls`.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    ca: Given<Rc<str>>,
    certificate: Given<Rc<str>>,
    key: Given<Rc<str>>,
    name: Given<Rc<str>>,
}

impl Tls {
    pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Self>> {
        let mut fields = field.fields(EXAMPLE, notes)?;
        let value = Self {
            ca: fields.given("ca", notes, pem_path),
            certificate: fields.given("certificate", notes, pem_path),
            key: fields.given("key", notes, pem_path),
            name: fields.given("name", notes, |field, notes| {
                field.text("the name that stands in the device's certificate: `plc-17`", notes)
            }),
        };
        fields.finish(LATER, INSTEAD, notes);
        Some(At { value, spot: field.spot.clone() })
    }

    pub(super) fn settle(&self, notes: &mut Notes<'_>) -> NamedTls {
        let client = client_certificate(&self.certificate, &self.key, notes);
        let ca = self.ca.written().map(|at| PathBuf::from(&*at.value));
        let name = self.name.written().map(|at| Arc::from(&*at.value));
        NamedTls { settings: TlsSettings { ca, client, any_name: false }, name }
    }
}
