//! `[limits]`: what the operator says of all plugins holds for each that says nothing
//! else of its own.

use tidelock_tests::{Site, site};

#[test]
fn a_plugin_takes_what_it_leaves_out_from_the_default() {
    let site = Site::with_files([("a", "one\n")]);
    let limits = "\n[limits.default]\noutput = 16\nlog = 1000\n\n[limits.yaml]\nlog = 2000\n";
    site.world().write("tidelock.toml", format!("{}{limits}", site::config("infra")));

    let inspected = site.tidelock(["plugin", "inspect", "yaml", "--output", "json"]).run().ok().json();
    let said = &inspected["plugin"]["limits"];
    assert_eq!((&said["output"], &said["log"]), (&16.into(), &2000.into()), "{inspected:#}");
    assert!(said["memory"].as_u64().is_some_and(|memory| memory > 1 << 20), "the rest is built in: {inspected:#}");

    let ran = site.tidelock(["plan"]).run().exit(1);
    assert!(ran.stderr.contains("the limit is 16") && ran.stderr.contains("limits.yaml.output"), "{}", ran.story());
}

#[test]
fn a_mistyped_limit_is_answered_with_the_nearest() {
    let site = Site::with_files([("a", "one\n")]);
    site.world().write("tidelock.toml", format!("{}\n[limits.default]\nmemry = 1\n", site::config("infra")));
    let ran = site.tidelock(["plan"]).run().exit(1);
    assert!(ran.stderr.contains("did you mean `memory`"), "{}", ran.story());
}
