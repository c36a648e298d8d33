//! TLS towards other services: which certificates we trust.

use anyhow::Context;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// The roots of the web (Mozilla's list), and those of `extra_roots`, a PEM file, for
/// services with a certificate authority of their own.
pub fn client_config(extra_roots: Option<&Path>) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = extra_roots {
        let certificates = CertificateDer::pem_file_iter(path)
            .with_context(|| format!("cannot read certificates from {}", path.display()))?;
        let mut found = 0;
        for certificate in certificates {
            let certificate = certificate
                .with_context(|| format!("{} is not a PEM file of certificates", path.display()))?;
            roots
                .add(certificate)
                .with_context(|| format!("a certificate in {} cannot be a root", path.display()))?;
            found += 1;
        }
        anyhow::ensure!(found > 0, "{} has no certificate", path.display());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("no TLS version is left to speak")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Both HTTP and the WebSocket handshake are HTTP/1.1 here (RFC 7301).
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
