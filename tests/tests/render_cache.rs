//! Nothing is rendered that a commit did not touch.

use tidelock_tests::Site;

#[test]
fn a_commit_that_touches_no_input_renders_nothing() {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    let before = site.last_event();
    site.repo().write("README.md", "Nothing of the stack.\n").commit("A readme");
    site.tidelock(["plan", "--detailed-exitcode"]).run().ok();
    assert_eq!(site.rendered_since(before), [""; 0]);
    assert!(site.last_event() > before, "the plan left no event: this test would see nothing");
}

#[test]
fn a_commit_to_one_of_many_stacks_runs_one_renderer() {
    let site = Site::new();
    for number in 0..100 {
        let stack = format!("s{number:02}");
        site.stack(&stack);
        site.file(&stack, &format!("f{number:02}"), "one\n");
    }
    site.repo().commit("A hundred stacks");
    let before = site.last_event();
    site.apply();
    let first = site.rendered_since(before);
    assert!(first.len() >= 100, "each stack is rendered once: {first:?}");

    let before = site.last_event();
    site.repo().edit("s42/f42.yaml", "0644", "0640").commit("Another mode");
    let _ = site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2);
    let lanes = site.rendered_since(before);
    assert_eq!(lanes.len(), 1, "{lanes:?}");
    assert!(lanes[0].contains("s42"), "{lanes:?}");
}

#[test]
fn a_file_named_by_a_spec_is_deployed_though_nothing_is_rendered() {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    site.repo().write("web/a.txt", "two\n").commit("Another text");
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
}
