//! An end of a WireGuard tunnel in a namespace: a name that no other test has, a pair of keys,
//! and an end to the program that serves it where the kernel does not.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::netns::Netns;
use crate::router;
use crate::site::Site;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A pair of keys.
pub struct Keys {
    /// The one that is a secret.
    pub private: String,
    /// The one that others know.
    pub public: String,
}

impl Keys {
    /// New ones.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "they are drawn anew each time")]
    pub fn new() -> Self {
        let private = wg("genkey", "");
        Self { public: wg("pubkey", &private), private }
    }
}

/// A key that two sides know.
#[must_use]
pub fn preshared() -> String {
    wg("genpsk", "")
}

#[track_caller]
fn wg(word: &str, input: &str) -> String {
    let mut child =
        Command::new("wg").arg(word).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("wg is installed");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// What `network` may do on every target of such a site.
#[must_use]
pub fn granted() -> String {
    router::GRANT.replacen("tables =", "wireguard = [\"tw*\"]\ntables =", 1)
}

/// A site with machines in namespaces and the stack `net` on those that `targets` names, which may
/// have the secrets `vpn/*`: files in `secrets/`.
#[must_use]
pub fn site(machines: &[(&str, &Netns)], grant: &str, targets: &str) -> Site {
    let site = router::site(machines, grant, targets, "");
    let secrets: String = ["left", "right", "next", "psk"]
        .map(|name| format!("[secrets.\"vpn/{name}\"]\nfile = \"secrets/{name}\"\n\n"))
        .concat();
    let config = site.world().read("tidelock.toml");
    let config = config.replacen("kinds =", "secrets = [\"vpn/*\"]\nkinds =", 1) + &secrets;
    site.world().write("tidelock.toml", config);
    site
}

/// The interface in one namespace.
pub struct Tunnel<'n> {
    space: &'n Netns,
    name: String,
}

impl<'n> Tunnel<'n> {
    /// One that is not there yet. Programs that serve interfaces share their names over namespaces.
    #[must_use]
    pub fn new(space: &'n Netns) -> Self {
        let name = format!("tw{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { space, name }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `wg` on it: `show NAME WHAT`.
    #[track_caller]
    pub fn show(&self, what: &str) -> String {
        self.space.run(&["wg", "show", &self.name, what])
    }

    /// `wg set` on it.
    #[track_caller]
    pub fn set(&self, words: &[&str]) {
        self.space.run(&[&["wg", "set", &self.name], words].concat());
    }
}

impl Drop for Tunnel<'_> {
    fn drop(&mut self) {
        // With its device the program goes that would keep the namespace.
        let _ = self.space.ended(&["ip", "link", "delete", &self.name]);
    }
}
