//! Certificates for one test: an authority, and what it issues, as files.

use std::fs;
use std::path::PathBuf;

use baton::net::tls::Files;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use tempfile::TempDir;

/// An authority of its own, and a directory for what it issues.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

/// A certificate and its key, as files.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("an authority"),
            dir: TempDir::new().expect("a directory"),
        }
    }

    /// The authority's own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.write("ca.pem", &self.issuer.pem())
    }

    /// A certificate with these names (an address is one), good for both ends.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) -> Issued {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().expect("a key");
        let issued = params.signed_by(&key, &self.issuer).expect("a certificate");
        Issued {
            certificate: self.write(&format!("{file}.pem"), &issued.pem()),
            key: self.write(&format!("{file}.key"), &key.serialize_pem()),
        }
    }

    /// `[sip] tls` of a node with this certificate that believes this authority.
    pub(crate) fn files(&self, ours: &Issued) -> Files {
        Files {
            identity: Some((ours.certificate.clone(), ours.key.clone())),
            client_ca: None,
            ca: Some(self.file()),
        }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("it can be written");
        path
    }
}
