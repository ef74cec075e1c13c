//! Links, addresses, routes, rules and settings.

use serde_json::{Value, json};
use tidelock_model::network::{NetworkEffect, Object};

use crate::space::Space;

fn shown(object: Option<Object>) -> Value {
    serde_json::to_value(object).unwrap()
}

#[test]
fn each_type_of_link_is_made_changed_and_removed() {
    let space = Space::new();
    space.put(json!({"object": "link", "name": "v0", "type": "veth", "peer": "v1", "mtu": 1400, "up": true})).unwrap();
    space.put(json!({"object": "link", "name": "br0", "type": "bridge", "mac": "02:00:00:00:00:07"})).unwrap();
    space.put(json!({"object": "link", "name": "vx7", "type": "vxlan", "vni": 7, "remote": "192.0.2.1", "local": "192.0.2.2"})).unwrap();
    space.put(json!({"object": "link", "name": "mv0", "type": "macvlan", "parent": "v1", "mode": "private"})).unwrap();
    let veth = shown(space.see("link:v0"));
    assert_eq!(
        (&veth["type"], &veth["peer"], &veth["mtu"], &veth["up"]),
        (&json!("veth"), &json!("v1"), &json!(1400), &json!(true))
    );
    let vxlan = shown(space.see("link:vx7"));
    assert_eq!(
        (&vxlan["vni"], &vxlan["remote"], &vxlan["local"], &vxlan["port"]),
        (&json!(7), &json!("192.0.2.1"), &json!("192.0.2.2"), &json!(4789))
    );
    let macvlan = shown(space.see("link:mv0"));
    assert_eq!((&macvlan["parent"], &macvlan["mode"]), (&json!("v1"), &json!("private")));
    assert_eq!(shown(space.see("link:br0"))["mac"], "02:00:00:00:00:07");

    space.put(json!({"object": "link", "name": "v0", "mtu": 1300, "up": false, "master": "br0"})).unwrap();
    let veth = shown(space.see("link:v0"));
    assert_eq!((&veth["mtu"], &veth["up"], &veth["master"]), (&json!(1300), &json!(false), &json!("br0")));
    space.put(json!({"object": "link", "name": "v0", "master": ""})).unwrap();
    assert_eq!(shown(space.see("link:v0"))["master"], "");

    space.remove("link:v0").unwrap();
    assert_eq!((space.see("link:v0"), space.see("link:v1"), space.see("link:mv0")), (None, None, None));
    let fault = space.put(json!({"object": "link", "name": "v0", "up": true})).unwrap_err();
    assert_eq!(fault.code, "not-found");
    let fault = space.put(json!({"object": "link", "name": "x", "type": "bond"})).unwrap_err();
    assert_eq!((fault.code.as_str(), fault.field.as_deref()), ("invalid", Some("/type")));
}

#[test]
fn addresses_and_routes_of_both_families() {
    let space = Space::with_links(&["a0", "b0"]);
    for address in ["10.0.0.1/24", "2001:db8::1/64"] {
        space.put(json!({"object": "address", "link": "a0", "address": address})).unwrap();
        assert!(space.see(&format!("address:a0/{address}")).is_some());
    }
    let route = |to: &str, via: &str, metric: u32| json!({"object": "route", "table": 254, "to": to, "metric": metric, "type": "unicast", "via": via});
    space.put(route("10.1.0.0/16", "10.0.0.2", 0)).unwrap();
    space.put(route("10.1.0.0/16", "10.0.0.3", 50)).unwrap();
    space.put(route("2001:db8:1::/48", "2001:db8::2", 1024)).unwrap();
    space.put(route("0.0.0.0/0", "10.0.0.4", 0)).unwrap();
    space.put(json!({"object": "route", "table": 100, "to": "10.2.0.0/16", "metric": 0, "type": "blackhole"})).unwrap();
    space
        .put(json!({"object": "route", "table": 1000, "to": "2001:db8:2::/48", "metric": 1024, "type": "unreachable"}))
        .unwrap();
    space
        .put(json!({"object": "route", "table": 254, "to": "10.3.0.0/16", "metric": 0, "type": "unicast", "dev": "b0"}))
        .unwrap();
    let seen = shown(space.see("route:main/10.1.0.0/16"));
    assert_eq!((&seen["via"], &seen["dev"], &seen["protocol"]), (&json!("10.0.0.2"), &json!("a0"), &json!(201)));
    assert_eq!(shown(space.see("route:main/10.1.0.0/16+50"))["via"], "10.0.0.3");
    assert_eq!(shown(space.see("route:main/2001:db8:1::/48"))["via"], "2001:db8::2");
    assert_eq!(shown(space.see("route:100/10.2.0.0/16"))["type"], "blackhole");
    assert_eq!(shown(space.see("route:1000/2001:db8:2::/48"))["type"], "unreachable");
    assert_eq!(shown(space.see("route:main/10.3.0.0/16"))["dev"], "b0");

    // A new next hop is one operation: the old one is gone and there is one.
    space.put(route("10.1.0.0/16", "10.0.0.9", 0)).unwrap();
    space.put(route("2001:db8:1::/48", "2001:db8::9", 1024)).unwrap();
    let all = space.ip(&["route", "show", "10.1.0.0/16"]);
    assert_eq!(all.lines().count(), 2, "{all}");
    let all = space.ip(&["-6", "route", "show", "2001:db8:1::/48"]);
    assert!(all.lines().count() == 1 && all.contains("2001:db8::9"), "{all}");

    for name in [
        "route:main/10.1.0.0/16",
        "route:main/2001:db8:1::/48",
        "route:main/0.0.0.0/0",
        "route:100/10.2.0.0/16",
        "route:1000/2001:db8:2::/48",
    ] {
        space.remove(name).unwrap();
        assert_eq!(space.see(name), None, "{name}");
        space.remove(name).unwrap();
    }
    assert!(space.see("route:main/10.1.0.0/16+50").is_some());
    space.remove("address:a0/2001:db8::1/64").unwrap();
    assert_eq!(space.see("address:a0/2001:db8::1/64"), None);
}

