//! Commit-confirm over names: records that go back unless somebody says that all is well.

use std::time::{Duration, Instant};

use tidelock_tests::dns::{DnsServer, Make};
use tidelock_tests::zones::Zones;
use tidelock_tests::{Site, guards};

/// A zone that is as Git says, and a commit that changes, removes and makes names, and lets one
/// change places with an alias.
fn site(make: Make) -> Zones {
    let site = Zones::new(|folder| DnsServer::start(make, folder));
    site.put("www", "{ name: www, type: A, ttl: 300, values: [192.0.2.1, 192.0.2.2] }");
    site.put("shop", "{ name: shop, type: A, values: [192.0.2.3] }");
    site.put("mail", "{ name: \"@\", type: MX, values: [10 mx1.example.org.] }");
    site.repo().commit("A zone");
    site.apply();
    site.put("www", "{ name: www, type: A, ttl: 60, values: [192.0.2.66] }");
    site.repo().remove("zones/shop.yaml");
    site.put("alias", "{ name: shop, type: CNAME, values: [www.example.com.] }");
    site.repo().remove("zones/mail.yaml");
    site.put("new", "{ name: new, type: TXT, values: [text] }");
    site.repo().commit("Another zone");
    site
}

/// Waits until the zone is as it should be, without the names of `but`.
#[track_caller]
fn wait_for(site: &Zones, zone: &str, but: Option<&str>) {
    let rest = |zone: &str| {
        let lines = zone.lines().filter(|line| but.is_none_or(|name| !line.starts_with(name)));
        lines.collect::<Vec<_>>().join("\n")
    };
    let since = Instant::now();
    while rest(&site.server().zone()) != rest(zone) {
        assert!(since.elapsed() < Duration::from_secs(15), "{}\nis not\n{zone}", site.server().zone());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn names_that_nobody_confirms_go_back_by_themselves() {
    for make in Make::BOTH {
        let site = site(make);
        let before = site.server().zone();
        let ran = site.tidelock(["apply", "--yes", "--confirm-within", "8s"]).run().exit(5);
        let _ = ran.says("records go back from this machine").says("goes back at").says("tidelock confirm");
        let after = site.server().zone();
        assert!(after.contains("shop.example.com. 3600 in cname www.example.com."), "{make:?}\n{after}");
        let _ = site
            .tidelock(["status"])
            .run()
            .ok()
            .says("awaiting confirmation")
            .says("left, until")
            .never_says("converged");
        let _ = site.tidelock(["status", "--detailed-exitcode"]).run().exit(2);
        let _ = site.tidelock(["why", "zones"]).run().ok().says("confirming:").says("tidelock confirm");
        // Whoever armed the guard is gone. The key is in its memory, and in no file of its own.
        assert!(guards::standing(site.world()).is_some(), "{make:?}");
        let held = site.world().holding(site.server().secret(), &["server"]);
        assert_eq!(held, [site.world().path("tsig.secret").display().to_string()]);
        // Nobody else does anything meanwhile.
        site.tidelock(["apply", "--yes"]).run();
        assert_eq!(site.server().zone(), after, "{make:?}");
        wait_for(&site, &before, None);
        let _ = site.tidelock(["status"]).run().ok().says("went back at").says("nobody confirmed it in time");
        let _ = site
            .tidelock(["why", "zones"])
            .run()
            .ok()
            .says("restored:")
            .says("nobody confirmed it in time")
            .says("or apply it by hand");
        let _ = site.tidelock(["confirm"]).run().exit(1).says("nothing waits to be confirmed");
        let told = || {
            let events = site.tidelock(["events", "--limit", "1000", "--output", "json"]).run().ok().json();
            let events = events["events"].as_array().expect("events").clone();
            events.iter().filter(|event| event["event"] == "taken-back").count()
        };
        assert_eq!(told(), 1, "{make:?}");
        let planned = site.tidelock(["plan"]).run();
        let _ = planned.says("the target went back at").says("nobody confirmed it in time");
        assert_eq!(told(), 1, "told once: {make:?}");
    }
}

#[test]
fn a_guard_knows_the_way_to_a_server_that_the_environment_names() {
    let site = site(Make::Knot);
    let before = site.server().zone();
    let config = site.world().read("tidelock.toml");
    let named = config.replacen("host = \"127.0.0.1\"", "host = { env = \"ZONES_HOST\" }", 1);
    assert_ne!(named, config);
    site.world().write("tidelock.toml", named);
    let apply = site.tidelock(["apply", "--yes", "--confirm-within", "2s"]).env("ZONES_HOST", "127.0.0.1");
    let _ = apply.run().exit(5).says("goes back at");
    assert_ne!(site.server().zone(), before);
    wait_for(&site, &before, None);
}

#[test]
fn names_that_somebody_confirms_stay() {
    for make in Make::BOTH {
        let site = site(make);
        let _ = site.tidelock(["apply", "--yes", "--confirm-within", "60s"]).run().exit(5);
        let after = site.server().zone();
        assert!(after.contains("shop.example.com. 3600 in cname www.example.com."), "{make:?}\n{after}");
        let _ = site.tidelock(["confirm", "zones"]).run().ok().says("Confirmed");
        let since = Instant::now();
        while guards::standing(site.world()).is_some() {
            assert!(since.elapsed() < Duration::from_secs(15), "{make:?}: the guard was told, and stands");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(site.server().zone(), after, "{make:?}");
        let _ = site.tidelock(["status", "--detailed-exitcode"]).run().ok().says("converged");
        site.converged();
    }
}

#[test]
fn a_check_that_fails_takes_names_back_at_once() {
    for make in Make::BOTH {
        let site = site(make);
        let before = site.server().zone();
        let config = site.world().read("tidelock.toml");
        let allowed = "kinds = [\"network.*\"]\nchecks = { exec = [[\"/bin/false\"]] }\n";
        site.world().write("tidelock.toml", config.replacen("kinds = [\"network.*\"]\n", allowed, 1));
        let stack = std::fs::read_to_string(site.world().path("infra/zones/stack.yaml")).unwrap();
        let checked = stack + "confirm: 10m\nchecks: [{ exec: [/bin/false], within: 1s }]\n";
        site.repo().write("zones/stack.yaml", checked);
        site.repo().commit("A check that fails");
        let ran = site.tidelock(["apply", "--yes"]).run();
        assert_ne!(ran.code, 0, "{make:?}\n{}", ran.story());
        let _ = ran.says("taken back");
        assert_eq!(site.server().zone(), before, "{make:?}");
    }
}

#[test]
fn names_that_were_removed_and_went_back_are_ours_and_go_once_a_person_applies_it() {
    for make in Make::BOTH {
        let site = site(make);
        let before = site.server().zone();
        let _ = site.tidelock(["apply", "--yes", "--confirm-within", "4s"]).run().exit(5);
        wait_for(&site, &before, None);
        let planned = site.tidelock(["plan"]).run();
        let _ = planned.says("mail").says("it is no longer in Git; the target went back at");
        let _ = site.tidelock(["history", "mail"]).run().ok().says("taken-back");

        // As the loop would: a check of the stack fails, and passes the next time.
        let config = site.world().read("tidelock.toml");
        let allowed = "kinds = [\"network.*\"]\nchecks = { exec = [[\"/bin/false\"], [\"/bin/true\"]] }\n";
        site.world().write("tidelock.toml", config.replacen("kinds = [\"network.*\"]\n", allowed, 1));
        let stack = std::fs::read_to_string(site.world().path("infra/zones/stack.yaml")).unwrap();
        for (program, went) in [("/bin/false", false), ("/bin/true", true)] {
            let checked = format!("{stack}confirm: 10m\nchecks: [{{ exec: [{program}], within: 1s }}]\n");
            site.repo().write("zones/stack.yaml", checked);
            site.repo().commit(program);
            let ran = site.tidelock(["apply", "--yes"]).run();
            assert_eq!(ran.code == 0, went, "{make:?}\n{}", ran.story());
            assert_eq!(site.server().zone() == before, !went, "{make:?}\n{}", ran.story());
        }
        let zone = site.server().zone();
        assert!(!zone.contains(" in mx ") && !zone.contains("192.0.2.3"), "{make:?}\n{zone}");
        site.converged();
    }
}

#[test]
fn what_somebody_changes_meanwhile_is_theirs_and_stays() {
    for make in Make::BOTH {
        let site = site(make);
        let before = site.server().zone();
        let _ = site.tidelock(["apply", "--yes", "--confirm-within", "3s"]).run().exit(5);
        site.server().by_hand("delete www.example.com A\nadd www.example.com 60 A 192.0.2.99");
        wait_for(&site, &before, Some("www.example.com. "));
        assert_eq!(site.server().dig("www.example.com", "A"), "www.example.com. 60 in a 192.0.2.99", "{make:?}");
    }
}

#[test]
fn names_that_a_killed_guard_watched_over_go_back_with_the_next_pass() {
    let site = site(Make::Knot);
    let before = site.server().zone();
    let _ = site.tidelock(["apply", "--yes", "--confirm-within", "10m"]).run().exit(5);
    assert_ne!(site.server().zone(), before);
    guards::kill(guards::standing(site.world()).expect("a guard stands"));
    // Before anything else: what is planned is then that which was taken back.
    let _ = site.tidelock(["apply"]).run().says("nobody said yes to this apply");
    assert_eq!(site.server().zone(), before);
    let _ = site.tidelock(["events"]).run().ok().says("the guard that watched over it was gone");
}

#[test]
fn what_no_guard_takes_back_is_named_in_the_plan() {
    let site = Site::with_files([("a", "one\n"), ("b", "one\n")]);
    let ran = site.tidelock(["apply", "--yes", "--confirm-within", "30s"]).run().ok();
    let _ = ran.says("2 effects stay where nobody confirms, such as `").never_says("goes back at");
    assert!(guards::standing(site.world()).is_none(), "there is nothing to stand over");
}
