//! Networks from Git: in namespaces made for each case, with the real kernel and nft.

use std::collections::BTreeSet;
use std::time::Duration;

use tidelock_tests::Site;
use tidelock_tests::netns::Netns;
use tidelock_tests::router::{self, GRANT, firewall, put, put_on};

/// A site with one machine, `router`, in a namespace of its own.
fn site(grant: &str) -> (Site, Netns) {
    let space = Netns::new();
    (router::site(&[("router", &space)], grant, "router", ""), space)
}

/// A router with a bit of everything.
fn everything(site: &Site) {
    put(site, "link", "lan", "{ name: br0, type: bridge, up: true, mtu: 1400 }");
    put(site, "link", "pair", "{ name: v0, type: veth, peer: v1, up: true, master: br0 }");
    put(site, "link", "pair-end", "{ name: v1, peer: v0, up: true }");
    put(site, "link", "overlay", "{ name: vx7, type: vxlan, vni: 7, remote: 10.0.0.9, local: 10.0.0.1, up: true }");
    put(site, "link", "extra", "{ name: mv0, type: macvlan, parent: v1 }");
    put(site, "address", "lan-v4", "{ link: br0, address: 10.0.0.1/24 }");
    put(site, "address", "lan-v6", "{ link: br0, address: 2001:db8::1/64 }");
    put(site, "route", "branch", "{ to: 10.1.0.0/16, via: 10.0.0.2 }");
    put(site, "route", "branch-backup", "{ to: 10.1.0.0/16, via: 10.0.0.3, metric: 100 }");
    put(site, "route", "branch-v6", "{ to: 2001:db8:1::/48, via: 2001:db8::2 }");
    put(site, "route", "shared", "{ to: 10.2.0.0/16, hops: [{ via: 10.0.0.9, weight: 3 }, { via: 10.0.0.2 }] }");
    put(site, "route", "shared-v6", "{ to: 2001:db8:2::/48, hops: [{ via: 2001:db8::2 }, { via: 2001:db8::3 }] }");
    put(site, "route", "nowhere", "{ to: 10.99.0.0/16, type: blackhole, table: 100 }");
    put(site, "rule", "guests", "{ family: 4, priority: 1000, from: 10.0.5.0/24, table: 100 }");
    put(site, "sysctl", "forward", "{ name: net.ipv4.ip_forward, value: \"1\" }");
    firewall(site, "    ct state established,related accept\n    ip saddr @admins counter accept");
}

#[test]
fn a_router_is_what_git_says_and_a_second_plan_is_empty() {
    let (site, space) = site(GRANT);
    everything(&site);
    site.repo().commit("A router");
    let plan = site.tidelock(["plan", "--full"]).run().ok();
    plan.says("put route main/10.1.0.0/16 via 10.0.0.2").says("ip saddr @admins counter accept");
    site.apply();
    site.converged();
    let picture = space.picture();
    for line in [
        "10.1.0.0/16 via 10.0.0.2 dev br0 proto 201",
        "10.1.0.0/16 via 10.0.0.3 dev br0 proto 201 metric 100",
        "2001:db8:1::/48 via 2001:db8::2 dev br0 proto 201 metric 1024",
        "nexthop via 10.0.0.9 dev br0 weight 3",
        "nexthop via 2001:db8::3 dev br0 weight 1",
        "blackhole 10.99.0.0/16 table 100 proto 201",
        "1000: from 10.0.5.0/24 lookup 100 proto 201",
        "ip saddr @admins counter",
    ] {
        assert!(picture.contains(line), "{line} is not in\n{picture}");
    }
    assert!(space.ip("link show br0").contains("mtu 1400"), "{picture}");
    assert_eq!(space.run(&["cat", "/proc/sys/net/ipv4/ip_forward"]).trim(), "1");
}

