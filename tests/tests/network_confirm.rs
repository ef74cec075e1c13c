//! Commit-confirm: a network that goes back by itself unless somebody says that all is well.

use std::time::Duration;

use tidelock_tests::dice::count;
use tidelock_tests::guards;
use tidelock_tests::netns::Netns;
use tidelock_tests::router::{self, GRANT, input, put, put_on};
use tidelock_tests::{Daemon, Site};

/// A router that is as Git says, with a way to the operator that a commit then cuts.
fn site(more: &str) -> (Site, Netns) {
    let space = Netns::new();
    let site = router::site(&[("router", &space)], GRANT, "router", more);
    space.ip("link add uplink type bridge");
    space.ip("link set uplink up");
    put(&site, "link", "uplink-link", "{ name: uplink, up: true, mtu: 1500 }");
    put(&site, "address", "uplink", "{ link: uplink, address: 10.0.0.1/24 }");
    put(&site, "route", "out", "{ to: 10.9.0.0/16, via: 10.0.0.254 }");
    input(&site, "tcp dport 22 accept");
    site.repo().commit("A router");
    site.apply();
    site.converged();
    (site, space)
}

/// The commit that cuts it off: the link goes down, its route with it, and a rule shuts the rest.
fn cut(site: &Site) {
    put(site, "link", "uplink-link", "{ name: uplink, up: false, mtu: 1300 }");
    put(site, "route", "out", "{ to: 10.9.0.0/16, type: blackhole }");
    input(site, "policy drop");
    site.repo().commit("Cut it off");
}

#[test]
fn what_nobody_confirms_goes_back_by_itself() {
    let (site, space) = site("");
    let before = space.picture();
    cut(&site);
    let ran = site.tidelock(["apply", "--yes", "--confirm-within", "3s"]).run();
    ran.exit(5).says("goes back at").says("tidelock confirm");
    assert_ne!(space.picture(), before);
    // Nobody else works there meanwhile.
    put(&site, "link", "more", "{ name: br9, type: bridge }");
    site.repo().commit("Something else");
    site.tidelock(["apply", "--yes"]).run().exit(5).says("waits to be confirmed");
    space.wait("the old network", Duration::from_secs(10), |space| space.picture() == before);
    site.tidelock(["confirm"]).run().exit(1).says("nothing waits to be confirmed");
}

#[test]
fn what_somebody_confirms_stays() {
    let (site, space) = site("");
    cut(&site);
    site.tidelock(["apply", "--yes", "--confirm-within", "3s"]).run().exit(5).says("goes back at");
    let after = space.picture();
    site.tidelock(["confirm", "net"]).run().ok().says("Confirmed");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(space.picture(), after);
    site.converged();
}

/// Two routers that are to have a bridge each.
fn two_routers() -> (Site, Netns, Netns) {
    let (router, second) = (Netns::new(), Netns::new());
    let site =
        router::site(&[("router", &router), ("second", &second)], GRANT, "[router, second]", "rollout: { first: 2 }\n");
    for target in ["router", "second"] {
        put_on(&site, target, "link", "a", "{ name: br1, type: bridge }");
    }
    site.repo().commit("Two of them");
    (site, router, second)
}

#[test]
fn a_guard_holds_up_its_own_target_alone() {
    let (site, router, second) = two_routers();
    let ran = site.tidelock(["apply", "--yes", "--target", "second", "--confirm-within", "60s"]).run();
    ran.exit(5).says("goes back at");
    for again in [&["plan", "--target", "second"][..], &["apply", "--target", "second"]] {
        let _ = site.tidelock(again).run().ok().says("goes back at").says("tidelock confirm");
    }
    site.tidelock(["apply", "--yes", "--target", "router"]).run().ok().never_says("goes back at");
    for space in [&router, &second] {
        assert!(space.ip("link show br1").contains("br1"));
    }
    site.tidelock(["confirm"]).run().ok().says("Confirmed");
    site.converged();
}

