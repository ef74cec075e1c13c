//! A whole small network from Git alone: hosts at the edges, three routers, a tunnel between two
//! of them, and the names of it all on a real server in it. Tidelock runs on one of the hosts, so
//! what it says to the name server goes through the network that it built.

use std::time::Duration;

use tidelock_tests::dns::{DnsServer, KEY, Make, ZONE};
use tidelock_tests::netns::Netns;
use tidelock_tests::router::put_on;
use tidelock_tests::tunnel::{self, Keys, Tunnel, granted, preshared};
use tidelock_tests::{Ran, Site};

/// Until a tunnel carries packets: a handshake that is lost is tried again after 5 s.
const SOON: Duration = Duration::from_secs(20);
/// The machines, from left to right.
const MACHINES: [&str; 5] = ["left", "r1", "r2", "r3", "right"];
/// The name server: the host on the right.
const SERVER: &str = "10.0.4.2";

/// What the operator adds to the config: the name server as a target, with the names in its zone,
/// and what the host on the left may be given besides.
fn config(site: &Site) {
    let more = format!(
        "[targets.ns]\ntype = \"dns\"\nhost = \"{SERVER}\"\nzones = [\"{ZONE}\"]\n\
         key = {{ name = \"{KEY}\", secret = {{ secret = \"dns/tsig\" }} }}\n\n\
         [secrets.\"dns/tsig\"]\nfile = \"secrets/tsig\"\n\n\
         [grants.server]\ntargets = [\"left\"]\npaths = [\"/srv/*\"]\n"
    );
    let config = site.world().read("tidelock.toml");
    let config = config.replacen("[grants.network]\n", &format!("[grants.network]\nrecords = [\"**.{ZONE} *\"]\n"), 1);
    site.world().write("tidelock.toml", config + &more);
}

/// Links, addresses, and which of the machines hand packets on.
fn wiring(site: &Site) {
    for (i, name) in MACHINES.iter().enumerate() {
        for (side, there, address) in
            [("west", i > 0, format!("10.0.{i}.2/24")), ("east", i < 4, format!("10.0.{}.1/24", i + 1))]
        {
            if there {
                put_on(site, name, "link", side, &format!("{{ name: {side}, up: true }}"));
                let address = format!("{{ link: {side}, address: {address} }}");
                put_on(site, name, "address", &format!("a-{side}"), &address);
            }
        }
        if (1..=3).contains(&i) {
            put_on(site, name, "sysctl", "forward", "{ name: net.ipv4.ip_forward, value: \"1\" }");
        }
    }
    put_on(site, "left", "route", "out", "{ to: 10.0.0.0/8, via: 10.0.1.2 }");
    put_on(site, "right", "route", "out", "{ to: 10.0.0.0/8, via: 10.0.4.1 }");
}

/// Who may say what: in the middle nothing but the tunnel, and on the left pings and questions
/// for names, begun there.
fn policy(site: &Site) {
    let table = |rules: &str| {
        let chain = "type filter hook forward priority 0; policy drop; ct state established accept;";
        format!("{{ name: filter, ruleset: \"table inet filter {{ chain f {{ {chain} {rules} }}; }}\" }}")
    };
    put_on(site, "r2", "nftables", "filter", &table("udp dport { 51821, 51822 } accept;"));
    let begun = format!(
        "iifname west icmp type echo-request accept; iifname west ip daddr {SERVER} meta l4proto {{ tcp, udp }} th dport 53 accept;"
    );
    put_on(site, "r1", "nftables", "filter", &table(&begun));
}

