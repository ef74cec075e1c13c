//! Networks that are kept for the next start of their system: in namespaces, with the files of
//! the system that is in them below the target's root.

use std::time::Duration;

use tidelock_tests::guards;
use tidelock_tests::netns::Netns;
use tidelock_tests::router::{self, GRANT, KEPT_PATHS, input, kept_grant, put};
use tidelock_tests::tunnel::{self, Keys, Tunnel};
use tidelock_tests::{Daemon, Site};

const NETWORKD: &str = "etc/systemd/network/90-tidelock-";
const ADDRESS: &str = "etc/systemd/network/90-tidelock-br0.network.d/address-10.0.0.1-24.conf";

/// A router whose system keeps its network, as Git says.
fn site(keeper: &str, more: &str) -> (Site, Netns) {
    let space = Netns::new();
    let site = router::keeping(&[("router", &space)], keeper, &kept_grant(), "router", more);
    put(&site, "link", "lan", "{ name: br0, type: bridge, up: true, mtu: 1400 }");
    put(&site, "address", "lan-v4", "{ link: br0, address: 10.0.0.1/24 }");
    put(&site, "route", "branch", "{ to: 10.1.0.0/16, via: 10.0.0.2, dev: br0 }");
    put(&site, "link", "second", "{ name: br2, type: bridge, up: true }");
    put(&site, "address", "second-v4", "{ link: br2, address: 10.0.7.1/24 }");
    let hops = "[{ via: 10.0.0.9, dev: br0, weight: 3 }, { via: 10.0.7.9, dev: br2 }]";
    put(&site, "route", "shared", &format!("{{ to: 10.2.0.0/16, hops: {hops} }}"));
    put(&site, "route", "nowhere", "{ to: 10.99.0.0/16, type: blackhole, table: 100 }");
    put(&site, "rule", "guests", "{ family: 4, priority: 1000, from: 10.0.5.0/24, table: 100 }");
    put(&site, "sysctl", "forward", "{ name: net.ipv4.ip_forward, value: \"1\" }");
    input(&site, "tcp dport 22 accept");
    site.repo().commit("A router");
    (site, space)
}

/// What is live, without the hardware's addresses, which the kernel draws for each link that is
/// made.
fn drawn_apart(space: &Netns) -> Vec<String> {
    let picture = space.picture();
    let drawn = |line: &&str| ["br0 UP ", "br2 UP "].iter().any(|link| line.trim_start().starts_with(link));
    picture.lines().filter(|line| !drawn(line)).map(ToOwned::to_owned).collect()
}

/// The files that a machine has of us.
fn files(site: &Site) -> Vec<String> {
    let mut files = site.world().fingerprint("machine/etc");
    files.retain(|entry| entry.contains("tidelock-"));
    files
}

#[test]
fn both_halves_are_put_compared_and_healed() {
    let (site, space) = site("networkd", "");
    let plan = site.tidelock(["plan", "--full"]).run().ok();
    // The plan shows what the files will hold.
    plan.says("put address 10.0.0.1/24 on br0").says("+Address=10.0.0.1/24").says("+Protocol=201");
    site.apply();
    site.converged();
    let (live, kept) = (drawn_apart(&space), files(&site));
    assert!(site.on_machine(ADDRESS).unwrap().ends_with("[Address]\nAddress=10.0.0.1/24\nBroadcast=no\n"));
    for file in [
        &format!("{NETWORKD}br0.netdev"),
        &format!("{NETWORKD}lo.network.d/rule-4-1000.conf"),
        "etc/sysctl.d/99-tidelock-net.ipv4.ip_forward.conf",
        "etc/nftables.d/tidelock-inet-filter.nft",
    ] {
        assert!(site.on_machine(file).is_some(), "{file}: {kept:?}");
    }
    // Each half by itself, and both.
    assert!(live.iter().any(|line| line.contains("nexthop via 10.0.7.9 dev br2 weight 1")), "{live:?}");
    let forget = || std::fs::remove_file(site.machine(ADDRESS)).unwrap();
    let change = || std::fs::write(site.machine(&format!("{NETWORKD}br0.netdev")), "[NetDev]\n").unwrap();
    let unset = || drop(space.ip("address delete 10.0.0.1/24 dev br0"));
    let reroute = || drop(space.ip("route replace 10.2.0.0/16 proto 201 nexthop via 10.0.0.9 nexthop via 10.0.7.8"));
    let flush = || drop(space.nft("delete table inet filter"));
    let down = || drop(space.ip("link delete br0"));
    for (what, break_it, words) in [
        ("the file of an address", &forget as &dyn Fn(), "persist/kept"),
        ("the file of a link", &change, "persist/kept"),
        ("an address", &unset, "persist/live"),
        ("a route with several hops", &reroute, "network.route/shared"),
        ("a table", &flush, "persist/live"),
        ("a link", &down, "persist/live"),
    ] {
        break_it();
        site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2).says(words).says("drift");
        site.apply();
        site.converged();
        assert_eq!((drawn_apart(&space), files(&site)), (live.clone(), kept.clone()), "{what}");
    }
}

