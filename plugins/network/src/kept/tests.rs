use tidelock_sdk::Observation;
use tidelock_sdk::provider::Declared;
use tidelock_sdk::serde_json::{Value, json};
use tidelock_sdk::testkit::{Machine, Node, declared};

use crate::Network;

const D: &str = "/etc/systemd/network/90-tidelock-";

/// What each file of a machine holds, without its first line.
fn files(machine: &Machine) -> Vec<(String, String)> {
    let held = |path: String| match machine.node(&path) {
        Some(Node::File { content, .. }) => {
            let text = String::from_utf8(content).unwrap();
            let (head, rest) = text.split_once('\n').unwrap();
            assert!(head.starts_with("# ") && head.contains("by Tidelock"), "{path}: {head}");
            Some((path, rest.to_owned()))
        }
        _ => None,
    };
    machine.paths().into_iter().filter_map(held).collect()
}

/// Brings a resource about, twice, and gives the lines of its effects.
fn done(machine: &Machine, resource: &Declared) -> Vec<String> {
    let done = machine.converge::<Network>(std::slice::from_ref(resource)).unwrap();
    let rest = machine.converge::<Network>(std::slice::from_ref(resource)).unwrap();
    assert!(rest.is_empty(), "{rest:?}");
    done.iter().map(|proposal| proposal.body.line()).collect()
}

/// What a resource is kept as.
fn kept(keeper: &str, address: &str, spec: Value) -> Vec<(String, String)> {
    let machine = Machine::new().keeps_network(keeper);
    done(&machine, &declared(address, spec));
    files(&machine)
}

/// The files beside that of the link itself.
fn beside(keeper: &str, address: &str, spec: Value) -> Vec<(String, String)> {
    let mut files = kept(keeper, address, spec);
    files.retain(|(path, _)| !path.ends_with(".network"));
    files
}

fn file(path: &str, text: &str) -> (String, String) {
    (path.to_owned(), text.to_owned())
}

#[test]
fn networkd_gets_a_file_for_the_link_and_one_for_each_resource() {
    let address = kept("networkd", "network.address/a", json!({"link": "br0", "address": "10.0.0.1/24"}));
    assert_eq!(
        address,
        [
            file(&format!("{D}br0.network"), "[Match]\nName=br0\n\n[Network]\nConfigureWithoutCarrier=yes\n"),
            file(
                &format!("{D}br0.network.d/address-10.0.0.1-24.conf"),
                "[Address]\nAddress=10.0.0.1/24\nBroadcast=no\n"
            ),
        ]
    );
    let link = json!({"name": "br0", "type": "bridge", "mtu": 1400, "up": true});
    assert_eq!(
        beside("networkd", "network.link/l", link),
        [
            file(&format!("{D}br0.netdev"), "[NetDev]\nName=br0\nKind=bridge\n"),
            file(
                &format!("{D}br0.network.d/link.conf"),
                "[Link]\nMTUBytes=1400\nActivationPolicy=up\nRequiredForOnline=no\n"
            ),
        ]
    );
    let port = json!({"name": "eth1", "master": "br0", "up": true, "mac": "02:00:00:00:00:AA"});
    let machine = Machine::new().keeps_network("networkd");
    machine.put_object("link:eth1", json!({"name": "eth1", "up": false, "mac": "02:00:00:00:00:01"}));
    done(&machine, &declared("network.link/l", port));
    assert_eq!(
        files(&machine)[1],
        file(
            &format!("{D}eth1.network.d/link.conf"),
            "[Link]\nMACAddress=02:00:00:00:00:aa\nActivationPolicy=up\n\n[Network]\nBridge=br0\n"
        )
    );
    let pair = json!({"name": "v0", "type": "veth", "peer": "v1"});
    assert_eq!(
        beside("networkd", "network.link/l", pair)[0],
        file(&format!("{D}v0.netdev"), "[NetDev]\nName=v0\nKind=veth\n\n[Peer]\nName=v1\n")
    );
    let overlay = json!({"name": "vx7", "type": "vxlan", "vni": 7, "remote": "10.0.0.9", "local": "10.0.0.1"});
    assert_eq!(
        beside("networkd", "network.link/l", overlay)[0].1,
        "[NetDev]\nName=vx7\nKind=vxlan\n\n[VXLAN]\nVNI=7\nRemote=10.0.0.9\nLocal=10.0.0.1\nDestinationPort=4789\nIndependent=yes\n"
    );
    let extra = kept("networkd", "network.link/l", json!({"name": "mv0", "type": "macvlan", "parent": "eth0"}));
    let names: Vec<&str> = extra.iter().filter_map(|(path, _)| path.strip_prefix(D)).collect();
    let wanted =
        ["eth0.network", "eth0.network.d/with-mv0.conf", "mv0.netdev", "mv0.network", "mv0.network.d/link.conf"];
    assert_eq!(names, wanted);
    assert_eq!(extra[1].1, "[Network]\nMACVLAN=mv0\n");
}

