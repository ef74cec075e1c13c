//! News of a network reaches every lane that owns a part of it, whoever is writing.
#![expect(clippy::disallowed_types, reason = "what is told comes from a thread, and nothing here is a task")]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tidelock_model::name::{Identity, Lane, Name};
use tidelock_target::{Namespace, NetworkWatches};

use crate::space::Space;

/// For machines that are busy.
const PATIENCE: Duration = Duration::from_secs(20);

fn lane(stack: &str) -> Lane {
    let name = |text: &str| Name::new(text).unwrap();
    Lane { source: name("infra"), stack: name(stack), target: name("router") }
}

fn watches() -> (NetworkWatches, Receiver<Lane>) {
    let (tell, told) = channel();
    // Nobody may be there to hear it any more.
    (NetworkWatches::new(Arc::new(move |lane: &Lane| drop(tell.send(lane.clone())))), told)
}

/// Waits until each of these was told of.
fn told_of(told: &Receiver<Lane>, mut stacks: Vec<&str>) {
    while !stacks.is_empty() {
        let lane = told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{stacks:?} hear nothing"));
        stacks.retain(|stack| *stack != lane.stack.as_str());
    }
}

#[test]
fn what_changes_while_a_lane_writes_is_told_to_all_and_to_it() {
    let space = Space::with_links(&["a0", "b0"]);
    let there = Namespace::named(&space.name).unwrap();
    let (watches, told) = watches();
    let link = |name: &str| vec![Identity::new(format!("link:{name}"))];
    watches.watch(&lane("a"), &there, &link("a0"));
    watches.watch(&lane("b"), &there, &link("b0"));
    for round in 0..5 {
        while told.recv_timeout(Duration::from_millis(300)).is_ok() {}
        // `a` writes what it owns, somebody changes what is `b`'s, and `a` says at once that it is done.
        let mtu = (1_300 + round).to_string();
        space.ip(&["link", "set", "a0", "mtu", &mtu]);
        space.ip(&["link", "set", "b0", "mtu", &mtu]);
        watches.add(&lane("a"), &there, &link("a0"));
        told_of(&told, vec!["a", "b"]);
    }
}

#[test]
fn a_namespace_that_is_made_anew_is_heard_and_the_old_one_is_let_go() {
    let (space, beside) = (Space::with_links(&["a0"]), Space::new());
    let there = Namespace::named(&space.name).unwrap();
    let (watches, told) = watches();
    let mine = [Identity::new("link:a0")];
    watches.watch(&lane("a"), &there, &mine);
    space.ip(&["link", "add", "near", "type", "veth", "peer", "name", "far", "netns", &beside.name]);
    space.anew();
    assert!(beside.see("link:far").is_some(), "what listens keeps it");
    // As before each look.
    watches.watch(&lane("a"), &there, &mine);
    let ends = Instant::now() + PATIENCE;
    while beside.see("link:far").is_some() {
        assert!(Instant::now() < ends, "the old one is kept, and its links with it");
        std::thread::sleep(Duration::from_millis(50));
    }
    while told.recv_timeout(Duration::from_millis(300)).is_ok() {}
    space.ip(&["link", "add", "a0", "type", "bridge"]);
    told_of(&told, vec!["a"]);
}

#[test]
fn every_sort_of_change_is_told() {
    let space = Space::with_links(&["a0"]);
    space.ip(&["address", "add", "10.9.0.1/24", "dev", "a0"]);
    space.inside(&["nft", "add", "table", "inet", "t"]);
    space.inside(&["nft", "add", "set", "inet", "t", "s", "{ type ipv4_addr; }"]);
    space.inside(&["nft", "add", "chain", "inet", "t", "c"]);
    let there = Namespace::named(&space.name).unwrap();
    let (watches, told) = watches();
    watches.watch(&lane("a"), &there, &[Identity::new("link:a0")]);
    let changes: [&[&str]; 9] = [
        &["nft", "add", "rule", "inet", "t", "c", "tcp", "dport", "23", "accept"],
        &["nft", "add", "element", "inet", "t", "s", "{ 10.0.0.1 }"],
        &["ip", "route", "add", "10.10.0.0/16", "via", "10.9.0.2"],
        &["ip", "rule", "add", "priority", "1000", "table", "100"],
        &["ip", "address", "add", "10.9.1.1/24", "dev", "a0"],
        &["ip", "link", "set", "a0", "mtu", "1400"],
        &["ip", "link", "set", "a0", "down"],
        &["sysctl", "-qw", "net.ipv4.ip_forward=1"],
        &["nft", "delete", "table", "inet", "t"],
    ];
    for change in changes {
        while told.recv_timeout(Duration::from_millis(300)).is_ok() {}
        space.inside(change);
        assert!(told.recv_timeout(PATIENCE).is_ok(), "nobody hears of {change:?}");
    }
}