#[test]
fn a_veth_goes_with_the_files_of_both_its_ends() {
    let (site, space) = site("networkd", "");
    put(&site, "link", "ve1", "{ name: ve1, type: veth, peer: ve2, up: true }");
    put(&site, "link", "ve2", "{ name: ve2, peer: ve1, mtu: 1400 }");
    site.repo().commit("A pair");
    site.apply();
    site.converged();
    // An empty folder says nothing.
    let is_of_pair = |file: &String| file.contains("tidelock-ve") && !file.contains("/ ");
    let of_pair = || files(&site).into_iter().filter(is_of_pair).collect::<Vec<_>>();
    assert!(of_pair().iter().any(|file| file.contains("ve2")), "{:?}", of_pair());
    for file in ["ve1", "ve2"] {
        site.repo().remove(&format!("net/{file}.yaml"));
    }
    site.repo().commit("No pair");
    site.tidelock(["apply", "--yes"]).run().ok();
    site.converged();
    assert!(of_pair().is_empty() && !space.picture().contains("ve2"), "{:?}\n{}", of_pair(), space.picture());
}

#[test]
fn a_kept_file_that_somebody_changes_is_healed_at_once() {
    let (site, _space) = site("networkd", "");
    site.apply();
    let kept = files(&site);
    let daemon = Daemon::watching(&site);
    // A look comes once an hour.
    std::fs::write(site.machine(ADDRESS), "[Address]\nAddress=10.0.0.66/24\n").unwrap();
    daemon.eventually("what was changed by hand is as it was", || files(&site) == kept);
    std::fs::remove_file(site.machine("etc/nftables.d/tidelock-inet-filter.nft")).unwrap();
    daemon.eventually("what was removed is there again", || files(&site) == kept);
    put(&site, "address", "more", "{ link: br0, address: 10.0.0.5/24 }");
    site.repo().commit("Another one");
    let more = ADDRESS.replace("10.0.0.1", "10.0.0.5");
    daemon.eventually("the commit arrives", || site.on_machine(&more).is_some());
    std::fs::write(site.machine(&more), "[Address]\n").unwrap();
    daemon.eventually("the new one is watched too", || {
        site.on_machine(&more).is_some_and(|text| text.contains("10.0.0.5"))
    });
    daemon.stop();
}

#[test]
fn what_leaves_git_is_not_there_after_the_next_start_either() {
    let (site, space) = site("networkd", "");
    site.apply();
    for file in ["lan-v4", "branch", "shared", "second-v4", "second", "nowhere", "guests", "filter", "lan"] {
        site.repo().remove(&format!("net/{file}.yaml"));
    }
    site.repo().commit("Less");
    site.apply();
    site.converged();
    assert!(!space.picture().contains("br0"));
    let left: Vec<String> = files(&site).into_iter().filter(|entry| !entry.contains(".network.d")).collect();
    // A setting is let go, and stays as it is. What says that `lo` is meant says nothing more.
    let of = |part: &str| left.iter().filter(|entry| entry.contains(part)).count();
    assert_eq!((left.len() - of("lo.network"), of("sysctl.d")), (1, 1), "{left:?}");
}

