//! What a slip of the finger in Git or in the config is answered with: its place, what was
//! likely meant, and lines that can be pasted.

use tidelock_tests::Site;

fn site() -> Site {
    Site::with_files([("a", "one\n")])
}

#[test]
fn a_target_that_nobody_declared_is_an_error_with_its_place() {
    let site = site();
    site.repo().edit("web/stack.yaml", "targets: local", "targets: locl").commit("A slip");
    let ran = site.tidelock(["plan"]).run().exit(1);
    let _ = ran.says("stack web is for locl").says("web/stack.yaml:2").says("did you mean local?");
    // Others go on, and the end says that it was not all.
    site.stack("well");
    site.file("well", "b", "two\n");
    site.repo().commit("Another stack");
    let _ =
        site.tidelock(["plan"]).run().exit(4).says("server.file/b").says("stack web is for locl").never_says("Next:");
    let _ = site.tidelock(["plan", "well", "--target", "local"]).run().ok().never_says("locl");
}

/// A lane as `status` has it.
fn lane(site: &Site, stack: &str) -> Option<serde_json::Value> {
    let status = site.tidelock(["status", "--output", "json"]).run().ok().json();
    status["lanes"].as_array().unwrap().iter().find(|lane| lane["stack"] == stack).cloned()
}

#[test]
fn a_stack_whose_target_is_mistyped_is_no_orphan() {
    let site = site();
    site.stack("well");
    site.file("well", "b", "two\n");
    site.repo().commit("Two stacks");
    site.apply();
    site.repo().edit("web/stack.yaml", "targets: local", "targets: [lcoal]").commit("A slip");
    let ran = site.tidelock(["plan"]).run().exit(4);
    let _ = ran.says("stack web is for lcoal").says("did you mean local?").never_says("destroy").never_says("orphaned");
    let web = lane(&site, "web").unwrap();
    assert_eq!(web["status"], "failed", "{web:#}");
    let why = web["why"].as_str().unwrap();
    assert!(why.contains("web/stack.yaml") && why.contains("lcoal (did you mean local?)"), "{why}");
    let _ = site.tidelock(["destroy", "--orphaned", "--yes"]).run().exit(64).says("no lane is orphaned");
    site.repo().edit("web/stack.yaml", "[lcoal]", "[local]").commit("Mended");
    site.apply();
    assert_eq!(lane(&site, "web").unwrap()["status"], "converged");
}

#[test]
fn a_stack_that_owned_nothing_leaves_nothing_behind() {
    let site = site();
    site.apply();
    site.stack("bad");
    site.repo().write("bad/x.yaml", "kind: server.file\nname: x\nspec: { path: /opt/x, content: x }\n");
    site.repo().commit("Not granted");
    let _ = site.tidelock(["apply", "--yes"]).run();
    assert!(lane(&site, "bad").is_some());
    site.repo().git(["rm", "-q", "-r", "bad"]);
    site.repo().commit("Gone again");
    let _ = site.tidelock(["plan"]).run().ok().never_says("bad");
    assert_eq!(lane(&site, "bad"), None);
    assert_eq!(lane(&site, "web").unwrap()["status"], "converged");
}

#[test]
fn an_apply_that_cannot_be_whole_says_what_is_missing() {
    let site = site();
    site.apply();
    site.stack("bad");
    site.repo().write("bad/x.yaml", "kind: server.file\nname: x\nspec: { path: /srv/x, contents: x }\n");
    site.file("web", "b", "two\n");
    site.repo().commit("One is wrong");
    let ran = site.tidelock(["apply", "--yes"]).run().exit(4);
    let _ = ran.says("1 done").says("bad/x.yaml:").says("has to be mended first").never_says("Next:");
    let ran = site.tidelock(["apply", "--yes"]).run().exit(4);
    let _ = ran.says("Nothing was changed: bad/x.yaml:").says("has to be mended first").never_says("Next:");
}

#[test]
fn names_that_are_wrong_together_are_shown_at_their_lines_and_once() {
    let site = site();
    site.stack("zeta");
    site.repo()
        .write("zeta/stack.yaml", "targets: local\nname: web\n")
        .write("third/stack.yaml", "name: third\ntargets: local\nneeds: [webb]\n")
        .commit("Slips");
    let ran = site.tidelock(["plan"]).run();
    let ran = ran.says("stack web is declared twice").says("third/stack.yaml:3").says("did you mean web?");
    let _ = ran.says("zeta/stack.yaml:2");
    site.repo().write("zeta/stack.yaml", "targets: local\nname: zeta\n").remove("third/stack.yaml");
    site.repo()
        .write("zeta/a.yaml", "kind: server.file\nname: mine\nspec: { path: /srv/a, content: x }\n")
        .commit("Both want it");
    let ran = site.tidelock(["plan"]).run();
    assert_eq!(ran.story().matches("claimed twice").count(), 1, "{}", ran.story());
}

