//! What leaves Git, safely.

use serde_json::json;
use tidelock_model::inventory::{Origin, Ownership};
use tidelock_model::name::Identity;
use tidelock_model::resource::OnRemove;

use super::check;
use super::example::{Example, path};

#[test]
fn what_left_git_is_deleted_released_or_kept() {
    let mut example = Example::new();
    example.have("stays", "/stays", "0644");
    example.file("stays", "/stays", "0644");
    example.have("ours", "/ours", "0644");
    example.have("adopted", "/adopted", "0644").origin = Origin::Adopted;
    example.have("adopted-but", "/adopted-but", "0644").origin = Origin::Adopted;
    example.inventory[3].on_remove = Some(OnRemove::Delete);
    example.have("said", "/said", "0644").on_remove = Some(OnRemove::Release);
    example.have("data", "/data", "0644").holds_data = true;
    example.have("guarded", "/guarded", "0644").protect = true;
    example.have("gone", "/gone", "0644");
    example.world.remove(&path("/gone"));
    example.have("moved", "/moved", "0644");
    example.claim("db", "server.file/moved", "/moved");
    example.there("/theirs", "0644");
    example.owned_by("db", "server.file/theirs", "/theirs", "0644");
    insta::assert_snapshot!(check(&example), @"
    release server.file/adopted revision -- it is no longer in Git, and was there before us; `on_remove: delete` would delete it
    delete server.file/adopted-but [1] revision -- it is no longer in Git
    release server.file/data revision -- it is no longer in Git, and holds data; `on_remove: delete` would delete it
    delete server.file/gone revision -- it is no longer in Git, and already gone from the target
    delete server.file/ours [2] revision -- it is no longer in Git
    release server.file/said revision -- it is no longer in Git, and `on_remove` says release
    group 1 after []: remove
    group 2 after []: remove
    waits: protected -- server.file/guarded is protected and is not deleted, though it is no longer in Git
    warning: server.file/moved left this stack and is claimed by infra:db as server.file/moved; it moves there when that stack is applied
    ");
}

#[test]
fn an_empty_render_never_means_delete_everything() {
    let mut example = Example::new();
    example.have("a", "/a", "0644");
    insta::assert_snapshot!(check(&example), @r#"waits: empty-render -- infra:web@web-1 rendered to nothing while 1 of its resources exist; that is never taken for "delete them all""#);
}

#[test]
fn a_new_store_knows_of_nothing_to_delete() {
    let mut example = Example::new();
    example.contacted = false;
    example.file("a", "/a", "0644");
    example.there("/b", "0644");
    let part = example.part().unwrap();
    assert_eq!(part.lane.ownership, Ownership::Unknown);
    insta::assert_snapshot!(check(&example), @"
    create server.file/a [1] revision
    group 1 after []: put-file
    ");

    // A first run that died half-way left lines in the ledger: those are known.
    example.have("b", "/b", "0644");
    assert_eq!(example.part().unwrap().lane.ownership, Ownership::Known);
}

#[test]
fn directories_go_after_what_is_in_them() {
    let mut example = Example::new();
    example.have("keep", "/keep", "0644");
    example.file("keep", "/keep", "0644");
    example.have("a-dir", "/d", "0755");
    example.have("b-sub", "/d/sub", "0755").requires.push(path("/d"));
    example.have("c-file", "/d/sub/x", "0644").requires.push(path("/d/sub"));
    insta::assert_snapshot!(check(&example), @"
    delete server.file/c-file [1] revision -- it is no longer in Git
    delete server.file/b-sub [2] revision -- it is no longer in Git
    delete server.file/a-dir [3] revision -- it is no longer in Git
    group 1 after []: remove
    group 2 after [1]: remove
    group 3 after [2]: remove
    ");
}

#[test]
fn a_directory_that_holds_more_than_leaves_with_it_is_released() {
    let mut example = Example::new();
    example.file("keep", "/keep", "0644");
    example.have("dir", "/d", "0755");
    example.have("sub", "/d/sub", "0755").requires.push(path("/d"));
    example.have("file", "/d/sub/x", "0644").requires.push(path("/d/sub"));
    for stranger in ["/d/sub/by-hand", "/d/sub/core", "/d/sub/log", "/d/sub/z"] {
        example.there(stranger, "0600");
    }
    example.have("other", "/e", "0755");
    example.have("inner", "/e/f", "0755").requires.push(path("/e"));
    insta::assert_snapshot!(check(&example), @"
    delete server.file/file [1] revision -- it is no longer in Git
    delete server.file/inner [2] revision -- it is no longer in Git
    create server.file/keep [3] revision
    delete server.file/other [4] revision -- it is no longer in Git
    release server.file/sub revision -- it is no longer in Git, but holds by-hand, core, log and 1 more, so it stays on the target
    release server.file/dir revision -- it is no longer in Git, but holds sub, so it stays on the target
    group 1 after []: remove
    group 2 after []: remove
    group 3 after []: put-file
    group 4 after [2]: remove
    warning: server.file/dir left Git and stays on the target: /d holds sub
    warning: server.file/sub left Git and stays on the target: /d/sub holds by-hand, core, log and 1 more
    ");
}

#[test]
fn what_something_still_stands_on_is_released() {
    let mut example = Example::new();
    example.have("dir", "/d", "0755");
    example.have("sub", "/d/sub", "0755").requires.push(path("/d"));
    example.have("guarded", "/d/sub/x", "0644").protect = true;
    example.inventory[2].requires.push(path("/d/sub"));
    example.have("free", "/d/y", "0644").requires.push(path("/d"));
    example.file("keep", "/keep", "0644");
    insta::assert_snapshot!(check(&example), @"
    delete server.file/free [1] revision -- it is no longer in Git
    create server.file/keep [2] revision
    release server.file/sub revision -- it is no longer in Git, but server.file/guarded still stands on it
    release server.file/dir revision -- it is no longer in Git, but server.file/sub still stands on it
    group 1 after []: remove
    group 2 after []: put-file
    waits: protected -- server.file/guarded is protected and is not deleted, though it is no longer in Git
    ");
}

/// A network that an address reaches.
fn reach(text: &str) -> Identity {
    Identity::new(format!("reach:{text}"))
}

/// A route that is reached through an old address, which leaves Git; `reaches` is what a new one reaches.
fn renumbered(reaches: &[&str]) -> Example {
    let mut example = Example::new();
    let old = example.have("address", "/old", "0644");
    old.provides = vec![reach("10.0.0.0/24")];
    old.requires.push(path("/link"));
    example.have("link", "/link", "0644");
    let around = vec![reach("10.0.0.0/24"), reach("10.0.0.0/16")];
    example.have("route", "/route", "0644").requires = around.clone();
    example.file("route", "/route", "0644").requires = around;
    if !reaches.is_empty() {
        let new = example.file("address", "/new", "0644");
        new.provides = reaches.iter().map(|network| reach(network)).collect();
        new.requires.push(path("/link"));
        example.file("link", "/link", "0644");
    }
    example
}

#[test]
fn what_something_else_brings_about_instead_goes_after_that_and_its_users() {
    // The same network, and another one around the same neighbour.
    for network in ["10.0.0.0/24", "10.0.0.0/16"] {
        let mut example = renumbered(&[network]);
        assert_eq!(
            check(&example),
            "create server.file/address [1] revision\n\
             delete server.file/address [2] revision -- it is no longer in Git\n\
             group 1 after []: put-file\n\
             group 2 after [1]: remove\n"
        );
        // Under another name.
        example.resources[1].id = "server.file/a-new".parse().unwrap();
        assert!(check(&example).contains("group 2 after [1]: remove\n"), "{}", check(&example));
    }
}

#[test]
fn what_others_need_and_nothing_else_brings_about_stays_ours_until_they_do_not() {
    let mut example = renumbered(&["10.9.0.0/24"]);
    insta::assert_snapshot!(check(&example), @"
    create server.file/address [1] revision
    group 1 after []: put-file
    waits: still-needed -- server.file/address (path:/old): it is no longer in Git, but server.file/route still stands on it; it goes once nothing does
    ");
    let (plan, ledger) = example.plan();
    example.apply(&plan, &ledger);
    assert!(check(&example).starts_with("waits: "), "{}", check(&example));
    // What it stands on itself stays too.
    insta::assert_snapshot!(check(&renumbered(&[])), @"
    waits: still-needed -- server.file/address (path:/old): it is no longer in Git, but server.file/route still stands on it; it goes once nothing does
    waits: still-needed -- server.file/link (path:/link): it is no longer in Git, but server.file/address still stands on it; it goes once nothing does
    ");
    // The route is renumbered as well.
    example.resources[0].requires = vec![reach("10.9.0.0/24")];
    insta::assert_snapshot!(check(&example), @"
    update server.file/route revision -- only the record changes: requires
    delete server.file/address [1] revision -- it is no longer in Git
    group 1 after []: remove
    ");
}

#[test]
fn a_user_is_changed_before_what_it_used_goes() {
    let mut example = Example::new();
    example.have("a-used", "/used", "0644");
    example.have("z-user", "/user", "0600").needs.push("server.file/a-used".parse().unwrap());
    example.file("z-user", "/user", "0644");
    insta::assert_snapshot!(check(&example), @"
    update server.file/z-user [1] /mode revision
    delete server.file/a-used [2] revision -- it is no longer in Git
    group 1 after []: put-file
    group 2 after [1]: remove
    ");
}

#[test]
fn old_circles_in_the_ledger_hold_nobody_up() {
    let mut example = Example::new();
    example.file("keep", "/keep", "0644");
    example.have("a", "/a", "0644").requires.push(path("/b"));
    example.have("b", "/b", "0644").requires.push(path("/a"));
    example.have("c", "/c", "0644").requires.push(path("/b"));
    insta::assert_snapshot!(check(&example), @"
    delete server.file/a [1] revision -- it is no longer in Git
    delete server.file/c [2] revision -- it is no longer in Git
    delete server.file/b [3] revision -- it is no longer in Git
    create server.file/keep [4] revision
    group 1 after []: remove
    group 2 after []: remove
    group 3 after [2]: remove
    group 4 after []: put-file
    ");
}

#[test]
fn strays_spare_what_anybody_speaks_for() {
    let mut example = Example::new();
    let strays =
        ["path:/d/mine", "path:/d/theirs", "path:/d/claimed", "path:/d/above", "path:/d/stray", "path:/d/owned-dir/x"];
    example.world.insert(path("/d"), json!({"path": "/d", "strays": strays}));
    example.owned_by("web", "server.directory/d", "/d", "").applied = json!({"path": "/d", "strays": []});
    example.want("server.directory/d", &json!({"path": "/d", "strays": []}));
    example.have("mine", "/d/mine", "0644");
    example.file("mine", "/d/mine", "0644");
    example.owned_by("db", "server.file/theirs", "/d/theirs", "0644");
    example.owned_by("db", "server.directory/owned-dir", "/d/owned-dir", "0755");
    example.claim("db", "server.file/claimed", "/d/claimed");
    example.claim("db", "server.file/deep", "/d/above/deep/x");
    let mut beneath = Vec::new();
    let part = example.part_watched(&mut |request| beneath.extend(request.beneath.clone())).unwrap();
    assert_eq!(beneath, [path("/d/stray")]);
    let change = &part.changes[0];
    assert_eq!(change.fields[0].before, Some(json!(["path:/d/stray"])));
    assert_eq!(change.before.as_ref().unwrap()["strays"], json!(["path:/d/stray"]));
}

#[test]
fn destroying_takes_a_yes_and_spares_what_prune_would_spare() {
    let mut example = Example::new();
    example.destroys = true;
    example.have("ours", "/ours", "0644");
    example.have("said", "/said", "0644").on_remove = Some(OnRemove::Release);
    example.have("moved", "/moved", "0644");
    example.claim("db", "server.file/moved", "/moved");
    insta::assert_snapshot!(check(&example), @"
    delete server.file/ours [1] revision -- its stack is destroyed
    release server.file/said revision -- its stack is destroyed, and `on_remove` says release
    group 1 after []: remove
    waits: destroy -- it takes a person's yes to destroy infra:web@web-1, which owns 2 resources
    warning: server.file/moved left this stack and is claimed by infra:db as server.file/moved; it moves there when that stack is applied
    ");
    let part = example.part().unwrap();
    assert!(part.lane.destroys && part.lane.waits.iter().all(|wait| wait.approvable));
}

#[test]
fn what_is_protected_refuses_to_be_destroyed_with_its_stack() {
    let mut example = Example::new();
    example.destroys = true;
    example.have("ours", "/ours", "0644");
    example.have("guarded", "/guarded", "0644").protect = true;
    let part = example.part().unwrap();
    assert!(part.lane.waits.iter().any(crate::gate::refuses), "{:?}", part.lane.waits);
    assert!(part.changes.iter().all(|change| change.name.as_str() != "guarded"));
}