#[test]
fn a_guard_that_nobody_can_read_holds_up_its_own_target_alone() {
    let (site, router, second) = two_routers();
    let left = site.world().path("guards/1@router.armed");
    std::fs::create_dir_all(left.parent().unwrap()).unwrap();
    std::fs::write(&left, "{\"guard\": {").unwrap();
    site.tidelock(["apply", "--yes", "--target", "second"]).run().ok();
    assert!(second.ip("link show br1").contains("br1"));
    let ran = site.tidelock(["apply", "--yes"]).run().exit(5);
    let _ = ran.says("nobody can read what it is for").says("1@router.armed").says("remove that file");
    assert!(!router.ended(&["ip", "link", "show", "br1"]).status.success());
    let _ = site.tidelock(["status"]).run().ok().says("1@router.armed");
    std::fs::remove_file(left).unwrap();
    site.apply();
    site.converged();
}

#[test]
fn a_target_that_is_out_of_reach_holds_up_no_other_and_nobodys_word() {
    let (site, space) = site("");
    // The first of all by its name.
    let config = site.world().read("tidelock.toml") + "\n[targets.a-gone]\ntype = \"machine\"\nroot = \"nowhere\"\n";
    site.world().write("tidelock.toml", config);
    cut(&site);
    site.tidelock(["apply", "--yes", "--confirm-within", "60s"]).run().exit(5).says("goes back at");
    let after = space.picture();
    site.tidelock(["confirm"]).run().ok().says("Confirmed");
    site.converged();
    assert_eq!(space.picture(), after);
}

#[test]
fn what_a_killed_guard_watched_over_goes_back_with_the_next_pass() {
    let (site, space) = site("");
    let before = space.picture();
    cut(&site);
    site.tidelock(["apply", "--yes", "--confirm-within", "10m"]).run().exit(5).says("goes back at");
    let after = space.picture();
    // As long as it lives, nobody does its work.
    site.tidelock(["apply", "--yes"]).run();
    assert_eq!(space.picture(), after);
    guards::kill(guards::standing(site.world()).expect("a guard stands"));
    let daemon = Daemon::start(&site);
    said(&site, &["events", "--limit", "1000"], "the guard that watched over it was gone");
    space.wait("the old network", Duration::from_secs(10), |space| space.picture() == before);
    daemon.stop();
}

#[test]
fn a_guard_that_is_killed_before_its_caller_asks_it_is_stood_in_for() {
    let (site, space) = site("");
    let before = space.picture();
    router::stack(&site, "router", "confirm: 10m\nchecks:\n  - { exec: [/bin/false], within: 4s }\n");
    cut(&site);
    let mut child = site.tidelock(["apply", "--yes"]).spawn();
    space.wait("the new network", Duration::from_secs(20), |space| space.picture() != before);
    guards::kill(guards::standing(site.world()).expect("a guard stands"));
    assert!(!child.wait().unwrap().success());
    assert_eq!(space.picture(), before);
}

#[test]
fn a_check_that_fails_takes_the_target_back_and_the_loop_does_not_try_it_again() {
    let (site, space) = site("");
    let before = space.picture();
    router::stack(&site, "router", "confirm: 20s\nchecks:\n  - { exec: [/bin/false], within: 1s }\n");
    cut(&site);
    let daemon = Daemon::start(&site);
    said(&site, &["events", "--limit", "1000"], "went back");
    assert_eq!(space.picture(), before);
    said(&site, &["why"], "took this change back");
    let tries = site.events().iter().filter(|event| event["event"] == "guarded").count();
    assert_eq!((space.picture() == before, tries), (true, 1));
    daemon.stop();
}

