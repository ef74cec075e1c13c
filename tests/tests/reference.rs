//! What people look things up in holds what there is: `docs/`, the plugins' READMEs, and what
//! `plugin inspect` prints. No key is missing there, and none is there that does not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tidelock_model::check::{CheckDecl, CheckGrant};
use tidelock_model::config::{
    AllowDecl, AuthDecl, Config, DaemonDecl, DecryptDecl, DnsAlgorithm, DnsKeyDecl, GateDecl, HttpDecl, Keeper,
    PluginsDecl, ReaderDecl, Require, SecretDecl, SourceDecl, SourceLimits, SshDecl, StoreDecl, TargetDecl, TargetKind,
    TimeoutsDecl, TlsDecl, TlsMode, VerifyDecl, WebhookDecl,
};
use tidelock_model::grant::GrantDecl;
use tidelock_model::limits::{Limits, LimitsDecl};
use tidelock_model::resource::{Notify, OnRemove, ResourceDecl};
use tidelock_model::stack::{Budget, ModuleRev, Policy, Rollout, StackDecl};
use tidelock_tests::Site;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository's root")
}

/// The sections of a page, by heading.
fn sections(page: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("cannot read {page}: {error}"));
    let each = text.split("\n## ").skip(1);
    each.map(|section| section.split_once('\n').expect("a heading"))
        .map(|(heading, section)| (heading.to_owned(), section.to_owned()))
        .collect()
}

/// The rows of a section's table of keys: what stands in the first cell, and the whole row.
fn rows(section: &str) -> BTreeMap<String, String> {
    let row = |line: &str| {
        let key = line.strip_prefix("| `")?.split_once('`')?.0;
        Some((key.to_owned(), line.to_owned()))
    };
    section.lines().filter_map(row).collect()
}