#[test]
fn a_stanza_for_each_resource_is_kept_by_ifupdown() {
    let (site, space) = site("ifupdown", "");
    site.apply();
    site.converged();
    let stanza = site.on_machine("etc/network/interfaces.d/tidelock-6-address-br0-10.0.0.1-24").unwrap();
    assert!(stanza.ends_with("auto br0\niface br0 inet manual\n    up ip address replace 10.0.0.1/24 dev br0\n"));
    assert!(files(&site).iter().all(|entry| !entry.contains("systemd")));
    // What the stanzas say is what is live: done in another namespace, they come to the same.
    let other = Netns::new();
    let folder = site.machine("etc/network/interfaces.d");
    let mut stanzas: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
    stanzas.sort();
    for phase in ["pre-up ", "up "] {
        for stanza in &stanzas {
            for line in std::fs::read_to_string(stanza).unwrap().lines() {
                if let Some(command) = line.trim_start().strip_prefix(phase) {
                    other.run(&["sh", "-ec", command]);
                }
            }
        }
    }
    // Tables are not theirs.
    let network = |space: &Netns| {
        let mut lines = drawn_apart(space);
        lines.truncate(lines.iter().position(|line| line.starts_with("table inet")).unwrap_or(lines.len()));
        lines
    };
    assert_eq!(network(&other), network(&space));
}

#[test]
fn a_tunnel_is_kept_by_a_file_without_its_key_and_both_halves_are_healed() {
    let space = Netns::new();
    let tunnel = Tunnel::new(&space);
    let link = tunnel.name();
    let key_file = format!("/etc/wireguard/{link}.key");
    let grant = tunnel::granted().replace("links = ", &format!("{KEPT_PATHS}links = "))
        + "[grants.server]\ntargets = [\"*\"]\npaths = [\"/etc/wireguard\", \"/etc/wireguard/*\"]\n\n";
    let site = tunnel::site(&[("left", &space)], &grant, "left");
    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", config.replace("netns = ", "persist = \"networkd\"\nnetns = "));
    let (ours, theirs) = (Keys::new(), Keys::new());
    site.world().secret("secrets/left", format!("{}\n", ours.private));
    site.repo().write(
        "net/key.yaml",
        format!(
            "kind: server.file\nname: key\nspec: {{ path: {key_file}, parents: true, mode: \"0640\", \
             content: {{ $secret: vpn/left }} }}\n"
        ),
    );
    put(&site, "link", "tunnel", &format!("{{ name: {link}, type: wireguard, up: true }}"));
    let spec = format!(
        "{{ link: {link}, private_key: {{ $secret: vpn/left }}, private_key_file: {key_file}, listen_port: 51820, \
         peers: {{ \"{}\": {{ allowed_ips: [10.9.0.0/24] }} }} }}",
        theirs.public
    );
    put(&site, "wireguard", "vpn", &spec);
    site.repo().commit("A tunnel");
    let plan = site.tidelock(["plan", "--full"]).run().ok();
    let _ = plan.says(&format!("{link}.netdev")).never_says(&ours.private);
    site.apply();
    site.converged();
    let netdev = format!("{NETWORKD}{link}.netdev");
    let kept = site.on_machine(&netdev).unwrap();
    let peer = format!("[WireGuardPeer]\nPublicKey={}\nAllowedIPs=10.9.0.0/24\n", theirs.public);
    assert!(
        kept.contains(&format!("PrivateKeyFile={key_file}\nListenPort=51820\n")) && kept.ends_with(&peer),
        "{kept}"
    );
    assert!(!kept.contains(&ours.private));
    assert_eq!(site.on_machine(&key_file[1..]).unwrap().trim(), ours.private);
    // Each half by itself.
    std::fs::write(site.machine(&netdev), "[NetDev]\n").unwrap();
    let _ = site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2).says("persist/kept");
    site.apply();
    assert_eq!(site.on_machine(&netdev).as_deref(), Some(kept.as_str()));
    tunnel.set(&["peer", &theirs.public, "remove"]);
    site.tidelock(["plan", "--detailed-exitcode"])
        .run()
        .exit(2)
        .says("network.wireguard/vpn")
        .never_says("persist/kept");
    site.apply();
    assert_eq!(tunnel.show("peers").trim(), theirs.public);
    site.converged();
    // It leaves Git in both.
    for name in ["vpn", "tunnel", "key"] {
        site.repo().remove(&format!("net/{name}.yaml"));
    }
    put(&site, "link", "other", "{ name: br7, type: bridge }");
    site.repo().commit("No tunnel");
    site.apply();
    assert_eq!(site.on_machine(&netdev), None);
    site.converged();
}

