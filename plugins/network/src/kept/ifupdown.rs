//! Files of ifupdown: a stanza of each resource, which sets with `ip` what is set over netlink.
//! Stanzas of one interface add up. Links are brought up in the order of the files' names, so
//! those come first that others rest on.

use super::{Files, Unkept, header, key_files, links_of, plain_link, plain_word, stem};
use crate::route::Hop;
use crate::spelling::MAIN;
use crate::{AddressSpec, LinkSpec, RouteSpec, RuleSpec, WireguardSpec};

const FOLDER: &str = "/etc/network/interfaces.d/tidelock-";

/// A file with one stanza. `rank` is its place among the files.
fn stanza(rank: u8, identity: &str, link: &str, v6: bool, lines: &[String]) -> Files {
    stanzas(rank, identity, &[link], v6, lines)
}

/// A file with the same stanza for each of some links.
fn stanzas(rank: u8, identity: &str, links: &[&str], v6: bool, lines: &[String]) -> Files {
    let family = if v6 { "inet6" } else { "inet" };
    let lines: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    let each: Vec<String> =
        links.iter().map(|link| format!("auto {link}\niface {link} {family} manual\n{lines}")).collect();
    let text = format!("{}{}", header(identity), each.join("\n"));
    Files::from([(format!("{FOLDER}{rank}-{}", stem(identity)), text)])
}

/// A word and its value, where there is one.
fn word(name: &str, value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| format!(" {name} {}", value.to_string()))
}

pub(super) fn link(spec: &LinkSpec) -> Result<Files, Unkept> {
    let name = plain_link("/name", &spec.name)?;
    plain_word("/mac", spec.mac.as_ref())?;
    plain_word("/remote", spec.remote.as_ref())?;
    plain_word("/local", spec.local.as_ref())?;
    let parent = spec.parent.as_deref().map(|parent| plain_link("/parent", parent)).transpose()?;
    let peer = spec.peer.as_deref().map(|peer| plain_link("/peer", peer)).transpose()?;
    let mut lines = Vec::new();
    let (rank, made_of) = match spec.kind.as_deref() {
        Some("wireguard") => (4, Some(format!(" 2>/dev/null || wireguard-go {name}"))),
        Some("bridge") => (1, Some(String::new())),
        Some("veth") => (2, Some(word("peer name", peer))),
        Some("vxlan") => {
            let places =
                word("id", spec.vni) + &word("remote", spec.remote.as_ref()) + &word("local", spec.local.as_ref());
            (3, Some(places + &word("dstport", Some(spec.port.unwrap_or(4789))) + &word("dev", parent)))
        }
        Some("macvlan") => (4, Some(word("mode", Some(spec.mode.as_deref().unwrap_or("bridge"))))),
        _ => (5, None),
    };
    if let (Some(kind), Some(made_of)) = (&spec.kind, made_of) {
        let on = word("link", parent.filter(|_| kind == "macvlan"));
        let add = format!("ip link add{on} name {name} type {kind}{made_of}");
        lines.push(format!("pre-up ip link show dev {name} >/dev/null 2>&1 || {add}"));
    }
    let set = word("mtu", spec.mtu) + &word("address", spec.mac.as_ref());
    if !set.is_empty() {
        lines.push(format!("pre-up ip link set dev {name}{set}"));
    }
    match spec.master.as_deref() {
        None => {}
        Some("") => lines.push(format!("pre-up ip link set dev {name} nomaster")),
        Some(master) => lines.push(format!("pre-up ip link set dev {name} master {}", plain_link("/master", master)?)),
    }
    if let Some(up) = spec.up {
        lines.push(format!("up ip link set dev {name} {}", if up { "up" } else { "down" }));
    }
    Ok(stanza(rank, &crate::link::identity(name), name, false, &lines))
}

pub(super) fn address(spec: &AddressSpec) -> Result<Files, Unkept> {
    let link = plain_link("/link", &spec.link)?;
    let identity = format!("address:{link}/{}", spec.address);
    let line = format!("up ip address replace {} dev {link}", spec.address);
    Ok(stanza(6, &identity, link, spec.address.contains(':'), &[line]))
}

