//! The text that people read.

use serde_json::json;
use tidelock_model::plan::{Plan, Preview};

use super::{Style, text};
use crate::tests::example::{Example, lane, lane_on, notify, path};

/// A plan with a bit of everything.
fn busy() -> Example {
    let mut example = Example::new();
    example.have("gone", "/gone", "0644");
    example.have("motd", "/etc/motd", "0644");
    example.have("old-name", "/named", "0644");
    example.have("fixed", "/fixed", "0644");
    example.have("same", "/same", "0644");
    example.have("guarded", "/guarded", "0644").protect = true;
    example.owned_by("web", "server.service/nginx", "/nginx", "");
    example.there("/nginx", "");
    example.want("server.service/nginx", &json!({"path": "/nginx"}));
    example.file("new", "/new", "0644");
    notify(example.file("motd", "/etc/motd", "0600"), "server.service/nginx", "reload");
    example.file("new-name", "/named", "0644");
    example.want("server.file/fixed", &json!({"path": "/fixed", "mode": "0644", "fixed": 2, "secret": "s"}));
    example.file("same", "/same", "0644");
    example.there("/stranger", "0600");
    example.file("stranger", "/stranger", "0644");
    example.there("/equal", "0644");
    example.file("equal", "/equal", "0644");
    example.file("broken", "/broken", "0644");
    example.fails("/broken", "permission denied");
    example
}

fn with_preview(example: &Example, lines: usize) -> Plan {
    let mut plan = example.plan().0;
    for effect in plan.groups.iter_mut().flat_map(|group| &mut group.effects) {
        if effect.effect.identity == path("/etc/motd") && effect.effect.body.path().is_some() {
            let body: String = (0..lines).map(|i| format!("-old {i}\n+new {i}\n")).collect();
            effect.preview = Preview { text: format!("--- /etc/motd\n+++ /etc/motd\n@@ -1 +1 @@\n{body}"), cut: false };
        }
    }
    plan
}