#[test]
fn networkd_gets_routes_with_their_link_and_what_has_none_with_lo() {
    for (address, spec, path, text) in [
        (
            "network.route/r",
            json!({"to": "10.1.0.0/16", "via": "10.0.0.2", "dev": "br0"}),
            "br0.network.d/route-main-10.1.0.0-16.conf",
            "[Route]\nDestination=10.1.0.0/16\nGateway=10.0.0.2\nProtocol=201\n",
        ),
        (
            "network.route/r",
            json!({"to": "2001:db8::/32", "dev": "br0", "src": "2001:db8::1", "metric": 7}),
            "br0.network.d/route-main-2001:db8::-32+7.conf",
            "[Route]\nDestination=2001:db8::/32\nMetric=7\nPreferredSource=2001:db8::1\nProtocol=201\n",
        ),
        (
            "network.route/r",
            json!({"to": "10.9.0.0/16", "type": "blackhole", "table": 100}),
            "lo.network.d/route-100-10.9.0.0-16.conf",
            "[Route]\nDestination=10.9.0.0/16\nType=blackhole\nTable=100\nProtocol=201\n",
        ),
        (
            "network.route/r",
            json!({"to": "10.2.0.0/16", "hops": [{"via": "10.0.7.9", "dev": "br2"}, {"via": "10.0.0.9", "dev": "br0", "weight": 3}]}),
            "br0.network.d/route-main-10.2.0.0-16.conf",
            "[Route]\nDestination=10.2.0.0/16\nMultiPathRoute=10.0.0.9@br0 3\nMultiPathRoute=10.0.7.9@br2 1\nProtocol=201\n",
        ),
        (
            "network.route/r",
            json!({"to": "2001:db8::/32", "hops": [{"via": "fe80::1", "dev": "br0"}, {"via": "fe80::1", "dev": "br2"}]}),
            "br0.network.d/route-main-2001:db8::-32.conf",
            "[Route]\nDestination=2001:db8::/32\nMultiPathRoute=fe80::1@br0 1\nMultiPathRoute=fe80::1@br2 1\nMetric=1024\nProtocol=201\n",
        ),
        (
            "network.rule/u",
            json!({"family": 4, "priority": 1000, "from": "10.0.5.0/24", "iif": "br0", "mark": 5, "table": 100}),
            "lo.network.d/rule-4-1000.conf",
            "[RoutingPolicyRule]\nFamily=ipv4\nPriority=1000\nFrom=10.0.5.0/24\nIncomingInterface=br0\nFirewallMark=5\nTable=100\n",
        ),
        (
            "network.rule/u",
            json!({"family": 6, "priority": 7, "to": "2001:db8::/32", "action": "prohibit"}),
            "lo.network.d/rule-6-7.conf",
            "[RoutingPolicyRule]\nFamily=ipv6\nPriority=7\nTo=2001:db8::/32\nType=prohibit\n",
        ),
    ] {
        assert_eq!(beside("networkd", address, spec), [file(&format!("{D}{path}"), text)]);
    }
}

