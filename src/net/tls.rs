//! The process has one TLS provider: ring, because it needs no C build.

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
