//! Links that are made anew under their names: what stood on them is put on the new ones.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use tidelock_tests::netns::Netns;
use tidelock_tests::router::{self, GRANT, put, with_uplink as site};

/// What a link was made as, in the kernel's words.
fn made(space: &Netns, link: &str) -> String {
    space.ip(&format!("-d link show {link}"))
}

#[test]
fn what_goes_along_with_a_link_that_is_made_anew_is_put_back() {
    let space = Netns::new();
    let site = router::site(&[("router", &space)], GRANT, "router", "");
    put(&site, "link", "lan", "{ name: br0, type: bridge, up: true }");
    put(&site, "link", "upper", "{ name: mv0, type: macvlan, parent: br0, mode: bridge, up: true }");
    put(&site, "address", "upper-v4", "{ link: mv0, address: 10.0.0.1/24 }");
    put(&site, "route", "branch", "{ to: 10.1.0.0/16, via: 10.0.0.2 }");
    site.repo().commit("A link above another");
    site.apply();
    put(&site, "link", "upper", "{ name: mv0, type: macvlan, parent: br0, mode: private, up: true }");
    site.repo().commit("In another mode");
    site.apply();
    let link = space.ip("-d link show mv0");
    assert!(link.contains("mode private"), "{link}");
    assert!(space.ip("-br -4 address show mv0").contains("10.0.0.1/24"));
    assert!(space.ip("route").contains("10.1.0.0/16 via 10.0.0.2 dev mv0"));
    site.converged();
    let _ = site.tidelock(["status", "--detailed-exitcode"]).run().exit(0);
}

#[test]
fn a_link_that_was_made_anew_goes_back_with_all_that_hung_on_it() {
    let (site, space) = site("");
    let link = |vni, mode, kind: &str| {
        put(&site, "link", "vx", &format!("{{ name: vx7, type: vxlan, vni: {vni}, local: 10.0.0.1, up: true }}"));
        put(&site, "link", "mv", &format!("{{ name: mv0, type: macvlan, parent: uplink, mode: {mode}, up: true }}"));
        put(&site, "link", "br", &format!("{{ name: br5, {kind} }}"));
    };
    link(7, "bridge", "type: bridge");
    put(&site, "address", "vx-address", "{ link: vx7, address: 10.7.0.1/24 }");
    put(&site, "route", "vx-route", "{ to: 10.71.0.0/16, via: 10.7.0.2 }");
    put(&site, "address", "mv-address", "{ link: mv0, address: 10.6.0.1/24 }");
    put(&site, "route", "mv-route", "{ to: 10.61.0.0/16, via: 10.6.0.2 }");
    site.repo().commit("Links that are made");
    site.apply();
    site.converged();
    // What others put there is theirs, and went with the links as well.
    space.ip("route add 10.72.0.0/16 via 10.7.0.3 proto 12");
    space.ip("route add 10.74.0.0/16 via 10.7.0.3 proto 12 mtu 1300 advmss 1200");
    space.ip("address add 2001:db8:7::1/64 dev vx7 nodad noprefixroute");
    space.ip("-6 route add 2001:db8:72::/48 dev vx7 src 2001:db8:7::1 proto 12");
    let turned = ["net.ipv4.conf.vx7.rp_filter=2", "net.ipv6.conf.vx7.forwarding=1", "net.ipv6.conf.vx7.accept_ra=0"];
    turned.iter().for_each(|setting| drop(space.run(&["sysctl", "-q", "-w", setting])));
    space.ip("link add mv1 link vx7 type macvlan mode vepa");
    space.ip("link add port type veth peer name far");
    space.ip("link set port master br5");
    let before = space.picture();
    link(8, "private", "type: vxlan, vni: 9");
    site.repo().commit("Other links of these names");
    site.tidelock(["apply", "--yes", "--confirm-within", "6s"]).run().exit(5).says("goes back at");
    assert!(made(&space, "vx7").contains("vxlan id 8") && made(&space, "mv0").contains("mode private"));
    assert!(made(&space, "br5").contains("vxlan id 9"));
    space.wait("the old network", Duration::from_secs(20), |space| space.picture() == before);
    assert!(made(&space, "vx7").contains("vxlan id 7") && made(&space, "mv0").contains("mode bridge"));
    assert!(space.ip("address show vx7").contains("2001:db8:7::1/64 scope global nodad noprefixroute"));
    for setting in turned {
        let (name, value) = setting.split_once('=').unwrap();
        assert_eq!(space.run(&["sysctl", "-n", name]).trim(), value, "{name}");
    }
    assert!(made(&space, "mv1").contains("mode vepa") && made(&space, "port").contains("master br5"));
    let history = || site.tidelock(["history", "link/vx"]).run().ok().stdout;
    space.wait("that the ledger knows", Duration::from_secs(20), |_| history().contains("taken-back"));
    let told = site.tidelock(["history", "link/vx"]).run().ok();
    let _ = told.says("nobody confirmed it in time").never_says("not all of it");
}

