//! Records of the DNS from Git, on real servers: Knot DNS and BIND 9.
#![expect(clippy::print_stdout, reason = "the figures are for whoever runs it")]

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use tidelock_tests::dns::{DnsServer, Make, before_a_question, before_an_update};
use tidelock_tests::zones::Zones;

fn site(make: Make) -> Zones {
    Zones::new(|folder| DnsServer::start(make, folder))
}

/// One set of each type.
fn everything(site: &Zones) {
    site.put("www", "{ name: www, type: A, ttl: 300, values: [192.0.2.2, 192.0.2.1] }");
    site.put("www6", "{ name: WWW.Example.com, type: aaaa, ttl: 300, values: [\"2001:DB8:0::1\"] }");
    site.put("shop", "{ name: shop, type: CNAME, values: [WWW.example.com.] }");
    site.put("mail", "{ name: \"@\", type: MX, values: [10 mx1.example.org., 20 mx2.example.org] }");
    site.put("spf", "{ name: \"@\", type: TXT, values: [v=spf1 mx -all] }");
    let long = "k".repeat(400);
    site.put("dkim", &format!("{{ name: s1._domainkey, type: TXT, values: [\"v=DKIM1; p={long}\"] }}"));
    site.put("sip", "{ name: _sip._udp, type: SRV, values: [0 5 5060 sip.example.com.] }");
    site.put("ca", "{ name: \"@\", type: CAA, values: ['0 issue \"ca.example; account=1\"'] }");
    site.put("sub", "{ name: sub, type: NS, values: [ns1.example.org., ns2.example.org.] }");
    site.put("pointer", "{ name: \"7\", type: PTR, values: [host.example.org.] }");
    site.put("any", "{ name: \"*.dyn\", type: A, ttl: 60, values: [192.0.2.9] }");
}

fn the_whole_story(make: Make) {
    let site = site(make);
    let by_hand = site.server().zone();
    everything(&site);
    site.repo().commit("A zone");
    let plan = site.tidelock(["plan", "--full"]).run().ok();
    plan.says("put www.example.com. 300 A 192.0.2.1, 192.0.2.2").says("+www.example.com. 300 A 192.0.2.1");
    assert_eq!(site.server().zone(), by_hand, "a plan writes nothing");
    site.apply();
    let zone = site.server().zone();
    for line in [
        "www.example.com. 300 in a 192.0.2.1",
        "www.example.com. 300 in a 192.0.2.2",
        "www.example.com. 300 in aaaa 2001:db8::1",
        "shop.example.com. 3600 in cname www.example.com.",
        "example.com. 3600 in mx 20 mx2.example.org.",
        "example.com. 3600 in txt \"v=spf1 mx -all\"",
        "_sip._udp.example.com. 3600 in srv 0 5 5060 sip.example.com.",
        "example.com. 3600 in caa 0 issue \"ca.example; account=1\"",
        "sub.example.com. 3600 in ns ns2.example.org.",
        "7.example.com. 3600 in ptr host.example.org.",
        "*.dyn.example.com. 60 in a 192.0.2.9",
    ] {
        assert!(zone.lines().any(|held| held == line), "{make:?}: {line} is not in\n{zone}");
    }
    let key: String = zone.lines().find(|line| line.contains("_domainkey")).unwrap_or_default().replace("\" \"", "");
    assert!(key.contains(&"k".repeat(400)), "{zone}");
    for line in by_hand.lines() {
        assert!(zone.contains(line), "{make:?}: {line} was by hand, and is not in\n{zone}");
    }

    // What somebody changes is found and healed, and what is others' stays.
    for change in [
        "delete www.example.com A 192.0.2.1",
        "add www.example.com 300 A 192.0.2.66",
        "delete www.example.com A\nadd www.example.com 77 A 192.0.2.1\nadd www.example.com 77 A 192.0.2.2",
        "delete example.com MX",
        "delete shop.example.com CNAME\nadd shop.example.com 3600 CNAME else.example.com.",
        "delete _sip._udp.example.com",
        "delete sub.example.com NS ns1.example.org.",
    ] {
        site.server().by_hand(change);
        site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2).says("network.dns-record");
        site.apply();
        assert_eq!(site.server().zone(), zone, "{make:?}: {change}");
    }
    site.server().by_hand("add others.example.com 60 TXT \"theirs\"\nadd www.example.com 60 TXT \"beside\"");
    site.converged();

    // A change of Git's is one update of the set; what leaves Git goes.
    site.put("www", "{ name: www, type: A, ttl: 60, values: [192.0.2.3] }");
    for name in ["www6", "sip", "any", "ca"] {
        site.repo().remove(&format!("zones/{name}.yaml"));
    }
    site.repo().commit("Less");
    site.tidelock(["plan", "--full"])
        .run()
        .ok()
        .says("-www.example.com. 300 A 192.0.2.1")
        .says("remove www.example.com. AAAA");
    site.apply();
    let zone = site.server().zone();
    assert!(zone.contains("www.example.com. 60 in a 192.0.2.3"), "{zone}");
    for gone in ["192.0.2.1", " aaaa ", " srv ", "*.dyn", " caa "] {
        assert!(!zone.lines().any(|line| line.contains(gone)), "{make:?}: {gone} is in\n{zone}");
    }
    assert!(zone.contains("others.example.com. 60 in txt \"theirs\"") && zone.contains("\"beside\""), "{zone}");
    for line in by_hand.lines() {
        assert!(zone.contains(line), "{make:?}: {line} was by hand, and is not in\n{zone}");
    }
}