#[test]
fn what_somebody_changes_by_hand_is_found_and_healed_and_what_is_others_stays() {
    let (site, space) = site(GRANT);
    everything(&site);
    site.repo().commit("A router");
    site.apply();
    space.ip("route add 10.50.0.0/16 via 10.0.0.2 proto bgp");
    space.nft("add table ip docker");
    space.nft("add element inet filter banned { 10.0.0.66 timeout 1h }");
    site.converged();
    let before = space.picture();
    for break_it in [
        &["ip", "link", "set", "br0", "mtu", "1500"][..],
        &["ip", "link", "set", "br0", "down"],
        &["ip", "link", "delete", "vx7"],
        &["ip", "address", "delete", "10.0.0.1/24", "dev", "br0"],
        &["ip", "route", "delete", "10.1.0.0/16", "metric", "100"],
        &["ip", "route", "replace", "10.1.0.0/16", "via", "10.0.0.77", "proto", "201"],
        &[
            "ip",
            "route",
            "replace",
            "10.2.0.0/16",
            "proto",
            "201",
            "nexthop",
            "via",
            "10.0.0.9",
            "nexthop",
            "via",
            "10.0.0.2",
        ],
        &["ip", "rule", "delete", "priority", "1000"],
        &["sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"],
        &["nft", "add rule inet filter forward tcp dport 23 accept"],
        &["nft", "delete element inet filter admins { 10.0.0.7 }"],
        &["nft", "delete table inet filter"],
    ] {
        space.run(break_it);
        site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2).says("network.");
        site.apply();
        site.converged();
        let kept = |text: &str| {
            text.lines()
                .filter(|line| !line.contains("10.50.0.0") && !line.contains("10.0.0.66"))
                // Made anew, it has an address of the hardware that the kernel draws.
                .filter(|line| !line.trim_start().starts_with("vx7 "))
                .map(ToOwned::to_owned)
                .collect::<Vec<_>>()
        };
        // A table that was replaced is listed after the others.
        let sorted = |mut lines: Vec<String>| {
            lines.sort();
            lines
        };
        // A bridge has a carrier only some time after it is up.
        let as_before = |space: &Netns| sorted(kept(&space.picture())) == sorted(kept(&before));
        space.wait(&format!("what was before {break_it:?}"), Duration::from_secs(10), as_before);
    }
    assert!(space.picture().contains("table ip docker"));
}

#[test]
fn what_leaves_git_goes_and_a_replaced_table_keeps_its_bans() {
    let (site, space) = site(GRANT);
    everything(&site);
    site.repo().commit("A router");
    site.apply();
    space.nft("add element inet filter banned { 10.0.0.66 timeout 1h }");
    firewall(&site, "    ct state established,related accept\n    ip saddr @admins tcp dport 22 accept");
    for file in ["branch-backup", "nowhere", "guests", "overlay", "extra", "lan-v6", "branch-v6"] {
        site.repo().remove(&format!("net/{file}.yaml"));
    }
    site.repo().commit("Less");
    site.apply();
    site.converged();
    let picture = space.picture();
    for gone in ["metric 100 ", "10.99.0.0", "1000:", "vx7", "mv0", "2001:db8::1/64", "2001:db8:1::"] {
        assert!(!picture.contains(gone), "{gone} is in\n{picture}");
    }
    assert!(picture.contains("10.0.0.66 timeout 1h") && picture.contains("tcp dport 22 accept"), "{picture}");
    site.repo().remove("net/filter.yaml");
    site.repo().commit("No table");
    site.apply();
    assert!(!space.picture().contains("table inet filter"));
}

