//! Fetches through a proxy: only where the config says so, and told by its name when it
//! stands in the way.

use tidelock_model::config::{AuthDecl, SourceDecl};

use crate::fixture::{Fixture, refused, says};
use crate::git_http::GitHttp;
use crate::http_proxy::HttpProxy;
use crate::tls::Tls;

fn port(server: &GitHttp) -> u16 {
    server.url().rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn a_tunnel_leads_to_a_server_that_only_the_proxy_can_reach() {
    let fixture = Fixture::with(&[("a", "1")]);
    let server = GitHttp::serve(fixture.dir.path());
    let tls = Tls::before(port(&server), "git.example.test", &fixture.path("tls"));
    let proxy = HttpProxy::start();
    proxy.name("git.example.test", tls.port());
    let direct = SourceDecl {
        url: "https://git.example.test/infra/.git".into(),
        ca: Some(tls.authority().display().to_string()),
        timeout: Some(60),
        ..SourceDecl::default()
    };
    refused(fixture.fetch(&direct, None), "unreachable");
    assert_eq!(proxy.asked(), Vec::<String>::new());

    let through = SourceDecl { proxy: Some(proxy.url()), ..direct.clone() };
    let fetched = fixture.fetch(&through, None).unwrap();
    assert_eq!(fetched.tree.read("a").unwrap().as_deref(), Some(b"1".as_slice()));
    assert!(proxy.asked().iter().all(|line| line.starts_with("CONNECT git.example.test:443 ")), "{:?}", proxy.asked());

    // TLS is between us and the server: a proxy cannot put another in its place.
    let stranger = SourceDecl { ca: None, ..through.clone() };
    let error = refused(fixture.fetch(&stranger, None), "unreachable");
    says(&error.message, "certificate is not trusted");

    // Credentials of the server are for the server.
    server.require_token("t0ken");
    fixture.secret("token", "t0ken");
    let token = AuthDecl { token_file: Some("token".into()), ..AuthDecl::default() };
    fixture.fetch(&SourceDecl { auth: Some(token), ..through }, None).unwrap();
}

#[test]
fn a_proxy_that_wants_a_password_gets_its_own() {
    let fixture = Fixture::with(&[("a", "1")]);
    let server = GitHttp::serve(fixture.dir.path());
    let proxy = HttpProxy::start();
    let decl = SourceDecl {
        url: format!("{}/infra/.git", server.url()),
        proxy: Some(proxy.url()),
        timeout: Some(60),
        ..SourceDecl::default()
    };
    fixture.fetch(&decl, None).unwrap();
    assert!(proxy.asked().iter().all(|line| line.contains(&server.url())), "{:?}", proxy.asked());

    // Base64 of bot:hunter2.
    proxy.require("Basic Ym90Omh1bnRlcjI=");
    let error = refused(fixture.fetch(&decl, None), "auth");
    says(&error.message, &format!("through the proxy {}", proxy.url()));
    says(error.hint.as_deref().unwrap(), "proxy_auth");
    fixture.secret("password", "hunter2\n");
    let auth = AuthDecl { username: Some("bot".into()), password_file: Some("password".into()), ..AuthDecl::default() };
    let decl = SourceDecl { proxy_auth: Some(auth), ..decl };
    fixture.fetch(&decl, None).unwrap();
    assert!(server.headers().iter().all(|line| !line.to_lowercase().starts_with("authorization")));

    drop(proxy);
    let error = refused(fixture.fetch(&decl, None), "unreachable");
    says(&error.message, "through the proxy");
    assert!(error.retryable);
}