#[test]
fn a_zone_on_knot_is_what_git_says_and_a_second_plan_is_empty() {
    the_whole_story(Make::Knot);
}

#[test]
fn a_zone_on_bind_is_what_git_says_and_a_second_plan_is_empty() {
    the_whole_story(Make::Bind);
}

#[test]
fn what_somebody_changes_between_plan_and_update_is_not_overwritten() {
    for make in Make::BOTH {
        let site = site(make);
        site.put("www", "{ name: www, type: A, ttl: 300, values: [192.0.2.1] }");
        site.put("calm", "{ name: calm, type: A, values: [192.0.2.5] }");
        site.repo().commit("Two names");
        let race = |meanwhile: &str, theirs: &str| {
            let port = before_an_update(site.server().port(), site.server().later(meanwhile));
            site.config(port, "");
            let ran = site.tidelock(["apply", "--yes"]).run();
            assert_ne!(ran.code, 0, "{make:?}\n{}", ran.story());
            ran.says("has changed since the plan was made");
            assert_eq!(site.server().dig("www.example.com", "A"), theirs, "{make:?}");
            site.config(site.server().port(), "");
        };
        // One where there was none; the other group of the same update is done all the same.
        race("add www.example.com 60 A 192.0.2.66", "www.example.com. 60 in a 192.0.2.66");
        assert_eq!(site.server().dig("calm.example.com", "A"), "calm.example.com. 3600 in a 192.0.2.5");
        site.server().by_hand("delete www.example.com A");
        site.apply();
        // Another value, one more, and none.
        for (meanwhile, theirs) in [
            ("delete www.example.com A\nadd www.example.com 60 A 192.0.2.67", "www.example.com. 60 in a 192.0.2.67"),
            ("delete www.example.com A", ""),
        ] {
            site.put("www", "{ name: www, type: A, ttl: 300, values: [192.0.2.2] }");
            site.repo().commit("Another address");
            race(meanwhile, theirs);
            site.server().by_hand("delete www.example.com A\nadd www.example.com 300 A 192.0.2.1");
        }
        // What is to be removed and was changed stays.
        site.apply();
        site.repo().remove("zones/www.yaml");
        site.repo().commit("No www");
        race(
            "add www.example.com 300 A 192.0.2.68",
            "www.example.com. 300 in a 192.0.2.2\nwww.example.com. 300 in a 192.0.2.68",
        );
        let ran = site.tidelock(["apply", "--yes"]).run();
        assert_ne!(ran.code, 0, "{}", ran.story());
        ran.says("is no longer as it was put there");
        site.server().by_hand("delete www.example.com A 192.0.2.68");
        site.apply();
        assert_eq!(site.server().dig("www.example.com", "A"), "", "{make:?}");
    }
}

