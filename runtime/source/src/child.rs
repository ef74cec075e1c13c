//! What the fetch child runs: one fetch, within limits that it sets on itself first.
//!
//! It is a process of its own because a server can stall, drip or bomb a fetch in ways
//! that no flag inside the process ends; a kill does. It writes to the cache alone.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gix::bstr::{BStr, ByteSlice as _};
use gix::progress::Discard;
use gix::remote::{Direction, fetch::Tags};
use gix_transport::client::blocking_io::http;
use nix::sys::resource::{Resource, setrlimit};
use tidelock_model::port::SourceError;

use crate::fault::{chain, corrupt, limit};
use crate::repository::{self, private_ref};
use crate::wire::{Answer, Request};

/// The longest request, in bytes: certificates and a token fit with room to spare.
const MAX_REQUEST: u64 = 8 << 20;

/// Runs the child: one JSON request from `stdin`, one JSON answer to `stdout`. Exits
/// with success whenever an answer was written, be it a refusal.
pub fn fetch_child(stdin: impl Read, mut stdout: impl Write) -> ExitCode {
    let mut text = String::new();
    let request: Request = match stdin.take(MAX_REQUEST).read_to_string(&mut text).map(|_| serde_json::from_str(&text))
    {
        Ok(Ok(request)) => request,
        // Started by a person, most likely: this subcommand is not for them.
        _ => return ExitCode::from(64),
    };
    let answer = confine(&request).and_then(|()| fetch(&request)).unwrap_or_else(Answer::from);
    let written = serde_json::to_writer(&mut stdout, &answer).is_ok() && stdout.flush().is_ok();
    if written { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Limits first, work second. The parent's clock is the real one; the others hold where
/// the parent is not looking.
fn confine(request: &Request) -> Result<(), SourceError> {
    let failed = |what: &str, error: nix::Error| {
        SourceError::new("io", format!("the fetch cannot limit its own {what}: {error}"))
    };
    // An orphaned fetch would go on under no clock at all.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).map_err(|error| failed("life", error))?;
    let set = |what: &str, resource, value: u64| {
        let (_, hard) = nix::sys::resource::getrlimit(resource).map_err(|error| failed(what, error))?;
        let value = value.min(hard);
        setrlimit(resource, value, value).map_err(|error| failed(what, error))
    };
    set("memory", Resource::RLIMIT_AS, request.memory)?;
    set("file size", Resource::RLIMIT_FSIZE, request.file_size)?;
    set("processor time", Resource::RLIMIT_CPU, request.timeout.saturating_mul(4).saturating_add(10))?;
    set("core files", Resource::RLIMIT_CORE, 0)
}

fn fetch(request: &Request) -> Result<Answer, SourceError> {
    let repo = repository::open_or_make_bare(&request.dir, request.object)?;
    let specs: Vec<String> = request.names.iter().map(|name| format!("+{name}:{}", private_ref(name))).collect();
    let invalid = |error: gix::Error| SourceError::new("invalid", format!("{}: {}", request.url, chain(&error)));
    let remote = repo
        .remote_at(request.url.as_str())
        .map_err(invalid)?
        .with_refspecs(specs.iter().map(String::as_str), Direction::Fetch)
        .map_err(invalid)?
        .with_fetch_tags(Tags::None);

    let mut connection = remote.connect(Direction::Fetch).map_err(|error| unreachable(request, &error))?;
    // Without this gix would ask credential helpers, and a person.
    connection.set_credentials(|_| Ok(None));
    connection.set_transport_options(transport(&repo, request)?);
    let prepared = connection
        .prepare_fetch(Discard, gix::remote::ref_map::Options::default())
        .map_err(|error| unreachable(request, &error))?;

    let found = prepared.ref_map().mappings.iter().filter_map(|mapping| {
        let id = mapping.remote.as_id()?.to_owned();
        let name = mapping.remote.as_name().map_or_else(|| id.to_string(), |name| name.to_str_lossy().into_owned());
        Some((request.names.iter().position(|wanted| *wanted == name)?, name, id))
    });
    let Some((_, name, id)) = found.min_by_key(|(rank, ..)| *rank) else {
        return Err(ref_gone(request));
    };
    let outcome = prepared.receive(Discard, &AtomicBool::new(false)).map_err(|error| not_received(request, &error))?;
    let received = matches!(outcome.status, gix::remote::fetch::Status::Change { .. });
    // A server may send a pack without the object that it promised.
    if !repo.has_object(id) {
        return Err(corrupt(format!("{} sent no object {id} for {name}", request.url)));
    }
    Ok(Answer::Fetched { name, id: id.to_string(), received })
}

/// Our own HTTP client: our roots, no proxy out of the environment, and a clock that
/// rings after the parent's, so that a stall is always told as what it is.
fn transport(repo: &gix::Repository, request: &Request) -> Result<Box<dyn std::any::Any>, SourceError> {
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
    let timeout = Duration::from_secs(request.timeout.saturating_add(5));
    options.backend = Some(Arc::new(Mutex::new(http::reqwest::Options {
        configure_request: None,
        configure_client: Some(Box::new(move |client: reqwest::blocking::ClientBuilder| {
            let client = client.no_proxy().timeout(timeout);
            Ok(certificates.iter().fold(client, |client, certificate| client.add_root_certificate(certificate.clone())))
        })),
    })));
    Ok(options)
}

fn ref_gone(request: &Request) -> SourceError {
    let names: Vec<&str> = request.names.iter().map(|name| short(name)).collect();
    SourceError::new("ref-gone", format!("{} has no {}", request.url, names.join(" or ")))
        .hint("check the name with `git ls-remote`; if it moved, change branch, tag or commit in the source's config")
}

/// A ref as people say it.
fn short(name: &str) -> &str {
    name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/")).unwrap_or(name)
}

/// Names what went wrong before a pack was asked for. gix gives text where it has no
/// class, so the text decides; the default is the mildest: not reached.
fn unreachable(request: &Request, error: &gix::Error) -> SourceError {
    let text = chain(error);
    let low = text.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| low.contains(part));
    let url = &request.url;
    if has(&["none of the refspec"]) {
        return ref_gone(request);
    }
    if error.is_unauthenticated() || has(&["status 401", "status 403", "credentials", "authentication"]) {
        // gix speaks of credential helpers here, which nobody set up.
        let (what, hint) = if request.authorization.is_some() {
            ("refuses the credentials", "check what auth of the source names, and that it may read this repository")
        } else {
            (
                "wants credentials",
                "add auth = { token_env = \"...\" } or { username = \"...\", password_env = \"...\" } to the source",
            )
        };
        return SourceError::new("auth", format!("{url}: the server {what}")).hint(hint);
    }
    if has(&["status 404", "status 410"]) {
        return SourceError::new("not-found", format!("there is no repository at {url}: {text}"))
            .hint("check the url; some servers also answer so where credentials are missing");
    }
    if has(&["redirect"]) {
        return SourceError::new(
            "unreachable",
            format!("{url} redirects elsewhere, and credentials do not follow: {text}"),
        )
        .hint("write the address that it redirects to into the config");
    }
    if has(&["certificate", "unknownissuer"]) {
        return SourceError::new("unreachable", format!("{url}: the server's certificate is not trusted: {text}"))
            .hint("add ca = \"<PEM file>\" of the authority that signed it to the source");
    }
    let mut fault = SourceError::new("unreachable", format!("{url} cannot be reached: {text}"))
        .hint("check the address, the network, and that a Git server answers there");
    fault.retryable = true;
    fault
}

/// Names what went wrong while a pack came in.
fn not_received(request: &Request, error: &gix::Error) -> SourceError {
    let text = chain(error);
    let low = text.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| low.contains(part));
    let url = &request.url;
    if has(&["too large", "allocat", "out of memory"]) {
        return limit(
            "too-large",
            &format!("{url} sends an object that is larger than this source allows ({text})"),
            "blob",
            request.object,
        );
    }
    if has(&["no space", "storage full", "disk quota"]) {
        return SourceError::new("io", format!("the cache {} is full: {text}", request.dir.display()))
            .hint("make room on its disk");
    }
    if has(&["connection reset", "broken pipe", "connection refused", "timed out", "operation timed out"]) {
        return SourceError::new("unreachable", format!("{url} broke off while sending: {text}")).retryable();
    }
    SourceError::new("corrupt", format!("{url} sent a pack that is not whole: {text}"))
        .hint("nothing of it was kept; if it stays so, check the server's repository with `git fsck`")
        .retryable()
}
