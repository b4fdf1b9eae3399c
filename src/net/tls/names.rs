//! What a certificate says: whose it is, and until when. Read after its signature was verified, or from our own file.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::files::{self, FileFault, TlsError};

/// Names taken from one certificate, at most; honest ones have a few.
const NAMES: usize = 64;

/// The names a verified certificate proves (RFC 5922 §7.1): its subject alternative names (DNS names, URIs and
/// addresses), or its common name when it has none. Lower case.
pub fn of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let mut names: Vec<String> = alternative
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(name)
        .take(NAMES)
        .collect();
    if names.is_empty() && alternative.is_none() {
        let common = certificate.subject().iter_common_name();
        names.extend(
            common
                .filter_map(|name| name.as_str().ok())
                .take(1)
                .map(str::to_lowercase),
        );
    }
    names
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) | GeneralName::URI(name) = name {
        Some(name.to_lowercase())
    } else if let GeneralName::IPAddress(octets) = name {
        address(octets)
    } else {
        None
    }
}

fn address(octets: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(octets).map(std::net::IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(octets).map(std::net::IpAddr::from));
    address.ok().map(|address| address.to_string())
}

/// A certificate of ours, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its names.
    pub names: Vec<String>,
    /// From when it is good, in seconds of Unix time.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
}

/// Reads the first certificate of a file.
///
/// # Errors
/// What is wrong with it.
pub fn facts(file: &Path) -> Result<Facts, TlsError> {
    let chain = files::certificates(file)?;
    let unusable = |why: String| TlsError::new(file, FileFault::Unusable(why));
    let first = chain
        .first()
        .ok_or_else(|| TlsError::new(file, FileFault::NoCertificate))?;
    let (_, read) = X509Certificate::from_der(first).map_err(|why| unusable(why.to_string()))?;
    Ok(Facts {
        names: of(first),
        not_before: read.validity().not_before.timestamp(),
        not_after: read.validity().not_after.timestamp(),
    })
}
