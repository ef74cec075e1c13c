//! A large network, against the programs that are the floor for it: `nft -f` and `ip -batch`. And a
//! small one under a daemon, of which somebody changes one thing after the other.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;
use tidelock_tests::netns::Netns;
use tidelock_tests::router::GRANT;

use super::table::Table;
use super::webhook::Daemon;
use super::{LIMITS, Yard, millis};

/// Rules of the table, elements of its set, and routes.
const SIZES: (usize, usize, usize) = (2_000, 20_000, 1_000);

/// Measures a first apply and one that finds nothing to do.
pub(super) fn network(yard: &Yard, table: &mut Table) -> Result<()> {
    let (ours, theirs) = (Netns::new(), Netns::new());
    let (rules, elements, routes) = SIZES;
    for space in [&ours, &theirs] {
        space.ip("link add up0 type bridge");
        space.ip("link set up0 up");
        space.ip("address add 10.0.0.1/24 dev up0");
    }
    fs::write(yard.path("tidelock.toml"), config(&ours, ""))?;
    let mut text = String::from("table inet filter {\n\tset many {\n\t\ttype ipv4_addr\n\t\telements = {\n");
    for element in 0..elements {
        writeln!(text, "\t\t\t10.{}.{}.{},", 128 + element / 65_536, element / 256 % 256, element % 256)?;
    }
    text.push_str("\t\t}\n\t}\n\tchain in {\n\t\ttype filter hook input priority filter; policy accept;\n\t\tip saddr @many drop\n");
    for rule in 0..rules {
        writeln!(text, "\t\tip saddr 10.64.{}.{} tcp dport {} accept", rule / 256, rule % 256, 1 + rule)?;
    }
    text.push_str("\t}\n}\n");
    let to = |route: usize| format!("10.{}.{}.0/24", 16 + route / 256, route % 256);
    let resource =
        |route: usize| format!("kind: network.route\nname: r{route}\nspec: {{ to: {}, via: 10.0.0.2 }}\n", to(route));
    let pages: Vec<String> = (0..routes).map(resource).collect();
    yard.repo.git(["rm", "-rq", "web"]);
    yard.repo
        .write("web/stack.yaml", "name: web\ntargets: local\non_commit: apply\non_drift: apply\n")
        .write("web/routes.yaml", resource(0))
        .commit("One route");
    // Plugins are compiled once, and by this.
    yard.tidelock(&["plan"])?;
    yard.repo
        .write("web/filter.nft", &text)
        .write(
            "web/filter.yaml",
            "kind: network.nftables\nname: filter\nspec: { name: filter, ruleset: { $file: filter.nft } }\n",
        )
        .write("web/routes.yaml", pages.join("---\n"))
        .commit("A large network");
    let batch: String = (0..routes).map(|route| format!("route add {} via 10.0.0.2\n", to(route))).collect();
    fs::write(yard.path("batch"), batch)?;
    fs::write(yard.path("filter.nft"), text)?;

    let apply = yard.tidelock(&["apply", "--yes"])?;
    let name = theirs.name();
    let floor = yard.shell(&format!("ip netns exec {name} nft -f filter.nft && ip -n {name} -batch batch"))?;
    let what = format!("first apply of {rules} rules, {elements} elements and {routes} routes (wall)");
    table.ratio(&what, apply.wall, floor.wall, "nft -f and ip -batch", Some(2.0));
    let again = yard.tidelock(&["plan", "--detailed-exitcode"])?;
    let show =
        yard.shell(&format!("ip netns exec {name} nft list ruleset > /dev/null && ip -n {name} route > /dev/null"))?;
    table.ratio("no-op plan over them (wall)", again.wall, show.wall, "nft list and ip route", Some(2.0));
    Ok(())
}

fn config(space: &Netns, more: &str) -> String {
    format!(
        "[sources.infra]\nurl = \"infra\"\n\n[[sources.infra.allow]]\ntargets = [\"*\"]\nkinds = [\"network.*\"]\n\n\
         [targets.local]\ntype = \"machine\"\nroot = \"machine\"\nnetns = \"{}\"\ndrift_every = \"1h\"\n\n{GRANT}{LIMITS}{more}",
        space.name()
    )
}

/// Changes by hand that are measured.
const CHANGES: usize = 60;

/// How long one may take to be undone.
const PATIENCE: Duration = Duration::from_secs(60);

/// What somebody does to the network, one after the other.
const BY_HAND: [&[&str]; 7] = [
    &["nft", "add rule inet filter forward tcp dport 23 accept"],
    &["nft", "delete element inet filter admins { 10.0.0.7 }"],
    &["ip", "route", "delete", "10.1.0.0/16"],
    &["ip", "address", "delete", "10.0.0.1/24", "dev", "br0"],
    &["ip", "link", "set", "br0", "down"],
    &["ip", "link", "set", "br0", "mtu", "1500"],
    &["ip", "rule", "delete", "priority", "1000"],
];

/// Measures how long changes by hand stand under a daemon that looks once an hour.
pub(super) fn heals(yard: &Yard, table: &mut Table) -> Result<()> {
    let space = Netns::new();
    fs::write(yard.path("tidelock.toml"), config(&space, "\n[http]\nlisten = \"127.0.0.1:0\"\n"))?;
    let resources = [
        "kind: network.link\nname: lan\nspec: { name: br0, type: bridge, up: true, mtu: 1400 }\n",
        "kind: network.address\nname: lan\nspec: { link: br0, address: 10.0.0.1/24 }\n",
        "kind: network.route\nname: branch\nspec: { to: 10.1.0.0/16, via: 10.0.0.2 }\n",
        "kind: network.rule\nname: guests\nspec: { family: 4, priority: 1000, from: 10.0.5.0/24, table: 100 }\n",
        "kind: network.nftables\nname: filter\nspec: { name: filter, ruleset: { $file: filter.nft } }\n",
    ];
    yard.repo.git(["rm", "-rq", "web"]);
    yard.repo
        .write("web/stack.yaml", "name: web\ntargets: local\non_commit: apply\non_drift: apply\n")
        .write(
            "web/filter.nft",
            "table inet filter {\n set admins { type ipv4_addr; elements = { 10.0.0.7, 10.0.0.8 } }\n \
             chain forward {\n  type filter hook forward priority filter; policy drop;\n  ip saddr @admins accept\n }\n}\n",
        )
        .write("web/network.yaml", resources.join("---\n"))
        .commit("A small network");
    yard.tidelock(&["apply", "--yes"])?;
    let before = space.picture();
    let _daemon = Daemon::start(yard)?;
    // Its first look, and with it what it listens to.
    std::thread::sleep(Duration::from_secs(2));
    let mut taken = Vec::new();
    for change in BY_HAND.iter().cycle().take(CHANGES) {
        space.run(change);
        let since = Instant::now();
        space.wait(&format!("{change:?} is undone"), PATIENCE, |space| space.picture() == before);
        taken.push(since.elapsed());
    }
    taken.sort();
    let of = format!("{CHANGES} changes by hand in a row, each found and undone");
    table.under(&format!("{of}, p50 (wall)"), millis(taken[CHANGES / 2]), "ms", Some(1_000.0));
    table.under(&format!("{of}, max (wall)"), millis(taken[CHANGES - 1]), "ms", Some(1_000.0));
    Ok(())
}
