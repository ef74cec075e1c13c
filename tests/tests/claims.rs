//! What one stack wants is safe from another, whichever of them is applied.

use tidelock_tests::Site;

const WEB: &str = "name: web\ntargets: [local]\n";
const DB: &str = "name: db\ntargets: [local]\n";

fn resource(name: &str) -> String {
    format!("kind: server.file\nname: {name}\nspec: {{ path: /srv/{name}, content: {name} }}\n")
}

/// Two stacks that have been applied: `web` with a and b, `db` with z.
fn two_stacks() -> Site {
    let site = Site::new();
    let repo = site.repo();
    repo.write("web/stack.yaml", WEB).write("web/a.yaml", resource("a")).write("web/b.yaml", resource("b"));
    repo.write("db/stack.yaml", DB).write("db/z.yaml", resource("z"));
    repo.commit("Two stacks");
    site.tidelock(["apply", "--yes"]).run().ok();
    site
}

#[test]
fn a_resource_that_moved_is_not_deleted_by_the_stack_that_it_left() {
    let site = two_stacks();
    site.repo().rename("web/a.yaml", "db/a.yaml");
    site.repo().commit("a belongs to db");
    site.tidelock(["apply", "web", "--yes"]).run();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("a"));
    site.tidelock(["apply", "--yes"]).run();
    site.tidelock(["apply", "--yes"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("a"));
    let blame = site.tidelock(["blame", "server.file/a", "--output", "json"]).run().ok().json();
    assert!(blame.to_string().contains("infra:db:server.file/a@local"), "{blame}");
}

#[test]
fn while_a_stack_cannot_be_read_nothing_beside_it_is_deleted() {
    let site = two_stacks();
    site.repo().rename("web/a.yaml", "db/a.yaml").write("db/z.yaml", "kind: [");
    site.repo().commit("a belongs to db, which is broken");
    let ran = site.tidelock(["apply", "--yes"]).run();
    assert_ne!(ran.code, 0, "{}", ran.story());
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("a"), "{}", ran.story());
    let ran = site.tidelock(["plan", "web"]).run();
    assert!(ran.story().contains("may belong to db"), "{}", ran.story());
}

#[test]
fn a_purge_spares_what_a_stack_wants_that_was_never_applied() {
    let site = Site::new();
    site.world().write("machine/srv/conf/z", "z");
    site.world().write("machine/srv/conf/stranger", "?");
    let purge = "kind: server.directory\nname: conf\nspec: { path: /srv/conf, purge: true }\n";
    let z = "kind: server.file\nname: z\nspec: { path: /srv/conf/z, content: z }\n";
    let repo = site.repo();
    repo.write("web/stack.yaml", WEB).write("web/conf.yaml", purge);
    repo.write("db/stack.yaml", DB).write("db/z.yaml", z);
    repo.commit("A purge beside a file");
    site.tidelock(["apply", "web", "--yes"]).run().ok();
    assert_eq!(site.on_machine("srv/conf/z").as_deref(), Some("z"));
    assert_eq!(site.on_machine("srv/conf/stranger"), None);
}

#[test]
fn a_stack_may_be_renamed_and_one_that_left_is_orphaned() {
    let site = two_stacks();
    site.repo().rename("db", "database").write("database/stack.yaml", "name: database\ntargets: [local]\n");
    site.repo().commit("Another name for db");
    site.tidelock(["apply", "--yes"]).run().ok();
    let status = site.tidelock(["status", "--output", "json"]).run().ok().json().to_string();
    assert!(status.contains("orphaned"), "{status}");
    assert_eq!(site.on_machine("srv/z").as_deref(), Some("z"));
}

#[test]
fn a_stack_that_moved_needs_the_right_to_what_it_owns() {
    let site = two_stacks();
    // The directory `web` may hold files, and `links` may hold links alone.
    let held = site.world().read("tidelock.toml").replace(
        "targets = [\"local\"]\nkinds = [\"server.*\"]\n",
        "stacks = \"{web,db}\"\ntargets = [\"local\"]\nkinds = [\"server.*\"]\n\n\
         [[sources.infra.allow]]\nstacks = \"links\"\ntargets = [\"local\"]\nkinds = [\"server.link\"]\n",
    );
    site.world().write("tidelock.toml", held);
    site.converged();

    let link = "kind: server.link\nname: l\nspec: { path: /srv/l, to: /srv/b }\n";
    site.repo().rename("web", "links").remove("links/a.yaml").remove("links/b.yaml").write("links/l.yaml", link);
    site.repo().commit("The name web, in a directory that may not hold files");
    let ran = site.tidelock(["apply", "--yes"]).run();
    assert_ne!(ran.code, 0, "{}", ran.story());
    let _ = ran.says("stack web owns server.file/a").says("needs the rights of its old directory");
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("a"));
    assert!(!site.machine("srv/l").is_symlink(), "nothing of it was made either");
}

#[test]
fn a_mistyped_target_of_a_resource_is_an_error_and_deletes_nothing() {
    let site = two_stacks();
    site.repo().write("web/a.yaml", format!("target: locla\n{}", resource("a")));
    site.repo().commit("A target that the config does not declare");
    let ran = site.tidelock(["apply", "web", "--yes"]).run().exit(1);
    let _ = ran.says("the config declares no target locla").says("did you mean local?").says("web/a.yaml:1:");
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("a"));
}

#[test]
fn a_stack_that_comes_back_is_what_it_was_and_nobody_advises_to_destroy_it() {
    let site = Site::with_files([("a", "one\n"), ("b", "one\n")]);
    site.apply();
    site.tidelock(["release", "file/b", "--yes"]).run().ok();
    site.repo().write("web/a.txt", "two\n");
    site.repo().edit("web/stack.yaml", "name: web", "name: site").commit("Another name");
    let _ = site.tidelock(["plan"]).run();
    site.repo().edit("web/stack.yaml", "name: site", "name: web").commit("The name from before");
    let plan = site.tidelock(["plan"]).run().ok();
    let _ = plan.says("file/a").never_says("tidelock destroy web").never_says("take over");
    site.world().write("machine/srv/b", "by hand\n");
    site.apply();
    assert_eq!(site.on_machine("srv/b").as_deref(), Some("by hand\n"), "it is let be still");
}
