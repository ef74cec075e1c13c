//! A machine that is started anew: what is kept is there before Tidelock runs, and what changed
//! meanwhile is put right before Git answers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Child;
use std::time::{Duration, Instant};

use tidelock_tests::router::kept_grant;
use tidelock_tests::tunnel::Keys;
use tidelock_tests::{Booted, Repo, TestEnvironment};

/// Where Git is, for the machine: on its own loopback, so that it is there or not as the test says.
const PORT: &str = "9418";
/// More than anything here takes where the system is busy.
const LONG: Duration = Duration::from_secs(60);

/// What a system keeps its network in.
struct Keeper {
    /// Its name in the config.
    name: &'static str,
    /// Its unit.
    unit: &'static str,
    /// The file that holds an address.
    address: &'static str,
    /// Whether it makes tunnels where the kernel makes none.
    tunnels: bool,
}

const NETWORKD: Keeper = Keeper {
    name: "networkd",
    unit: "systemd-networkd",
    address: "etc/systemd/network/90-tidelock-br0.network.d/address-10.0.0.1-24.conf",
    tunnels: false,
};
const IFUPDOWN: Keeper = Keeper {
    name: "ifupdown",
    unit: "networking",
    address: "etc/network/interfaces.d/tidelock-6-address-br0-10.0.0.1-24",
    tunnels: true,
};

/// A router that Git describes.
struct Router {
    machine: Booted,
    world: TestEnvironment,
    repo: Repo,
    server: Option<Child>,
}

impl Router {
    /// A router whose system keeps its network in files of `keeper`.
    fn new(keeper: &Keeper) -> Self {
        let world = TestEnvironment::stocked();
        let repo = world.repo("infra");
        let machine = Booted::new();
        machine.write(
            "etc/tidelock/tidelock.toml",
            &format!(
                "[sources.infra]\nurl = \"git://127.0.0.1:{PORT}/infra/.git\"\ninsecure = true\npoll = \"2s\"\n\n\
                 [[sources.infra.allow]]\ntargets = [\"*\"]\nkinds = [\"network.*\", \"server.file\"]\nsecrets = [\"vpn/*\"]\n\n\
                 [secrets.\"vpn/key\"]\nfile = \"vpn.key\"\n\n\
                 [targets.router]\ntype = \"machine\"\npersist = \"{}\"\ndrift_every = \"1h\"\n\n\
                 [grants.server]\ntargets = [\"*\"]\npaths = [\"/etc/wireguard\", \"/etc/wireguard/*\"]\n\n{}",
                keeper.name,
                kept_grant().replace("links = ", "wireguard = [\"wg*\"]\nlinks = ")
            ),
        );
        machine.write("etc/tidelock/vpn.key", &Keys::new().private);
        fs::set_permissions(machine.path("etc/tidelock/vpn.key"), fs::Permissions::from_mode(0o600)).unwrap();
        // The unit as it is shipped; with settings to write, as it says itself, without one line.
        let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/systemd/tidelock.service");
        machine.write("etc/systemd/system/tidelock.service", &fs::read_to_string(unit).unwrap());
        let settings = "[Service]\nProtectKernelTunables=no\n";
        machine.write("etc/systemd/system/tidelock.service.d/settings.conf", settings);
        // What an operator has from the distribution, and one line for ours.
        let rules = "#!/usr/sbin/nft -f\nflush ruleset\ninclude \"/etc/nftables.d/*.nft\"\n";
        machine.write("etc/nftables.conf", rules);
        machine.write("etc/nftables.d/.keep", "");
        let interfaces = "source /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n";
        machine.write("etc/network/interfaces", interfaces);
        // A server that takes connections and never answers.
        let socket = format!("[Socket]\nListenStream=127.0.0.1:{PORT}\n\n[Install]\nWantedBy=sockets.target\n");
        machine.write("etc/systemd/system/silent.socket", &socket);
        machine.write("etc/systemd/system/silent.service", "[Service]\nExecStart=/bin/sleep infinity\n");
        let mut router = Self { machine, world, repo, server: None };
        router.machine.start();
        router.machine.run(&["systemctl", "enable", "--now", keeper.unit, "nftables"]);
        router
    }

    /// Git answers from now on.
    fn serve(&mut self) {
        let root = self.world.root().display().to_string();
        let base = format!("--base-path={root}");
        let exec = std::process::Command::new("git").arg("--exec-path").output().unwrap();
        let program = format!("{}/git-daemon", String::from_utf8_lossy(&exec.stdout).trim());
        let port = format!("--port={PORT}");
        let words = [&program, "--listen=127.0.0.1", "--reuseaddr", "--export-all", &port, &base, &root];
        let mut command = self.machine.on_its_network(&words);
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        self.server = Some(command.spawn().unwrap());
        self.machine
            .wait("Git answers", LONG, |machine| machine.run(&["ss", "-Hltn", "sport", "=", ":9418"]).contains("9418"));
    }

