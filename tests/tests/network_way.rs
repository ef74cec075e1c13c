//! Plans that would cut Tidelock off from Git: a forge that is reached through the very router
//! that a stack is about.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidelock_tests::netns::Netns;
use tidelock_tests::router::{self, GRANT, put};
use tidelock_tests::{Ran, Site, Tidelock};

/// One world at a time: all have the same addresses, and it is asked which namespace has one.
static ONE: Mutex<()> = Mutex::new(());

/// Where Tidelock runs, the router, and the forge behind it.
struct World {
    site: Site,
    operator: Netns,
    router: Netns,
    forge: Forge,
    // The last to go.
    _one: MutexGuard<'static, ()>,
}

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `git daemon` in a namespace.
struct Forge {
    daemon: Running,
    _space: Netns,
}

impl Forge {
    fn serve(space: Netns, root: &Path) -> Self {
        let programs = space.run(&["git", "--exec-path"]);
        // Without `git` before it, which would leave it running when killed.
        let program = format!("{}/git-daemon", programs.trim());
        let base = format!("--base-path={}", root.display());
        let words = [&program, "--listen=10.0.2.2", "--reuseaddr", "--export-all", &base, &root.display().to_string()];
        let daemon = space
            .command(&words)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        space.wait("git daemon listens", Duration::from_secs(30), |space| {
            space.run(&["ss", "-Htln"]).contains("10.0.2.2:9418")
        });
        Self { daemon: Running(daemon), _space: space }
    }
}

impl World {
    fn new() -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (operator, router, forge) = (Netns::new(), Netns::new(), Netns::new());
        operator.cable("up0", &router, "lan0");
        router.cable("wan0", &forge, "up0");
        for (space, link, address) in [
            (&operator, "up0", "10.0.1.2/24"),
            (&router, "lan0", "10.0.1.1/24"),
            (&router, "wan0", "10.0.2.1/24"),
            (&forge, "up0", "10.0.2.2/24"),
        ] {
            space.ip(&format!("link set {link} up"));
            space.ip(&format!("address add {address} dev {link}"));
        }
        operator.ip("route add default via 10.0.1.1");
        forge.ip("route add default via 10.0.2.1");
        router.run(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
        let site = router::site(&[("router", &router)], GRANT, "router", "");
        let config = std::fs::read_to_string(site.world().path("tidelock.toml")).unwrap();
        let config = config.replacen("url = \"infra\"", "url = \"git://10.0.2.2/infra/.git\"\ninsecure = true", 1);
        site.world().write("tidelock.toml", config);
        let forge = Forge::serve(forge, site.world().root());
        Self { site, operator, router, forge, _one: one }
    }

    fn tidelock(&self, words: &[&str]) -> Ran {
        Tidelock::new(self.site.world().root(), words).in_space(&self.operator).run()
    }
}

/// The router's table; `policy` is what becomes of packets that it forwards.
fn filter(site: &Site, policy: &str) {
    let chain = format!("chain forward {{ type filter hook forward priority 0; policy {policy}; }}");
    put(site, "nftables", "filter", &format!("{{ name: filter, ruleset: \"table inet filter {{ {chain}; }}\" }}"));
}

#[test]
fn a_table_that_the_way_rests_on_and_that_loses_its_hooks_touches_it() {
    let world = World::new();
    router::stack(&world.site, "router", "confirm: 20s\n");
    filter(&world.site, "accept");
    world.site.repo().commit("A table in the way");
    let _ = world.tidelock(&["apply", "--yes"]).ok();
    let sets = "{ name: filter, ruleset: \"table inet filter { set seen { type ipv4_addr; }; }\" }";
    put(&world.site, "nftables", "filter", sets);
    world.site.repo().commit("Nothing of it is left");
    let plan = world.tidelock(&["plan"]).ok();
    let _ = plan.says("may cut the way to Git: infra (10.0.2.2): replace table inet filter");
}

#[test]
fn what_heals_the_network_while_git_is_down_is_not_taken_back() {
    let mut world = World::new();
    router::stack(&world.site, "router", "confirm: 20s\n");
    filter(&world.site, "accept");
    world.site.repo().commit("A way back for all of it");
    let _ = world.tidelock(&["apply", "--yes"]).ok();
    let before = world.router.picture();
    // Git went, and then somebody changed the table that its way leads through.
    world.forge.daemon.0.kill().unwrap();
    world.forge.daemon.0.wait().unwrap();
    world.router.run(&["nft", "add rule inet filter forward tcp dport 23 drop"]);
    let daemon = Tidelock::new(world.site.world().root(), ["run"]).in_space(&world.operator);
    let _daemon = Running(daemon.spawn_with(Stdio::null(), Stdio::null()));
    world.router.wait("the table is as Git said", Duration::from_secs(30), |router| router.picture() == before);
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(world.router.picture(), before, "nothing took it back");
}

