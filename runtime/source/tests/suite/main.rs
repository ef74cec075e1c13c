//! The crate against real Git: repositories made by `git`, signatures by `ssh-keygen`,
//! transfers through `git http-backend`, and trees that Git itself would not make.

mod fetching;
mod fixture;
mod git_protocol;
mod here;
mod hostile;
mod proxies;
mod signed;
mod ssh;
mod upkeep;

// The server that the end-to-end tests use, without waiting for their crate to build.
#[path = "../../../../tests/src/git_http.rs"]
#[allow(dead_code, unreachable_pub, reason = "each crate that shares the server uses its own part of it")]
mod git_http;

#[path = "../../../../tests/src/owned.rs"]
#[allow(dead_code, unreachable_pub, reason = "each crate that shares the server uses its own part of it")]
mod owned;

#[path = "../../../../tests/src/ssh_server.rs"]
#[allow(dead_code, unreachable_pub, reason = "each crate that shares the server uses its own part of it")]
mod ssh_server;

#[path = "../../../../tests/src/git_daemon.rs"]
#[allow(dead_code, unreachable_pub, reason = "each crate that shares the server uses its own part of it")]
mod git_daemon;

#[path = "../../../../tests/src/relay.rs"]
#[allow(dead_code, unreachable_pub, reason = "each crate that shares the server uses its own part of it")]
mod relay;

#[path = "../../../../tests/src/http_proxy.rs"]
#[allow(dead_code, unreachable_pub, reason = "each crate that shares the server uses its own part of it")]
mod http_proxy;

#[path = "../../../../tests/src/tls.rs"]
#[allow(dead_code, unreachable_pub, reason = "each crate that shares the server uses its own part of it")]
mod tls;
