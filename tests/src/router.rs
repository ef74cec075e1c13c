//! Routers in namespaces, under Tidelock: the operator's config, and resources of `network`.

use crate::netns::Netns;
use crate::site::Site;

/// What `network` may do on every target.
pub const GRANT: &str = "[grants.network]\ntargets = [\"*\"]\nlinks = [\"*\"]\naddresses = [\"10.0.0.0/8\", \"2001:db8::/32\"]\n\
                         routes = [\"10.0.0.0/8\", \"2001:db8::/32\"]\nrules = [\"1000-1999\"]\n\
                         sysctls = [\"net.ipv4.*\", \"net.ipv6.conf.all.*\"]\ntables = [\"inet filter\"]\n\n";

/// What `network` needs beside that where a target keeps its network.
pub const KEPT_PATHS: &str = "paths = [\"/etc/systemd/network/90-tidelock-*\", \"/etc/systemd/network/90-tidelock-*/*\", \
                              \"/etc/network/interfaces.d/tidelock-*\", \"/etc/sysctl.d/99-tidelock-*\", \
                              \"/etc/nftables.d/tidelock-*\"]\n";

/// The grant of [`GRANT`] with [`KEPT_PATHS`].
#[must_use]
pub fn kept_grant() -> String {
    GRANT.replace("links = ", &format!("{KEPT_PATHS}links = "))
}

/// As [`site`], of machines whose networks `keeper` keeps.
#[must_use]
pub fn keeping(machines: &[(&str, &Netns)], keeper: &str, grant: &str, targets: &str, more: &str) -> Site {
    let site = site(machines, grant, targets, more);
    let config = site.world().read("tidelock.toml");
    let said = format!("persist = \"{keeper}\"\ndrift_every = \"1h\"");
    site.world().write("tidelock.toml", config.replace("drift_every = \"1h\"", &said));
    site
}

/// A site with machines in namespaces, and the stack `net` on those that `targets` names.
/// `more` are further lines of its `stack.yaml`.
#[must_use]
pub fn site(machines: &[(&str, &Netns)], grant: &str, targets: &str, more: &str) -> Site {
    let site = Site::new();
    let declared: String = machines
        .iter()
        .map(|(name, space)| {
            format!(
                "[targets.{name}]\ntype = \"machine\"\nroot = \"machine\"\nnetns = \"{}\"\ndrift_every = \"1h\"\n\n",
                space.name()
            )
        })
        .collect();
    site.world().write(
        "tidelock.toml",
        format!(
            "[sources.infra]\nurl = \"infra\"\npoll = \"1s\"\n\n[[sources.infra.allow]]\ntargets = [\"*\"]\nkinds = [\"network.*\", \"server.*\"]\n\
             checks = {{ exec = [[\"/bin/false\"], [\"/bin/true\"]] }}\n\n{declared}{grant}"
        ),
    );
    stack(&site, targets, more);
    site
}

/// A router that is as Git says, with a way to the operator: the link `uplink`, an address, a route and a table.
/// `more` as for [`site`].
///
/// # Panics
/// Not everything could be set up.
#[must_use]
pub fn with_uplink(more: &str) -> (Site, Netns) {
    let space = Netns::new();
    let site = site(&[("router", &space)], GRANT, "router", more);
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

/// What the stack `net` says of itself.
pub fn stack(site: &Site, targets: &str, more: &str) {
    let text = format!(
        "name: net\ntargets: {targets}\non_commit: apply\non_drift: apply\nbudget: {{ take_over: 100 }}\n{more}"
    );
    site.repo().write("net/stack.yaml", text);
}

/// A resource of the stack `net`; `spec` in YAML's flow style.
pub fn put(site: &Site, kind: &str, name: &str, spec: &str) {
    site.repo().write(&format!("net/{name}.yaml"), format!("kind: network.{kind}\nname: {name}\nspec: {spec}\n"));
}

/// The same on one target alone.
pub fn put_on(site: &Site, target: &str, kind: &str, name: &str, spec: &str) {
    let text = format!("kind: network.{kind}\nname: {target}-{name}\ntarget: {target}\nspec: {spec}\n");
    site.repo().write(&format!("net/{target}-{name}.yaml"), text);
}

/// The table `inet filter` with the chain `input`, in which one thing is said.
pub fn input(site: &Site, says: &str) {
    let chain = format!("chain input {{ type filter hook input priority 0; {says}; }}");
    put(site, "nftables", "filter", &format!("{{ name: filter, ruleset: \"table inet filter {{ {chain}; }}\" }}"));
}

/// The table `inet filter`, from a file of its own; `rules` are those of its chain `forward`.
pub fn firewall(site: &Site, rules: &str) {
    site.repo().write(
        "net/filter.nft",
        format!(
            "table inet filter {{\n  set admins {{ type ipv4_addr; elements = {{ 10.0.0.7, 10.0.0.8 }} }}\n  \
             set banned {{ type ipv4_addr; flags timeout; }}\n  chain forward {{\n    \
             type filter hook forward priority filter; policy drop;\n    ip saddr @banned drop\n{rules}\n  }}\n}}\n"
        ),
    );
    put(site, "nftables", "filter", "{ name: filter, ruleset: { $file: filter.nft } }");
}