/// A tunnel between the outer routers, over the one in the middle, which knows neither office.
fn tunnel_ends(site: &Site, tunnels: &[Tunnel<'_>; 2], keys: &[Keys; 2]) {
    for (router, tunnel, number, secret, peer, near, far, endpoint) in [
        ("r1", &tunnels[0], 1, "left", &keys[1], "10.0.2.2", "10.0.3.0/24", "10.0.3.2"),
        ("r3", &tunnels[1], 2, "right", &keys[0], "10.0.3.1", "10.0.2.0/24", "10.0.2.1"),
    ] {
        let (link, other, office) =
            (tunnel.name(), 3 - number, if number == 1 { "10.0.4.0/24" } else { "10.0.1.0/24" });
        put_on(site, router, "route", "to-the-other", &format!("{{ to: {far}, via: {near} }}"));
        put_on(site, router, "link", "tunnel", &format!("{{ name: {link}, type: wireguard, up: true, mtu: 1380 }}"));
        put_on(site, router, "address", "tunnel-address", &format!("{{ link: {link}, address: 10.9.0.{number}/24 }}"));
        put_on(site, router, "route", "office", &format!("{{ to: {office}, via: 10.9.0.{other} }}"));
        let peer = format!(
            "\"{}\": {{ endpoint: \"{endpoint}:5182{other}\", allowed_ips: [10.9.0.{other}/32, {office}], \
             preshared_key: {{ $secret: vpn/psk }} }}",
            peer.public
        );
        let spec = format!(
            "{{ link: {link}, private_key: {{ $secret: vpn/{secret} }}, listen_port: 5182{number}, peers: {{ {peer} }} }}"
        );
        put_on(site, router, "wireguard", "vpn", &spec);
    }
}

/// The stack `names`: what every machine is called, once there is a way to the server. Where the
/// host on the left asks is Git's word too.
fn names(site: &Site) {
    let stack = "name: names\ntargets: ns\nneeds: [net]\non_commit: apply\non_drift: apply\n";
    site.repo().write("names/stack.yaml", stack);
    for (name, address) in
        [("left", "10.0.1.1"), ("r1", "10.0.1.2"), ("r2", "10.0.2.2"), ("r3", "10.0.4.1"), ("right", SERVER)]
    {
        put_name(site, name, "A", address);
    }
    put_name(site, "shop", "CNAME", &format!("right.{ZONE}."));
    let resolver = format!(
        "kind: server.file\nname: resolver\ntarget: left\nspec:\n  path: /srv/resolv.conf\n  mode: \"0644\"\n  \
         content: \"nameserver {SERVER}\\noptions timeout:1 attempts:2\\n\"\n"
    );
    site.repo().write("net/resolver.yaml", resolver);
}

fn put_name(site: &Site, name: &str, kind: &str, value: &str) {
    let text = format!(
        "kind: network.dns-record\nname: {name}\nspec: {{ zone: {ZONE}, name: {name}, type: {kind}, ttl: 60, values: [{value}] }}\n"
    );
    site.repo().write(&format!("names/{name}.yaml"), text);
}

/// A program on the host on the left, which asks the server that Git names.
fn on_left(site: &Site, left: &Netns, words: &str) -> Option<String> {
    let resolver = site.machine("srv/resolv.conf").display().to_string();
    let line = format!("mount --bind {resolver} /etc/resolv.conf && exec {words}");
    let ended = left.ended(&["unshare", "--mount", "sh", "-c", &line]);
    ended.status.success().then(|| String::from_utf8_lossy(&ended.stdout).into_owned())
}

#[test]
fn two_offices_and_their_names_are_built_from_git_alone() {
    let spaces: Vec<Netns> = MACHINES.iter().map(|_| Netns::new()).collect();
    let machines: Vec<(&str, &Netns)> = MACHINES.iter().copied().zip(&spaces).collect();
    let site = tunnel::site(&machines, &granted(), "[left, r1, r2, r3, right]");
    // The cables are laid, and the name server runs with an empty zone; all else is Git's.
    for pair in 0..4 {
        spaces[pair].cable("east", &spaces[pair + 1], "west");
    }
    let (left, right) = (&spaces[0], &spaces[4]);
    let server = DnsServer::on_machine(Make::Knot, &site.world().path("server"), right);
    let tunnels = [Tunnel::new(&spaces[1]), Tunnel::new(&spaces[3])];
    let keys = [Keys::new(), Keys::new()];
    for (name, key) in [("vpn/left", &keys[0].private), ("vpn/right", &keys[1].private), ("vpn/psk", &preshared())] {
        site.world().secret(&name.replace("vpn", "secrets"), format!("{key}\n"));
    }
    site.world().secret("secrets/tsig", server.secret());
    config(&site);
    wiring(&site);
    policy(&site);
    tunnel_ends(&site, &tunnels, &keys);
    names(&site);
    site.repo().commit("Two offices");
    let tidelock = |words: &[&str]| -> Ran { site.tidelock(words).in_space(left).run() };
    // The network first: without it there is no way to the server.
    let _ = tidelock(&["apply", "--yes", "net"]).ok();
    left.wait("left reaches right", SOON, |left| left.pings(SERVER));
    let _ = tidelock(&["apply", "--yes"]).ok();
    let _ = tidelock(&["plan", "--detailed-exitcode"]).ok();

    // Names lead to machines, over the network, as the policy says.
    let address = on_left(&site, left, &format!("getent ahostsv4 shop.{ZONE}")).expect("an address");
    assert!(address.starts_with(SERVER), "{address}");
    for name in ["r1", "right", "shop"] {
        assert!(on_left(&site, left, &format!("ping -c1 -W2 {name}.{ZONE}")).is_some(), "{name}");
    }
    assert!(on_left(&site, left, &format!("getent ahostsv4 nobody.{ZONE}")).is_none());
    assert!(!right.pings("10.0.1.1"), "only the left may begin");
    assert!(!spaces[2].ended(&["ip", "route", "get", SERVER]).status.success(), "in between nobody knows the way");

    // A machine gets another address and its name follows, in one commit.
    put_on(&site, "r3", "address", "second", "{ link: east, address: 10.0.4.77/24 }");
    put_name(&site, "r3", "A", "10.0.4.77");
    site.repo().commit("The third router has another address");
    let _ = tidelock(&["apply", "--yes"]).ok();
    let _ = tidelock(&["plan", "--detailed-exitcode"]).ok();
    assert!(on_left(&site, left, &format!("ping -c1 -W2 r3.{ZONE}")).is_some_and(|said| said.contains("10.0.4.77")));

    // A name that somebody changes is found and healed, through the tunnel.
    server.by_hand(&format!("delete shop.{ZONE} CNAME\nadd shop.{ZONE} 60 CNAME left.{ZONE}."));
    let _ = tidelock(&["plan", "--detailed-exitcode"]).exit(2).says("network.dns-record");
    let _ = tidelock(&["apply", "--yes"]).ok();
    assert!(on_left(&site, left, &format!("ping -c1 -W2 shop.{ZONE}")).is_some());

    // Without the tunnel there is no way, and no name; a commit's network brings both back.
    tunnels[0].set(&["peer", &keys[1].public, "remove"]);
    assert!(!left.pings(SERVER));
    assert!(on_left(&site, left, &format!("getent ahostsv4 shop.{ZONE}")).is_none());
    let _ = tidelock(&["apply", "--yes", "net"]).ok();
    left.wait("left reaches right again", SOON, |left| left.pings(SERVER));
    assert!(on_left(&site, left, &format!("ping -c1 -W2 shop.{ZONE}")).is_some());
    let _ = tidelock(&["plan", "--detailed-exitcode"]).ok();
}
