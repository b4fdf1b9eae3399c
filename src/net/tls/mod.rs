//! TLS: the one provider of the process, our certificate, and whom we believe.
//!
//! | file | owns |
//! |---|---|
//! | [`files`] | certificates and keys as files, every fault with the file's name |
//! | [`names`] | the names in a certificate, and until when it is good |
//!
//! The provider is ring, because it needs no C build.

pub mod files;
pub mod names;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub use files::{FileFault, TlsError};

/// The files of `[sip] tls`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Our certificate, its issuers behind it (PEM), and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Who issues the certificates that peers must show when they connect to us; without it none is asked for.
    pub client_ca: Option<PathBuf>,
    /// Who else, beside the public authorities, may issue the certificates of those we connect to.
    pub ca: Option<PathBuf>,
}

/// TLS in both directions, ready for use. Connections keep what they were opened with.
#[derive(Clone)]
pub struct Tls {
    acceptor: Option<TlsAcceptor>,
    connector: TlsConnector,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("accepts", &self.acceptor.is_some())
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files. TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn load(files: &Files) -> Result<Self, TlsError> {
        install_provider();
        let ours = files
            .identity
            .as_ref()
            .map(|(certificate, key)| files::identity(certificate, key))
            .transpose()?
            .map(Arc::new);
        let acceptor = match &ours {
            Some(ours) => Some(acceptor(ours, files)?),
            None => None,
        };
        Ok(Self {
            acceptor,
            connector: connector(ours, files)?,
        })
    }

    /// For those who connect to us; `None` without a certificate.
    pub(super) fn acceptor(&self) -> Option<&TlsAcceptor> {
        self.acceptor.as_ref()
    }

    /// For those we connect to.
    pub(super) const fn connector(&self) -> &TlsConnector {
        &self.connector
    }
}

fn acceptor(ours: &Arc<CertifiedKey>, files: &Files) -> Result<TlsAcceptor, TlsError> {
    let config = ServerConfig::builder();
    let config = match &files.client_ca {
        Some(path) => {
            let roots = files::authorities(path)?;
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
                .build()
                .map_err(|why| TlsError::new(path, FileFault::Unusable(why.to_string())))?;
            config.with_client_cert_verifier(verifier)
        }
        None => config.with_no_client_auth(),
    };
    let resolver = rustls::sign::SingleCertAndKey::from(ours.clone());
    let config = config.with_cert_resolver(Arc::new(resolver));
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn connector(ours: Option<Arc<CertifiedKey>>, files: &Files) -> Result<TlsConnector, TlsError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = &files.ca {
        roots.roots.extend(files::authorities(path)?.roots);
    }
    let verifier = WebPkiServerVerifier::builder(Arc::new(roots))
        .build()
        .map_err(|why| {
            let path = files.ca.clone().unwrap_or_default();
            TlsError::new(&path, FileFault::Unusable(why.to_string()))
        })?;
    let config = ClientConfig::builder().with_webpki_verifier(verifier);
    let config = match ours {
        // A peer that asks who we are is shown what we show as a server.
        Some(ours) => {
            let resolver = rustls::sign::SingleCertAndKey::from(ours);
            config.with_client_cert_resolver(Arc::new(resolver))
        }
        None => config.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Makes ring the process's TLS provider. Cheap and harmless to repeat; whoever opens a TLS connection calls it first.
pub fn install_provider() {
    // An error says that a provider is installed already, which is all we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An HTTP client for asking a node of ours over plain HTTP. It needs no certificates, which an empty container
/// does not have.
///
/// * `timeout`: for a whole request.
///
/// # Errors
/// The system gives no TLS configuration.
pub fn http_client(timeout: std::time::Duration) -> reqwest::Result<reqwest::Client> {
    install_provider();
    reqwest::Client::builder()
        .timeout(timeout)
        .tls_certs_only([])
        .no_proxy()
        .build()
}