#[test]
fn settings_and_tables_are_kept_alike_by_both() {
    let setting = json!({"name": "net.ipv4.conf.eth0/100.rp_filter", "value": "1"});
    let table = json!({"name": "filter", "ruleset": "table inet filter { }"});
    for (address, spec, path, text) in [
        (
            "network.sysctl/s",
            &setting,
            "/etc/sysctl.d/99-tidelock-net.ipv4.conf.eth0,100.rp_filter.conf",
            "net.ipv4.conf.eth0/100.rp_filter = 1\n",
        ),
        (
            "network.nftables/t",
            &table,
            "/etc/nftables.d/tidelock-inet-filter.nft",
            "table inet filter\ndelete table inet filter\ntable inet filter { }\n",
        ),
    ] {
        for keeper in ["networkd", "ifupdown"] {
            assert_eq!(kept(keeper, address, spec.clone()), [file(path, text)]);
        }
    }
}

#[test]
fn ifupdown_gets_a_stanza_for_each_resource() {
    const I: &str = "/etc/network/interfaces.d/tidelock-";
    for (address, spec, path, text) in [
        (
            "network.link/l",
            json!({"name": "br0", "type": "bridge", "mtu": 1400, "up": true}),
            "1-link-br0",
            "auto br0\niface br0 inet manual\n    pre-up ip link show dev br0 >/dev/null 2>&1 || ip link add name br0 type bridge\n    pre-up ip link set dev br0 mtu 1400\n    up ip link set dev br0 up\n",
        ),
        (
            "network.link/l",
            json!({"name": "mv0", "type": "macvlan", "parent": "eth0"}),
            "4-link-mv0",
            "auto mv0\niface mv0 inet manual\n    pre-up ip link show dev mv0 >/dev/null 2>&1 || ip link add link eth0 name mv0 type macvlan mode bridge\n",
        ),
        (
            "network.address/a",
            json!({"link": "br0", "address": "2001:db8::1/64"}),
            "6-address-br0-2001:db8::1-64",
            "auto br0\niface br0 inet6 manual\n    up ip address replace 2001:db8::1/64 dev br0\n",
        ),
        (
            "network.route/r",
            json!({"to": "10.1.0.0/16", "via": "10.0.0.2", "dev": "br0", "metric": 5}),
            "7-route-main-10.1.0.0-16+5",
            "auto br0\niface br0 inet manual\n    up ip route replace 10.1.0.0/16 via 10.0.0.2 dev br0 metric 5 proto 201\n",
        ),
        (
            "network.route/r",
            json!({"to": "10.2.0.0/16", "hops": [{"via": "10.0.7.9", "dev": "br2"}, {"via": "10.0.0.9", "dev": "br0", "weight": 3}]}),
            "7-route-main-10.2.0.0-16",
            "auto br0\niface br0 inet manual\n    up ip route replace 10.2.0.0/16 proto 201 nexthop via 10.0.0.9 dev br0 weight 3 nexthop via 10.0.7.9 dev br2 weight 1 2>/dev/null || true\n\nauto br2\niface br2 inet manual\n    up ip route replace 10.2.0.0/16 proto 201 nexthop via 10.0.0.9 dev br0 weight 3 nexthop via 10.0.7.9 dev br2 weight 1 2>/dev/null || true\n",
        ),
        (
            "network.route/r",
            json!({"to": "10.2.0.0/16", "hops": [{"via": "10.0.0.8", "dev": "br0"}, {"via": "10.0.0.9", "dev": "br0"}]}),
            "7-route-main-10.2.0.0-16",
            "auto br0\niface br0 inet manual\n    up ip route replace 10.2.0.0/16 proto 201 nexthop via 10.0.0.8 dev br0 weight 1 nexthop via 10.0.0.9 dev br0 weight 1\n",
        ),
        (
            "network.rule/u",
            json!({"family": 4, "priority": 1000, "from": "10.0.5.0/24", "table": 100}),
            "8-rule-4-1000",
            "auto lo\niface lo inet manual\n    up ip rule delete priority 1000 protocol 201 2>/dev/null || true\n    up ip rule add priority 1000 from 10.0.5.0/24 table 100 protocol 201\n",
        ),
    ] {
        assert_eq!(kept("ifupdown", address, spec), [file(&format!("{I}{path}"), text)]);
    }
}