#[test]
fn destruction_comes_first_and_waits_come_last() {
    insta::assert_snapshot!(text(&with_preview(&busy(), 1), &Style::default()), @r#"
    Plan for web on web-1 at 1a2b3c4d5e6f (Greet)

      -/+ server.file/fixed  (/fixed cannot change in place)
              fixed: nothing -> 2
              secret: nothing -> (sensitive)
        - server.file/gone  (it is no longer in Git)
              destroys remove /gone
        ! server.file/stranger  (it was there before and differs)
              mode: "0600" -> "0644"
        = server.file/equal  (it is there and equal)
        ~ server.file/motd
              mode: "0644" -> "0600"
              --- /etc/motd
              +++ /etc/motd
              @@ -1 +1 @@
              -old 0
              +new 0
        + server.file/new
              put file /new (61d93ac7ab09)
        > server.file/new-name  (was server.file/old-name)
        ~ server.service/nginx  (only the record changes: spec)
        * server.service/nginx  (reload: server.file/motd changes)
              run /bin/ctl reload nginx
        ? server.file/broken  (could not be looked at: permission denied)

    error: web.yaml:9:1: server.file/broken could not be looked at: permission denied

    waits: server.file/guarded is protected and is not deleted, though it is no longer in Git
      to lift it, bring it back with `protect: false`, apply that, and remove it then

    Plan: 1 to create, 2 to update, 1 to replace, 1 to delete, 1 to take over, 1 to adopt, 1 to move, 1 to trigger, 1 not known yet; 1 unchanged.
    This plan is not complete: see above for what could not be planned.
    "#);
}

#[test]
fn nothing_to_do_is_said_in_a_line() {
    let mut example = Example::new();
    example.have("a", "/a", "0644");
    example.file("a", "/a", "0644");
    insta::assert_snapshot!(text(&example.plan().0, &Style::default()), @"
    Plan for web on web-1 at 1a2b3c4d5e6f (Greet)

    No changes; 1 resource is as Git says.
    ");
}

#[test]
fn equal_changes_on_many_targets_are_one_line() {
    let parts = (0..300)
        .map(|i| {
            let mut example = Example::new();
            example.lane = lane_on("web", &format!("web-{i:03}"));
            example.file("a", "/a", "0644");
            if i == 7 {
                example.there("/a", "0600");
            }
            example.part().unwrap()
        })
        .collect();
    let (plan, _) = crate::plan(&crate::tests::example::revision(), parts);
    insta::assert_snapshot!(text(&plan, &Style::default()), @r#"
    Plan for web on 300 targets at 1a2b3c4d5e6f (Greet)

        ! server.file/a@web-007  (it was there before and differs)
              mode: "0600" -> "0644"
        + server.file/a on 299 targets (web-000, web-001, web-002, 296 more)
              put file /a (61d93ac7ab09)

    Plan: 299 to create, 1 to take over; 0 unchanged.
    "#);
    let full = text(&plan, &Style { full: true, ..Style::default() });
    assert!(full.contains("web-299") && !full.contains(" more)"), "{full}");
}

#[test]
fn stacks_have_headings_where_there_are_several() {
    let mut db = Example::new();
    db.lane = lane("db");
    db.file("b", "/b", "0644");
    let mut web = Example::new();
    web.file("a", "/a", "0644");
    let (plan, _) = crate::plan(&web.revision, vec![web.part().unwrap(), db.part().unwrap()]);
    insta::assert_snapshot!(text(&plan, &Style::default()), @"
    Plan for db, web on web-1 at 1a2b3c4d5e6f (Greet)

    db
        + server.file/b
              put file /b (61d93ac7ab09)

    web
        + server.file/a
              put file /a (61d93ac7ab09)

    Plan: 2 to create; 0 unchanged.
    ");
}

#[test]
fn of_several_lanes_the_one_that_waits_is_named() {
    let mut db = Example::new();
    db.lane = lane("db");
    db.file("b", "/b", "0644");
    let mut web = Example::new();
    web.file("a", "/a", "0644");
    let (mut plan, _) = crate::plan(&web.revision, vec![web.part().unwrap(), db.part().unwrap()]);
    let waits = [crate::report::asks("on-commit", "ask"), crate::report::first_contact(&plan.lanes[0].lane)];
    plan.lanes[0].waits.extend(waits);
    let out = text(&plan, &Style::default());
    assert!(out.contains("waits: infra:db@web-1: the stack says `on_commit: ask`"), "{out}");
    assert!(out.contains("waits: infra:db@web-1 was never applied"), "named once is enough: {out}");
    plan.lanes[1].waits = vec![crate::report::asks("on-commit", "ask")];
    let out = text(&plan, &Style::default());
    assert!(out.contains("waits: the stack says `on_commit: ask` (2 lanes)"), "{out}");
}

#[test]
fn long_diffs_are_cut_unless_all_is_asked_for() {
    let plan = with_preview(&busy(), 100);
    let short = text(&plan, &Style::default());
    assert!(short.contains("more lines; --full shows them") && !short.contains("+new 99"), "{short}");
    let full = text(&plan, &Style { full: true, ..Style::default() });
    assert!(full.contains("+new 99") && full.contains("put file /etc/motd"), "{full}");
}

#[test]
fn colour_only_where_it_is_wanted() {
    let plan = with_preview(&busy(), 1);
    assert!(!text(&plan, &Style::default()).contains('\x1b'));
    assert!(text(&plan, &Style { color: true, ..Style::default() }).contains("\x1b[31m"));
}

#[test]
fn text_of_guests_cannot_move_the_cursor_or_fake_a_line() {
    let mut plan = with_preview(&busy(), 1);
    let evil = "\x1b[2J\u{202e}fine\nPlan: 0 to delete\u{9b}";
    for change in &mut plan.changes {
        change.reason = Some(evil.to_owned());
        for field in &mut change.fields {
            field.path = format!("/{evil}");
            field.before = Some(json!(evil));
        }
        change.unknown = vec![evil.to_owned()];
    }
    for effect in plan.groups.iter_mut().flat_map(|group| &mut group.effects) {
        effect.summary = evil.to_owned();
        effect.preview.text = evil.to_owned();
    }
    for diagnostic in plan.errors.iter_mut().chain(&mut plan.warnings) {
        diagnostic.message = evil.to_owned();
        diagnostic.hint = Some(evil.to_owned());
    }
    for wait in &mut plan.lanes[0].waits {
        wait.message = evil.to_owned();
        wait.hint = Some(evil.to_owned());
    }
    plan.revision.subject = evil.to_owned();
    let out = text(&plan, &Style { full: true, ..Style::default() });
    assert!(!out.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}'), "{out:?}");
    assert!(!out.lines().any(|line| line.starts_with("Plan: 0 to delete")), "{out}");
}

#[test]
fn sensitive_values_are_not_in_the_text() {
    let out = text(&busy().plan().0, &Style { full: true, ..Style::default() });
    assert!(out.contains("secret: nothing -> (sensitive)"), "{out}");
}