#[test]
fn a_time_to_live_that_somebody_changes_between_plan_and_update_is_not_overwritten() {
    for make in Make::BOTH {
        let site = site(make);
        site.holds(&[
            ("www", "{ name: www, type: A, ttl: 300, values: [192.0.2.1] }"),
            ("calm", "{ name: calm, type: A, ttl: 300, values: [192.0.2.5] }"),
        ]);
        site.put("www", "{ name: www, type: A, ttl: 300, values: [192.0.2.2] }");
        site.put("calm", "{ name: calm, type: A, ttl: 300, values: [192.0.2.6] }");
        site.repo().commit("Other addresses");
        let theirs = "delete www.example.com A\nadd www.example.com 77 A 192.0.2.1";
        let port = before_a_question(site.server().port(), site.server().later(theirs));
        site.config(port, "");
        let ran = site.tidelock(["apply", "--yes"]).run();
        assert_ne!(ran.code, 0, "{make:?}\n{}", ran.story());
        let _ = ran.says("the time to live of").says("has changed since the plan was made: 300 s, and now 77 s");
        assert_eq!(site.server().dig("www.example.com", "A"), "www.example.com. 77 in a 192.0.2.1", "{make:?}");
        // The other group of the same update is done all the same.
        assert_eq!(site.server().dig("calm.example.com", "A"), "calm.example.com. 300 in a 192.0.2.6");
        site.config(site.server().port(), "");
        site.apply();
        assert_eq!(site.server().dig("www.example.com", "A"), "www.example.com. 300 in a 192.0.2.2");
    }
}

#[test]
fn an_alias_changes_places_with_what_was_there_and_is_beside_nothing() {
    for make in Make::BOTH {
        let site = site(make);
        site.holds(&[
            ("a", "{ name: www, type: A, values: [192.0.2.1] }"),
            ("six", "{ name: www, type: AAAA, values: [\"2001:db8::1\"] }"),
        ]);
        for name in ["a", "six"] {
            site.repo().remove(&format!("zones/{name}.yaml"));
        }
        site.put("alias", "{ name: www, type: CNAME, values: [hand.example.com.] }");
        site.repo().commit("An alias instead");
        site.apply();
        assert_eq!(site.server().dig("www.example.com", "CNAME"), "www.example.com. 3600 in cname hand.example.com.");
        site.repo().remove("zones/alias.yaml");
        site.put("a", "{ name: www, type: A, values: [192.0.2.1] }");
        site.repo().commit("And back");
        site.apply();
        assert_eq!(site.server().dig("www.example.com", "A"), "www.example.com. 3600 in a 192.0.2.1", "{make:?}");

        let before = site.server().zone();
        site.put("beside", "{ name: hand, type: CNAME, values: [www.example.com.] }");
        site.put("under", "{ name: alias, type: TXT, values: [text] }");
        site.repo().commit("What cannot be");
        let ran = site.tidelock(["apply", "--yes"]).run();
        assert_ne!(ran.code, 0);
        ran.says("hand.example.com. has records of type A, beside which a CNAME cannot be")
            .says("alias.example.com. has records of type CNAME, beside which a TXT cannot be");
        assert_eq!(site.server().zone(), before, "{make:?}");
    }
}