#[test]
fn a_link_that_is_made_anew_under_a_guard_keeps_what_stood_on_it() {
    let (site, space) = site("confirm: 20s\n");
    let link = |mode| {
        let spec = format!("{{ name: mv0, type: macvlan, parent: uplink, mode: {mode}, up: true }}");
        put(&site, "link", "mv", &spec);
    };
    link("bridge");
    put(&site, "address", "mv-v4", "{ link: mv0, address: 10.6.0.1/24 }");
    put(&site, "address", "mv-v6", "{ link: mv0, address: 2001:db8:6::1/64 }");
    put(&site, "route", "mv-route", "{ to: 10.61.0.0/16, via: 10.6.0.2, src: 10.6.0.1 }");
    put(&site, "route", "mv-route-v6", "{ to: 2001:db8:61::/48, via: 2001:db8:6::2, dev: mv0 }");
    site.repo().commit("A link with addresses");
    site.apply();
    site.converged();
    // What others put there is theirs.
    space.ip("address add 10.6.0.77/32 dev mv0");
    space.ip("address add 2001:db8:6::77/128 dev mv0");
    space.ip("route add 10.72.0.0/16 via 10.61.0.9 dev mv0 onlink proto 12");
    space.ip("-6 route add 2001:db8:72::/48 via 2001:db8:6::3 proto 12");
    space.ip("route add 10.73.0.0/16 proto 12 nexthop via 10.6.0.5 nexthop via 10.0.0.5");
    space.run(&["sysctl", "-q", "-w", "net.ipv4.conf.mv0.rp_filter=2"]);
    let addresses = || {
        let shown = space.ip("-br address show mv0");
        let mut words: Vec<&str> = shown.split_whitespace().collect();
        words.sort_unstable();
        words.join(" ")
    };
    let before = (space.picture(), addresses(), space.ip("-br link show mv0"));
    space.ip("nexthop add id 5 via 10.6.0.9 dev mv0 proto 12");
    space.ip("route add 10.75.0.0/16 nhid 5 proto 12");
    link("private");
    site.repo().commit("Made anew");
    site.tidelock(["apply", "--yes"]).run().ok().never_says("went along");
    assert!(made(&space, "mv0").contains("mode private"));
    assert!(space.ip("route").contains("10.75.0.0/16 via 10.6.0.9 dev mv0"), "a numbered hop is a plain one now");
    assert!(!space.ip("address show mv0").lines().any(|line| line.contains("inet ") && line.contains("nodad")));
    space.ip("route del 10.75.0.0/16");
    assert_eq!((space.picture(), addresses(), space.ip("-br link show mv0")), before);
    assert!(
        space.run(&["sysctl", "net.ipv4.conf.mv0.rp_filter"]).trim().ends_with("= 2"),
        "a setting that others made"
    );
    site.converged();
}