#[test]
fn what_is_not_granted_is_refused_with_the_lines_to_paste() {
    let narrow = "[grants.network]\ntargets = [\"*\"]\nlinks = [\"br*\"]\naddresses = [\"10.0.0.0/8\"]\nroutes = [\"10.1.0.0/16\"]\ntables = [\"inet filter\"]\n\n";
    let (site, space) = site(narrow);
    space.ip("link add uplink type bridge");
    space.nft("add table inet docker");
    let before = space.picture();
    for (kind, spec, line) in [
        ("link", "{ name: uplink, up: true }", "links = [\"uplink\"]"),
        ("link", "{ name: lo, up: false }", "links = [\"lo\"]"),
        ("link", "{ name: br0, type: bridge, master: uplink }", "links = [\"uplink\"]"),
        ("address", "{ link: uplink, address: 10.0.0.1/24 }", "links = [\"uplink\"]"),
        ("address", "{ link: br0, address: 192.0.2.1/24 }", "addresses = [\"192.0.2.0/24\"]"),
        ("route", "{ to: 0.0.0.0/0, via: 10.0.0.1 }", "routes = [\"0.0.0.0/0\"]"),
        ("route", "{ to: 10.1.0.0/16, dev: uplink }", "links = [\"uplink\"]"),
        ("rule", "{ family: 4, priority: 1, table: 100 }", "rules = [\"1\"]"),
        ("sysctl", "{ name: net.ipv4.ip_forward, value: \"1\" }", "sysctls = [\"net.ipv4.ip_forward\"]"),
        ("nftables", "{ name: docker, ruleset: \"table inet docker { }\" }", "tables = [\"inet docker\"]"),
    ] {
        put(&site, kind, "one", spec);
        site.repo().commit("Something that is not granted");
        let ran = site.tidelock(["apply", "--yes"]).run();
        assert_ne!(ran.code, 0, "{spec}\n{}", ran.story());
        ran.says(line);
        assert_eq!(space.picture(), before, "{spec}");
    }
}

#[test]
fn a_number_where_text_is_wanted_and_the_other_way_round_say_what_to_write() {
    let (site, _space) = site(GRANT);
    for (kind, spec, words) in [
        ("rule", "{ family: ipv4, priority: 1000, table: 100 }", "\"ipv4\" is no family: 4 or 6, without quotes"),
        ("rule", "{ family: 4, priority: \"1000\", table: 100 }", "write it without quotes: 1000"),
        ("sysctl", "{ name: net.ipv4.ip_forward, value: 1 }", "write it in quotes: \"1\""),
    ] {
        put(&site, kind, "one", spec);
        site.repo().commit("A spelling");
        let ran = site.tidelock(["plan"]).run().exit(1).says(words);
        let _ = ran.never_says("expected u8").never_says("expected u32").never_says("expected a string");
    }
}

#[test]
fn a_ruleset_with_a_mistake_in_its_last_line_leaves_the_old_one() {
    let (site, space) = site(GRANT);
    firewall(&site, "    ip saddr @admins accept");
    site.repo().commit("Good");
    site.apply();
    let before = space.picture();
    for (rules, words, place) in [
        ("    ip saddr @admins accept\n    tcp dprot 22 accept", "syntax error", "net/filter.nft:8:9"),
        ("    ip saddr @nobody accept", "No such file or directory", "net/filter.nft:7:14"),
        ("    include \"/etc/passwd\"", "`include` reads files", "net/filter.nft"),
    ] {
        firewall(&site, rules);
        site.repo().commit("Bad");
        let ran = site.tidelock(["apply", "--yes"]).run();
        assert_ne!(ran.code, 0);
        // Whoever wrote the text finds the mistake in it.
        let _ = ran.says(words).says(place).says("`ruleset` of network.nftables/filter").never_says("filter.yaml");
        assert_eq!(space.picture(), before);
    }
}

#[test]
fn a_namespace_that_is_not_there_is_no_mistake_of_git() {
    let (site, space) = site(GRANT);
    everything(&site);
    site.repo().commit("A router");
    let name = space.name().to_owned();
    let config = site.world().read("tidelock.toml");
    let line = config.lines().position(|line| line.starts_with("netns = ")).unwrap() + 1;
    drop(space);
    for words in [&["plan"][..], &["apply", "--yes"], &["doctor", "--offline"]] {
        let ran = site.tidelock(words).run().exit(1);
        let _ = ran
            .says(&format!("target router: there is no network namespace {name}"))
            .says(&format!("tidelock.toml:{line}:"))
            .says(&format!("ip netns add {name}"))
            .never_says("in what Git says")
            .never_says(".yaml");
    }
    let _ = site.tidelock(["plan"]).run().says("targets.router.netns");
}