#[test]
fn files_are_written_where_the_operator_granted_that_and_nowhere_else() {
    let space = Netns::new();
    let site = router::keeping(&[("router", &space)], "networkd", GRANT, "router", "");
    put(&site, "address", "lan-v4", "{ link: br0, address: 10.0.0.1/24 }");
    site.repo().commit("An address");
    let ran = site.tidelock(["apply", "--yes"]).run();
    assert_ne!(ran.code, 0, "{}", ran.story());
    ran.says("/etc/systemd/network/90-tidelock-br0.network").says("[grants.network]").says("paths = [");
    assert_eq!(files(&site), Vec::<String>::new());
    // It need not be kept.
    put(&site, "link", "lan", "{ name: br0, type: bridge, up: true, persist: false }");
    put(&site, "address", "lan-v4", "{ link: br0, address: 10.0.0.1/24, persist: false }");
    site.repo().commit("Not kept");
    site.apply();
    site.converged();
    assert_eq!(files(&site), Vec::<String>::new());
}

#[test]
fn a_namespace_beside_the_system_is_kept_by_nobody() {
    let space = Netns::new();
    let site = router::keeping(&[("router", &space)], "networkd", GRANT, "router", "");
    let config = site.world().read("tidelock.toml").replace("root = \"machine\"\n", "");
    site.world().write("tidelock.toml", config);
    let ran = site.tidelock(["plan"]).run();
    assert_ne!(ran.code, 0, "{}", ran.story());
    ran.says("keeps the network of a namespace in this system's own files");
}

#[test]
fn what_nobody_confirms_does_not_stay_in_the_files() {
    let (site, space) = site("networkd", "");
    site.apply();
    site.converged();
    let (live, kept) = (space.picture(), files(&site));
    put(&site, "link", "lan", "{ name: br0, type: bridge, up: true, mtu: 1300 }");
    put(&site, "address", "lan-v4", "{ link: br0, address: 10.0.0.77/24 }");
    site.repo().commit("Cut it off");
    let ran = site.tidelock(["apply", "--yes", "--confirm-within", "3s"]).run().exit(5).says("goes back at");
    let _ = ran.never_says("where nobody confirms, such as");
    assert_ne!(files(&site), kept, "the files are part of the change");
    space.wait("the old network", Duration::from_secs(10), |space| space.picture() == live);
    let ends = std::time::Instant::now() + Duration::from_secs(5);
    while files(&site) != kept {
        assert!(std::time::Instant::now() < ends, "the files stay: {:?}", files(&site));
        std::thread::sleep(Duration::from_millis(50));
    }
    // What somebody confirms stays in both.
    site.tidelock(["apply", "--yes", "--confirm-within", "3s"]).run().exit(5).says("goes back at");
    let (live, kept) = (space.picture(), files(&site));
    site.tidelock(["confirm"]).run().ok();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!((space.picture(), files(&site)), (live, kept));
    site.converged();
}

#[test]
fn a_guard_that_went_with_its_machine_leaves_no_files_of_what_it_watched_over() {
    let (site, space) = site("networkd", "");
    site.apply();
    let (live, kept) = (space.picture(), files(&site));
    put(&site, "address", "lan-v4", "{ link: br0, address: 10.0.0.77/24 }");
    site.repo().commit("Cut it off");
    site.tidelock(["apply", "--yes", "--confirm-within", "10m"]).run().exit(5).says("goes back at");
    assert_ne!(files(&site), kept);
    // As a power cut leaves it: its file, and no process.
    guards::kill(guards::standing(site.world()).expect("a guard stands"));
    let daemon = Daemon::start(&site);
    daemon.eventually("the old network is back, in both halves", || space.picture() == live && files(&site) == kept);
    daemon.stop();
}
