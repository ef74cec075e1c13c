//! A large network, against the programs that are the floor for it: `nft -f` and `ip -batch`.

use std::fmt::Write as _;
use std::fs;

use anyhow::Result;
use tidelock_tests::netns::Netns;
use tidelock_tests::router::GRANT;

use super::table::Table;
use super::{LIMITS, Yard};

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
    let config = format!(
        "[sources.infra]\nurl = \"infra\"\n\n[[sources.infra.allow]]\ntargets = [\"*\"]\nkinds = [\"network.*\"]\n\n\
         [targets.local]\ntype = \"machine\"\nroot = \"machine\"\nnetns = \"{}\"\n\n{GRANT}{LIMITS}",
        ours.name()
    );
    fs::write(yard.path("tidelock.toml"), config)?;
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
