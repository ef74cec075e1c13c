//! Networks under a daemon: what somebody changes by hand is heard at once.

use std::time::{Duration, Instant};

use tidelock_tests::daemon::passed;
use tidelock_tests::dice::count;
use tidelock_tests::netns::Netns;
use tidelock_tests::router::{self, GRANT, firewall, put};
use tidelock_tests::{Daemon, Site};

/// An upper bound for machines that are busy; a look comes once an hour.
const SOON: Duration = Duration::from_secs(60);

/// Changes by hand in a row; `TIDELOCK_SOAK_HEALS` says another number.
const CHANGES: u64 = 30;

/// What somebody may do to a router's network.
const BY_HAND: [&[&str]; 11] = [
    &["nft", "add rule inet filter forward tcp dport 23 accept"],
    &["nft", "delete element inet filter admins { 10.0.0.7 }"],
    &["nft", "add element inet filter admins { 10.0.0.66 }"],
    &["ip", "route", "delete", "10.1.0.0/16"],
    &["ip", "route", "replace", "10.1.0.0/16", "via", "10.0.0.3"],
    &["ip", "address", "delete", "10.0.0.1/24", "dev", "br0"],
    &["ip", "link", "set", "br0", "down"],
    &["ip", "link", "set", "br0", "mtu", "1500"],
    &["ip", "rule", "delete", "priority", "1000"],
    &["sysctl", "-qw", "net.ipv4.ip_forward=0"],
    &["nft", "delete table inet filter"],
];

/// A router that Tidelock made, and how it looks.
fn router(space: &Netns) -> (Site, String) {
    let site = router::site(&[("router", space)], GRANT, "router", "");
    put(&site, "link", "lan", "{ name: br0, type: bridge, up: true, mtu: 1400 }");
    put(&site, "address", "lan-v4", "{ link: br0, address: 10.0.0.1/24 }");
    put(&site, "route", "branch", "{ to: 10.1.0.0/16, via: 10.0.0.2 }");
    put(&site, "rule", "guests", "{ family: 4, priority: 1000, from: 10.0.5.0/24, table: 100 }");
    put(&site, "sysctl", "forward", "{ name: net.ipv4.ip_forward, value: \"1\" }");
    firewall(&site, "    ip saddr @admins accept");
    site.repo().commit("A router");
    site.apply();
    let before = picture(space);
    (site, before)
}

fn picture(space: &Netns) -> String {
    space.picture() + &space.run(&["sysctl", "net.ipv4.ip_forward"])
}

#[test]
#[expect(clippy::print_stderr, reason = "what a long run is made for")]
fn what_somebody_changes_by_hand_is_heard_and_healed_at_once() {
    let space = Netns::new();
    let (site, before) = router(&space);
    let daemon = Daemon::watching(&site);
    let many = usize::try_from(count("TIDELOCK_SOAK_HEALS", CHANGES)).unwrap();
    let looks = passed(&site);
    let mut took = Vec::new();
    for break_it in BY_HAND.iter().cycle().take(many) {
        space.run(break_it);
        took.push(space.wait(&format!("{break_it:?} is healed"), SOON, |space| picture(space) == before));
    }
    // One pass heals it, and hears of its own writes, which asks for one look; a link that goes
    // down or comes up is news more than once.
    let looks = passed(&site) - looks;
    assert!(looks <= 4 * many as u64, "{looks} passes for {many} changes");
    daemon.stop();
    took.sort();
    eprintln!("{many} changes by hand healed: p50 {:?}, max {:?}", took[many / 2], took[many - 1]);
}

#[test]
fn what_is_changed_while_it_heals_is_healed_too() {
    let space = Netns::new();
    let (site, before) = router(&space);
    let daemon = Daemon::watching(&site);
    for round in 0..3 {
        // No waiting in between: most of it happens while something of it is looked at or undone.
        for break_it in BY_HAND {
            // What needs something that is gone already cannot be broken any more.
            let _ = space.ended(break_it);
            std::thread::sleep(Duration::from_millis(30));
        }
        space.wait(&format!("round {round} is healed"), SOON, |space| picture(space) == before);
    }
    daemon.stop();
}

#[test]
fn who_changes_a_network_all_the_time_does_not_keep_it_busy() {
    let space = Netns::new();
    let (site, before) = router(&space);
    let daemon = Daemon::watching(&site);
    let (looks, began) = (passed(&site), Instant::now());
    // What is nobody's business, as a routing daemon would.
    let mut changes = 0;
    while began.elapsed() < Duration::from_secs(4) {
        space.ip("route add 10.77.0.0/16 via 10.0.0.9");
        space.ip("route delete 10.77.0.0/16 via 10.0.0.9");
        changes += 2;
    }
    let looks = passed(&site) - looks;
    let most = 2 + began.elapsed().as_millis() as u64 / 100;
    assert!((1..=most).contains(&looks), "{looks} looks for {changes} changes");
    assert_eq!(picture(&space), before);
    space.ip("link set br0 mtu 1500");
    space.wait("what is its business is healed", SOON, |space| picture(space) == before);
    daemon.stop();
}
