//! Our own HTTP client, handed to gix.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gix::bstr::BStr;
use gix_transport::client::blocking_io::http;
use tidelock_model::port::SourceError;

use crate::fault::chain;
use crate::wire::{Proxy, Request};

/// Our own HTTP client: our roots, the proxy that the parent says and no other, and a clock that
/// rings after the parent's, so that a stall is always told as what it is.
pub(super) fn transport(repo: &gix::Repository, request: &Request) -> Result<Box<dyn std::any::Any>, SourceError> {
    let ours = |message: String| SourceError::new("io", message);
    let mut options = repo
        .transport_options(BStr::new(request.url.as_bytes()), None)
        .map_err(|error| ours(chain(&error)))?
        .and_then(|options| options.downcast::<http::Options>().ok())
        .ok_or_else(|| ours(format!("{} is not served over HTTP", request.url)))?;
    if let Some(value) = &request.authorization {
        // With a header of ours, gix follows no redirect: credentials go where the config says.
        options.extra_headers = vec![format!("Authorization: {value}")];
    }
    let mut certificates = Vec::new();
    if let Some(pem) = &request.ca {
        certificates = reqwest::Certificate::from_pem_bundle(pem.as_bytes())
            .map_err(|error| SourceError::new("invalid", format!("the source's ca cannot be read: {error}")))?;
        if certificates.is_empty() {
            return Err(SourceError::new("invalid", "the source's ca file holds no certificate")
                .hint("it has to be PEM: -----BEGIN CERTIFICATE-----"));
        }
    }
    let proxy = request.proxy.as_ref().map(through).transpose()?;
    let timeout = Duration::from_secs(request.timeout.saturating_add(5));
    let rootless = request.url.starts_with("http://") && certificates.is_empty() && !system_has_roots();
    options.backend = Some(Arc::new(Mutex::new(http::reqwest::Options {
        configure_request: None,
        configure_client: Some(Box::new(move |client: reqwest::blocking::ClientBuilder| {
            let mut client = client.no_proxy().timeout(timeout);
            if let Some(proxy) = proxy.clone() {
                client = client.proxy(proxy);
            }
            if rootless {
                client = client.tls_certs_only([]);
            }
            Ok(certificates.iter().fold(client, |client, certificate| client.add_root_certificate(certificate.clone())))
        })),
    })));
    Ok(options)
}

/// Whether this system knows any authority. A client cannot be made without, not even for a server that
/// needs none.
fn system_has_roots() -> bool {
    reqwest::blocking::Client::builder().no_proxy().build().is_ok()
}

fn through(proxy: &Proxy) -> Result<reqwest::Proxy, SourceError> {
    let made = reqwest::Proxy::all(&proxy.url).map_err(|error| {
        // What it is made of may hold a password, and the error may quote it.
        let why = if proxy.shown == proxy.url { format!(": {error}") } else { String::new() };
        SourceError::new("invalid", format!("the proxy {} cannot be used{why}", proxy.shown))
            .hint("it has to be http://host:port or https://host:port")
    })?;
    let made = made.no_proxy(proxy.except.as_deref().and_then(reqwest::NoProxy::from_string));
    Ok(match &proxy.sign_in {
        Some((user, password)) => made.basic_auth(user, password),
        None => made,
    })
}