/// The kernel makes room in a set when it has nothing better to do, and a runtime that lets it
/// not come to that lists the set while its elements move.
#[test]
fn a_large_set_keeps_all_of_its_elements_while_the_kernel_makes_room_for_them() {
    let (site, space) = site(GRANT);
    let address = |n: usize| format!("10.{}.{}.{}", 128 + n / 65_536, n / 256 % 256, n % 256);
    let elements: Vec<String> = (0..20_000).map(address).collect();
    let set = format!("set many {{ type ipv4_addr; elements = {{ {} }}; }}", elements.join(", "));
    site.repo().write("net/filter.nft", format!("table inet filter {{\n{set}\n}}\n"));
    put(&site, "nftables", "filter", "{ name: filter, ruleset: { $file: filter.nft } }");
    site.repo().commit("A large set");
    for _ in 0..2 {
        site.tidelock(["apply", "--yes"]).before_others().run().ok();
        let there = space.run(&["nft", "list", "set", "inet", "filter", "many"]);
        let there: BTreeSet<&str> = there.split(|c: char| !matches!(c, '0'..='9' | '.')).collect();
        let lacking: Vec<&String> = elements.iter().filter(|element| !there.contains(element.as_str())).collect();
        assert!(lacking.is_empty(), "{} elements are missing", lacking.len());
        site.converged();
        space.run(&["nft", "flush", "set", "inet", "filter", "many"]);
    }
}

#[test]
fn three_routers_carry_packets_as_the_policy_says() {
    let names = ["left", "r1", "r2", "r3", "right"];
    let spaces: Vec<Netns> = names.iter().map(|_| Netns::new()).collect();
    let machines: Vec<(&str, &Netns)> = names.iter().copied().zip(&spaces).collect();
    let site = router::site(&machines, GRANT, "\"*\"", "");
    // The cables are laid; all else is Git's.
    for pair in 0..4 {
        spaces[pair].cable("east", &spaces[pair + 1], "west");
    }
    for (i, name) in names.iter().enumerate() {
        for (side, there, address) in
            [("west", i > 0, format!("10.0.{i}.2/24")), ("east", i < 4, format!("10.0.{}.1/24", i + 1))]
        {
            if there {
                put_on(&site, name, "link", side, &format!("{{ name: {side}, up: true, mtu: 1400 }}"));
                put_on(
                    &site,
                    name,
                    "address",
                    &format!("a-{side}"),
                    &format!("{{ link: {side}, address: {address} }}"),
                );
            }
        }
        if (1..=3).contains(&i) {
            put_on(&site, name, "sysctl", "forward", "{ name: net.ipv4.ip_forward, value: \"1\" }");
        }
        for net in 1..=4 {
            if net != i && net != i + 1 {
                let via = if net < i { format!("10.0.{i}.1") } else { format!("10.0.{}.2", i + 1) };
                put_on(&site, name, "route", &format!("to-{net}"), &format!("{{ to: 10.0.{net}.0/24, via: {via} }}"));
            }
        }
    }
    put_on(
        &site,
        "r2",
        "nftables",
        "filter",
        "{ name: filter, ruleset: \"table inet filter { chain f { type filter hook forward priority 0; policy drop; \
         ct state established accept; ip saddr 10.0.1.0/24 icmp type echo-request accept; }; }\" }",
    );
    site.repo().commit("A small internet");
    let ran = site.tidelock(["apply", "--yes"]).run().ok();
    drop(ran);
    site.converged();
    let (left, right) = (&spaces[0], &spaces[4]);
    left.wait("left reaches right", Duration::from_secs(10), |left| left.pings("10.0.4.2"));
    assert!(!right.pings("10.0.1.1"), "only the left may begin");
    assert!(right.pings("10.0.3.1"), "a router on the way is no other side");
}