    fn serve_no_more(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    fn put(&self, kind: &str, name: &str, spec: &str) {
        let text = format!("kind: network.{kind}\nname: {name}\nspec: {spec}\n");
        self.repo.write(&format!("net/{name}.yaml"), text);
    }

    fn tidelock(&self, words: &[&str]) -> String {
        let all = [&["tidelock"], words, &["--config", "/etc/tidelock/tidelock.toml"]].concat();
        self.machine.run(&all)
    }

    /// What is there: of all that Git says, and without what the kernel draws anew.
    fn picture(&self) -> String {
        let mut out = String::new();
        for words in ["ip -br -o address", "ip route show table all", "ip rule", "nft -s list ruleset"] {
            let said = self.machine.run(&words.split(' ').collect::<Vec<_>>());
            // Addresses of a link alone are of what the kernel draws.
            let drawn = |word: &&str| word.starts_with("fe80") && words.ends_with("address");
            let plain = |line: &str| line.split_whitespace().filter(|word| !drawn(word)).collect::<Vec<_>>().join(" ");
            let mut lines: Vec<String> = said.lines().map(|line| plain(line).replace(" UNKNOWN", " UP")).collect();
            lines.retain(|line| !["fe80", "ff00", "table local"].iter().any(|part| line.contains(part)));
            if words.starts_with("ip") {
                lines.sort_unstable();
            }
            out.push_str(&format!("{words}\n  {}\n", lines.join("\n  ")));
        }
        out + &self.machine.run(&["cat", "/proc/sys/net/ipv4/ip_forward"])
    }

    /// The picture once nothing moves any more: the kernel takes its time to call links up.
    fn at_rest(&self) -> String {
        let mut last = self.picture();
        self.machine.wait("a network at rest", LONG, |_| {
            std::thread::sleep(Duration::from_secs(1));
            let now = self.picture();
            now == std::mem::replace(&mut last, now.clone())
        });
        last
    }

    #[track_caller]
    fn comes_to(&self, what: &str, wanted: &str) {
        let since = Instant::now();
        loop {
            let picture = self.picture();
            if same(&picture, wanted) {
                return;
            }
            let log = || self.machine.log();
            assert!(since.elapsed() < LONG, "{what}: it is\n{picture}\nand should be\n{wanted}\n{}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn is_up(&self) -> bool {
        let state = self.machine.ended(&["systemctl", "is-active", "tidelock"]);
        String::from_utf8_lossy(&state.stdout).trim() == "active"
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// What every line of a picture has to hold.
const THERE: [&str; 12] = [
    "br0 UP 10.0.0.1/24",
    "2001:db8::1/64",
    "10.1.0.0/16 via 10.0.0.2 dev br0 proto 201",
    "2001:db8:1::/48 via 2001:db8::2 dev br0 proto 201",
    "nexthop via 10.0.0.9 dev br0 weight 3",
    "nexthop via 10.0.7.9 dev v1 weight 1",
    "blackhole 10.99.0.0/16 table 100 proto 201",
    "1000: from 10.0.5.0/24 lookup 100",
    "tcp dport 22 accept",
    "v0@v1 UP",
    "v1@v0 UP",
    "mv0@v1 UP",
];

#[test]
fn what_networkd_keeps_is_there_before_tidelock_and_what_changed_is_healed_before_git_answers() {
    is_kept_and_healed(&NETWORKD);
}

#[test]
fn what_ifupdown_keeps_is_there_before_tidelock_and_what_changed_is_healed_before_git_answers() {
    is_kept_and_healed(&IFUPDOWN);
}

fn is_kept_and_healed(keeper: &Keeper) {
    let mut router = Router::new(keeper);
    // Its rules are on the way to Git, so each change is confirmed.
    let stack =
        "name: net\ntargets: router\non_commit: apply\non_drift: apply\nconfirm: 20s\nbudget: { take_over: 9 }\n";
    router.repo.write("net/stack.yaml", stack);
    router.put("link", "lan", "{ name: br0, type: bridge, up: true, mtu: 1400 }");
    router.put("link", "pair", "{ name: v0, type: veth, peer: v1, up: true, master: br0 }");
    router.put("link", "pair-end", "{ name: v1, peer: v0, up: true }");
    router.put("link", "extra", "{ name: mv0, type: macvlan, parent: v1, up: true }");
    router.put("address", "lan-v4", "{ link: br0, address: 10.0.0.1/24 }");
    router.put("address", "lan-v6", "{ link: br0, address: 2001:db8::1/64 }");
    router.put("route", "branch", "{ to: 10.1.0.0/16, via: 10.0.0.2, dev: br0 }");
    router.put("route", "branch-v6", "{ to: 2001:db8:1::/48, via: 2001:db8::2, dev: br0 }");
    router.put("address", "second-v4", "{ link: v1, address: 10.0.7.1/24 }");
    let hops = "[{ via: 10.0.0.9, dev: br0, weight: 3 }, { via: 10.0.7.9, dev: v1 }]";
    router.put("route", "shared", &format!("{{ to: 10.2.0.0/16, hops: {hops} }}"));
    router.put("route", "nowhere", "{ to: 10.99.0.0/16, type: blackhole, table: 100 }");
    router.put("rule", "guests", "{ family: 4, priority: 1000, from: 10.0.5.0/24, table: 100 }");
    router.put("sysctl", "forward", "{ name: net.ipv4.ip_forward, value: \"1\" }");
    router.put(
        "nftables",
        "filter",
        "{ name: filter, ruleset: \"table inet filter { chain input { type filter hook input priority 0; tcp dport 22 accept; }; }\" }",
    );
    if keeper.tunnels {
        put_tunnel(&router);
    }
    router.repo.commit("A router");
    router.serve();
    router.tidelock(&["plugin", "accept", "--all"]);
    router.tidelock(&["apply", "--yes"]);
    router.machine.run(&["systemctl", "start", "tidelock"]);
    router.machine.wait("the router", LONG, |_| {
        let picture = router.picture();
        THERE.iter().all(|line| picture.contains(line)) && picture.ends_with("\n1\n")
    });
    router.tidelock(&["plan", "--detailed-exitcode"]);
    let before = router.at_rest();
    let tunnel = |router: &Router| keeper.tunnels.then(|| router.machine.run(&["wg", "showconf", "wg0"]));
    let tunnel_before = tunnel(&router);
    assert!(tunnel_before.as_ref().is_none_or(|conf| conf.contains("PrivateKey") && conf.contains("10.8.0.0/24")));

    // Tidelock does not run, and Git is not there: the system alone brings it back.
    router.serve_no_more();
    router.machine.restart();
    assert!(!router.is_up());
    router.comes_to("the network from the files alone", &before);
    assert_eq!(tunnel(&router), tunnel_before, "the tunnel has its key and its peers");
    router.serve();
    // What the system's own files brought is what Git says.
    router.tidelock(&["plan", "--detailed-exitcode"]);
    router.serve_no_more();

    // Something changed while it was down, in both halves. Git takes the connection and is silent.
    let file = keeper.address;
    let text = router.machine.read(file).unwrap();
    fs::remove_file(router.machine.path(file)).unwrap();
    router.machine.write("etc/nftables.d/tidelock-inet-filter.nft", "table inet filter { }\n");
    router.machine.run(&["systemctl", "enable", "silent.socket", "tidelock"]);
    router.machine.restart();
    router.comes_to("the router again", &before);
    // What is kept is written after what is live.
    router.machine.wait("the file again", LONG, |machine| machine.read(file).as_deref() == Some(text.as_str()));
    // Nobody answers: the question is open until its time is over, and then there is another.
    router.machine.wait("a question to Git", LONG, |machine| {
        !machine.run(&["ss", "-Htn", "state", "established", "dport", "=", ":9418"]).trim().is_empty()
    });
}

/// A tunnel, with its key in a file of its own.
fn put_tunnel(router: &Router) {
    let key = "kind: server.file\nname: key\nspec: { path: /etc/wireguard/wg0.key, parents: true, mode: \"0600\", \
               content: { $secret: vpn/key } }\n";
    router.repo.write("net/key.yaml", key);
    router.put("link", "tunnel", "{ name: wg0, type: wireguard, up: true }");
    router.put("address", "tunnel-v4", "{ link: wg0, address: 10.8.0.1/24 }");
    let peers =
        format!("{{ \"{}\": {{ endpoint: \"10.0.0.2:51820\", allowed_ips: [10.8.0.0/24] }} }}", Keys::new().public);
    let spec = format!(
        "{{ link: wg0, private_key: {{ $secret: vpn/key }}, private_key_file: /etc/wireguard/wg0.key, \
         listen_port: 51820, peers: {peers} }}"
    );
    router.put("wireguard", "vpn", &spec);
}

/// Whether two pictures are the same. Who made a rule is the system's to say.
fn same(a: &str, b: &str) -> bool {
    let plain = |picture: &str| picture.replace(" proto static", "").replace(" proto 201", "");
    let lines = |picture: &str| {
        let mut lines: Vec<String> = plain(picture).lines().map(ToOwned::to_owned).collect();
        lines.dedup();
        lines
    };
    lines(a) == lines(b)
}
