//! The circle of each kind, with the test kit in place of the host.

use tidelock_sdk::Action;
use tidelock_sdk::provider::{AnyChange, Checked, check};
use tidelock_sdk::serde_json::{Value, json};
use tidelock_sdk::testkit::{Machine, declared};

use super::Network;

/// The effects that bring a resource about, after which there is nothing to do.
fn effects(machine: &Machine, address: &str, spec: Value) -> Vec<String> {
    let resource = declared(address, spec);
    let done = machine.converge::<Network>(std::slice::from_ref(&resource)).unwrap();
    assert!(machine.converge::<Network>(&[resource]).unwrap().is_empty(), "the second time there is nothing to do");
    done.iter().map(|proposal| proposal.body.line()).collect()
}

fn checked(address: &str, spec: Value) -> Checked {
    check::<Network>(&[declared(address, spec)]).remove(0)
}

#[test]
fn each_kind_is_brought_about_once() {
    let machine = Machine::new();
    for (address, spec, effect) in [
        ("network.link/br0", json!({"name": "br0", "type": "bridge", "up": true}), "put-link"),
        ("network.address/a", json!({"link": "br0", "address": "10.0.0.1/24"}), "put-address"),
        ("network.route/r", json!({"to": "10.1.0.0/16", "via": "10.0.0.2", "table": "main"}), "put-route"),
        (
            "network.route/two",
            json!({"to": "10.2.0.0/16", "hops": [{"via": "10.0.0.3", "weight": 2}, {"via": "10.0.0.2"}]}),
            r#"put-route {"table":254,"to":"10.2.0.0/16","metric":0,"type":"unicast","hops":[{"via":"10.0.0.2","weight":1},{"#,
        ),
        (
            "network.route/one-hop",
            json!({"to": "10.3.0.0/16", "hops": [{"via": "10.0.0.3", "dev": "br0"}]}),
            r#"put-route {"table":254,"to":"10.3.0.0/16","metric":0,"type":"unicast","via":"10.0.0.3","dev":"br0""#,
        ),
        (
            "network.rule/all",
            json!({"family": 4, "priority": 1001, "from": "0.0.0.0/0", "table": 100}),
            r#"put-rule {"family":4,"priority":1001,"action":"table","table":100}"#,
        ),
        (
            "network.sysctl/octal",
            json!({"name": "net.ipv4.conf.all.rp_filter", "value": "02 0x1F 10"}),
            r#"set-sysctl {"name":"net.ipv4.conf.all.rp_filter","value":"2 31 10"}"#,
        ),
        ("network.route/six", json!({"to": "2001:DB8::/32", "via": "fe80::1", "dev": "br0", "metric": 0}), "put-route"),
        ("network.rule/u", json!({"family": 4, "priority": 1000, "from": "10.0.0.0/8", "table": 100}), "put-rule"),
        ("network.sysctl/f", json!({"name": "net.ipv4.ip_forward", "value": "1"}), "set-sysctl"),
        ("network.nftables/t", json!({"name": "filter", "ruleset": "table  inet filter { }"}), "replace-table"),
        ("network.link/wg0", json!({"name": "wg0", "type": "wireguard", "up": true}), "put-link"),
    ] {
        let done = effects(&machine, address, spec);
        assert!(done.len() == 1 && done[0].starts_with(effect), "{address}: {done:?}");
    }
    assert!(machine.object("route:main/2001:db8::/32").is_some());
}