#[test]
fn what_cannot_be_made_anew_leaves_the_old_link_with_what_stood_on_it() {
    let (site, space) = site("");
    let link = |vni| put(&site, "link", "vx", &format!("{{ name: vx7, type: vxlan, vni: {vni}, up: true }}"));
    link(7);
    put(&site, "address", "vx-address", "{ link: vx7, address: 10.7.0.1/24 }");
    site.repo().commit("A link");
    site.apply();
    space.ip("route add 10.72.0.0/16 via 10.7.0.3 proto 12");
    // Somebody has that number already, which only the kernel knows.
    space.ip("link add taken type vxlan id 8 dstport 4789");
    let before = space.picture();
    link(8);
    site.repo().commit("A number that is taken");
    let ran = site.tidelock(["apply", "--yes"]).run();
    assert_ne!(ran.code, 0);
    let _ = ran.says("the link that was there was made again");
    assert_eq!(space.picture(), before);
    link(9);
    site.repo().commit("A number that is free");
    site.apply();
    assert!(made(&space, "vx7").contains("vxlan id 9") && space.ip("route").contains("10.72.0.0/16"));
}

#[test]
fn a_link_of_another_type_is_up_and_a_port_as_before_where_git_says_nothing_of_it() {
    let (site, space) = site("confirm: 20s\n");
    put(&site, "link", "br", "{ name: br5, type: bridge, up: true }");
    put(&site, "link", "one", "{ name: v0, type: veth, peer: v1 }");
    put(&site, "address", "one-address", "{ link: v0, address: 10.8.0.1/24 }");
    site.repo().commit("A pair");
    site.apply();
    space.ip("link set v0 master br5 up");
    put(&site, "link", "one", "{ name: v0, type: vxlan, vni: 9, local: 10.0.0.1 }");
    site.repo().commit("Another link of that name");
    site.apply();
    let link = made(&space, "v0");
    assert!(["vxlan id 9", ",UP", "master br5"].iter().all(|is| link.contains(is)), "{link}");
    assert!(space.ip("-br -4 address show v0").contains("10.8.0.1/24"));
    put(&site, "link", "one", "{ name: v0, type: vxlan, vni: 10, local: 10.0.0.1, up: false, master: \"\" }");
    site.repo().commit("Git says something of it");
    site.apply();
    let link = made(&space, "v0");
    assert!(link.contains("vxlan id 10") && !link.contains(",UP") && !link.contains("master"), "{link}");
    site.converged();
}

#[test]
fn a_link_above_one_that_is_made_anew_is_made_again_with_what_stood_on_it() {
    let (site, space) = site("confirm: 20s\n");
    let link = |vni| {
        put(&site, "link", "vx", &format!("{{ name: vx7, type: vxlan, vni: {vni}, local: 10.0.0.1, up: true }}"));
    };
    link(7);
    put(&site, "link", "mv", "{ name: mv0, type: macvlan, parent: vx7, mode: private, up: true }");
    put(&site, "address", "mv-address", "{ link: mv0, address: 10.6.0.1/24 }");
    site.repo().commit("A link above another, with an address");
    site.apply();
    site.converged();
    // What others put there: on ours, and a storey above.
    space.ip("route add 10.72.0.0/16 via 10.6.0.3 proto 12");
    space.ip("link add vx70 type vxlan id 70 dev mv0 dstport 4790");
    space.ip("address add 10.70.0.1/24 dev vx70");
    space.ip("link set vx70 mtu 1300 up");
    let before = space.picture();
    link(8);
    site.repo().commit("Made anew");
    let _ = site.tidelock(["apply", "--yes"]).run().ok().never_says("is not made again");
    assert!(made(&space, "vx7").contains("vxlan id 8") && made(&space, "mv0").contains("mode private"));
    assert!(made(&space, "vx70").contains("vxlan id 70"));
    assert_eq!(space.picture(), before);
    site.converged();
}