#[test]
fn what_is_only_put_on_record_is_not_said_to_be_done() {
    let site = Site::new();
    site.stack("web");
    site.repo()
        .write("web/run.yaml", "kind: server.command\nname: never\nspec: { argv: [/bin/true] }\n")
        .commit("A command that nothing asks for");
    let _ = site.tidelock(["plan"]).run().ok().says("nothing notifies it").says("Nothing is done to a target");
    let ran = site.tidelock(["apply", "--yes"]).run().ok();
    let _ = ran.says("1 change put on record").never_says("1 change done");
}

#[test]
fn a_directory_that_is_not_there_is_told_before_the_apply() {
    let site = Site::new();
    site.stack("web");
    let file = |more: &str| format!("kind: server.file\nname: x\nspec: {{ path: /srv/deep/x, content: x{more} }}\n");
    site.repo().write("web/x.yaml", file("")).commit("Too deep");
    let ran = site.tidelock(["plan"]).run().ok();
    let _ = ran.says("web/x.yaml:1").says("the directory /srv/deep is not there, and nothing of this plan makes it");
    site.repo().write("web/x.yaml", file(", parents: true")).commit("Made with it");
    let _ = site.tidelock(["plan"]).run().ok().never_says("is not there, and nothing");
    site.repo()
        .write("web/x.yaml", file(""))
        .write("web/deep.yaml", "kind: server.directory\nname: deep\nspec: { path: /srv/deep }\n")
        .commit("Made before it");
    let _ = site.tidelock(["plan"]).run().ok().never_says("is not there, and nothing");
    site.apply();
}

#[test]
fn a_run_says_at_its_end_what_is_still_waited_for() {
    let site = Site::new();
    for stack in ["stage", "prod"] {
        site.stack(stack);
        site.file(stack, stack, "one\n");
    }
    site.repo().edit("prod/stack.yaml", "targets:", "needs: [stage]\ntargets:").commit("Stage first");
    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", config + "\n[[gate]]\nstacks = \"prod\"\napprovals = 1\n");
    let ran = site.tidelock(["apply", "--yes"]).run().exit(5);
    let story = ran.story();
    let (_, end) = story.split_once("Done: 1 change").expect("stage was done");
    assert!(end.contains("asks for the approval of 1 person") && !end.contains("it needs stage"), "{story}");
}

#[test]
fn a_pattern_that_means_no_target_is_a_warning_with_a_whole_sentence() {
    let site = site();
    site.repo().edit("web/stack.yaml", "targets: local", "targets: 'db-*'").commit("For others");
    let _ = site.tidelock(["plan"]).run().ok().says("Plan for no stack on 0 targets").says("selects no target");
}

#[test]
fn a_module_that_is_not_there_is_an_error_with_its_place() {
    let site = site();
    site.repo().write("modules/motd/b.yaml", "kind: server.file\nname: b\nspec: { path: /srv/b, content: b }\n");
    let stack = |from: &str| format!("name: web\ntargets: local\nfrom: {from}\n");
    for (from, says, hint) in [
        ("/modules/mtd", "from /modules/mtd, and there is no such folder", "did you mean /modules/motd?"),
        ("modules/motd", "from /web/modules/motd, and there is no such folder", "with a slash first"),
        ("/modules/motd/b.yaml", "from /modules/motd/b.yaml, which is a file", "with a slash first"),
    ] {
        site.repo().write("web/stack.yaml", stack(from)).commit(from);
        let _ = site.tidelock(["plan"]).run().exit(1).says("web/stack.yaml:3").says(says).says(hint);
    }
    site.repo().write("web/stack.yaml", stack("/modules/motd")).commit("As it is");
    let _ = site.tidelock(["plan"]).run().ok().says("server.file/b");
}

#[test]
fn files_of_resources_that_belong_to_no_stack_are_warned_of_once() {
    let site = site();
    for name in ["a", "b", "c", "d"] {
        let text = format!("kind: server.file\nname: {name}\nspec: {{ path: /srv/{name}, content: x }}\n");
        site.repo().write(&format!("extra/{name}.yaml"), text);
    }
    site.repo().write("k8s/app.yaml", "kind: Deployment\n");
    site.repo().commit("Beside the stacks");
    let ran = site.tidelock(["plan"]).run().ok();
    let ran = ran.says("4 files hold resources and belong to no stack").says("extra/a.yaml").says("and 1 more");
    assert_eq!(ran.never_says("app.yaml").story().matches("belong to no stack").count(), 1);
    let _ = site.tidelock(["plan", "web"]).run().ok().never_says("belong to no stack");
    site.repo().write("web/stack.yaml", "name: web\ntargets: local\nfrom: /extra\n").commit("From there");
    let _ = site.tidelock(["plan"]).run().ok().never_says("belong to no stack");
}

