//! Settings of the kernel's network: files below `/proc/sys/net`, which shows each thread
//! those of its own namespace.

use std::fs;
use std::io::ErrorKind;

use tidelock_model::error::Fault;
use tidelock_model::network::{Sysctl, sysctl_name};

use super::fault;

/// The longest value.
const MAX: usize = 4096;

/// A setting as it is; `None` where the kernel has none of that name.
pub(super) fn read(name: &str) -> Result<Option<Sysctl>, Fault> {
    match fs::read_to_string(path(name)?) {
        Ok(value) => Ok(Some(Sysctl { name: name.to_owned(), value: spelled(&value) })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault("io", format!("cannot read {name}: {error}"))),
    }
}

/// All that a link has for itself, as it is. What cannot be read is left out.
pub(super) fn of_link(link: &str) -> Vec<Sysctl> {
    let mut settings = Vec::new();
    for folder in ["ipv4.conf", "ipv4.neigh", "ipv6.conf", "ipv6.neigh"] {
        let spoken = format!("net.{folder}.{}", link.replace('.', "/"));
        let Ok(entries) = fs::read_dir(format!("/proc/sys/net/{}/{link}", folder.replace('.', "/"))) else { continue };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        // The size of packets is the link's.
        let own = names.filter(|name| name != "mtu").map(|name| format!("{spoken}.{name}"));
        settings.extend(own.filter_map(|name| read(&name).ok().flatten()));
    }
    settings
}

/// Sets one.
pub(super) fn write(setting: &Sysctl) -> Result<(), Fault> {
    let Sysctl { name, value } = setting;
    if value.len() > MAX || value.contains(['\0', '\n']) {
        return Err(fault("invalid", format!("{value:?} cannot be the value of {name}")).at("/value"));
    }
    fs::write(path(name)?, value).map_err(|error| match error.kind() {
        ErrorKind::NotFound => fault("not-found", format!("this kernel has no setting {name}")),
        ErrorKind::InvalidInput => fault("invalid", format!("the kernel takes no {value:?} for {name}")).at("/value"),
        _ => fault("io", format!("cannot set {name}: {error}")),
    })
}

fn path(name: &str) -> Result<String, Fault> {
    let name = sysctl_name(name).map_err(|why| fault("invalid", why))?;
    // Dots divide, and a slash stands for a dot within a part, as in sysctl(8).
    let turned: String = name
        .chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        })
        .collect();
    if turned.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(fault("invalid", format!("{name:?} is no setting of the network")));
    }
    Ok(format!("/proc/sys/{turned}"))
}

/// One space between words, as a person would write it.
fn spelled(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_net() {
        assert_eq!(path("net.ipv4.conf.eth0/100.rp_filter").unwrap(), "/proc/sys/net/ipv4/conf/eth0.100/rp_filter");
        for bad in ["kernel.core_pattern", "net.ipv4.//.x", "net.//.//.kernel.core_pattern", "net.ipv4", "net/ipv4/x"] {
            assert!(path(bad).is_err(), "{bad}");
        }
        assert_eq!(spelled("4096\t131072\t6291456\n"), "4096 131072 6291456");
    }
}
