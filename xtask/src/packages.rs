//! The system's packages that a build and the tests need: the one list.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// A program, and the Debian package that has it.
pub(crate) struct Need {
    program: &'static str,
    package: &'static str,
    /// What we use it for, for the person who has to install it by hand.
    reason: &'static str,
}

/// What it takes to build Tidelock and to show it.
pub(crate) const BUILD: &[Need] = &[
    Need { program: "cc", package: "gcc", reason: "compiles the embedded SQLite" },
    Need { program: "git", package: "git", reason: "makes the repositories that are fetched from, and serves them" },
];

/// What the tests use beside it: real servers. Where apt starts one, tests do not need that.
pub(crate) const TESTS: &[Need] = &[
    Need { program: "ssh-keygen", package: "openssh-client", reason: "makes keys and signs the commits of tests" },
    Need { program: "/usr/sbin/sshd", package: "openssh-server", reason: "is the SSH server that tests fetch from" },
    Need { program: "openssl", package: "openssl", reason: "makes the certificates of the tests' servers" },
    Need { program: "ip", package: "iproute2", reason: "makes the network namespaces of tests" },
    Need { program: "ping", package: "iputils-ping", reason: "sends the packets of tests" },
    Need {
        program: "/usr/sbin/nft",
        package: "nftables",
        reason: "reads and writes tables of nftables, in tests and for users",
    },
    Need {
        program: "/usr/bin/wg",
        package: "wireguard-tools",
        reason: "sets WireGuard interfaces, in tests and for users",
    },
    Need {
        program: "/usr/bin/wireguard-go",
        package: "wireguard-go",
        reason: "serves WireGuard interfaces where the kernel has none, in tests and for users",
    },
    Need { program: "sqlite3", package: "sqlite3", reason: "changes databases of tests by hand" },
    Need { program: "socat", package: "socat", reason: "speaks TLS in front of the tests' servers" },
    Need {
        program: "/usr/lib/postgresql/15/bin/postgres",
        package: "postgresql-15",
        reason: "is the database server of tests",
    },
    Need { program: "/usr/sbin/mariadbd", package: "mariadb-server", reason: "is the database server of tests" },
    Need { program: "/usr/sbin/knotd", package: "knot", reason: "is a DNS server of tests" },
    Need { program: "/usr/sbin/named", package: "bind9", reason: "is a DNS server of tests" },
    Need { program: "systemd-nspawn", package: "systemd-container", reason: "starts and restarts machines of tests" },
    Need { program: "/usr/sbin/debootstrap", package: "debootstrap", reason: "makes the root of such machines" },
    Need { program: "nsupdate", package: "bind9-dnsutils", reason: "changes records by hand, in tests" },
];

/// Installs what is missing where that is possible without asking: with apt,
/// as root or with a sudo that wants no password.
pub(crate) fn ensure(needs: &[&'static [Need]]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().copied().flatten().filter(|need| !process::exists(need.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Some(apt) = apt_as_root() else {
        let list: Vec<_> = missing.iter().map(|need| format!("  {} ({})", need.program, need.reason)).collect();
        let packages: Vec<_> = missing.iter().map(|need| need.package).collect();
        bail!("these programs are missing:\n{}\non Debian: apt-get install {}", list.join("\n"), packages.join(" "));
    };
    let packages: Vec<_> = missing.iter().map(|need| need.package).collect();
    println!("Installing {}", packages.join(" "));
    process::read(apt.command().arg("update"))?;
    process::read(apt.command().args(["install", "--yes", "--no-install-recommends"]).args(packages))?;
    Ok(())
}

/// apt-get, run with the rights to install.
struct Apt {
    sudo: bool,
}

impl Apt {
    fn command(&self) -> Command {
        let mut command = if self.sudo {
            let mut sudo = Command::new("sudo");
            sudo.args(["--non-interactive", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
            sudo
        } else {
            Command::new("apt-get")
        };
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-q");
        command
    }
}

fn apt_as_root() -> Option<Apt> {
    if !process::exists("apt-get") {
        return None;
    }
    let is_root = process::read(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if is_root {
        return Some(Apt { sudo: false });
    }
    let may_sudo =
        process::exists("sudo") && process::read(Command::new("sudo").args(["--non-interactive", "true"])).is_ok();
    may_sudo.then_some(Apt { sudo: true })
}