/// A router with a link more, and a commit that removes one of each kind, makes a link, and lets the
/// stack say `more`.
fn removing(more: &str) -> (Site, Netns, String) {
    let (site, space) = site("");
    put(&site, "link", "extra", "{ name: br5, type: bridge, up: false }");
    site.repo().commit("A link more");
    site.tidelock(["apply", "--yes"]).run().ok();
    site.converged();
    let before = space.picture();
    put(&site, "link", "kept", "{ name: kept, type: bridge }");
    for name in ["uplink", "out", "filter", "extra"] {
        site.repo().remove(&format!("net/{name}.yaml"));
    }
    router::stack(&site, "router", more);
    site.repo().commit("Remove one of each");
    (site, space, before)
}

/// None of what the commit removes is there, and nobody plans to do anything about it.
fn removed(site: &Site, space: &Netns) {
    let picture = space.picture();
    for gone in ["10.0.0.1", "10.9.0.0", "table inet filter", "br5"] {
        assert!(!picture.contains(gone), "{gone} is there\n{picture}");
    }
    assert!(picture.contains("kept"), "{picture}");
    site.converged();
}

#[test]
fn what_was_removed_and_went_back_is_ours_and_goes_once_a_person_applies_it() {
    let (site, space, before) = removing("");
    site.tidelock(["apply", "--yes", "--confirm-within", "3s"]).run().exit(5).says("goes back at");
    assert_ne!(space.picture(), before);
    space.wait("the old network", Duration::from_secs(10), |space| space.picture() == before);
    // Who asks before anything is planned is told too.
    said(&site, &["history", "route/out"], "taken-back");
    site.tidelock(["history", "route/out"]).run().ok().says("nobody confirmed it in time");
    site.tidelock(["blame", "route/out"]).run().ok().says("what      create at").never_says("delete");
    site.tidelock(["blame", "link/kept"]).run().exit(64).says("everything was taken back that was done to");
    let mut planned = site.tidelock(["plan"]).run();
    for gone in ["address/uplink", "route/out", "nftables/filter", "link/extra"] {
        planned = planned.says(gone);
    }
    planned.says("it is no longer in Git; the target went back at");
    // A person sees to it that all is well, and applies.
    site.tidelock(["apply", "--yes", "--confirm-within", "60s"]).run().exit(5).says("goes back at");
    site.tidelock(["confirm"]).run().ok().says("Confirmed");
    removed(&site, &space);
}

#[test]
fn what_a_check_took_back_is_held_without_flapping_and_goes_once_the_check_passes() {
    let (site, space, before) = removing("confirm: 20s\nchecks:\n  - { exec: [/bin/false], within: 1s }\n");
    let config = site.world().read("tidelock.toml").replace("drift_every = \"1h\"", "drift_every = \"1s\"");
    site.world().write("tidelock.toml", config);
    let daemon = Daemon::start(&site);
    said(&site, &["events", "--limit", "1000"], "went back");
    said(&site, &["why"], "took this change back");
    let tries = || site.events().iter().filter(|event| event["event"] == "guarded").count();
    let tried = tries();
    // It is looked at again and again, and left alone.
    let looked = || site.tidelock(["status", "--output", "json"]).run().json()["lanes"][0]["seen"].clone();
    for _ in 0..3 {
        let before = looked();
        space.wait("another look", Duration::from_secs(20), |_| looked() != before);
    }
    assert_eq!((space.picture(), tries()), (before, tried));
    daemon.stop();
    // The check is as it should be now: a person applies.
    router::stack(&site, "router", "confirm: 20s\nchecks:\n  - { exec: [/bin/true], within: 1s }\n");
    site.repo().commit("A check that passes");
    site.tidelock(["apply", "--yes"]).run().ok();
    removed(&site, &space);
}