/// The keys, or the words, of which an error says that they were expected.
fn expected(tried: Result<(), serde_json::Error>) -> BTreeSet<String> {
    let error = tried.expect_err("it takes anything").to_string();
    let (_, known) = error.split_once(", expected ").unwrap_or_else(|| panic!("{error}"));
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The keys that a type takes: asked for with one that none has.
macro_rules! keys {
    ($type:ty) => {
        expected(serde_json::from_value::<$type>(json!({ "no such key": 0 })).map(drop))
    };
}

/// The words that a type takes.
macro_rules! words {
    ($type:ty) => {
        expected(serde_json::from_value::<$type>(json!("no such word")).map(drop))
    };
}

/// Holds a page against types: each section's keys are those of its type, and no section is
/// about nothing. `prose` are sections without keys.
#[track_caller]
fn hold(page: &str, types: &[(&str, BTreeSet<String>)], prose: &[&str]) {
    let sections = sections(page);
    for (heading, keys) in types {
        let section = sections.get(*heading).unwrap_or_else(|| panic!("{page} has no section {heading}"));
        let told: BTreeSet<String> = rows(section).into_keys().collect();
        let missing: Vec<_> = keys.difference(&told).collect();
        let gone: Vec<_> = told.difference(keys).collect();
        assert!(missing.is_empty() && gone.is_empty(), "{page}, {heading}: missing {missing:?}, not there {gone:?}");
    }
    let told: BTreeSet<&str> = sections.keys().map(String::as_str).collect();
    let held: BTreeSet<&str> = types.iter().map(|(heading, _)| *heading).chain(prose.iter().copied()).collect();
    assert_eq!(told, held, "{page}: sections that nothing holds");
}

/// Holds the row of a key against the words that it takes.
#[track_caller]
fn takes(page: &str, heading: &str, key: &str, words: &BTreeSet<String>) {
    let rows = rows(&sections(page)[heading]);
    for word in words {
        assert!(rows[key].contains(word.as_str()), "{page}, {heading}, {key}: {word} is not told: {}", rows[key]);
    }
}

/// Holds the column of defaults against the numbers that hold.
#[track_caller]
fn defaults(page: &str, heading: &str, of: &Value) {
    let rows = rows(&sections(page)[heading]);
    for (key, default) in of.as_object().expect("a table") {
        let told = rows[key].split('|').nth(3).unwrap_or_default().trim();
        assert_eq!(told, default.to_string(), "{page}, {heading}, {key}");
    }
}

#[test]
fn every_key_of_the_config_is_in_its_page() {
    let page = "docs/config.md";
    let types = [
        ("The file", keys!(Config)),
        ("[store]", keys!(StoreDecl)),
        ("[plugins]", keys!(PluginsDecl)),
        ("[daemon]", keys!(DaemonDecl)),
        ("[http]", keys!(HttpDecl)),
        ("[sources.NAME]", keys!(SourceDecl)),
        ("[[sources.NAME.allow]]", keys!(AllowDecl)),
        ("[sources.NAME.allow.checks]", keys!(CheckGrant)),
        ("[sources.NAME.verify]", keys!(VerifyDecl)),
        ("[sources.NAME.auth]", keys!(AuthDecl)),
        ("[sources.NAME.ssh]", keys!(SshDecl)),
        ("[sources.NAME.webhook]", keys!(WebhookDecl)),
        ("[[sources.NAME.decrypt]]", keys!(DecryptDecl)),
        ("[sources.NAME.limits]", keys!(SourceLimits)),
        ("[secrets.NAME]", keys!(SecretDecl)),
        ("[targets.NAME]", keys!(TargetDecl)),
        ("[targets.NAME.read]", keys!(ReaderDecl)),
        ("[targets.NAME.tls]", keys!(TlsDecl)),
        ("[targets.NAME.timeouts]", keys!(TimeoutsDecl)),
        ("[targets.NAME.key]", keys!(DnsKeyDecl)),
        ("[grants.PLUGIN]", keys!(GrantDecl)),
        ("[limits.PLUGIN]", keys!(LimitsDecl)),
        ("[[gate]]", keys!(GateDecl)),
        ("[gate.budget]", keys!(Budget)),
    ];
    hold(page, &types, &[]);
    takes(page, "[targets.NAME]", "type", &words!(TargetKind));
    takes(page, "[targets.NAME]", "persist", &words!(Keeper));
    takes(page, "[targets.NAME]", "require", &words!(Require));
    takes(page, "[targets.NAME.tls]", "mode", &words!(TlsMode));
    takes(page, "[targets.NAME.key]", "algorithm", &words!(DnsAlgorithm));
    defaults(page, "[limits.PLUGIN]", &json!(Limits::default()));
    defaults(page, "[sources.NAME.limits]", &json!(SourceLimits::default()));
}

#[test]
fn every_key_of_a_stack_and_of_a_resource_is_in_its_page() {
    let page = "docs/stack.md";
    let types = [
        ("The file", keys!(StackDecl)),
        ("from", keys!(ModuleRev)),
        ("budget", keys!(Budget)),
        ("rollout", keys!(Rollout)),
        ("checks", keys!(CheckDecl)),
        ("Resources", keys!(ResourceDecl)),
        ("notify", keys!(Notify)),
    ];
    hold(page, &types, &["Contents"]);
    takes(page, "The file", "on_commit", &words!(Policy));
    takes(page, "The file", "on_drift", &words!(Policy));
    takes(page, "Resources", "on_remove", &words!(OnRemove));
}

/// What `plugin inspect` says of a plugin, as JSON.
fn inspected(site: &Site, name: &str) -> Value {
    site.tidelock(["plugin", "inspect", name, "--output", "json"]).run().ok().json()["plugin"].clone()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn the_readmes_of_plugins_tell_their_kinds_and_fields() {
    let site = Site::new();
    for plugin in ["server", "network", "postgres", "mysql", "sqlite"] {
        let page = format!("plugins/{plugin}/README.md");
        let sections = sections(&page);
        let said = inspected(&site, plugin);
        assert!(list(&said["kinds"]).len() > 1, "{said:#}");
        for kind in list(&said["kinds"]) {
            let name = kind["name"].as_str().expect("a name");
            let section = sections.get(name).unwrap_or_else(|| panic!("{page} has no section {name}"));
            let fields: BTreeSet<&str> =
                list(&kind["fields"]).iter().filter_map(|field| field["name"].as_str()).collect();
            let told = rows(section);
            if told.is_empty() {
                // Told by an example, and by sentences.
                for field in fields.iter().filter(|field| !field.contains(['.', '['])) {
                    assert!(section.contains(field), "{page}, {name}: {field} is not told");
                }
                continue;
            }
            let told: BTreeSet<&str> = told.keys().map(String::as_str).collect();
            assert_eq!(told, fields, "{page}, {name}");
        }
    }
    for plugin in ["yaml", "jinja"] {
        let page = root().join(format!("plugins/{plugin}/README.md"));
        let told = rows(&fs::read_to_string(&page).expect("a README"));
        let said = inspected(&site, plugin);
        let fields: Vec<&str> =
            list(&said["settings"]["fields"]).iter().filter_map(|field| field["name"].as_str()).collect();
        let told: Vec<&str> = told.keys().map(String::as_str).filter(|key| fields.contains(key)).collect();
        assert_eq!(told, fields, "{}", page.display());
    }
}

#[test]
fn inspect_tells_what_one_may_write() {
    let site = Site::new();
    let _ = site
        .tidelock(["plugin", "inspect", "server"])
        .run()
        .ok()
        .says("server.file\n    A file with a content.")
        .says("path: text, required; a new value needs a new resource\n        Where it is.")
        .says("content: text or { $file } or { $template } or { $secret }")
        .says("timeout: whole number\n        Seconds after which it is ended. Default 300.")
        .says("`notify` may ask it to: run.");
    let network = site.tidelock(["plugin", "inspect", "network"]).run().ok();
    let _ = network.says("family: one of 4, 6, required").says("hops[].weight: whole number, default 1");
    let _ = site
        .tidelock(["plugin", "inspect", "yaml"])
        .run()
        .ok()
        .says("Settings, in `settings` of stack.yaml:\n\n    exclude: list of text");
    let said = inspected(&site, "server");
    let file = list(&said["kinds"]).iter().find(|kind| kind["name"] == "server.file").expect("a kind").clone();
    let field = |name: &str| list(&file["fields"]).iter().find(|field| field["name"] == name).expect("a field").clone();
    assert_eq!((&field("path")["required"], &field("mode")["required"]), (&json!(true), &json!(false)), "{file:#}");
    assert_eq!((&field("parents")["type"], &field("content")["doc"].is_string()), (&json!("true or false"), &true));
}

#[test]
fn a_plugin_that_nobody_accepted_is_not_run_to_be_inspected() {
    let site = Site::new();
    fs::remove_file(site.world().path("tidelock.lock")).expect("the lock");
    let _ = site
        .tidelock(["plugin", "inspect", "server"])
        .run()
        .ok()
        .says("cannot be told: it runs once it is accepted, and not before")
        .says("look at files")
        .never_says("server.file");
    assert_eq!(inspected(&site, "server")["kinds"], Value::Null);
}