/// A router whose address is to become another, with what stands on it: a route through a neighbour, and one that
/// says whose address packets have.
fn renumbered(old: &str, new: &str, route: (&str, &str), names: (&str, &str)) -> (Site, Netns) {
    let (site, space) = site(GRANT);
    // As the kernel has it by itself; some systems say otherwise.
    let off = "for of in all default; do echo 0 > /proc/sys/net/ipv4/conf/$of/promote_secondaries; done";
    space.run(&["sh", "-c", off]);
    put(&site, "link", "lan", "{ name: br0, type: bridge, up: true }");
    put(&site, "address", names.0, &format!("{{ link: br0, address: {old} }}"));
    put(&site, "route", "branch", route.0);
    site.repo().commit("Before");
    site.apply();
    site.repo().remove(&format!("net/{}.yaml", names.0));
    put(&site, "address", names.1, &format!("{{ link: br0, address: {new} }}"));
    put(&site, "route", "branch", route.1);
    site.repo().commit("Renumber");
    (site, space)
}

#[test]
fn a_renumbered_address_leaves_nothing_behind_and_keeps_its_routes() {
    let via = |last: &str| format!("{{ to: 10.1.0.0/16, via: 10.0.{last} }}");
    let src = |via: &str, src: &str| format!("{{ to: 10.1.0.0/16, via: {via}, src: {src} }}");
    for (old, new, route) in [
        // The same network: the route need not change.
        ("10.0.0.1/24", "10.0.0.9/24", (via("0.2"), via("0.2"))),
        ("10.0.0.1/24", "10.0.1.1/16", (via("0.2"), via("0.2"))),
        // Another one.
        ("10.0.0.1/24", "10.0.1.1/24", (via("0.2"), via("1.2"))),
        ("10.0.0.1/16", "10.0.1.1/24", (via("1.2"), via("1.2"))),
        ("10.0.0.1/16", "10.0.1.1/24", (via("0.2"), via("1.2"))),
        ("10.0.0.1/24", "10.0.0.9/24", (src("10.0.0.2", "10.0.0.1"), src("10.0.0.2", "10.0.0.9"))),
        ("10.0.0.1/24", "10.0.1.1/24", (src("10.0.0.2", "10.0.0.1"), src("10.0.1.2", "10.0.1.1"))),
    ] {
        for names in [("lan-v4", "lan-v4"), ("old", "a-new")] {
            let (site, space) = renumbered(old, new, (&route.0, &route.1), names);
            site.apply();
            let addresses = space.ip("-br -4 address show br0");
            let case = format!("{old} -> {new}, {route:?}: {addresses}{}", space.ip("route"));
            assert!(addresses.contains(new) && !addresses.contains(old), "{case}");
            assert!(space.ip("route show 10.1.0.0/16").contains("via"), "{case}");
            site.converged();
        }
    }
}

#[test]
fn an_address_that_a_route_still_needs_stays_and_is_told_until_it_goes() {
    let (site, space) = site(GRANT);
    put(&site, "link", "lan", "{ name: br0, type: bridge, up: true }");
    put(&site, "address", "lan-v4", "{ link: br0, address: 10.0.0.1/24 }");
    put(&site, "route", "branch", "{ to: 10.1.0.0/16, via: 10.0.0.2 }");
    site.repo().commit("Before");
    site.apply();
    site.repo().remove("net/lan-v4.yaml").commit("Without the address");
    site.tidelock(["apply", "--yes"]).run().exit(5).says("it goes once nothing does");
    let status = || site.tidelock(["status", "--detailed-exitcode"]).run();
    let _ = status().exit(2).says("no longer in Git, but network.route/branch still stands on it");
    site.tidelock(["why"]).run().ok().says("still-needed").says("remove that too");
    assert!(space.ip("-br -4 address show br0").contains("10.0.0.1/24"));
    site.repo().remove("net/branch.yaml").commit("Without the route");
    site.apply();
    assert!(!space.ip("-br -4 address show br0").contains("10.0.0.1/24"));
    let _ = status().exit(0);
}

