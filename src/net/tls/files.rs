//! Certificates and keys as files: PEM in, typed faults with the file's name out.

use std::io;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// A file that TLS cannot be made of.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", file.display())]
pub struct TlsError {
    /// Which file.
    pub file: PathBuf,
    /// What is wrong, and what to do.
    pub fault: FileFault,
}

impl TlsError {
    pub(super) fn new(file: &Path, fault: FileFault) -> Self {
        Self {
            file: file.to_owned(),
            fault,
        }
    }
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileFault {
    /// Not there, or not ours to read.
    #[error("{0}; correct the path, or let this program read it")]
    Unreadable(io::Error),
    /// No certificate in it.
    #[error("holds no certificate; it must be PEM, with BEGIN CERTIFICATE")]
    NoCertificate,
    /// No key in it.
    #[error("holds no private key; it must be PEM, unencrypted, with BEGIN PRIVATE KEY")]
    NoKey,
    /// Damaged PEM.
    #[error("is no PEM: {0}")]
    NoPem(String),
    /// The key belongs to another certificate.
    #[error("is not the key of {certificate}; name the two files that belong together")]
    Mismatch {
        /// The certificate's file.
        certificate: String,
    },
    /// TLS cannot use it.
    #[error("cannot be used: {0}")]
    Unusable(String),
}

/// Our certificate with its chain and its key, which fit each other.
pub(super) fn identity(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        let fault = if matches!(error, PemError::NoItemsFound) {
            FileFault::NoKey
        } else {
            pem_fault(error)
        };
        TlsError::new(key, fault)
    })?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, secret, &provider).map_err(|error| {
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            let certificate = certificate.display().to_string();
            return TlsError::new(key, FileFault::Mismatch { certificate });
        }
        let of_certificate = matches!(error, rustls::Error::InvalidCertificate(_));
        let file = if of_certificate { certificate } else { key };
        TlsError::new(file, FileFault::Unusable(error.to_string()))
    })
}

/// The certificates of a file, in order; at least one.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = || -> Result<Vec<_>, PemError> { CertificateDer::pem_file_iter(file)?.collect() };
    let found = read().map_err(|error| TlsError::new(file, pem_fault(error)))?;
    if found.is_empty() {
        return Err(TlsError::new(file, FileFault::NoCertificate));
    }
    Ok(found)
}

/// Certificates whose issuing of others is believed.
pub(super) fn authorities(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::new(file, FileFault::Unusable(error.to_string())))?;
    }
    Ok(roots)
}

fn pem_fault(error: PemError) -> FileFault {
    if matches!(error, PemError::NoItemsFound) {
        return FileFault::NoCertificate;
    }
    let text = error.to_string();
    if let PemError::Io(error) = error {
        FileFault::Unreadable(error)
    } else {
        FileFault::NoPem(text)
    }
}
