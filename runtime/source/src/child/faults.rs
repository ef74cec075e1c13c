//! What went wrong with a fetch, by name. gix gives text where it has no class, so the
//! text decides.

use tidelock_model::port::SourceError;

use crate::fault::{chain, full, limit};
use crate::wire::Request;

pub(super) fn ref_gone(request: &Request) -> SourceError {
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
pub(super) fn unreachable(request: &Request, error: &gix::Error) -> SourceError {
    let text = chain(error);
    let low = text.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| low.contains(part));
    let url = &request.url;
    if let Some(full) = full(&request.dir, &text) {
        return full;
    }
    if has(&["none of the refspec"]) {
        return ref_gone(request);
    }
    let through = match &request.proxy {
        Some(proxy) => format!(" through the proxy {}", proxy.shown),
        None => String::new(),
    };
    if request.proxy.is_some() && has(&["proxy authorization required", "status 407"]) {
        return SourceError::new("auth", format!("{url} cannot be reached{through}, which wants other credentials"))
            .hint("add proxy_auth = { username = \"...\", password_file = \"...\" } to the source, or check what it names");
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
    // The last two are the words of `git daemon`.
    if has(&["status 404", "status 410", "repository not exported", "no such repository"]) {
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
    if has(&["no ca certificates were loaded"]) {
        return SourceError::new(
            "unreachable",
            format!("{url}: this system knows no authority that certifies servers"),
        )
        .hint("install the package ca-certificates, or add ca = \"<PEM file>\" to the source");
    }
    if has(&["certificate", "unknownissuer"]) {
        return SourceError::new("unreachable", format!("{url}: the server's certificate is not trusted: {text}"))
            .hint("add ca = \"<PEM file>\" of the authority that signed it to the source");
    }
    let hint = if request.proxy.is_some() {
        "check the addresses of server and proxy, the network, and that the proxy may go there"
    } else {
        "check the address, the network, and that a Git server answers there"
    };
    SourceError::new("unreachable", format!("{url} cannot be reached{through}: {text}")).hint(hint).retryable()
}

/// Names what went wrong while a pack came in.
pub(super) fn not_received(request: &Request, error: &gix::Error) -> SourceError {
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
    if let Some(full) = full(&request.dir, &text) {
        return full;
    }
    if has(&["connection reset", "broken pipe", "connection refused", "timed out", "operation timed out"]) {
        return SourceError::new("unreachable", format!("{url} broke off while sending: {text}")).retryable();
    }
    SourceError::new("corrupt", format!("{url} sent a pack that is not whole: {text}"))
        .hint("nothing of it was kept; if it stays so, check the server's repository with `git fsck`")
        .retryable()
}
