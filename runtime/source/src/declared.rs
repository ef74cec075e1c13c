//! What a `[sources.NAME]` says that does not fit together, by the field that says it.

use std::path::Path;

use tidelock_model::config::SourceDecl;
use tidelock_model::port::SourceError;

use crate::location::{Location, Way};
use crate::{proxy, ssh};

/// A field of a source that cannot be as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The field of `[sources.NAME]`.
    pub field: &'static str,
    /// What is wrong with it.
    pub error: SourceError,
}

/// Looks at a declaration alone: no file is read and no server is asked.
///
/// # Errors
/// The first field that does not fit.
pub fn check(decl: &SourceDecl) -> Result<(), Misfit> {
    let location = Location::parse(&decl.url, Path::new("")).map_err(|error| Misfit { field: "url", error })?;
    let way = match &location {
        Location::Path(_) => None,
        Location::Server(server) => Some(&server.way),
    };
    let open = matches!(&location, Location::Server(server) if server.can_be_impersonated());
    let http = matches!(way, Some(Way::Http { .. }));
    let over_ssh = matches!(way, Some(Way::Ssh(_)));
    let only = |field, there: bool, fits: bool, ways: &str, instead: &str| {
        if !there || fits {
            return Ok(());
        }
        let message = format!("{field} is for sources over {ways}, and this one is not");
        Err(Misfit { field, error: SourceError::new("invalid", message).hint(instead) })
    };
    let sign_in = if over_ssh { "over SSH a key signs in: ssh = { key = \"...\" }" } else { "take `auth` out" };
    only("auth", decl.auth.is_some(), http, "https:// and http://", sign_in)?;
    only("ca", decl.ca.is_some(), http, "https:// and http://", "take `ca` out")?;
    only("ssh", decl.ssh.is_some(), over_ssh, "SSH", "take `ssh` out, or write ssh://user@host/path as the url")?;
    let direct = "take `proxy` out: the server is asked directly";
    only("proxy", decl.proxy.is_some(), http, "https:// and http://", direct)?;
    proxy_fits(decl)?;
    only("insecure", decl.insecure, open, "git:// and http://", "take `insecure` out")?;
    if open && decl.verify.is_none() && !decl.insecure {
        let message = format!("over {} anyone on the way can put in commits of their own", decl.url);
        let hint = "use https:// or ssh://; or have commits signed: verify = { signers = \"allowed_signers\" }; \
                    or, on a network that you trust, insecure = true";
        return Err(Misfit { field: "url", error: SourceError::new("invalid", message).hint(hint) });
    }
    if over_ssh && decl.ssh.is_none() {
        return Err(Misfit { field: "url", error: ssh::undeclared() });
    }
    Ok(())
}