#[test]
fn a_route_of_a_routing_daemon_is_refused_when_it_is_planned_and_left_when_it_leaves_git() {
    let (site, space) = site(GRANT);
    put(&site, "link", "lan", "{ name: br0, type: bridge, up: true }");
    put(&site, "address", "lan-v4", "{ link: br0, address: 10.0.0.1/24 }");
    put(&site, "route", "ours", "{ to: 10.4.0.0/16, via: 10.0.0.2 }");
    site.repo().commit("A router");
    site.apply();
    space.ip("route add 10.5.0.0/16 via 10.0.0.9 proto bgp");
    put(&site, "route", "theirs", "{ to: 10.5.0.0/16, via: 10.0.0.2 }");
    put(&site, "route", "more", "{ to: 10.6.0.0/16, via: 10.0.0.2 }");
    site.repo().commit("Two routes, one of them BGP's");
    let plan = site.tidelock(["plan"]).run();
    assert_ne!(plan.code, 0);
    let _ = plan
        .says("route:main/10.5.0.0/16 was made by protocol 186 and not by Tidelock")
        .says("net/theirs.yaml")
        .says("another metric");
    let _ = site.tidelock(["apply", "--yes"]).run();
    assert!(space.ip("route").contains("10.6.0.0/16 via 10.0.0.2"), "the others go on");
    assert!(space.ip("route").contains("10.5.0.0/16 via 10.0.0.9"));
    // BGP takes over what was ours; it leaves Git, and is not ours to remove.
    space.ip("route replace 10.4.0.0/16 via 10.0.0.2 proto bgp");
    site.repo().remove("net/theirs.yaml").remove("net/ours.yaml").commit("BGP does both");
    let _ = site.tidelock(["plan"]).run().ok().says("release").says("was made by protocol 186");
    site.apply();
    assert!(space.ip("route").contains("10.4.0.0/16 via 10.0.0.2 dev br0 proto bgp"));
    site.converged();
}

#[test]
fn what_the_same_apply_makes_is_no_mistake_at_its_end() {
    let (site, space) = site(GRANT);
    put(&site, "link", "one", "{ name: v0, type: veth, peer: v1, up: true }");
    // Without a word of its peer nobody can know that it will be there.
    put(&site, "link", "other", "{ name: v1, up: true }");
    site.repo().commit("A pair");
    let _ = site.tidelock(["plan"]).run().exit(4).says("there is no link v1");
    let applied = site.tidelock(["apply", "--yes"]).run().ok();
    let _ = applied.says("Done: ").never_says("has to be mended");
    assert!(space.ip("-br link show v1").contains("v1@v0"));
    site.converged();
}

#[test]
fn a_route_and_a_rule_of_ours_are_told_from_those_that_others_put_at_their_place() {
    let (site, space) = site(GRANT);
    put(&site, "link", "lan", "{ name: br0, type: bridge, up: true }");
    put(&site, "address", "lan-v4", "{ link: br0, address: 10.0.0.1/24 }");
    put(&site, "route", "ours", "{ to: 10.8.0.0/16, via: 10.0.0.2 }");
    put(&site, "rule", "rule", "{ family: 4, priority: 1000, from: 10.0.5.0/24, table: 100 }");
    site.repo().commit("A route and a rule");
    site.apply();
    space.ip("route append 10.8.0.0/16 via 10.0.0.7 proto static");
    space.ip("rule add priority 1000 from 10.0.6.0/24 lookup 100");
    site.converged();
    put(&site, "route", "ours", "{ to: 10.8.0.0/16, via: 10.0.0.3 }");
    put(&site, "rule", "rule", "{ family: 4, priority: 1000, from: 10.0.7.0/24, table: 100 }");
    site.repo().commit("Others");
    site.apply();
    site.converged();
    // Somebody's route before ours is not replaced either.
    space.ip("route prepend 10.8.0.0/16 via 10.0.0.8 proto static");
    put(&site, "route", "ours", "{ to: 10.8.0.0/16, via: 10.0.0.4 }");
    site.repo().commit("Another one again");
    site.apply();
    let routes = space.ip("route show 10.8.0.0/16");
    assert!(["10.0.0.8", "10.0.0.4", "10.0.0.7"].iter().all(|via| routes.contains(via)), "{routes}");
    assert!(!routes.contains("10.0.0.3"), "{routes}");
    site.repo().remove("net/ours.yaml").remove("net/rule.yaml").commit("Neither");
    site.apply();
    let routes = space.ip("route show 10.8.0.0/16");
    assert!(!routes.contains("10.0.0.4") && routes.contains("10.0.0.7"), "{routes}");
    assert!(space.ip("rule").contains("from 10.0.6.0/24") && !space.ip("rule").contains("from 10.0.7.0/24"));
    site.converged();
}