const PEER: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

/// A tunnel whose keys stand in files of the system.
fn tunnel() -> Value {
    json!({"link": "wg0", "private_key": {"$secret": "vpn/key"}, "private_key_file": "/etc/wireguard/wg0.key",
           "listen_port": 51820, "peers": {PEER: {
               "endpoint": "[2001:db8::1]:51820", "allowed_ips": ["10.9.0.2/32", "10.8.0.0/16"], "keepalive": 25,
               "preshared_key": {"$secret": "vpn/psk"}, "preshared_key_file": "/etc/wireguard/psk"}}})
}

#[test]
fn a_tunnel_is_kept_by_where_its_keys_are_and_by_no_key() {
    assert_eq!(
        kept("networkd", "network.wireguard/vpn", tunnel()),
        [file(
            &format!("{D}wg0.netdev"),
            &format!(
                "[NetDev]\nName=wg0\nKind=wireguard\n\n[WireGuard]\nPrivateKeyFile=/etc/wireguard/wg0.key\n\
                 ListenPort=51820\n\n[WireGuardPeer]\nPublicKey={PEER}\nPresharedKeyFile=/etc/wireguard/psk\n\
                 Endpoint=[2001:db8::1]:51820\nAllowedIPs=10.8.0.0/16,10.9.0.2/32\nPersistentKeepalive=25\n"
            )
        )]
    );
    const I: &str = "/etc/network/interfaces.d/tidelock-";
    assert_eq!(
        kept("ifupdown", "network.wireguard/vpn", tunnel()),
        [file(
            &format!("{I}5-wireguard-wg0"),
            &format!(
                "auto wg0\niface wg0 inet manual\n    pre-up wg set wg0 private-key /etc/wireguard/wg0.key listen-port 51820\n    \
                 pre-up wg set wg0 peer {PEER} preshared-key /etc/wireguard/psk endpoint '[2001:db8::1]:51820' \
                 persistent-keepalive 25 allowed-ips 10.8.0.0/16,10.9.0.2/32\n"
            )
        )]
    );
    // Its link: networkd makes it from the file above, ifupdown before that.
    let link = json!({"name": "wg0", "type": "wireguard", "up": true});
    let names: Vec<String> =
        kept("networkd", "network.link/l", link.clone()).into_iter().map(|(path, _)| path).collect();
    assert_eq!(names, [format!("{D}wg0.network"), format!("{D}wg0.network.d/link.conf")]);
    assert_eq!(
        kept("ifupdown", "network.link/l", link),
        [file(
            &format!("{I}4-link-wg0"),
            "auto wg0\niface wg0 inet manual\n    pre-up ip link show dev wg0 >/dev/null 2>&1 || ip link add name wg0 \
             type wireguard 2>/dev/null || wireguard-go wg0\n    up ip link set dev wg0 up\n"
        )]
    );
}

