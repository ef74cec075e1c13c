//! `plan --base`: a pull request of somebody whom nobody trusts yet gets a plan or an error,
//! and nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tidelock_tests::Site;

/// A site with one file applied, and something on its machine that is nobody's business.
fn settled() -> Site {
    let site = Site::with_files([("a", "one\n"), ("c", "three\n")]);
    site.repo().edit("web/stack.yaml", "on_drift", "budget: { destroy: 0 }\non_drift").commit("None is destroyed");
    site.world().write("machine/srv/secret", "hunter2\n");
    fs::set_permissions(site.machine("srv/secret"), fs::Permissions::from_mode(0o640)).unwrap();
    site.apply();
    site.repo().git(["branch", "--force", "base"]);
    site
}

/// The plan of what was committed since, as a pipeline makes it, in words and as JSON.
fn plan(site: &Site) -> (String, serde_json::Value) {
    let words = ["plan", "--base", "base", "--full"];
    let text = site.tidelock(words).run().ok().stdout;
    let json = site.tidelock(words.into_iter().chain(["--output", "json"])).run().ok().json();
    (text, json)
}

#[test]
fn only_what_the_pull_request_changes_is_shown_and_nothing_is_kept_of_it() {
    let site = settled();
    site.world().write("machine/srv/a", "by hand\n");
    site.file("web", "b", "two\n");
    site.repo().commit("One more");
    let before = site.tidelock(["status", "--output", "json"]).run().ok().json();
    let (text, json) = plan(&site);
    assert!(text.contains("server.file/b") && !text.contains("server.file/a"), "{text}");
    assert!(text.contains("1 more that the base has due as well"), "{text}");
    assert_eq!(json["changes"].as_array().unwrap().len(), 1, "{json:#}");
    assert!(!text.contains("Next:"), "nobody applies what was not agreed to\n{text}");
    let after = site.tidelock(["status", "--output", "json"]).run().ok().json();
    assert_eq!(before["lanes"], after["lanes"], "it leaves no trace in any lane");
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("by hand\n"));
}

#[test]
fn it_does_not_read_what_is_on_a_machine() {
    let site = settled();
    let secret =
        "kind: server.file\nname: secret\nignore: [/mode]\nspec: { path: /srv/secret, mode: \"0600\", content: x }\n";
    site.repo().write("web/secret.yaml", secret).commit("Show me");
    let (text, json) = plan(&site);
    let told = format!("{text}{json}");
    assert!(text.contains("exists; what is there is not shown"), "{text}");
    // Neither its content, nor its digest, nor its size, nor whether a guess is right.
    let digest = "46a9d5bde718bf366178313019f04a753bad00685d38e3ec81c8628f35dfcb1b";
    assert!(
        !told.contains("0640") && !told.contains("hunter2") && !told.contains(digest) && !told.contains("\"size\":8"),
        "{told}"
    );
    let guess = |content: &str| {
        let file = format!("kind: server.file\nname: secret\nspec: {{ path: /srv/secret, content: {content:?} }}\n");
        site.repo().write("web/secret.yaml", file).commit("Is it this?");
        let (_, json) = plan(&site);
        let change = &json["changes"][0];
        (change["action"].clone(), change["fields"].clone(), change["reason"].clone())
    };
    assert_eq!(guess("hunter2\n"), guess("hunter3\n"), "a right guess looks like a wrong one");
}

#[test]
fn it_does_not_list_what_lies_in_a_directory() {
    let site = settled();
    site.world().write("machine/srv/safe/hidden-name", "hunter2\n");
    let purge = "kind: server.directory\nname: safe\nspec: { path: /srv/safe, purge: true }\n";
    site.repo().write("web/safe.yaml", purge).commit("What is in there?");
    let (text, json) = plan(&site);
    assert!(text.contains("server.directory/safe"), "{text}");
    let told = format!("{text}{json}");
    assert!(!told.contains("hidden-name") && !told.contains("hunter2"), "{told}");
}

#[test]
fn it_is_held_to_the_gates_of_its_base() {
    let site = settled();
    site.repo().edit("web/stack.yaml", "destroy: 0", "destroy: 9").remove("web/a.yaml").commit("If I may");
    let (text, _) = plan(&site);
    assert!(text.contains("the budget is 0; this commit loosens that"), "{text}");
}

#[test]
fn another_target_or_kind_than_the_operator_lists_is_an_error_or_left_out() {
    let site = settled();
    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", format!("{config}\n[targets.prod]\ntype = \"machine\"\nroot = \"prod\"\n"));
    site.world().write("prod/etc/machine-id", format!("{:032x}\n", 7));
    site.repo().edit("web/stack.yaml", "targets: local", "targets: [local, prod]").commit("And prod");
    let (text, json) = plan(&site);
    assert!(text.contains("stack web on target prod is not allowed by this operator"), "{text}");
    assert!(!json["lanes"].to_string().contains("prod"), "{json:#}");
    site.repo().write("web/x.yaml", "kind: server.file\nname: x\nspec: { path: /etc/../etc/shadow, content: x }\n");
    site.repo().commit("Elsewhere");
    let refused = site.tidelock(["plan", "--base", "base"]).run();
    assert_ne!(refused.code, 0, "{}", refused.story());
    let missing = site.tidelock(["plan", "--base", "nowhere"]).run();
    assert_ne!(missing.code, 0, "{}", missing.story());
}

#[test]
fn a_folder_stands_in_for_a_source_however_its_server_is_reached() {
    let site = settled();
    site.file("web", "b", "two\n");
    site.repo().commit("One more");
    let config = site.world().read("tidelock.toml");
    let url = "url = \"infra\"";
    assert!(config.contains(url), "{config}");
    for server in [
        "url = \"git://127.0.0.1:9/infra\"\ninsecure = true",
        "url = \"https://127.0.0.1:9/infra\"\nauth = { token_file = \"token\" }\nproxy = \"http://127.0.0.1:9\"\nca = \"ca.pem\"",
        "url = \"ssh://git@127.0.0.1:9/infra\"\nssh = { key = \"key\", known_hosts = \"known\" }",
    ] {
        site.world().write("tidelock.toml", config.replace(url, server));
        let planned = site.tidelock(["plan", "--repo", "infra", "--base", "base"]).run().ok();
        let _ = planned.says("server.file/b");
    }
}