#[test]
fn a_runtime_that_is_killed_over_a_removal_learns_what_its_guard_did() {
    let (site, space, before) = removing("confirm: 4s\nchecks:\n  - { exec: [/bin/false], within: 60s }\n");
    let planned = site.tidelock(["plan"]).run().ok();
    let _ = planned.says("to hold, and what nobody confirmed within 4s goes back before").says("net/stack.yaml");
    let mut child = site.tidelock(["apply", "--yes"]).spawn();
    space.wait("the new network", Duration::from_secs(20), |space| !space.picture().contains("table inet filter"));
    child.kill().unwrap();
    child.wait().unwrap();
    space.wait("the old network", Duration::from_secs(20), |space| space.picture() == before);
    router::stack(&site, "router", "confirm: 20s\n");
    site.repo().commit("No check");
    site.tidelock(["apply", "--yes"]).run().ok();
    removed(&site, &space);
}

/// What a link was made as, in the kernel's words.
fn made(space: &Netns, link: &str) -> String {
    space.ip(&format!("-d link show {link}"))
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
    said(&site, &["history", "link/vx"], "taken-back");
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
fn a_first_commit_with_all_that_hangs_together_passes_under_a_guard() {
    let (site, space) = site("confirm: 20s\n");
    let config = site.world().read("tidelock.toml").replace("\"net.ipv4.*\"", "\"net.ipv4.conf.*.rp_filter\"");
    site.world().write("tidelock.toml", config);
    put(&site, "link", "pair", "{ name: v0, type: veth, peer: v1, up: true }");
    put(&site, "link", "end", "{ name: v1, peer: v0, up: true }");
    put(&site, "sysctl", "filter", "{ name: net.ipv4.conf.v0.rp_filter, value: \"1\" }");
    put(&site, "address", "v6-address", "{ link: v0, address: 2001:db8:7::1/64 }");
    put(&site, "route", "v6", "{ to: 2001:db8:77::/48, via: 2001:db8:7::2, src: 2001:db8:7::1 }");
    site.repo().commit("A link with its setting, and a route from its address");
    site.apply();
    assert_eq!(space.run(&["sysctl", "-n", "net.ipv4.conf.v0.rp_filter"]).trim(), "1");
    assert!(space.ip("-6 route").contains("2001:db8:77::/48 via 2001:db8:7::2 dev v0"));
    site.converged();
}

#[test]
fn a_machine_that_lost_its_network_gets_it_back_whatever_its_checks_say() {
    let (site, space) = site("");
    let config = site.world().read("tidelock.toml").replace("drift_every = \"1h\"", "drift_every = \"1s\"");
    site.world().write("tidelock.toml", config);
    router::stack(&site, "router", "confirm: 3s\nchecks:\n  - { exec: [/bin/false], within: 1s }\n");
    site.repo().commit("A check that fails");
    let before = space.picture();
    space.ip("link set uplink down");
    space.ip("address del 10.0.0.1/24 dev uplink");
    let daemon = Daemon::start(&site);
    space.wait("the old network", Duration::from_secs(20), |space| space.picture() == before);
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(space.picture(), before, "nobody took it back");
    assert!(site.events().iter().all(|event| event["event"] != "guarded"));
    daemon.stop();
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
fn a_link_is_not_confirmed_without_what_went_along_with_it() {
    let (site, space) = site("confirm: 20s\n");
    let link = |vni| {
        put(&site, "link", "vx", &format!("{{ name: vx7, type: vxlan, vni: {vni}, local: 10.0.0.1, up: true }}"));
    };
    link(7);
    put(&site, "link", "mv", "{ name: mv0, type: macvlan, parent: vx7, mode: bridge, up: true }");
    put(&site, "address", "mv-address", "{ link: mv0, address: 10.6.0.1/24 }");
    site.repo().commit("A link above another, with an address");
    site.apply();
    site.converged();
    let before = space.picture();
    link(8);
    site.repo().commit("Made anew");
    let ran = site.tidelock(["apply", "--yes"]).run();
    assert_ne!(ran.code, 0, "{}", ran.story());
    let _ = ran.says("it went along with network.link/vx");
    space.wait("the old network", Duration::from_secs(10), |space| space.picture() == before);
    assert!(made(&space, "vx7").contains("vxlan id 7") && made(&space, "mv0").contains("mode bridge"));
}

#[test]
fn what_others_take_away_while_a_guard_stands_stays_away() {
    let (site, space) = site("");
    space.ip("link add zz0 type bridge");
    space.ip("link set zz0 up");
    space.ip("address add 192.168.62.1/24 dev zz0");
    space.ip("address add 192.168.63.1/24 dev uplink");
    space.ip("route add 172.16.0.0/12 dev zz0 proto 12");
    space.ip("route add 10.66.0.0/16 via 10.0.0.9 proto 12");
    cut(&site);
    site.tidelock(["apply", "--yes", "--confirm-within", "6s"]).run().exit(5).says("goes back at");
    assert!(!space.picture().contains("10.66.0.0/16"), "it went with the link");
    for gone in
        ["route del 172.16.0.0/12", "address del 192.168.62.1/24 dev zz0", "address del 192.168.63.1/24 dev uplink"]
    {
        space.ip(gone);
    }
    space.wait("the old network", Duration::from_secs(20), |space| {
        let picture = space.picture();
        picture.contains("10.66.0.0/16") && picture.contains("10.9.0.0/16 via 10.0.0.254")
    });
    said(&site, &["history", "route/out"], "taken-back");
    let told = site.tidelock(["history", "route/out"]).run().ok().never_says("not all of it");
    for gone in ["192.168.62.1", "192.168.63.1", "172.16.0.0"] {
        assert!(!space.picture().contains(gone), "{gone} is back\n{}\n{}", space.picture(), told.story());
    }
}

/// Waits until a command says something.
fn said(site: &Site, command: &[&str], text: &str) {
    let since = std::time::Instant::now();
    loop {
        let ran = site.tidelock(command).run().ok();
        if ran.stdout.contains(text) {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(40), "no {text:?}\n{}", ran.stdout);
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Repetitions; `TIDELOCK_SOAK_GUARD_KILLS` says another number.
const KILLS: u64 = 6;

#[test]
#[expect(clippy::print_stderr, reason = "what a long run is made for")]
fn a_kill_at_any_moment_leaves_the_old_network_or_the_new_one() {
    let kills = count("TIDELOCK_SOAK_GUARD_KILLS", KILLS);
    let (site, space) = site("confirm: 3s\n");
    let old = space.picture();
    cut(&site);
    let began = std::time::Instant::now();
    site.tidelock(["apply", "--yes"]).run().ok();
    let takes = began.elapsed();
    let new = space.picture();
    assert_ne!(new, old);
    let (mut back, mut forth) = (0, 0);
    for kill in 0..kills {
        // To the other of the two, cut short somewhere on the way.
        let (from, to) = if kill % 2 == 0 { (&new, &old) } else { (&old, &new) };
        site.repo().git(["revert", "--no-edit", "HEAD"]);
        let mut child = site.tidelock(["apply", "--yes"]).spawn();
        let now = jiff::Timestamp::now().subsec_nanosecond();
        std::thread::sleep(takes.mul_f64(f64::from(now.rem_euclid(1000)) / 1000.0));
        child.kill().unwrap();
        child.wait().unwrap();
        space.wait("no guard", Duration::from_secs(20), |_| {
            let Ok(guards) = std::fs::read_dir(site.world().path("guards")) else { return true };
            let waits = |name: &str| name.ends_with(".armed") || name.ends_with(".restoring");
            !guards.flatten().any(|entry| waits(&entry.file_name().to_string_lossy()))
        });
        let picture = space.picture();
        assert!(
            picture == *from || picture == *to,
            "kill {kill}: neither the old nor the new\n{picture}\nold:\n{from}\nnew:\n{to}"
        );
        if picture == *to {
            forth += 1;
        } else {
            back += 1;
        }
        // A person goes on from there.
        site.tidelock(["apply", "--yes"]).run().ok();
        assert_eq!(space.picture(), *to, "kill {kill}");
    }
    eprintln!("{kills} kills: {back} times the old network, {forth} times the new one");
}