#[test]
fn files_of_resources_beside_a_stack_that_is_rendered_from_elsewhere_are_named() {
    let site = site();
    let resource = |name: &str| format!("kind: server.file\nname: {name}\nspec: {{ path: /srv/{name}, content: x }}\n");
    site.repo()
        .write("modules/m/m.yaml", resource("m"))
        .write("web/extra.yaml", resource("extra"))
        .write("web/sub/more.yaml.j2", resource("more"))
        .write("web/values.yaml", "port: 80\n")
        .write("web/stack.yaml", "name: web\ntargets: local\nfrom: /modules/m\nvalues: [values.yaml]\n")
        .commit("Some of it beside the module");
    // Also where the stack is chosen.
    for words in [vec!["plan"], vec!["plan", "web"]] {
        let ran = site.tidelock(words).run().ok();
        let _ = ran
            .says("web/a.yaml, web/extra.yaml, web/sub/more.yaml.j2 hold resources, and stack web is rendered from /modules/m")
            .says("move them to /modules/m, or take `from` out of web/stack.yaml")
            .never_says("values.yaml hold");
    }
    // A module above passes the folders of stacks over; one that another stack renders is looked after.
    site.repo().write("web/stack.yaml", "name: web\ntargets: local\nfrom: ..\n").commit("From above");
    let _ = site.tidelock(["plan"]).run().says("web/extra.yaml").says("rendered from /:");
    site.repo()
        .remove("web/values.yaml")
        .write("web/stack.yaml", "name: web\ntargets: local\nfrom: /modules/m\n")
        .write("other/stack.yaml", "name: other\ntargets: local\nfrom: /web\n")
        .commit("Another looks after it");
    let _ = site.tidelock(["plan"]).run().ok().says("server.file/extra").never_says("nobody looks after");
}

#[test]
fn a_renderer_says_which_files_it_takes() {
    let site = site();
    let resource = |name: &str| format!("kind: server.file\nname: {name}\nspec: {{ path: /srv/{name}, content: x }}\n");
    site.repo().write("web/stack.yaml", "name: web\ntargets: local\nrenderer: jinja\n").commit("Templates");
    let ran = site.tidelock(["plan"]).run().exit(1);
    let _ = ran
        .says("web/a.yaml")
        .says("no file here is named *.yaml.j2")
        .says("name it a.yaml.j2, or take `renderer: jinja`");
    site.repo().write("web/b.yaml.j2", resource("b")).commit("One of them is");
    let ran = site.tidelock(["plan"]).run().ok().says("server.file/b");
    let _ = ran
        .says("web/a.yaml: this file holds resources, and renderer jinja of stack web does not read it")
        .says("jinja: Jinja templates, *.yaml.j2");
}

#[test]
fn a_stack_in_a_file_of_nearly_that_name_is_named() {
    let site = site();
    site.stack("well");
    site.file("well", "b", "two\n");
    site.repo().write("swarm/stack.yml", "services: {}\n").commit("Another stack, and a compose file");
    let _ = site.tidelock(["apply", "--yes"]).run().ok();
    site.repo().rename("web/stack.yaml", "web/stack.yml").commit("A slip");
    let ran = site.tidelock(["plan"]).run().exit(4);
    let ran = ran.says("web/stack.yml: a stack in a file of this name is not read: Tidelock reads stack.yaml");
    // Nobody knows what it holds, so nothing of it is to go.
    let _ = ran.says("git mv web/stack.yml web/stack.yaml").never_says("destroy").never_says("swarm");
    let _ = site.tidelock(["plan", "web"]).run().exit(1).says("web/stack.yml").says("Tidelock reads stack.yaml");
}

#[test]
fn a_renderer_and_a_kind_that_do_not_fit_are_shown_in_their_files() {
    let site = site();
    site.repo().write("web/stack.yaml", "name: web\ntargets: local\nrenderer: jinjaa\n").commit("A slip");
    let ran = site.tidelock(["plan"]).run().exit(1);
    let _ = ran.says("web/stack.yaml:3").says("no renderer named \"jinjaa\"").says("jinja, yaml");
    site.stack("web");
    site.repo()
        .write("web/role.yaml", "kind: sqlite.table\nname: t\nspec: { name: t }\n")
        .commit("A table on a machine");
    let config = site.world().read("tidelock.toml").replace("kinds = [\"server.*\"]", "kinds = [\"*\"]");
    site.world().write("tidelock.toml", config);
    let ran = site.tidelock(["plan"]).run().exit(1);
    let _ = ran.says("web/role.yaml:1").says("cannot work on local");
}