#[test]
fn without_transfers_each_set_is_asked_for_and_a_wildcard_is_taken_for_none() {
    for make in Make::BOTH {
        let site = Zones::new(|folder| DnsServer::without_transfers(make, folder));
        everything(&site);
        site.repo().commit("A zone");
        site.apply();
        site.server().by_hand("delete www.example.com A 192.0.2.1");
        site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2).says("network.dns-record");
        site.apply();
        // The server answers for a name that is not there with the wildcard's records.
        site.put("host", "{ name: host.dyn, type: A, values: [192.0.2.10] }");
        site.repo().commit("A name below the wildcard");
        let ran = site.tidelock(["apply", "--yes"]).run();
        assert_ne!(ran.code, 0, "{}", ran.story());
        ran.says("may be there by itself or come of *.dyn.example.com.").says("transfers of example.com.");
        site.put("hand", "{ name: hand, type: CNAME, values: [www.example.com.] }");
        site.repo().remove("zones/host.yaml");
        site.repo().commit("An alias beside an address");
        let ran = site.tidelock(["apply", "--yes"]).run();
        assert_ne!(ran.code, 0, "{}", ran.story());
        ran.says("hand.example.com. has records of type A, beside which a CNAME cannot be");
        site.tidelock(["doctor"]).run().says("takes updates and gives no transfers");
    }
}

#[test]
fn what_is_not_granted_is_refused_with_the_lines_to_paste() {
    let site = site(Make::Knot);
    let before = site.server().zone();
    for (replaced, spec, line) in [
        (
            "records = [\"www.example.com A\"]",
            "{ name: www2, type: A, values: [192.0.2.1] }",
            "records = [\"www2.example.com A\"]",
        ),
        (
            "records = [\"www.example.com A\"]",
            "{ name: www, type: TXT, values: [x] }",
            "records = [\"www.example.com TXT\"]",
        ),
        (
            "records = [\"*.example.com *\"]",
            "{ name: a.b, type: A, values: [192.0.2.1] }",
            "records = [\"a.b.example.com A\"]",
        ),
        // A zone that the server does not serve is the config's mistake, and told before all else.
        ("zones = [\"example.org\"]", "{ name: www, type: A, values: [192.0.2.1] }", "(REFUSED"),
    ] {
        site.config(site.server().port(), replaced);
        site.put("one", spec);
        site.repo().commit("Something that is not granted");
        let ran = site.tidelock(["apply", "--yes"]).run();
        assert_ne!(ran.code, 0, "{spec}\n{}", ran.story());
        drop(ran);
        site.tidelock(["apply", "--yes"]).run().says(line);
        assert_eq!(site.server().zone(), before, "{spec}");
    }
    // A zone of the same server that the target does not list.
    site.config(site.server().port(), "zones = [\"example.com\"]");
    site.repo().write(
        "zones/one.yaml",
        "kind: network.dns-record\nname: one\nspec: { zone: example.org, name: www, type: A, values: [192.0.2.1] }\n",
    );
    site.repo().commit("Another zone");
    site.config(site.server().port(), "records = [\"**.example.org *\"]");
    let ran = site.tidelock(["apply", "--yes"]).run();
    assert_ne!(ran.code, 0);
    ran.says("the zone example.org. is none that target ns may touch")
        .says("zones = [\"example.com.\", \"example.org.\"]");
}