#[test]
fn a_link_is_not_confirmed_without_what_went_along_with_it() {
    let (site, space) = site("confirm: 20s\n");
    put(&site, "link", "one", "{ name: v0, type: veth, peer: v1, up: true }");
    put(&site, "link", "other", "{ name: v1, up: true }");
    put(&site, "address", "other-address", "{ link: v1, address: 10.6.0.1/24 }");
    site.repo().commit("A pair, with an address at its other end");
    site.apply();
    site.converged();
    let before = space.picture();
    put(&site, "link", "one", "{ name: v0, type: vxlan, vni: 9, local: 10.0.0.1, up: true }");
    site.repo().commit("Made anew as something that has no other end");
    let ran = site.tidelock(["apply", "--yes"]).run();
    assert_ne!(ran.code, 0, "{}", ran.story());
    let _ = ran.says("it went along with network.link/one");
    space.wait("the old network", Duration::from_secs(10), |space| space.picture() == before);
    assert!(made(&space, "v0").contains("veth"));
}

#[test]
fn a_guard_takes_back_what_the_same_change_put_on_a_link_that_was_made_anew() {
    let (site, space) = site("");
    let config = site.world().read("tidelock.toml").replace("\"net.ipv4.*\"", "\"net.ipv4.conf.*.rp_filter\"");
    site.world().write("tidelock.toml", config);
    let vx =
        |vni| put(&site, "link", "vx", &format!("{{ name: vx7, type: vxlan, vni: {vni}, local: 10.0.0.1, up: true }}"));
    let route = |to: &str, via: &str| format!("{{ to: {to}, via: {via} }}");
    vx(7);
    put(&site, "address", "vx-address", "{ link: vx7, address: 10.7.0.1/24 }");
    put(&site, "route", "one", &route("10.66.0.0/16", "10.7.0.2"));
    site.repo().commit("A link");
    site.apply();
    space.ip("address add 10.7.1.1/24 dev vx7");
    let before = space.picture();
    vx(9);
    put(&site, "address", "vx-address", "{ link: vx7, address: 10.7.0.5/24 }");
    put(&site, "route", "one", &route("10.66.0.0/16", "10.7.0.3"));
    put(&site, "route", "two", &route("10.67.0.0/16", "10.7.0.4"));
    put(&site, "sysctl", "reverse", "{ name: net.ipv4.conf.vx7.rp_filter, value: \"2\" }");
    put(&site, "link", "mv", "{ name: mv9, type: macvlan, parent: vx7, mode: bridge, up: true }");
    put(&site, "address", "mv-address", "{ link: mv9, address: 10.99.0.1/24 }");
    site.repo().commit("Another link of that name, with more on it");
    site.tidelock(["apply", "--yes", "--confirm-within", "3s"]).run().exit(5).says("goes back at");
    assert!(made(&space, "vx7").contains("vxlan id 9") && space.ip("route").contains("10.67.0.0/16"));
    space.wait("the old network", Duration::from_secs(10), |space| space.picture() == before);
    assert_ne!(space.run(&["sysctl", "-n", "net.ipv4.conf.vx7.rp_filter"]).trim(), "2");
    let told = site.tidelock(["history", "route/two"]).run().ok();
    let _ = told.says("taken-back").never_says("not all of it");
}