#[test]
fn an_address_says_how_long_its_network_is() {
    let said = |address: &str| {
        let checked = checked("network.address/a", json!({"link": "br0", "address": address}));
        checked.diagnostics.into_iter().map(|remark| remark.message).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(said("10.0.0.1/32"), "");
    assert!(said("10.0.0.1").starts_with("10.0.0.1 has no length: write 10.0.0.1/32 for itself alone"));
    assert!(said("2001:db8::1").contains("2001:db8::1/128"));
    let checked = checked("network.route/r", json!({"to": "10.0.0.1/8", "via": "10.0.0.2"}));
    assert!(checked.diagnostics[0].message.ends_with("its network is 10.0.0.0/8"));
}

#[test]
fn of_a_link_only_what_differs_is_set() {
    let machine = Machine::new();
    machine.put_object("link:eth0", json!({"name": "eth0", "mtu": 1500, "up": true, "mac": "02:00:00:00:00:01"}));
    let done = effects(&machine, "network.link/eth0", json!({"name": "eth0", "mtu": 9000, "up": true}));
    assert_eq!(done, [r#"put-link {"name":"eth0","mtu":9000}"#]);
}

#[test]
fn what_was_made_as_something_else_is_made_anew() {
    let machine = Machine::new();
    machine.put_object("link:vx", json!({"name": "vx", "type": "vxlan", "vni": 1}));
    let done =
        machine.converge::<Network>(&[declared("network.link/vx", json!({"name": "vx", "type": "vxlan", "vni": 2}))]);
    let done: Vec<String> = done.unwrap().iter().map(|proposal| proposal.body.line()).collect();
    assert!(done[0] == "remove link:vx" && done[1].starts_with("put-link"), "{done:?}");
}

#[test]
fn a_link_without_a_type_is_let_go_and_the_other_end_of_a_veth_goes_with_it() {
    let change = |name: &str, last: Value, action: Action| AnyChange {
        id: if name == "ve1" { 1 } else { 0 },
        address: format!("network.link/{name}"),
        identity: format!("link:{name}"),
        kind: "network.link".into(),
        action,
        desired: (action != Action::Delete).then(|| last.to_string()),
        observed: Some(last.to_string()),
        last: Some(last.to_string()),
        handle: None,
        fields: vec!["/mtu".into()],
        seen: vec![],
        trigger: None,
        part: false,
    };
    let done = |first: Action| {
        let machine = Machine::new();
        machine.put_object("link:ve1", json!({"name": "ve1", "type": "veth", "peer": "ve2", "mtu": 1500}));
        machine.put_object("link:ve2", json!({"name": "ve2", "type": "veth", "peer": "ve1", "mtu": 1500}));
        let ve2 = change("ve2", json!({"name": "ve2", "mtu": 1500}), Action::Delete);
        let ve1 = change("ve1", json!({"name": "ve1", "type": "veth", "peer": "ve2", "mtu": 1400}), first);
        let done = machine.take_steps::<Network>(vec![ve2, ve1]).unwrap();
        done.iter().map(|proposal| proposal.body.line()).collect::<Vec<_>>()
    };
    assert_eq!(done(Action::Delete), ["remove link:ve2", "remove link:ve1"]);
    assert_eq!(done(Action::Update), [r#"put-link {"name":"ve1","mtu":1400}"#]);
}

#[test]
fn order_follows_what_a_thing_needs() {
    let address = checked("network.address/a", json!({"link": "br0", "address": "10.0.0.1/24"}));
    assert_eq!(address.requires, ["link:br0"]);
    let route = checked("network.route/r", json!({"to": "10.1.0.0/16", "via": "10.0.0.2", "src": "10.0.0.1"}));
    assert!(address.provides.iter().all(|provided| route.requires.contains(provided)), "{address:?} {route:?}");
    let far = checked("network.route/r", json!({"to": "10.1.0.0/16", "via": "10.0.1.2"}));
    assert!(!far.requires.contains(&"reach:10.0.0.0/24".to_owned()));
}

#[test]
fn mistakes_name_their_field() {
    for (address, spec, field) in [
        ("network.link/a", json!({"name": "a", "type": "bond"}), "/type"),
        ("network.link/a", json!({"name": "a", "type": "veth"}), "/peer"),
        ("network.link/a", json!({"name": "a", "type": "bridge", "vni": 1}), "/vni"),
        ("network.link/a", json!({"name": "much-too-long-name"}), "/name"),
        ("network.link/a", json!({"name": "a", "type": "vxlan", "vni": 16_777_216}), "/vni"),
        ("network.link/a", json!({"name": "a", "type": "vxlan", "vni": 1, "remote": "300.1.1.1"}), "/remote"),
        (
            "network.link/a",
            json!({"name": "a", "type": "vxlan", "vni": 1, "remote": "::1", "local": "10.0.0.1"}),
            "/local",
        ),
        ("network.link/a", json!({"name": "a", "type": "macvlan", "parent": "b", "mode": "brigde"}), "/mode"),
        ("network.link/a", json!({"name": "a", "type": "macvlan", "parent": "a"}), "/parent"),
        ("network.link/a", json!({"name": "a", "mtu": 20}), "/mtu"),
        ("network.link/a", json!({"name": "a", "mac": "zz:00"}), "/mac"),
        ("network.link/a", json!({"name": "a", "mac": "01:00:5e:00:00:01"}), "/mac"),
        ("network.address/a", json!({"link": "a", "address": "10.0.0.1/33"}), "/address"),
        ("network.route/a", json!({"to": "10.0.0.1/8", "via": "10.0.0.1"}), "/to"),
        ("network.link/a", json!({"name": "a", "type": "vxlan", "vni": 1, "port": 0}), "/port"),
        ("network.link/a", json!({"name": "a", "type": "vxlan", "vni": 1, "remote": "::"}), "/remote"),
        (
            "network.link/a",
            json!({"name": "a", "type": "macvlan", "parent": "b", "mode": "passthru", "mac": "02:00:00:00:00:01"}),
            "/mac",
        ),
        ("network.address/a", json!({"link": "a", "address": "0.0.0.0/0"}), "/address"),
        ("network.rule/a", json!({"family": 4, "priority": 1, "table": 1, "mark": 0}), "/mark"),
        ("network.sysctl/a", json!({"name": "net.ipv4.x", "value": " "}), "/value"),
        ("network.route/a", json!({"to": "default", "via": "10.0.0.1"}), "/to"),
        ("network.route/a", json!({"to": "10.0.0.0/8", "via": "10.0.0.1", "table": 0}), "/table"),
        ("network.route/a", json!({"to": "10.0.0.0/8", "via": "10.0.0.1", "table": 255}), "/table"),
        ("network.rule/a", json!({"family": 4, "priority": 1, "table": 0}), "/table"),
        ("network.route/a", json!({"to": "10.0.0.0/8"}), "/via"),
        ("network.route/a", json!({"to": "10.0.0.0/8", "via": "10.0.0.1", "hops": [{"via": "10.0.0.1"}]}), "/hops"),
        (
            "network.route/a",
            json!({"to": "10.0.0.0/8", "hops": [{"via": "10.0.0.1"}, {"via": "10.0.0.1", "dev": "a"}]}),
            "/hops/1",
        ),
        ("network.route/a", json!({"to": "10.0.0.0/8", "hops": [{"via": "10.0.0.1", "weight": 0}]}), "/hops/0"),
        ("network.route/a", json!({"to": "10.0.0.0/8", "type": "blackhole", "dev": "a"}), "/type"),
        ("network.rule/a", json!({"family": "ipv4", "priority": 1, "table": 1}), "/family"),
        ("network.rule/a", json!({"family": 5, "priority": 1, "table": 1}), "/family"),
        ("network.rule/a", json!({"family": 4, "priority": 1}), "/table"),
        ("network.rule/a", json!({"family": 6, "priority": 1, "from": "10.0.0.0/8", "table": 1}), "/from"),
        ("network.sysctl/a", json!({"name": "kernel.x", "value": "1"}), "/name"),
        (
            "network.wireguard/a",
            json!({"link": "wg0", "private_key": {"$secret": "k"}, "peers": {"short": {}}}),
            "/peers/short",
        ),
        (
            "network.wireguard/a",
            json!({"link": "wg0", "private_key": {"$secret": "k"}, "peers": {"a/b": {"endpoint": "vpn.example.com:1"}}}),
            "/peers/a~1b/endpoint",
        ),
        (
            "network.wireguard/a",
            json!({"link": "wg0", "private_key": {"$secret": "k"},
                   "peers": {"a": {"allowed_ips": ["10.0.0.1/8"]}, "b": {"allowed_ips": ["10.0.0.0/8"]}}}),
            "/peers/b/allowed_ips/0",
        ),
        ("network.nftables/a", json!({"family": "x", "name": "a", "ruleset": ""}), "/family"),
    ] {
        let checked = checked(address, spec.clone());
        assert!(checked.diagnostics.iter().any(|remark| remark.field.as_deref() == Some(field)), "{spec}: {checked:?}");
    }
}

#[test]
fn of_wireguard_all_peers_are_meant_and_one_that_was_heard_of_is_where_it_is() {
    const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8D/=";
    let spec = json!({"link": "wg0", "private_key": {"$secret": "vpn/key", "mac": "12"}, "peers": {
        KEY: {"endpoint": "192.0.2.1:7", "allowed_ips": ["10.10.0.1/16", "10.9.0.0/16", "10.10.0.0/16"]}}});
    let machine = Machine::new();
    let resource = declared("network.wireguard/vpn", spec.clone());
    let done = machine.converge::<Network>(std::slice::from_ref(&resource)).unwrap();
    let lines: Vec<String> = done.iter().map(|proposal| proposal.body.line()).collect();
    let set = lines[0].strip_prefix("set-wireguard ").unwrap();
    let set: Value = tidelock_sdk::serde_json::from_str(set).unwrap();
    assert_eq!(
        set["peers"][KEY],
        json!({"preshared_key": "none", "endpoint": "192.0.2.1:7",
        "allowed_ips": ["10.9.0.0/16", "10.10.0.0/16"], "keepalive": 0})
    );
    assert_eq!((&set["private_key"]["mac"], set.get("exactly")), (&json!("12"), None));
}

#[test]
fn records_are_spelled_in_full_and_put_as_one() {
    let machine = Machine::new();
    let spec = json!({"zone": "Example.com", "name": "www", "type": "a", "values": ["192.0.2.2", "192.0.2.1"]});
    let done = effects(&machine, "network.dns-record/www", spec);
    let set =
        r#"{"zone":"example.com.","name":"www.example.com.","type":"A","ttl":3600,"values":["192.0.2.1","192.0.2.2"]}"#;
    assert_eq!(done, [format!("put-records {set}")]);
    assert!(machine.object("rrset:example.com./www.example.com./A").is_some());
}

#[test]
fn an_alias_beside_other_records_is_refused() {
    let machine = Machine::new();
    let record =
        |kind: &str, value: &str| json!({"zone": "example.com", "name": "www", "type": kind, "values": [value]});
    effects(&machine, "network.dns-record/a", record("A", "192.0.2.1"));
    let alias = declared("network.dns-record/alias", record("CNAME", "web.example.com."));
    let error = machine.converge::<Network>(&[alias]).unwrap_err();
    assert!(error.message.contains("has records of type A, beside which a CNAME cannot be"), "{error:?}");
}

#[test]
fn what_no_zone_can_hold_is_found_without_a_server() {
    let at_zone = |name: &str, kind: &str, values: Value| json!({"zone": "example.com", "name": name, "type": kind, "values": values});
    for (spec, field) in [
        (at_zone("@", "SOA", json!(["x"])), "/type"),
        (at_zone("www", "NAPTR", json!(["x"])), "/type"),
        (at_zone("@", "NS", json!(["ns1.example.com."])), "/name"),
        (at_zone("@", "CNAME", json!(["web.example.com."])), "/type"),
        (at_zone("www", "CNAME", json!(["a.example.", "b.example."])), "/values"),
        (at_zone("www", "A", json!([])), "/values"),
        (at_zone("www.example.org.", "A", json!(["192.0.2.1"])), "/name"),
        (json!({"zone": "exam ple", "name": "www", "type": "A", "values": ["192.0.2.1"]}), "/zone"),
    ] {
        let checked = checked("network.dns-record/x", spec.clone());
        assert!(checked.diagnostics.iter().any(|remark| remark.field.as_deref() == Some(field)), "{spec}: {checked:?}");
    }
}
