//! WireGuard from Git: two machines in namespaces, real tunnels and real packets.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tidelock_tests::Site;
use tidelock_tests::netns::Netns;
use tidelock_tests::router::{GRANT, put_on};
use tidelock_tests::tunnel::{self, Keys, Tunnel, granted, preshared};

/// Until a tunnel carries packets: a handshake that is lost is tried again after 5 s.
const SOON: Duration = Duration::from_secs(20);

/// Two machines, with a cable between them.
fn cabled() -> [Netns; 2] {
    let spaces = [Netns::new(), Netns::new()];
    spaces[0].cable("up0", &spaces[1], "up0");
    for (i, space) in spaces.iter().enumerate() {
        space.ip("link set up0 up");
        space.ip(&format!("address add 10.0.0.{}/24 dev up0", i + 1));
    }
    spaces
}

/// A site with both, which may have the secrets `vpn/*`.
fn site(spaces: &[Netns; 2], grant: &str) -> Site {
    tunnel::site(&[("left", &spaces[0]), ("right", &spaces[1])], grant, "\"*\"")
}

/// One end: its interface, its address in the tunnel, and its peer.
fn end(site: &Site, target: &str, link: &str, number: u8, secret: &str, peer: &str) {
    put_on(site, target, "link", "tunnel", &format!("{{ name: {link}, type: wireguard, up: true, mtu: 1380 }}"));
    put_on(site, target, "address", "tunnel-address", &format!("{{ link: {link}, address: 10.9.0.{number}/24 }}"));
    let other = 3 - number;
    put_on(
        site,
        target,
        "wireguard",
        "vpn",
        &format!(
            "{{ link: {link}, private_key: {{ $secret: vpn/{secret} }}, listen_port: 5182{number}, peers: {{ \"{peer}\": {{ \
             endpoint: \"10.0.0.{other}:5182{other}\", allowed_ips: [10.9.0.{other}/32], preshared_key: {{ $secret: vpn/psk }} }} }} }}"
        ),
    );
}

/// Files of the site that hold a text, but for the operator's own of secrets.
fn holding(folder: &Path, text: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("secrets") {
                holding(&path, text, found);
            }
        } else if fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|at| at == text.as_bytes())) {
            found.push(path.display().to_string());
        }
    }
}