#[test]
fn a_wrong_key_and_a_server_that_does_not_sign_are_named() {
    for make in Make::BOTH {
        let site = site(make);
        site.put("www", "{ name: www, type: A, values: [192.0.2.1] }");
        site.repo().commit("A name");
        let fails = |words: &str| {
            let ran = site.tidelock(["plan"]).run();
            assert_ne!(ran.code, 0, "{make:?}\n{}", ran.story());
            ran.says(words);
            site.tidelock(["doctor"]).run().exit(1).says(words);
        };
        let other = "c2VjcmV0IG9mIHNvbWVib2R5IGVsc2UsIDMyIGJ5dGVz";
        site.world().secret("other.secret", other);
        let file = |name: &str| format!("key = {{ name = \"tidelock\", secret = {{ file = \"{name}\" }} }}");
        site.config(site.server().port(), &file("other.secret"));
        fails("has another secret for the key tidelock. (BADSIG)");
        site.config(site.server().port(), "key = { name = \"nobody\", secret = { file = \"tsig.secret\" } }");
        fails("does not know the key nobody. (BADKEY)");
        site.world().secret("no.secret", "this is no base64!");
        site.config(site.server().port(), &file("no.secret"));
        fails("the key of target ns is no base64");
        site.world().write("open.secret", other);
        site.config(site.server().port(), &file("open.secret"));
        fails("is open to others");
        site.config(site.server().port(), "key = { name = \"tidelock\", secret = { env = \"NO_SUCH_KEY\" } }");
        fails("NO_SUCH_KEY");
        // Nobody listens, and somebody who is not the server.
        site.config(1, "");
        fails("the DNS server of target ns cannot be reached");
        site.config(impostor(), "");
        fails("does not sign its answer, so anybody may have given it");
        site.config(site.server().port(), "");
        site.tidelock(["doctor"]).run().ok().says("takes updates and gives transfers");
        site.apply();
    }
}

#[test]
fn the_key_may_be_a_secret_of_the_operators() {
    let site = site(Make::Knot);
    site.put("www", "{ name: www, type: A, values: [192.0.2.1] }");
    site.repo().commit("A name");
    site.config(site.server().port(), "key = { name = \"tidelock\", secret = { secret = \"dns/tsig\" } }");
    let ran = site.tidelock(["plan"]).run();
    assert_ne!(ran.code, 0);
    let _ = ran.says("the config says nothing of the secret dns/tsig").says("[secrets.\"dns/tsig\"]");
    // Where no file but the password store's holds it.
    std::fs::rename(site.world().path("tsig.secret"), site.world().path("store.secret")).unwrap();
    let store = site.world().path("store.secret").display().to_string();
    let declared = format!("\n[secrets.\"dns/tsig\"]\ncommand = [\"/bin/cat\", {store:?}]\n");
    site.world().write("tidelock.toml", site.world().read("tidelock.toml") + &declared);
    site.apply();
    assert_eq!(site.server().dig("www.example.com", "A"), "www.example.com. 3600 in a 192.0.2.1");
    let held = site.world().holding(site.server().secret(), &["server"]);
    assert_eq!(held, [store]);
}

/// A server that says of every name that it is there, and signs nothing.
fn impostor() -> u16 {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut length = [0; 2];
                while client.read_exact(&mut length).is_ok() {
                    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
                    client.read_exact(&mut message).unwrap();
                    // The question as an authoritative answer, without what stood behind it.
                    let end = 12 + message[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
                    message.truncate(end);
                    message[2] |= 0x84;
                    message[6..12].fill(0);
                    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
                    client.write_all(&[&length[..], &message].concat()).unwrap();
                }
            });
        }
    });
    port
}

#[test]
fn the_key_is_nowhere_but_in_its_file() {
    let site = site(Make::Bind);
    everything(&site);
    site.repo().commit("A zone");
    let saved = site.world().path("plan.json").display().to_string();
    site.tidelock(["plan", "--full", "--save", &saved]).run().ok().never_says(site.server().secret());
    site.apply();
    site.tidelock(["doctor"]).run().never_says(site.server().secret());
    site.tidelock(["events", "--limit", "1000"]).run().ok().never_says(site.server().secret());
    let mut held = vec![];
    holders(site.world().root(), site.server().secret().as_bytes(), &mut held);
    held.retain(|path| !path.contains("/server/") && !path.ends_with("/tsig.secret"));
    assert_eq!(held, [""; 0]);
}

