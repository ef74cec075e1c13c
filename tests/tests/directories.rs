//! Directories that leave Git while something lies in them that nobody here manages.

use tidelock_tests::Site;

const DIRECTORY: &str = "kind: server.directory\nname: app\nspec: { path: /srv/app, mode: \"0755\" }\n";
const FILE: &str = "kind: server.file\nname: conf\nspec: { path: /srv/app/conf, content: a }\n";

fn applied() -> Site {
    let site = Site::new();
    site.stack("web");
    site.file("web", "keep", "stays\n");
    site.repo().write("web/app.yaml", DIRECTORY).write("web/conf.yaml", FILE).commit("A directory");
    site.apply();
    site
}

#[test]
fn a_directory_with_unmanaged_files_stays_and_the_plan_says_so() {
    let site = applied();
    site.world().write("machine/srv/app/by-hand", "precious");
    site.repo().remove("web/app.yaml").remove("web/conf.yaml").commit("No directory");
    let plan = site.tidelock(["plan", "--output", "json"]).run().ok().json();
    let app = plan["changes"].as_array().unwrap().iter().find(|change| change["name"] == "app").unwrap();
    assert_eq!(app["action"], "release", "{plan}");
    assert!(plan["warnings"].to_string().contains("/srv/app holds by-hand"), "{plan}");

    site.apply().says("left Git and stays on the target: /srv/app holds by-hand");
    assert_eq!(site.on_machine("srv/app/by-hand").as_deref(), Some("precious"));
    assert_eq!(site.on_machine("srv/app/conf"), None, "what was managed is gone");
    site.converged();
}

#[test]
fn a_directory_whose_files_leave_with_it_goes() {
    let site = applied();
    site.repo().remove("web/app.yaml").remove("web/conf.yaml").commit("No directory");
    let saved = site.world().path("plan.json");
    site.tidelock(["plan", "--save", saved.to_str().unwrap()]).run().ok();
    site.tidelock(["apply", "--plan", saved.to_str().unwrap()]).run().ok().never_says("stays on the target");
    assert!(!site.machine("srv/app").exists());
    site.converged();
}