#[test]
fn what_others_made_stays() {
    let space = Space::with_links(&["a0"]);
    space.ip(&["address", "add", "10.0.0.1/24", "dev", "a0"]);
    space.ip(&["route", "add", "10.5.0.0/16", "via", "10.0.0.2", "proto", "bgp"]);
    space.ip(&["route", "add", "10.6.0.0/16", "via", "10.0.0.2"]);
    let route = |to: &str| json!({"object": "route", "table": 254, "to": to, "metric": 0, "type": "unicast", "via": "10.0.0.3"});
    // A routing daemon's, and the kernel's own.
    for to in ["10.5.0.0/16", "10.0.0.0/24"] {
        assert_eq!(space.put(route(to)).unwrap_err().code, "not-ours", "{to}");
        assert_eq!(space.remove(&format!("route:main/{to}")).unwrap_err().code, "not-ours", "{to}");
    }
    // One made by hand may be taken over, and not be removed.
    assert_eq!(space.remove("route:main/10.6.0.0/16").unwrap_err().code, "not-ours");
    space.put(route("10.6.0.0/16")).unwrap();
    space.remove("route:main/10.6.0.0/16").unwrap();
    assert_eq!(space.remove("rule:4/32766").unwrap_err().code, "not-ours");
}

#[test]
fn rules_are_put_in_place_of_each_other() {
    let space = Space::new();
    let rule = |from: &str, table: u32| json!({"object": "rule", "family": 4, "priority": 1000, "from": from, "action": "table", "table": table});
    space.put(rule("10.0.0.0/8", 100)).unwrap();
    space.put(rule("10.0.0.0/8", 1000)).unwrap();
    let seen = shown(space.see("rule:4/1000"));
    assert_eq!((&seen["from"], &seen["table"], &seen["protocol"]), (&json!("10.0.0.0/8"), &json!(1000), &json!(201)));
    space.put(json!({"object": "rule", "family": 6, "priority": 7, "iif": "lo", "mark": 5, "to": "2001:db8::/32", "action": "prohibit"})).unwrap();
    let seen = shown(space.see("rule:6/7"));
    assert_eq!(
        (&seen["iif"], &seen["mark"], &seen["to"], &seen["action"]),
        (&json!("lo"), &json!(5), &json!("2001:db8::/32"), &json!("prohibit"))
    );
    space.remove("rule:4/1000").unwrap();
    space.remove("rule:6/7").unwrap();
    assert_eq!((space.see("rule:4/1000"), space.see("rule:6/7")), (None, None));
    // Made by hand and the same: it becomes ours.
    space.ip(&["rule", "add", "from", "10.0.0.0/8", "lookup", "100", "priority", "1000"]);
    space.put(rule("10.0.0.0/8", 100)).unwrap();
    assert_eq!(shown(space.see("rule:4/1000"))["protocol"], 201);
}

#[test]
fn settings_are_those_of_the_namespace() {
    let space = Space::new();
    let own = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    let other = if own.trim() == "1" { "0" } else { "1" };
    space.put(json!({"object": "sysctl", "name": "net.ipv4.ip_forward", "value": other})).unwrap();
    assert_eq!(shown(space.see("sysctl:net.ipv4.ip_forward"))["value"], other);
    assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), own, "this machine's own stays");
    assert_eq!(space.see("sysctl:net.ipv4.no_such_setting"), None);
    let fault = space.put(json!({"object": "sysctl", "name": "net.ipv4.ip_forward", "value": "x"})).unwrap_err();
    assert_eq!(fault.field.as_deref(), Some("/value"));
}

#[test]
fn what_changed_since_it_was_looked_at_is_left() {
    let space = Space::with_links(&["a0"]);
    let before = space.see("link:a0");
    space.ip(&["link", "set", "a0", "mtu", "1300"]);
    let object = serde_json::from_value(json!({"object": "link", "name": "a0", "mtu": 1400})).unwrap();
    let effect = NetworkEffect::Put { object };
    assert_eq!(space.network.perform(&effect, Some(&before)).unwrap_err().code, "changed");
    space.network.perform(&effect, Some(&space.see("link:a0"))).unwrap();
    let gone = Space::new();
    let name = gone.name.clone();
    let network = gone.network.clone();
    drop(gone);
    let fault = network.look(&["link:lo".parse().unwrap()]).remove(0).unwrap_err();
    assert!(fault.message.contains(&name), "{fault}");
}
