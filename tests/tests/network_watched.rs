//! Networks under a daemon: what somebody changes by hand is heard at once.

use std::time::Duration;

use tidelock_tests::Daemon;
use tidelock_tests::dice::count;
use tidelock_tests::netns::Netns;
use tidelock_tests::router::{self, GRANT, firewall, put};

/// An upper bound for machines that are busy; a look comes once an hour.
const SOON: Duration = Duration::from_secs(10);

/// Rounds of the changes by hand; `TIDELOCK_SOAK_HEALS` says another number.
const ROUNDS: u64 = 1;

#[test]
#[expect(clippy::print_stderr, reason = "what a long run is made for")]
fn what_somebody_changes_by_hand_is_heard_and_healed_at_once() {
    let space = Netns::new();
    let site = router::site(&[("router", &space)], GRANT, "router", "");
    put(&site, "link", "lan", "{ name: br0, type: bridge, up: true, mtu: 1400 }");
    put(&site, "address", "lan-v4", "{ link: br0, address: 10.0.0.1/24 }");
    put(&site, "route", "branch", "{ to: 10.1.0.0/16, via: 10.0.0.2 }");
    put(&site, "rule", "guests", "{ family: 4, priority: 1000, from: 10.0.5.0/24, table: 100 }");
    firewall(&site, "    ip saddr @admins accept");
    site.repo().commit("A router");
    site.apply();
    let before = space.picture();
    let daemon = Daemon::start(&site);
    std::thread::sleep(Duration::from_secs(2));
    let rounds = usize::try_from(count("TIDELOCK_SOAK_HEALS", ROUNDS)).unwrap();
    let mut took = Vec::new();
    let by_hand = [
        &["ip", "link", "set", "br0", "mtu", "1500"][..],
        &["ip", "address", "delete", "10.0.0.1/24", "dev", "br0"],
        &["ip", "route", "delete", "10.1.0.0/16"],
        &["ip", "rule", "delete", "priority", "1000"],
        &["nft", "add rule inet filter forward tcp dport 23 accept"],
        &["nft", "delete element inet filter admins { 10.0.0.7 }"],
        &["nft", "delete table inet filter"],
    ];
    for break_it in by_hand.iter().cycle().take(rounds * by_hand.len()) {
        space.run(break_it);
        took.push(space.wait(&format!("{break_it:?} is healed"), SOON, |space| space.picture() == before));
        // What its own writes made it look at again is over by then.
        std::thread::sleep(Duration::from_millis(1_500));
    }
    daemon.stop();
    took.sort();
    eprintln!("{} changes by hand healed: p50 {:?}, max {:?}", took.len(), took[took.len() / 2], took[took.len() - 1]);
}