fn proxy_fits(decl: &SourceDecl) -> Result<(), Misfit> {
    if let Some(text) = &decl.proxy {
        proxy::check(text).map_err(|error| Misfit { field: "proxy", error })?;
    }
    let Some(auth) = &decl.proxy_auth else { return Ok(()) };
    let misfit = |message: &str, hint: &str| {
        Err(Misfit { field: "proxy_auth", error: SourceError::new("invalid", message).hint(hint) })
    };
    let Some(address) = decl.proxy.as_deref().filter(|text| *text != "env") else {
        return misfit(
            "proxy_auth goes with the address of a proxy",
            "write proxy = \"http://proxy.example.com:3128\" beside it",
        );
    };
    if auth.token_env.is_some() || auth.token_file.is_some() {
        return misfit("a proxy takes a username and a password", "use username with password_file or password_env");
    }
    if proxy::is_open(address) && !auth.insecure {
        return misfit(
            "the password would go to the proxy over plain http://, where anyone on the way reads it",
            "use an https:// address; or, on a network that you trust, add insecure = true to proxy_auth",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidelock_model::config::{AuthDecl, SshDecl, VerifyDecl};

    use super::*;

    fn field(decl: &SourceDecl) -> Option<&'static str> {
        check(decl).err().map(|misfit| {
            assert!(misfit.error.hint.is_some(), "{misfit:?}");
            misfit.field
        })
    }

    #[test]
    fn fields_go_with_the_way_to_the_server() {
        let at = |url: &str| SourceDecl { url: url.into(), ..SourceDecl::default() };
        let key = || Some(SshDecl { key: "key".into(), known_hosts: "hosts".into() });
        let auth = || Some(AuthDecl::default());
        assert_eq!(field(&at("infra")), None);
        assert_eq!(field(&at("https://host/x")), None);
        assert_eq!(field(&at("https://bot:pw@host/x")), Some("url"));
        assert_eq!(field(&at("git@host:x")), Some("url"));
        assert_eq!(field(&SourceDecl { ssh: key(), ..at("git@host:x") }), None);
        assert_eq!(field(&SourceDecl { ssh: key(), ..at("https://host/x") }), Some("ssh"));
        assert_eq!(field(&SourceDecl { ssh: key(), auth: auth(), ..at("ssh://git@host/x") }), Some("auth"));
        assert_eq!(field(&SourceDecl { auth: auth(), ..at("infra") }), Some("auth"));
        assert_eq!(field(&SourceDecl { auth: auth(), ..at("https://host/x") }), None);
        assert_eq!(field(&SourceDecl { insecure: true, ..at("https://host/x") }), Some("insecure"));
        assert_eq!(field(&SourceDecl { ca: Some("x".into()), ..at("infra") }), Some("ca"));
    }
    #[test]
    fn what_is_not_protected_on_the_way_needs_signatures_or_a_word() {
        let verify = Some(VerifyDecl { signers: "signers".into() });
        for url in ["git://host/x", "git://127.0.0.1/x", "http://host/x"] {
            let bare = SourceDecl { url: url.into(), ..SourceDecl::default() };
            assert_eq!(field(&bare), Some("url"), "{url}");
            assert_eq!(field(&SourceDecl { verify: verify.clone(), ..bare.clone() }), None, "{url}");
            assert_eq!(field(&SourceDecl { insecure: true, ..bare }), None, "{url}");
        }
        let near = SourceDecl { url: "http://127.0.0.1:8080/x".into(), ..SourceDecl::default() };
        assert_eq!(field(&near), None);
    }
    #[test]
    fn a_proxy_is_for_http_and_its_password_for_it_alone() {
        let bot = || AuthDecl { username: Some("bot".into()), password_file: Some("pw".into()), ..AuthDecl::default() };
        let with = |url: &str, proxy: Option<&str>, proxy_auth: Option<AuthDecl>| {
            let ssh = url.starts_with("ssh").then(|| SshDecl { key: "key".into(), known_hosts: "hosts".into() });
            let proxy = proxy.map(str::to_owned);
            field(&SourceDecl { url: url.into(), ssh, proxy, proxy_auth, ..SourceDecl::default() })
        };
        let (host, proxy) = ("https://host/x", Some("http://proxy:3128"));
        assert_eq!(with(host, proxy, None), None);
        assert_eq!(with(host, Some("env"), None), None);
        assert_eq!(with(host, Some("proxy"), None), Some("proxy"));
        assert_eq!(with("ssh://git@host/x", proxy, None), Some("proxy"));
        assert_eq!(with(host, proxy, Some(bot())), Some("proxy_auth"));
        assert_eq!(with(host, proxy, Some(AuthDecl { insecure: true, ..bot() })), None);
        assert_eq!(with(host, Some("https://proxy"), Some(bot())), None);
        assert_eq!(with(host, Some("http://127.0.0.1:3128"), Some(bot())), None);
        assert_eq!(with(host, None, Some(bot())), Some("proxy_auth"));
        assert_eq!(with(host, Some("env"), Some(bot())), Some("proxy_auth"));
        let token = AuthDecl { token_env: Some("X".into()), ..AuthDecl::default() };
        assert_eq!(with(host, Some("https://proxy"), Some(token)), Some("proxy_auth"));
    }
}