#[test]
fn a_ruleset_that_asks_for_a_link_by_its_number_comes_after_it() {
    let (site, space) = site(GRANT);
    let chain = "chain input { type filter hook input priority 0; iif lan0 accept; iif { lan0, lo } counter; }";
    put(&site, "nftables", "filter", &format!("{{ name: filter, ruleset: \"table inet filter {{ {chain}; }}\" }}"));
    put(&site, "link", "lan", "{ name: lan0, type: bridge, up: true }");
    put(&site, "address", "lan-v4", "{ link: lan0, address: 10.0.0.1/24 }");
    site.repo().commit("A link and a table that asks for it");
    site.apply();
    site.converged();
    space.ip("link del lan0");
    site.apply();
    assert!(space.ip("-br -4 address show lan0").contains("10.0.0.1/24"));
    assert!(space.run(&["nft", "list", "table", "inet", "filter"]).contains("iif \"lan0\" accept"));
    site.converged();
    // One that nobody makes fails alone.
    put(
        &site,
        "nftables",
        "filter",
        &format!("{{ name: filter, ruleset: \"table inet filter {{ {}; }}\" }}", chain.replace("lan0", "lan9")),
    );
    put(&site, "route", "more", "{ to: 10.9.0.0/16, via: 10.0.0.2 }");
    site.repo().commit("A link that is not there");
    let ran = site.tidelock(["apply", "--yes"]).run();
    assert_ne!(ran.code, 0);
    let _ = ran.says("Interface does not exist").says("iifname");
    assert!(space.ip("route").contains("10.9.0.0/16 via 10.0.0.2"), "the others go on");
}

#[test]
fn an_address_goes_alone() {
    let (site, space) = site(GRANT);
    put(&site, "link", "lan", "{ name: br0, type: bridge, up: true }");
    put(&site, "address", "a", "{ link: br0, address: 10.0.0.2/24 }");
    site.repo().commit("An address");
    site.apply();
    // Somebody else's, in the same network: for the kernel it hangs on the first one.
    space.ip("address add 10.0.0.50/24 dev br0 label br0:x");
    put(&site, "address", "a", "{ link: br0, address: 10.0.0.9/24 }");
    site.repo().commit("Another one, in the same network");
    site.apply();
    site.converged();
    let there = space.ip("-o address show br0");
    for (address, is_there) in [("10.0.0.2/24", false), ("10.0.0.9/24", true), ("10.0.0.50/24", true)] {
        assert_eq!(there.contains(address), is_there, "{there}");
    }
    assert!(there.contains("br0:x"), "it is as it was: {there}");
    put(&site, "address", "a", "{ link: br0, address: 10.7.0.9/24 }");
    site.repo().commit("Another network");
    site.apply();
    assert!(space.ip("-o address show br0").contains("10.0.0.50/24"));
}

/// The two ends of a veth, made by one commit; the second one has no `type`.
fn pair(site: &Site, end: &str) {
    put(site, "link", "lan", "{ name: br0, type: bridge }");
    put(site, "link", "ve1", "{ name: ve1, type: veth, peer: ve2, up: true }");
    put(site, "link", "ve2", end);
    put(site, "address", "ve2-address", "{ link: ve2, address: 10.3.0.1/24 }");
    site.repo().commit("A pair");
    site.apply();
    site.converged();
}