#[test]
fn a_persons_word_is_not_taken_where_the_way_to_git_is_cut_unless_they_insist() {
    let world = World::new();
    filter(&world.site, "accept");
    world.site.repo().commit("A table in the way");
    let _ = world.tidelock(&["apply", "--yes", "--confirm-within", "60s"]).exit(5).says("goes back at");
    let _ = world.tidelock(&["confirm"]).ok().says("Confirmed");
    filter(&world.site, "drop");
    world.site.repo().commit("Shut it");
    let _ = world.tidelock(&["apply", "--yes", "--confirm-within", "60s"]).exit(5).says("goes back at");
    let ran = world.tidelock(&["confirm"]).exit(1).says("the way to Git is cut: infra at 10.0.2.2:9418");
    let _ = ran.says("nothing is confirmed").says("tidelock confirm --force").never_says("Confirmed");
    let _ = world.tidelock(&["confirm", "--force"]).ok().says("Confirmed");
    assert!(world.router.nft("list ruleset").contains("policy drop"));
}

#[test]
fn a_machine_whose_namespace_is_our_own_is_on_the_way_too() {
    let world = World::new();
    let within = |words: &[&str]| Tidelock::new(world.site.world().root(), words).in_space(&world.router).run();
    put(&world.site, "route", "forge", "{ to: 10.0.2.2/32, via: 10.0.1.2 }");
    world.site.repo().commit("Another way to the forge");
    let _ = within(&["plan"]).ok().says("may cut the way to Git: infra (10.0.2.2)");
    let _ = within(&["apply", "--yes"]).exit(5).says("nothing would take it back");
}

#[test]
fn a_plan_that_may_cut_the_way_to_git_says_so_and_needs_a_way_back() {
    let world = World::new();
    let (site, router) = (&world.site, &world.router);
    put(site, "route", "elsewhere", "{ to: 10.77.0.0/16, via: 10.0.2.9 }");
    site.repo().commit("A route that is in nobody's way");
    let _ = world.tidelock(&["plan"]).ok().never_says("cut the way");
    let _ = world.tidelock(&["apply", "--yes"]).ok();
    let before = router.picture();

    filter(site, "drop");
    site.repo().commit("Shut it");
    let plan = world.tidelock(&["plan"]).ok();
    let _ = plan.says("may cut the way to Git: infra (10.0.2.2): replace table inet filter").says("--confirm-within");
    let _ = world.tidelock(&["apply", "--yes"]).exit(5).says("nothing would take it back");
    assert_eq!(router.picture(), before, "it was not begun");

    // With a way back it is tried, and the forge is asked before it is confirmed.
    router::stack(site, "router", "confirm: 60s\n");
    site.repo().commit("With a way back");
    let ran = world.tidelock(&["apply", "--yes"]);
    assert_ne!(ran.code, 0);
    let _ = ran.says("the way to Git is cut: infra at 10.0.2.2:9418");
    assert_eq!(router.picture(), before, "it went back");
    let _ = world.tidelock(&["plan"]).ok().says("may cut the way to Git");

    filter(site, "accept");
    site.repo().commit("Leave it open");
    let _ = world.tidelock(&["apply", "--yes"]).ok();
    assert!(router.picture().contains("policy accept"));
    router.wait("the guard is gone", Duration::from_secs(5), |_| {
        std::fs::read_dir(site.world().path("guards")).map_or(true, |mut left| left.next().is_none())
    });
    for (kind, name, spec, cuts) in [
        ("route", "default", "{ to: 10.0.0.0/8, via: 10.0.2.9 }", true),
        ("link", "wan", "{ name: wan0, up: false }", true),
        ("link", "lan", "{ name: lan0, mtu: 1300 }", true),
        ("address", "wan-v4", "{ link: wan0, address: 10.0.2.7/24 }", true),
        ("sysctl", "forward", "{ name: net.ipv4.ip_forward, value: \"0\" }", true),
        ("rule", "aside", "{ family: 4, priority: 1000, from: 10.0.1.0/24, table: 100 }", true),
        ("link", "other", "{ name: br7, type: bridge }", false),
        ("address", "elsewhere-v4", "{ link: lan0, address: 10.99.0.1/24 }", false),
    ] {
        put(site, kind, name, spec);
        site.repo().commit("One thing");
        let plan = world.tidelock(&["plan"]).ok();
        assert_eq!(plan.stdout.contains("may cut the way to Git"), cuts, "{spec}\n{}", plan.story());
        site.repo().remove(&format!("net/{name}.yaml"));
    }
}

#[test]
fn a_server_whose_way_a_plan_does_not_touch_is_not_asked() {
    let world = World::new();
    let site = &world.site;
    // On the operator's own machine, and nobody listens there.
    let config = site.world().read("tidelock.toml");
    let other = "[sources.other]\nurl = \"git://10.0.1.2:9/other\"\ninsecure = true\n";
    site.world().write("tidelock.toml", format!("{config}\n{other}"));
    router::stack(site, "router", "confirm: 60s\n");
    filter(site, "accept");
    site.repo().commit("Leave it open");
    let plan = world.tidelock(&["plan", "--source", "infra"]).ok();
    let _ = plan.says("may cut the way to Git: infra (10.0.2.2)").never_says("other (");
    let _ = world.tidelock(&["apply", "--yes", "--source", "infra"]).ok();
    assert!(world.router.picture().contains("policy accept"));
}