#[test]
fn a_tunnel_is_what_git_says_and_carries_packets() {
    let spaces = cabled();
    let site = site(&spaces, &granted());
    let (left, right) = (Tunnel::new(&spaces[0]), Tunnel::new(&spaces[1]));
    let (ours, theirs, next) = (Keys::new(), Keys::new(), Keys::new());
    let shared = preshared();
    for (name, key) in [("left", &ours.private), ("right", &theirs.private), ("next", &next.private), ("psk", &shared)]
    {
        site.world().secret(&format!("secrets/{name}"), format!("{key}\n"));
    }
    end(&site, "left", left.name(), 1, "left", &theirs.public);
    end(&site, "right", right.name(), 2, "right", &ours.public);
    site.repo().commit("A tunnel");
    let plan = site.tidelock(["plan", "--full"]).run().ok();
    let _ = plan.says("with 1 peer").says("secret vpn/left (").never_says(&ours.private).never_says(&shared);
    let _ = site.tidelock(["apply", "--yes"]).env("TIDELOCK_LOG", "trace").run().ok().never_says(&ours.private);
    spaces[0].wait("packets go through the tunnel", SOON, |left| left.pings("10.9.0.2"));
    assert!(!left.show("latest-handshakes").trim().ends_with("\t0"));
    site.converged();
    assert!(left.show("allowed-ips").contains("10.9.0.2/32") && spaces[0].ip("link").contains("mtu 1380"));

    // What somebody changes by hand.
    let other = preshared();
    site.world().secret("secrets/by-hand", &other);
    let by_hand = site.world().path("secrets/by-hand").display().to_string();
    let stranger = Keys::new().public;
    for words in [
        &["peer", theirs.public.as_str(), "remove"][..],
        &["peer", &stranger, "allowed-ips", "10.9.0.77/32"],
        &["peer", &theirs.public, "allowed-ips", "10.9.0.0/24"],
        &["peer", &theirs.public, "preshared-key", &by_hand],
        &["peer", &theirs.public, "persistent-keepalive", "7"],
        &["private-key", &by_hand],
        &["listen-port", "7777"],
    ] {
        left.set(words);
        let _ = site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2).says("network.wireguard/left-vpn");
        site.apply();
        site.converged();
        assert_eq!(left.show("peers").trim(), theirs.public, "{words:?}");
    }
    assert_eq!((left.show("private-key").trim(), left.show("listen-port").trim()), (ours.private.as_str(), "51821"));
    spaces[0].wait("packets go through it again", SOON, |left| left.pings("10.9.0.2"));
    // The program behind it is gone, with all that it was set to.
    spaces[0].ip(&format!("link delete {}", left.name()));
    site.apply();
    site.converged();
    spaces[0].wait("packets go through a new one", SOON, |left| left.pings("10.9.0.2"));

    // One commit for a new key on both sides. Unconfirmed, both go back, one to a key that no file
    // holds.
    end(&site, "left", left.name(), 1, "next", &theirs.public);
    end(&site, "right", right.name(), 2, "right", &next.public);
    site.repo().commit("Rotate the left key");
    let _ = site.tidelock(["apply", "--yes", "--confirm-within", "4s"]).run().exit(5).says("goes back at");
    assert_eq!(
        (left.show("private-key").trim(), right.show("peers").trim()),
        (next.private.as_str(), next.public.as_str())
    );
    let mut found = Vec::new();
    for secret in [&ours.private, &next.private, &shared] {
        holding(site.world().root(), secret, &mut found);
    }
    assert!(found.is_empty(), "keys are in {found:?}");
    spaces[0].wait("the old key", SOON, |_| left.show("private-key").trim() == ours.private);
    spaces[0].wait("packets go through it as before", SOON, |left| left.pings("10.9.0.2"));
    site.apply();
    spaces[0].wait("packets go with the new key", SOON, |left| left.pings("10.9.0.2"));
    assert_eq!(left.show("private-key").trim(), next.private);
    site.converged();

    // It leaves Git.
    for name in ["vpn", "tunnel-address", "tunnel"] {
        site.repo().remove(&format!("net/left-{name}.yaml"));
    }
    put_on(&site, "left", "link", "other", "{ name: br7, type: bridge }");
    site.repo().commit("No tunnel on the left");
    site.apply();
    assert!(!spaces[0].ip("link").contains(left.name()));
    site.converged();
}

#[test]
fn what_is_not_granted_or_no_key_is_refused_and_says_nothing_of_the_key() {
    let spaces = cabled();
    let tunnel = Tunnel::new(&spaces[0]);
    let peer = Keys::new().public;
    let ungranted = site(&spaces, GRANT);
    for name in ["left", "psk"] {
        ungranted.world().secret(&format!("secrets/{name}"), Keys::new().private);
    }
    end(&ungranted, "left", tunnel.name(), 1, "left", &peer);
    ungranted.repo().commit("A tunnel");
    let ran = ungranted.tidelock(["apply", "--yes"]).run();
    assert_ne!(ran.code, 0);
    let _ = ran.says(&format!("wireguard = [\"{}\"]", tunnel.name()));

    let site = site(&spaces, &granted());
    site.world().secret("secrets/left", "hunter2-is-no-key");
    site.world().secret("secrets/psk", preshared());
    end(&site, "left", tunnel.name(), 1, "left", &peer);
    site.repo().commit("A tunnel");
    let ran = site.tidelock(["apply", "--yes"]).run();
    assert_ne!(ran.code, 0);
    let _ = ran.says("the secret vpn/left: it is no key of WireGuard").never_says("hunter2");
    let shown = spaces[0].ended(&["wg", "show", tunnel.name(), "peers"]);
    assert!(shown.stdout.is_empty(), "nothing was set");
}