#[test]
fn both_halves_of_a_tunnel_are_seen_and_healed_and_the_live_one_has_no_file() {
    let machine = Machine::new().keeps_network("networkd");
    let resource = declared("network.wireguard/vpn", tunnel());
    let effects = done(&machine, &resource);
    assert!(effects[0].starts_with("set-wireguard ") && !effects[0].contains("_file"), "{effects:?}");
    let netdev = format!("{D}wg0.netdev");
    machine.put(&netdev, Node::file("[NetDev]\n"));
    assert_eq!(done(&machine, &resource), [format!("put-text {netdev}")]);
    machine.remove_object("wireguard:wg0");
    let look = machine.look::<Network>(std::slice::from_ref(&resource)).unwrap().remove(0);
    assert!(look.fields.contains(&"/persist/live".to_owned()), "{:?}", look.fields);
    let effects = done(&machine, &resource);
    assert!(effects.len() == 1 && effects[0].starts_with("set-wireguard "), "{effects:?}");
    let gone = machine.delete::<Network>(&resource).unwrap();
    let lines: Vec<String> = gone.iter().map(|proposal| proposal.body.line()).collect();
    assert_eq!(lines, ["remove wireguard:wg0".to_owned(), format!("remove {netdev}")]);
}

#[test]
fn each_half_is_seen_and_healed_by_itself() {
    let machine = Machine::new().keeps_network("networkd");
    let resource = declared("network.address/a", json!({"link": "br0", "address": "10.0.0.1/24"}));
    done(&machine, &resource);
    let own = format!("{D}br0.network.d/address-10.0.0.1-24.conf");
    machine.put(&own, Node::file("[Address]\nAddress=10.0.0.66/24\n"));
    let look = machine.look::<Network>(std::slice::from_ref(&resource)).unwrap().remove(0);
    assert_eq!(look.fields, [format!("/persist/kept/{}", own.replace('/', "~1"))]);
    assert_eq!(done(&machine, &resource), [format!("put-text {own}")]);
    // Gone from the kernel, and still kept.
    machine.remove_object("address:br0/10.0.0.1/24");
    let look = machine.look::<Network>(std::slice::from_ref(&resource)).unwrap().remove(0);
    assert_eq!(look.fields, ["/persist/live"]);
    let Observation::Present(present) = look.observed else { panic!("it is kept") };
    assert_eq!((&present.observed["link"], &present.observed["address"]), (&json!("br0"), &json!("10.0.0.1/24")));
    assert_eq!(done(&machine, &resource), [r#"put-address {"link":"br0","address":"10.0.0.1/24"}"#]);
}

#[test]
fn a_link_that_is_kept_and_gone_is_made_again_and_nothing_is_removed() {
    let machine = Machine::new().keeps_network("networkd");
    let resource = declared("network.link/l", json!({"name": "br0", "type": "bridge", "up": true}));
    done(&machine, &resource);
    machine.remove_object("link:br0");
    assert_eq!(done(&machine, &resource), [r#"put-link {"name":"br0","type":"bridge","up":true}"#]);
}

#[test]
fn what_leaves_git_leaves_the_files() {
    let machine = Machine::new().keeps_network("networkd");
    let link = declared("network.link/l", json!({"name": "br0", "type": "bridge"}));
    let (one, two) = (
        declared("network.address/a", json!({"link": "br0", "address": "10.0.0.1/24"})),
        declared("network.address/b", json!({"link": "br0", "address": "10.0.0.2/24"})),
    );
    for resource in [&link, &one, &two] {
        done(&machine, resource);
    }
    let gone = |machine: &Machine, resource: &Declared| -> Vec<String> {
        machine.delete::<Network>(resource).unwrap().iter().map(|proposal| proposal.body.line()).collect()
    };
    let own = |address: &str| format!("remove {D}br0.network.d/address-{address}-24.conf");
    assert_eq!(gone(&machine, &one), ["remove address:br0/10.0.0.1/24".to_owned(), own("10.0.0.1")]);
    assert_eq!(files(&machine).len(), 4, "the others stay: {:?}", files(&machine));
    // One that is only kept by now would come back.
    machine.remove_object("address:br0/10.0.0.2/24");
    assert_eq!(gone(&machine, &two), [own("10.0.0.2")]);
    assert_eq!(gone(&machine, &link).len(), 4);
    assert_eq!(files(&machine), []);
    // The last one beside a device takes the file of the device along.
    done(&machine, &one);
    gone(&machine, &one);
    assert_eq!(files(&machine), []);
}

#[test]
fn what_cannot_be_kept_says_what_would_be() {
    let machine = Machine::new().keeps_network("networkd");
    let hops = json!({"to": "10.2.0.0/16", "hops": [{"via": "10.0.0.3"}, {"via": "10.0.0.2"}]});
    for (address, spec, field) in [
        ("network.route/r", json!({"to": "10.1.0.0/16", "via": "10.0.0.2"}), "/dev"),
        ("network.route/r", hops, "/hops"),
        ("network.route/r", json!({"to": "10.2.0.0/16", "hops": [{"dev": "br0"}, {"dev": "br1"}]}), "/hops"),
        ("network.link/l", json!({"name": "a*", "type": "bridge"}), "/name"),
        ("network.rule/r", json!({"family": 4, "priority": 1, "table": 1, "iif": "a; reboot"}), "/iif"),
        ("network.wireguard/w", json!({"link": "wg0", "private_key": {"$secret": "k"}}), "/private_key_file"),
        (
            "network.wireguard/w",
            json!({"link": "wg0", "private_key": {"$secret": "k"}, "private_key_file": "/k",
                   "peers": {PEER: {"preshared_key": {"$secret": "p"}}}}),
            "/peers",
        ),
        (
            "network.nftables/t",
            json!({"name": "t", "ruleset": "table inet t { chain c { iif \"eth0\" accept } }"}),
            "/ruleset",
        ),
    ] {
        let mut free = spec.clone();
        let error = machine.look::<Network>(&[declared(address, spec)]).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{error:?}");
        free["persist"] = json!(false);
        machine.look::<Network>(&[declared(address, free)]).unwrap();
    }
    let only =
        json!({"name": "t", "ruleset": "table inet t { chain c { iif \"lo\" accept; iifname \"eth0\" accept } }"});
    machine.look::<Network>(&[declared("network.nftables/t", only)]).unwrap();
    let asked = json!({"link": "br0", "address": "10.0.0.1/24", "persist": true});
    let error = Machine::new().look::<Network>(&[declared("network.address/a", asked)]).unwrap_err();
    assert!(error.message.contains("persist = \"networkd\""), "{error:?}");
}

#[test]
fn what_is_normalised_is_so_already() {
    for machine in [Machine::new(), Machine::new().keeps_network("networkd")] {
        for persist in [Value::Null, json!(false)] {
            for mut spec in [
                json!({"to": "10.1.0.0/16", "via": "10.0.0.2", "dev": "br0"}),
                json!({"to": "10.1.0.0/16", "hops": [{"via": "10.0.0.2", "dev": "br0"}, {"via": "10.0.7.2", "dev": "br2"}]}),
            ] {
                if !persist.is_null() {
                    spec["persist"] = persist.clone();
                }
                let look =
                    |spec| machine.look::<Network>(&[declared("network.route/r", spec)]).unwrap().remove(0).desired;
                let once = look(spec);
                assert_eq!(look(once.clone()), once);
            }
        }
    }
}

#[test]
fn nothing_is_kept_where_nobody_said_so() {
    let machine = Machine::new();
    done(&machine, &declared("network.address/a", json!({"link": "br0", "address": "10.0.0.1/24"})));
    let machine = Machine::new().keeps_network("networkd");
    let free = json!({"link": "br0", "address": "10.0.0.1/24", "persist": false});
    done(&machine, &declared("network.address/a", free));
    let free = json!({"link": "wg0", "private_key": {"$secret": "k"}, "persist": false});
    done(&machine, &declared("network.wireguard/w", free));
    assert_eq!(files(&machine), []);
}
