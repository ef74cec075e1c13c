//! Encryption of connections, as the config demands it.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tidelock_model::config::{TlsDecl, TlsMode};
use tidelock_model::error::Fault;

use super::credential::{path, private};
use super::value::fault;

/// The client's side; `None` where nothing is encrypted.
pub(super) fn client(decl: &TlsDecl, base: &Path) -> Result<Option<ClientConfig>, Fault> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| fault("tls", format!("TLS cannot be set up: {error}")))?;
    let builder = match (decl.mode, &decl.ca) {
        (TlsMode::Off, _) => return Ok(None),
        (TlsMode::Require, _) => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        (TlsMode::VerifyFull, Some(ca)) => builder.with_root_certificates(authorities(ca, base)?),
        (TlsMode::VerifyFull, None) => builder
            .with_platform_verifier()
            .map_err(|error| fault("tls", format!("the system's authorities cannot be read: {error}")))?,
    };
    match (&decl.cert, &decl.key) {
        (None, None) => Ok(Some(builder.with_no_client_auth())),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert, base)?;
            let file = path(key, base);
            let pem = private(&file, "key")?;
            let key = PrivateKeyDer::from_pem_slice(pem.as_ref())
                .map_err(|error| fault("tls", format!("{} holds no key: {error}", file.display())))?;
            let client = builder.with_client_auth_cert(chain, key);
            client.map(Some).map_err(|error| fault("tls", format!("the certificate of {cert} does not fit: {error}")))
        }
        _ => Err(fault("invalid", "tls.cert and tls.key come together").hint("give both, or neither")),
    }
}

fn authorities(ca: &str, base: &Path) -> Result<RootCertStore, Fault> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(ca, base)? {
        store.add(certificate).map_err(|error| fault("tls", format!("{ca} holds what is no authority: {error}")))?;
    }
    Ok(store)
}

fn certificates(file: &str, base: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let file = path(file, base);
    let failed = |error: rustls::pki_types::pem::Error| {
        fault("tls", format!("the certificates of {} cannot be read: {error}", file.display())).hint(
            "see `tls` of the target in tidelock.toml: `ca` and `cert` are files in PEM, whose relative paths start at that file",
        )
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&file).map_err(failed)?.collect();
    match found.map_err(failed)? {
        none if none.is_empty() => Err(fault("tls", format!("{} holds no certificate", file.display()))),
        some => Ok(some),
    }
}

/// Takes every certificate, as `require` says. Signatures are still checked, so that a session
/// has one other side, whoever it is.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