pub(super) fn route(identity: &str, spec: &RouteSpec) -> Result<Files, Unkept> {
    let kind = spec.kind.as_deref().unwrap_or("unicast");
    let hops = spec.linked_hops();
    let mut links = links_of(&hops)?;
    links.sort_unstable();
    links.dedup();
    match &spec.dev {
        Some(dev) => links.push(plain_link("/dev", dev)?),
        None if !links.is_empty() => {}
        None if kind != "unicast" => links.push("lo"),
        None => {
            let why = "a route is kept with its link, so name it: `dev`".to_owned();
            return Err(Unkept { field: "/dev", why });
        }
    }
    let v6 = spec.to.contains(':');
    let family = if v6 { " -6" } else { "" };
    let kind = if kind == "unicast" { String::new() } else { format!(" {kind}") };
    let hop = |hop: &Hop| {
        let way = word("via", hop.via.as_ref()) + &word("dev", hop.dev.as_ref());
        format!(" nexthop{way} weight {}", hop.weight)
    };
    let line = format!(
        "up ip{family} route replace{kind} {}{}{}{}{}{} proto 201{}{}",
        spec.to,
        word("via", spec.via.as_ref()),
        word("dev", spec.dev.as_ref()),
        word("src", spec.src.as_ref()),
        word("table", spec.table.map(|table| table.0).filter(|table| *table != MAIN)),
        word("metric", spec.metric.filter(|metric| *metric != 0)),
        hops.iter().map(hop).collect::<String>(),
        // It can be once the last of its links is up.
        if links.len() > 1 { " 2>/dev/null || true" } else { "" },
    );
    Ok(stanzas(7, identity, &links, v6, &[line]))
}

pub(super) fn wireguard(spec: &WireguardSpec) -> Result<Files, Unkept> {
    let link = plain_link("/link", &spec.link)?;
    let (own_key, shared) = key_files(spec)?;
    let mut lines =
        vec![format!("pre-up wg set {link} private-key {own_key}{}", word("listen-port", spec.listen_port))];
    lines.extend(spec.peers.iter().map(|(key, peer)| {
        format!(
            "pre-up wg set {link} peer {key}{}{}{}{}",
            word("preshared-key", shared.get(key.as_str())),
            // Brackets mean something to the shell.
            word("endpoint", peer.endpoint.as_ref().map(|endpoint| format!("'{endpoint}'"))),
            word("persistent-keepalive", Some(peer.keepalive).filter(|seconds| *seconds != 0)),
            word("allowed-ips", Some(peer.allowed_ips.join(",")).filter(|all| !all.is_empty())),
        )
    }));
    Ok(stanza(5, &crate::wireguard::identity(link), link, false, &lines))
}

pub(super) fn rule(spec: &RuleSpec) -> Result<Files, Unkept> {
    plain_word("/iif", spec.iif.as_ref())?;
    plain_word("/oif", spec.oif.as_ref())?;
    let identity = format!("rule:{}/{}", spec.family, spec.priority);
    let family = if spec.family == 6 { "ip -6" } else { "ip" };
    let action = spec.action.as_deref().unwrap_or("table");
    let to_do = match spec.table {
        Some(table) if action == "table" => format!(" table {}", table.0),
        _ => format!(" {action}"),
    };
    let place = format!("priority {}", spec.priority);
    let add = format!(
        "up {family} rule add {place}{}{}{}{}{}{to_do} protocol 201",
        word("from", spec.from.as_ref()),
        word("to", spec.to.as_ref()),
        word("iif", spec.iif.as_ref()),
        word("oif", spec.oif.as_ref()),
        word("fwmark", spec.mark),
    );
    let clear = format!("up {family} rule delete {place} protocol 201 2>/dev/null || true");
    Ok(stanza(8, &identity, "lo", spec.family == 6, &[clear, add]))
}