/// Files below a folder that hold some bytes.
fn holders(folder: &Path, bytes: &[u8], held: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            holders(&path, bytes, held);
        } else if std::fs::read(&path).is_ok_and(|text| text.windows(bytes.len()).any(|part| part == bytes)) {
            held.push(path.display().to_string());
        }
    }
}

#[test]
fn a_change_is_taken_back() {
    let site = site(Make::Knot);
    site.put("www", "{ name: www, type: A, ttl: 300, values: [192.0.2.1] }");
    site.repo().commit("A name");
    site.apply();
    site.put("www", "{ name: www, type: A, ttl: 60, values: [192.0.2.2] }");
    site.repo().commit("Another address");
    site.apply();
    site.tidelock(["undo", "network.dns-record/www"]).run().exit(5).says("took back");
    site.apply();
    assert_eq!(site.server().dig("www.example.com", "A"), "www.example.com. 300 in a 192.0.2.1");
}

#[test]
fn mistakes_in_a_spec_name_the_field() {
    let site = site(Make::Knot);
    let before = site.server().zone();
    for (spec, words) in [
        ("{ name: www, type: A, values: [192.0.2.256] }", "\"192.0.2.256\" is no value of A, such as 192.0.2.1"),
        ("{ name: www, type: CNAME, values: [web] }", "write it in full, with a dot at the end"),
        ("{ name: \"@\", type: SOA, values: [x] }", "the SOA of a zone is the server's own"),
        (
            "{ name: \"@\", type: NS, values: [ns9.example.com.] }",
            "the name servers of example.com. itself are the zone's own",
        ),
        ("{ name: www.example.org., type: A, values: [192.0.2.1] }", "is not in the zone example.com."),
        ("{ name: www, type: A, values: [192.0.2.1], tll: 5 }", "tll"),
    ] {
        site.put("one", spec);
        site.repo().commit("A mistake");
        let ran = site.tidelock(["apply", "--yes"]).run();
        assert_ne!(ran.code, 0, "{spec}\n{}", ran.story());
        ran.says(words);
        assert_eq!(site.server().zone(), before, "{spec}");
    }
}

#[test]
fn a_thousand_names_take_few_updates() {
    for make in Make::BOTH {
        let site = site(make);
        let names = |last: u8| {
            (0..1000).fold(String::new(), |mut all, i| {
                let _ = write!(
                    all,
                    "---\nkind: network.dns-record\nname: h{i}\nspec: {{ zone: example.com, name: h{i}, type: A, \
                     values: [10.{}.{}.{last}] }}\n",
                    i / 250,
                    i % 250
                );
                all
            })
        };
        site.repo().write("zones/hosts.yaml", names(1));
        site.repo().commit("A thousand names");
        let timed = |what: &str, work: &dyn Fn()| {
            let began = Instant::now();
            work();
            println!("{make:?}: {what} in {:.1} s", began.elapsed().as_secs_f64());
        };
        timed("1,000 names made", &|| drop(site.tidelock(["apply", "--yes"]).run().ok()));
        // A look at a zone is a transfer of it: some for each call of the plugin, and not one for each name.
        let log = site.server().log();
        let transfers = log.lines().filter(|line| line.contains("AXFR") && line.contains("started")).count();
        assert!((1..100).contains(&transfers), "{make:?}: {transfers} transfers");
        timed("a second plan", &|| site.converged());
        site.repo().write("zones/hosts.yaml", names(2));
        site.repo().commit("Other addresses");
        timed("1,000 names changed", &|| drop(site.tidelock(["apply", "--yes"]).run().ok()));
        site.converged();
        assert_eq!(site.server().zone().lines().filter(|line| line.ends_with(".2")).count(), 1000);
        site.repo().write("zones/hosts.yaml", "---\n");
        site.put("last", "{ name: last, type: A, values: [192.0.2.1] }");
        site.repo().commit("One name");
        timed("1,000 names removed", &|| drop(site.tidelock(["apply", "--yes"]).run().ok()));
        assert!(!site.server().zone().contains("h999."));
    }
}