#[test]
fn the_other_end_of_a_veth_goes_with_it() {
    for (end, destroys) in
        [("{ name: ve2, peer: ve1, up: true }", false), ("{ name: ve2, up: true }", false), ("{ name: ve2 }", true)]
    {
        let (site, space) = site(GRANT);
        pair(&site, end);
        if destroys {
            site.tidelock(["suspend", "net"]).run().ok();
            site.tidelock(["destroy", "net", "--yes"]).run().ok();
        } else {
            for file in ["ve1", "ve2", "ve2-address"] {
                site.repo().remove(&format!("net/{file}.yaml"));
            }
            site.repo().commit("No pair");
            site.tidelock(["apply", "--yes"]).run().ok();
            site.converged();
        }
        assert!(!space.picture().contains("ve1") && !space.picture().contains("ve2"), "{end}: {}", space.picture());
    }
}

#[test]
fn a_link_that_its_resource_did_not_make_is_let_go() {
    let (site, space) = site(GRANT);
    pair(&site, "{ name: ve2, peer: ve1, mtu: 1400 }");
    for file in ["ve2", "ve2-address"] {
        site.repo().remove(&format!("net/{file}.yaml"));
    }
    site.repo().commit("One end alone");
    site.tidelock(["plan"]).run().ok().says("release").says("stays as it is");
    site.tidelock(["apply", "--yes"]).run().ok();
    site.converged();
    let left = space.ip("link show ve2");
    assert!(left.contains("mtu 1400") && !space.picture().contains("10.3.0.1"), "{}", space.picture());
}

#[test]
fn an_element_that_does_not_fit_a_new_table_costs_no_other_one() {
    let (site, space) = site(GRANT);
    let table = |elements: &str| {
        let ruleset = format!(
            "table inet filter {{\n  set ban {{ type ipv4_addr; flags interval,timeout;{elements}\n  }}\n  \
             set seen {{ type ipv4_addr; flags timeout;\n  }}\n}}\n"
        );
        site.repo().write("net/filter.nft", ruleset);
        put(&site, "nftables", "filter", "{ name: filter, ruleset: { $file: filter.nft } }");
    };
    table("");
    site.repo().commit("A table");
    site.apply();
    space.nft("add element inet filter ban { 10.7.7.7 timeout 1h, 10.8.8.8 timeout 1h }");
    space.nft("add element inet filter seen { 10.9.9.9 timeout 1h }");
    table(" elements = { 10.7.7.0/24 }");
    site.repo().commit("A network of these");
    let ran = site.tidelock(["apply", "--yes"]).run().ok();
    ran.says("table inet filter, set ban: an element could not be carried over").says("10.7.7.7");
    site.converged();
    let picture = space.picture();
    assert!(picture.contains("10.7.7.0/24") && picture.contains("10.8.8.8 timeout 1h"), "{picture}");
    assert!(picture.contains("10.9.9.9 timeout 1h"), "{picture}");
    let told = site.events().iter().filter(|event| event["event"] == "lost").count();
    assert_eq!(told, 1, "{:?}", site.events());
}

#[test]
fn a_table_of_eighty_thousand_elements_is_one_like_any_other() {
    let (site, space) = site(GRANT);
    let elements: Vec<String> = (0..80_000).map(|n| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)).collect();
    let set = format!("set s {{\n type ipv4_addr\n elements = {{ {} }}\n }}", elements.join(", "));
    site.repo().write("net/filter.nft", format!("table inet filter {{\n {set}\n}}\n"));
    put(&site, "nftables", "filter", "{ name: filter, ruleset: { $file: filter.nft } }");
    site.repo().commit("A large set");
    site.apply();
    site.converged();
    assert!(space.picture().contains("10.1.56.127"));
}
