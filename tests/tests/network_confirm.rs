//! Commit-confirm: a network that goes back by itself unless somebody says that all is well.

use std::time::Duration;

use tidelock_tests::dice::count;
use tidelock_tests::guards;
use tidelock_tests::netns::Netns;
use tidelock_tests::router::{self, GRANT, input, put, put_on, with_uplink as site};
use tidelock_tests::{Daemon, Site};

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
    // What others put there goes with the link, and says more than Git could.
    space.ip("route add 10.74.0.0/16 via 10.0.0.253 proto 12 mtu 1300 advmss 1200");
    space.ip("address add 2001:db8:9::1/64 dev uplink nodad noprefixroute");
    space.ip("-6 route add 2001:db8:74::/48 via 2001:db8:9::2 dev uplink onlink proto 12 mtu 1400");
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
    assert!(space.ip("address show uplink").contains("2001:db8:9::1/64 scope global nodad noprefixroute"));
    site.tidelock(["confirm"]).run().exit(1).says("nothing waits to be confirmed");
    let lane = site.tidelock(["status", "--output", "json"]).run().json()["lanes"][0].clone();
    assert_eq!(lane["applied"]["subject"], "A router", "what is in force again: {lane}");
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

#[test]
fn a_route_goes_back_with_all_that_it_said_and_a_table_with_what_ran_out_in_it() {
    let (site, space) = site("");
    let table = |set: &str| {
        let set = format!("set {set} {{ type ipv4_addr; flags timeout; }}");
        put(&site, "nftables", "more", &format!("{{ name: more, ruleset: \"table inet more {{ {set}; }}\" }}"));
    };
    let config = site.world().read("tidelock.toml").replace("\"inet filter\"", "\"inet filter\", \"inet more\"");
    site.world().write("tidelock.toml", config);
    table("ban");
    site.repo().commit("A set that others fill");
    site.apply();
    space.nft("add element inet more ban { 10.0.0.66 timeout 1h, 10.0.0.67 timeout 2h }");
    space.ip("route add 10.8.0.0/16 via 10.0.0.9 proto static mtu 1300 advmss 1200");
    let before = space.picture();
    put(&site, "route", "over", "{ to: 10.8.0.0/16, via: 10.0.0.2 }");
    table("banned");
    site.repo().commit("The route is taken over, and the set has another name");
    site.tidelock(["apply", "--yes", "--confirm-within", "3s"]).run().exit(5).says("goes back at");
    assert!(space.ip("route").contains("10.8.0.0/16 via 10.0.0.2"));
    space.wait("the old network", Duration::from_secs(10), |space| space.picture() == before);
    let set = space.nft("list set inet more ban");
    assert!(set.contains("10.0.0.66") && set.contains("10.0.0.67"), "{set}");
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
