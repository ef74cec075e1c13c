//! What something is, whatever its name.

use serde_json::json;
use tidelock_model::plan::{Action, Cause};

use super::check;
use super::example::{Example, name, path};

#[test]
fn first_contact_adopts_takes_over_and_creates() {
    let mut example = Example::new();
    example.contacted = false;
    example.file("equal", "/a", "0644");
    example.file("differs", "/b", "0644");
    example.file("absent", "/c", "0644");
    example.there("/a", "0644");
    example.there("/b", "0600");
    insta::assert_snapshot!(check(&example), @"
    create server.file/absent [1] revision
    take-over server.file/differs [2] /mode revision -- it was there before and differs
    adopt server.file/equal revision -- it is there and equal
    group 1 after []: put-file
    group 2 after []: put-file
    ");
}

#[test]
fn causes_are_told_apart() {
    let mut example = Example::new();
    example.have("git", "/a", "0600");
    example.have("drift", "/b", "0644");
    example.have("gone", "/c", "0644");
    example.file("git", "/a", "0644");
    example.file("drift", "/b", "0644");
    example.file("gone", "/c", "0644");
    example.there("/b", "0777");
    example.world.remove(&path("/c"));
    insta::assert_snapshot!(check(&example), @"
    update server.file/drift [1] /mode drift
    update server.file/git [2] /mode revision
    create server.file/gone [3] drift -- it is gone from the target
    group 1 after []: put-file
    group 2 after []: put-file
    group 3 after []: put-file
    ");

    example.digest = "another plugin";
    let causes = |example: &Example| -> Vec<Option<Cause>> {
        example.plan().0.changes.iter().map(|change| change.cause).collect()
    };
    assert_eq!(causes(&example), [Some(Cause::Plugin), Some(Cause::Revision), Some(Cause::Plugin)]);
    example.hint = Some(Cause::Rollback);
    assert_eq!(causes(&example)[1], Some(Cause::Rollback));
}

#[test]
fn a_new_name_is_a_move_without_effects() {
    let mut example = Example::new();
    example.have("old", "/a", "0644");
    example.have("old-and-changed", "/b", "0644");
    example.file("new", "/a", "0644");
    example.file("new-and-changed", "/b", "0600");
    insta::assert_snapshot!(check(&example), @"
    move server.file/new revision -- was server.file/old
    update server.file/new-and-changed [1] /mode revision -- was server.file/old-and-changed
    group 1 after []: put-file
    ");
}

#[test]
fn names_may_be_swapped() {
    let mut example = Example::new();
    example.have("a", "/a", "0644");
    example.have("b", "/b", "0600");
    example.file("b", "/a", "0644");
    example.file("a", "/b", "0600");
    insta::assert_snapshot!(check(&example), @"
    move server.file/a revision -- was server.file/b
    move server.file/b revision -- was server.file/a
    ");
    let (plan, ledger) = example.plan();
    example.apply(&plan, &ledger);
    assert_eq!(check(&example), "nothing\n");
}

#[test]
fn another_kind_is_released_and_adopted_in_that_order() {
    let mut example = Example::new();
    example.have("a", "/a", "0644");
    example.want("server.table/a", &json!({"path": "/a", "mode": "0644"}));
    insta::assert_snapshot!(check(&example), @"
    release server.file/a revision -- server.table/a manages it as server.table from now on
    adopt server.table/a revision -- it is there and equal
    ");
    let (plan, ledger) = example.plan();
    example.apply(&plan, &ledger);
    assert_eq!(check(&example), "nothing\n");
}

#[test]
fn a_new_identity_under_an_old_name_is_made_before_the_old_one_goes() {
    let mut example = Example::new();
    example.have("a", "/old", "0644");
    example.file("a", "/new", "0644");
    insta::assert_snapshot!(check(&example), @"
    create server.file/a [1] revision
    delete server.file/a [2] revision -- it is no longer in Git
    group 1 after []: put-file
    group 2 after [1]: remove
    ");
    let (plan, ledger) = example.plan();
    let lines: Vec<_> = plan.changes.iter().map(|change| ledger.get(change).unwrap().entry.is_some()).collect();
    assert_eq!(lines, [true, false]);
}

#[test]
fn what_another_stack_gave_up_moves_here() {
    let mut example = Example::new();
    example.there("/a", "0644");
    example.owned_by("db", "server.file/a", "/a", "0644");
    example.file("a", "/a", "0644");
    insta::assert_snapshot!(check(&example), @"move server.file/a revision -- was infra:db:server.file/a@web-1");
}

#[test]
fn what_another_stack_claims_is_refused_naming_both() {
    let mut example = Example::new();
    example.there("/a", "0644");
    example.owned_by("db", "server.file/theirs", "/a", "0644");
    example.claim("db", "server.file/theirs", "/a");
    example.file("ours", "/a", "0644");
    insta::assert_snapshot!(check(&example), @"refused: web.yaml:1:1: path:/a on web-1 is claimed twice: by infra:db:server.file/theirs and by infra:web:server.file/ours (remove it from one of the two stacks; to move it, remove it there first)");
}

#[test]
fn what_is_claimed_on_another_target_that_is_the_same_system_is_refused_naming_both() {
    let mut example = Example::new();
    example.claim("web", "server.file/ours", "/a");
    example.claims[0].target = name("twin");
    example.file("ours", "/a", "0644");
    let said = check(&example);
    assert!(said.contains("path:/a on twin and web-1, which are the same system, is claimed twice: by "), "{said}");
    assert!(said.contains("infra:web:server.file/ours@twin and by infra:web:server.file/ours@web-1"), "{said}");
    // What leaves Git here is not taken from there.
    let mut example = Example::new();
    example.have("left", "/a", "0644");
    example.claim("db", "server.file/theirs", "/a");
    example.claims[0].target = name("twin");
    example.have("b", "/b", "0644");
    example.file("b", "/b", "0644");
    let said = check(&example);
    assert!(said.contains("release server.file/left") && said.contains("infra:db claims it on twin"), "{said}");
}

#[test]
fn a_part_of_something_is_claimed_with_it() {
    let mut example = Example::new();
    example.have("whole", "/a", "0644");
    example.claim("db", "server.file/part", "/a/part");
    example.file("whole", "/a", "0644").parts = vec![path("/a/part")];
    let said = check(&example);
    assert!(said.contains("warning: server.file/whole is also claimed by infra:db"), "{said}");
    // Whoever has it goes on: the other one is refused it.
    example.owned_by("db", "server.file/part", "/a/part", "0644");
    let said = check(&example);
    assert!(said.contains("refused: ") && said.contains("path:/a/part on web-1 is claimed twice: by "), "{said}");
    // What becomes a part is not removed, whoever had it.
    example.claims.clear();
    example.have("mine", "/a/mine", "0644");
    example.resources[0].parts.push(path("/a/mine"));
    let said = check(&example);
    for released in ["release server.file/mine", "release infra:db:server.file/part"] {
        assert!(said.contains(released) || said.contains("release server.file/part"), "{released}: {said}");
    }
    assert!(!said.contains("delete "), "{said}");
}

#[test]
fn the_owner_goes_on_when_another_stack_claims_the_same() {
    let mut example = Example::new();
    example.have("ours", "/a", "0600");
    example.claim("db", "server.file/theirs", "/a");
    example.file("ours", "/a", "0644");
    insta::assert_snapshot!(check(&example), @"
    update server.file/ours [1] /mode revision
    group 1 after []: put-file
    warning: server.file/ours is also claimed by infra:db, which is refused it
    ");
}

#[test]
fn immutable_fields_and_plugins_ask_for_a_replace() {
    let mut example = Example::new();
    for id in ["fixed", "inplace"] {
        let at = format!("/{id}");
        example.have(id, &at, "0644");
        example.want(&format!("server.file/{id}"), &json!({"path": at, "mode": "0644", id: false}));
    }
    insta::assert_snapshot!(check(&example), @"
    replace server.file/fixed [1] /fixed revision -- /fixed cannot change in place
    replace server.file/inplace [2] /inplace revision -- /inplace cannot change in place
    group 1 after []: remove, put-file
    group 2 after []: remove, put-file
    ");

    example.inventory[1].protect = true;
    insta::assert_snapshot!(check(&example), @"
    replace server.file/fixed [1] /fixed revision -- /fixed cannot change in place
    deferred server.file/inplace /inplace revision -- it is protected and would have to be replaced
    group 1 after []: remove, put-file
    waits: protected -- server.file/inplace is protected and is not replaced
    ");
}

#[test]
fn only_the_record_changes_where_the_target_is_as_it_should_be() {
    let mut example = Example::new();
    example.have("a", "/a", "0644");
    example.file("a", "/a", "0644").protect = true;
    insta::assert_snapshot!(check(&example), @"update server.file/a revision -- only the record changes: protect");
    let (plan, ledger) = example.plan();
    assert!(!plan.has_effects());
    example.apply(&plan, &ledger);
    assert_eq!(check(&example), "nothing\n");
    assert!(example.inventory[0].protect);
}

#[test]
fn what_is_ignored_is_left_alone_in_diff_and_apply() {
    let mut example = Example::new();
    example.have("a", "/a", "0644");
    example.there("/a", "0777");
    example.file("a", "/a", "0644").ignore.push("/mode".to_owned());
    assert_eq!(check(&example), "nothing\n");

    example.resources[0].spec["extra"] = json!(1);
    let mut asked = Vec::new();
    example.part_watched(&mut |request| asked.push(request.clone())).unwrap();
    assert_eq!(asked[0].desired.as_ref().unwrap()["mode"], "0777", "apply must not set what is ignored");
    assert_eq!(asked[0].fields, ["/extra"]);
    assert_eq!(asked[0].action, Action::Update);
}

#[test]
fn mistakes_in_git_are_told_all_at_once() {
    let mut example = Example::new();
    example.file("a", "/a", "0644").needs.push("server.file/bb".parse().unwrap());
    example.file("b", "/b", "0644");
    example.file("a", "/c", "0644");
    example.file("same", "/b", "0644");
    let service = example.want("server.service/nginx", &json!({"path": "/nginx"}));
    super::example::notify(service, "server.service/nginx", "relod");
    super::example::notify(service, "server.service/ngin", "reload");
    super::example::notify(service, "server.file/b", "reload");
    insta::assert_snapshot!(check(&example), @r#"
    refused: web.yaml:1:1: server.file/a needs server.file/bb, which this stack does not declare for this target (did you mean server.file/b?)
    refused: web.yaml:3:1: server.file/a is declared twice: at web.yaml:1:1 and at web.yaml:3:1 (rename or remove one of them)
    refused: web.yaml:4:1: server.file/b (at web.yaml:2:1) and server.file/same (at web.yaml:4:1) are the same thing on the target: path:/b (keep one of them)
    refused: web.yaml:5:1: server.service/nginx asks server.file/b to "reload", which it cannot do (server.file takes no notifications)
    refused: web.yaml:5:1: server.service/nginx asks server.service/nginx to "relod", which it cannot do (did you mean "reload"?)
    refused: web.yaml:5:1: server.service/nginx notifies server.service/ngin, which this stack does not declare for this target (did you mean server.service/nginx?)
    "#);
}

#[test]
fn sensitive_values_stand_nowhere_in_a_plan() {
    let mut example = Example::new();
    example.have("a", "/a", "0644");
    example.world.get_mut(&path("/a")).unwrap()["secret"] = json!("hunter1");
    example.want("server.file/a", &json!({"path": "/a", "mode": "0644", "secret": "hunter2"}));
    let (plan, _) = example.plan();
    let json = serde_json::to_string(&plan).unwrap();
    assert!(!json.contains("hunter"), "{json}");
    assert_eq!(plan.changes[0].sensitive, ["/secret"]);
}
