//! What `doctor` says of rights that open nothing, and of what a daemon would need.

use std::net::TcpListener;

use tidelock_tests::{Site, TestEnvironment};

#[test]
fn a_fresh_start_is_told_of_nothing_that_nobody_asked_for() {
    let world = TestEnvironment::new();
    world.tidelock(["init", "demo"]).run().ok();
    let ran = world.tidelock(["doctor", "--offline"]).within(&world.path("demo")).run().ok();
    let _ = ran.never_says("has no grant").never_says("mysql has").says("server");
}

#[test]
fn a_plugin_that_nobody_uses_is_no_trouble_and_one_that_a_stack_may_need_is_told() {
    let site = Site::new();
    let lock = site.world().read("tidelock.lock");
    let without = |name: &str| {
        let open = format!("[plugins.{name}]");
        let (before, after) = lock.split_once(&open).unwrap_or_else(|| panic!("{name} is accepted\n{lock}"));
        let rest = after.find("[plugins.").map_or("", |next| &after[next..]);
        site.world().write("tidelock.lock", format!("{before}{rest}"));
        site.tidelock(["doctor", "--offline"]).run()
    };
    let _ = without("mysql").ok().says("mysql").says("is not used: it has no grant").never_says("not accepted");
    let _ = without("jinja").ok().says("a stack with `renderer: jinja` is refused").says("plugin accept jinja");
    // One with a grant is meant to be used.
    let ran = without("server");
    assert_ne!(ran.code, 0);
    let _ = ran.says("plugin accept server");
}

#[test]
fn a_provider_without_a_grant_is_told_the_keys_that_are_its_own() {
    let site = Site::new();
    let before = site.world().read("tidelock.toml");
    let allowed = before.replace("kinds = [\"server.*\"]", "kinds = [\"server.*\", \"sqlite.*\"]");
    site.world().write("db.sqlite", "");
    site.world().write("tidelock.toml", format!("{allowed}\n[targets.db]\ntype = \"sqlite\"\nfile = \"db.sqlite\"\n"));
    let ran = site.tidelock(["doctor", "--offline"]).run();
    let _ = ran
        .says("provider sqlite has no grant")
        .says("targets = [\"db\"]")
        .says("sql = [")
        .never_says("provider mysql");
    // What is granted where it means nothing.
    site.world()
        .write("tidelock.toml", format!("{before}\n[grants.mysql]\ntargets = [\"local\"]\npaths = [\"/etc/**\"]\n"));
    let ran = site.tidelock(["doctor", "--offline"]).run().ok();
    let _ = ran.says("a [grants.mysql] opens nothing: local is a target of type \"machine\"");
    site.world()
        .write("tidelock.toml", before.replace("paths = [\"/etc/*\", \"/srv\", \"/srv/**\"]", "sql = [\"**\"]"));
    let ran = site.tidelock(["doctor", "--offline"]).run().ok();
    let _ = ran.says("a [grants.server] opens nothing: it has none of paths, exec");
}

#[test]
fn rules_for_what_is_not_there_are_answered_with_the_nearest() {
    let site = Site::new();
    let config = site.world().read("tidelock.toml").replacen("targets = [\"local\"]", "targets = [\"locl*\"]", 1);
    site.world().write("tidelock.toml", config.replace("server.*", "sever.*"));
    let ran = site.tidelock(["doctor", "--offline"]).run().ok();
    let _ = ran
        .says("an allow rule of infra is for locl*")
        .says("did you mean local?")
        .says("is for kinds sever.*")
        .says("did you mean server.*?");
}

#[test]
fn what_a_daemon_would_refuse_to_start_with_is_found_before() {
    let site = Site::new();
    let before = site.world().read("tidelock.toml");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!(
        "\n[sources.infra.webhook]\nsecret_file = \"webhook.secret\"\n[http]\nlisten = \"{}\"\n\
         [secrets.\"app/db\"]\nfile = \"app-db\"\n[sources.infra.decrypt]\nage = \"age.key\"\n",
        taken.local_addr().unwrap()
    );
    site.world().write("tidelock.toml", before + &more);
    site.world().write("app-db", "open to all\n");
    let ran = site.tidelock(["doctor", "--offline"]).run().exit(1);
    let _ = ran
        .says("[sources.infra.webhook]: cannot read secret_file")
        .says("[secrets.app/db]:")
        .says("is open to others")
        .says("chmod 600")
        .says("[sources.infra.decrypt]:")
        .says("nobody can listen at 127.0.0.1:")
        .never_says("open to all");
    drop(taken);
    for file in ["webhook.secret", "app-db", "age.key"] {
        std::fs::remove_file(site.world().path(file)).ok();
        site.world().secret(file, "a value\n");
    }
    let _ = site.tidelock(["doctor", "--offline"]).run().ok().says("is free to listen at");
}