#[test]
fn what_a_link_had_as_a_port_and_a_route_over_two_links_are_kept() {
    let (site, space) = site("");
    let vx =
        |vni| put(&site, "link", "vx", &format!("{{ name: vx7, type: vxlan, vni: {vni}, local: 10.0.0.1, up: true }}"));
    vx(7);
    put(&site, "link", "mv", "{ name: mv0, type: macvlan, parent: vx7, mode: bridge, up: true }");
    put(&site, "address", "vx-address", "{ link: vx7, address: 10.7.0.1/24 }");
    put(&site, "address", "mv-address", "{ link: mv0, address: 10.3.0.1/24 }");
    site.repo().commit("A link, and one above it");
    site.apply();
    space.ip("route add 10.93.0.0/16 proto 12 nexthop via 10.7.0.33 nexthop via 10.3.0.33");
    space.ip("link add br5 type bridge");
    put(&site, "link", "port", "{ name: vx8, type: vxlan, vni: 8, local: 10.0.0.1, up: true }");
    site.repo().commit("A port");
    site.apply();
    space.ip("link set vx8 master br5");
    space.ip("link set vx8 alias uplink-of-lyon txqueuelen 77");
    space.ip("link set vx8 type bridge_slave isolated on learning off cost 77");
    space.ip("link set vx8 type vxlan ttl 5 nolearning");
    let (before, port) = (space.picture(), made(&space, "vx8"));
    assert!(
        ["isolated on", "cost 77", "nolearning", "ttl 5", "alias uplink-of-lyon", "qlen 77"]
            .iter()
            .all(|is| port.contains(is)),
        "{port}"
    );
    vx(9);
    put(&site, "link", "port", "{ name: vx8, type: vxlan, vni: 10, local: 10.0.0.1, up: true }");
    site.repo().commit("Made anew");
    let _ = site.tidelock(["apply", "--yes"]).run().ok().never_says("put back").never_says("set again");
    assert_eq!(space.picture(), before);
    let port = made(&space, "vx8");
    for is in [
        "vxlan id 10",
        "isolated on",
        "learning off",
        "cost 77",
        "nolearning",
        "ttl 5",
        "alias uplink-of-lyon",
        "qlen 77",
    ] {
        assert!(port.contains(is), "{is}: {port}");
    }
    site.converged();
}

#[test]
fn a_link_above_one_whose_packets_shrink_is_made_anew_in_the_same_change() {
    let (site, space) = site("");
    let links = |mtu, mode| {
        put(&site, "link", "one", &format!("{{ name: v0, type: veth, peer: v1, up: true, mtu: {mtu} }}"));
        put(&site, "link", "mv", &format!("{{ name: mv0, type: macvlan, parent: v0, mode: {mode}, up: true }}"));
    };
    links(1500, "bridge");
    site.repo().commit("A link above another");
    site.apply();
    links(1300, "private");
    site.repo().commit("Smaller, and in another mode");
    site.apply();
    assert!(made(&space, "mv0").contains("mode private") && made(&space, "v0").contains("mtu 1300"));
    site.converged();
}

/// Rounds until a kill has met the moment at which the link is not there.
const KILLS: usize = 60;

#[test]
fn who_is_killed_between_the_old_link_and_the_new_one_loses_nothing() {
    let (site, space) = site("");
    let link = |vni| put(&site, "link", "vx", &format!("{{ name: vx7, type: vxlan, vni: {vni}, local: 10.0.0.1 }}"));
    link(1);
    put(&site, "address", "vx-address", "{ link: vx7, address: 10.7.0.1/24 }");
    site.repo().commit("A link");
    site.apply();
    space.ip("link set vx7 mtu 1300 up");
    space.ip("address add 10.7.1.1/24 dev vx7");
    space.ip("route add 10.72.0.0/16 via 10.7.0.3 proto 12");
    let before = space.picture();
    let mut met = false;
    for vni in (2..).take(KILLS) {
        link(vni);
        site.repo().commit("Made anew");
        let mut told = space.command(&["ip", "monitor", "link"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(told.stdout.take().unwrap()).lines();
        let mut child = site.tidelock(["apply", "--yes"]).spawn();
        let gone = lines.map_while(Result::ok).any(|line| line.starts_with("Deleted") && line.contains("vx7"));
        child.kill().unwrap();
        child.wait().unwrap();
        told.kill().unwrap();
        told.wait().unwrap();
        assert!(gone);
        met |= !space.ended(&["ip", "link", "show", "vx7"]).status.success();
        site.apply();
        assert!(made(&space, "vx7").contains(&format!("vxlan id {vni} ")));
        assert_eq!(space.picture(), before);
        if met {
            break;
        }
    }
    assert!(met, "no kill met the moment");
    site.converged();
    assert_eq!(std::fs::read_dir(site.world().path("guards/anew/router")).unwrap().count(), 0);
}