#[test]
fn an_unknown_kind_is_answered_with_those_of_its_plugin() {
    let site = site();
    for (kind, guess) in [("server.package", None), ("server.fil", Some("did you mean server.file?"))] {
        site.repo().write("web/a.yaml", format!("kind: {kind}\nname: a\nspec: {{ path: /srv/a }}\n")).commit(kind);
        let ran = site.tidelock(["plan"]).run().exit(1).says("web/a.yaml:1").says("server has: server.");
        let _ = match guess {
            Some(guess) => ran.says(guess),
            None => ran.never_says("did you mean"),
        };
    }
}

#[test]
fn a_field_at_the_wrong_depth_is_sent_where_it_belongs() {
    let site = site();
    site.repo().write("web/a.yaml", "kind: server.file\nname: a\npath: /srv/a\nspec: {}\n").commit("Too high");
    let ran = site.tidelock(["plan"]).run().exit(1);
    let said = ran.story();
    assert_eq!(said.matches("on_remove").count(), 1, "the fields are listed once: {said}");
    let _ = ran.says("indent it under `spec:`").says("web/a.yaml:3");
    site.repo().write("web/a.yaml", "kind: server.file\nname: a b\nspec: { path: /srv/a }\n").commit("A space");
    let _ = site.tidelock(["plan"]).run().exit(1).says("web/a.yaml:2").says("are not allowed");
}

#[test]
fn what_is_not_granted_comes_with_what_to_add_and_without_a_log() {
    let site = site();
    site.repo().edit("web/a.yaml", "path: /srv/a", "path: /opt/a").commit("Elsewhere");
    let ran = site.tidelock(["plan"]).run();
    let _ = ran
        .says("add to `paths` of [grants.server] in tidelock.toml:")
        .says("\"/opt/a\"")
        .never_says("WARN")
        .never_says("Next: tidelock apply");
    // Pasted as a table of its own, it is there twice.
    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", config + "\n[grants.server]\ntargets = [\"local\"]\npaths = [\"/opt/a\"]\n");
    let _ = site.tidelock(["plan"]).run().exit(1).says("[grants.server] is there already, at line");
}

#[test]
fn what_is_not_allowed_comes_with_the_kinds_that_are_there() {
    let site = site();
    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", config.replacen("targets = [\"local\"]", "targets = [\"locl\"]", 1));
    let ran = site.tidelock(["plan"]).run().exit(1).says("names the target locl").says("did you mean local?");
    let _ = ran.says("tidelock.toml:5").never_says("Plan for no stack");
    for more in
        ["[[gate]]\ntargets = [\"locl\"]\napprovals = 1\n", "[[grants.jinja]]\ntargets = [\"local\", \"locl\"]\n"]
    {
        site.world().write("tidelock.toml", format!("{config}\n{more}"));
        let _ = site.tidelock(["plan"]).run().exit(1).says("names the target locl").says("did you mean local?");
    }
    site.world().write("tidelock.toml", config.replacen("targets = [\"local\"]", "targets = [\"else*\"]", 1));
    let _ = site.tidelock(["plan"]).run().ok().says("kinds = [\"server.file\"]").never_says("\"*\"");
    site.world().write("tidelock.toml", config.replace("server.*", "sever.*"));
    let _ = site.tidelock(["plan"]).run().exit(1).says("allows \"sever.*\"").says("did you mean server.file?");
}

#[test]
fn a_revision_that_is_not_there_is_answered_with_what_can_be_named() {
    let site = site();
    let ran = site.tidelock(["plan", "--rev", "nope"]).run().exit(1);
    let _ = ran.says("it has the branches main; a tag or the id of a commit will do as well").never_says("config");
}

#[test]
fn a_config_in_the_folder_above_is_named() {
    let site = site();
    let _ = site.tidelock(["plan"]).within(&site.world().path("infra")).run().exit(1).says("--config ../tidelock.toml");
}

#[test]
fn templates_that_nobody_reads_are_named() {
    let site = Site::with_files([("a", "one\n")]);
    site.repo()
        .write("web/b.yaml.j2", "kind: server.directory\nname: b\nspec: { path: /srv/b }\n")
        .commit("A template");
    let plan = site.tidelock(["plan"]).run().ok();
    let _ = plan.says("web/b.yaml.j2").says("does not read it").says("renderer: jinja");
}
