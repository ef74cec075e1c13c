//! What the shape alone does not say: values that fit the type and make no sense.
//! Each check points at the line.

use std::net::SocketAddr;
use std::path::Path;

use jiff::SignedDuration;
use tidelock_model::config::{
    Config, OneOrMany, SecretDecl, ServerDecl, SourceDecl, TargetDecl, TargetKind, TimeoutsDecl, TlsMode, WebhookDecl,
};
use tidelock_model::dns::absolute;
use tidelock_model::grant::{Grant, glob};

use super::gate;
use super::include;
use super::paths::SQLITE;
use super::toml::File;
use crate::error::CliError;

/// A lease that is shorter is refused, in ms.
const SHORTEST_LEASE_MS: u64 = 1_000;

/// The keys of a grant, and how each is written.
static GRANTS: [(&str, &str); 15] = [
    ("paths", r#"["/etc/**"]"#),
    ("exec", r#"[["/usr/sbin/nginx", "-t"]]"#),
    ("exec_read", r#"[["/usr/bin/systemctl", "is-enabled", "nginx"]]"#),
    ("env", r#"["LANG"]"#),
    ("databases", r#"["app_*"]"#),
    ("sql", r#"["role:app_*"]"#),
    ("privileges", r#"["createrole", "pg_monitor"]"#),
    ("links", r#"["veth*"]"#),
    ("addresses", r#"["10.0.0.0/8"]"#),
    ("routes", r#"["10.0.0.0/8"]"#),
    ("rules", r#"["1000-1999"]"#),
    ("sysctls", r#"["net.ipv4.*"]"#),
    ("tables", r#"["inet filter"]"#),
    ("wireguard", r#"["wg*"]"#),
    ("records", r#"["www.example.com A,AAAA"]"#),
];

/// How a key of a grant is written.
pub(crate) fn grant_example(key: &str) -> &'static str {
    GRANTS.iter().find(|(known, _)| *known == key).map_or("[]", |(_, value)| value)
}

/// How long a lease lasts without being renewed where the config does not say, in ms.
const LEASE_MS: u64 = 60_000;

/// How long a lease lasts without being renewed, in ms.
pub(crate) fn lease_ms(config: &Config) -> u64 {
    let given = config.store.lease.as_ref().and_then(|text| text.parse::<SignedDuration>().ok());
    given.and_then(|lease| u64::try_from(lease.as_millis()).ok()).unwrap_or(LEASE_MS)
}

/// Checks one file.
pub(super) fn check(file: &File<'_>, config: &Config) -> Result<(), CliError> {
    let path = config.store.url.strip_prefix(SQLITE).unwrap_or("");
    if path.is_empty() || path.contains(":memory:") || Path::new(path).file_name().is_none() {
        let message = format!("{:?} is not a store; a store is `sqlite:` and a file", config.store.url);
        return Err(file.wrong(&["store", "url"], message, Some(r#"write it as: url = "sqlite:tidelock.db""#.into())));
    }
    for (i, pattern) in config.include.iter().enumerate() {
        if !include::lies_apart(pattern) {
            let message = format!(
                "include {pattern:?} does not lie in a directory of its own below this file's: \
                 whatever is written beside this file could become config"
            );
            let hint = r#"write it as: include = ["targets.d/*.toml"]"#;
            return Err(file.wrong(&["include", &i.to_string()], message, Some(hint.to_owned())));
        }
    }
    for (name, source) in &config.sources {
        check_source(file, name.as_str(), source)?;
    }
    for (name, secret) in &config.secrets {
        check_secret(file, name.as_str(), secret)?;
    }
    check_duration(file, &["daemon", "deadline"], config.daemon.deadline.as_deref())?;
    check_duration(file, &["store", "lease"], config.store.lease.as_deref())?;
    if lease_ms(config) < SHORTEST_LEASE_MS {
        let message = "a lease of less than a second runs out while nothing is wrong";
        return Err(file.wrong(&["store", "lease"], message, Some(r#"write it as: lease = "60s""#.into())));
    }
    if config.daemon.lanes_at_once == Some(0) {
        let message = "with no lane at once nothing is ever done";
        return Err(file.wrong(&["daemon", "lanes_at_once"], message, Some("write it as: lanes_at_once = 8".into())));
    }
    if let Some(listen) = &config.http.listen
        && listen.parse::<SocketAddr>().is_err()
    {
        let message = format!("{listen:?} is not an address and a port");
        let hint = r#"write it as: listen = "127.0.0.1:9477""#;
        return Err(file.wrong(&["http", "listen"], message, Some(hint.to_owned())));
    }
    for (name, target) in &config.targets {
        let path = ["targets", name.as_str(), "drift_every"];
        check_duration(file, &path, target.drift_every.as_deref())?;
        check_target(file, name.as_str(), target)?;
    }
    for (plugin, grants) in &config.grants {
        for (i, decl) in grants.iter().enumerate() {
            let index = i.to_string();
            let at = |key: &'static str| match grants {
                OneOrMany::One(_) => vec!["grants", plugin, key],
                OneOrMany::Many(_) => vec!["grants", plugin, &index, key],
            };
            check_globs(file, &at("targets"), &decl.targets, false)?;
            if let Err(fault) = Grant::new(plugin, "", [decl], vec![]) {
                let known = GRANTS.iter().copied().find(|(key, _)| fault.field.as_deref() == Some(*key));
                let (key, value) = known.unwrap_or(GRANTS[0]);
                return Err(file.wrong(&at(key), fault.message, Some(format!("write it as: {key} = {value}"))));
            }
        }
    }
    check_globs(file, &["accept_new"], &config.accept_new, false)?;
    gate::check(file, config)
}

/// Fields that a target of another type has.
fn check_target(file: &File<'_>, name: &str, target: &TargetDecl) -> Result<(), CliError> {
    let server = target.server();
    let dns = target.kind == TargetKind::Dns;
    // Of what a database server has, a DNS server has where it is.
    let reached = ServerDecl { host: server.host.clone(), port: server.port, ..ServerDecl::default() };
    let (field, message, hint) = match target.kind {
        kind if kind != TargetKind::Machine && target.persist.is_some() => {
            ("persist", "is no machine, and keeps a network", "type = \"machine\"")
        }
        // No system's networkd looks after a namespace beside its own.
        _ if target.persist.is_some() && target.netns.is_some() && target.root.is_none() => (
            "persist",
            "keeps the network of a namespace in this system's own files, which would set it up beside it",
            "root = \"/var/lib/machines/NAME\", the system that is in the namespace",
        ),
        _ if !dns && !target.zones.is_empty() => ("zones", "is no DNS server, and has zones", "type = \"dns\""),
        _ if !dns && target.key.is_some() => ("key", "is no DNS server, and has a key", "type = \"dns\""),
        _ if dns && (server != reached || target.root.is_some() || target.netns.is_some()) => {
            ("type", "is a DNS server, and has more than a host, a port, zones and a key", "type = \"postgres\"")
        }
        _ if dns && server.host.all().len() != 1 => {
            ("type", "is a DNS server, and needs one host: the primary of its zones", "host = \"192.0.2.53\"")
        }
        _ if dns && target.zones.is_empty() => {
            ("type", "is a DNS server without zones that may be touched", "zones = [\"example.com\"]")
        }
        _ if dns && target.key.is_none() => (
            "type",
            "is a DNS server without a key: anybody could answer for it",
            "key = { name = \"tidelock\", secret = { file = \"tsig.secret\" } }",
        ),
        _ if dns && target.file.is_some() => ("file", "is no database in a file, and names one", "type = \"sqlite\""),
        _ if dns => return check_zones(file, name, target).and_then(|()| check_timeouts(file, name, target)),
        _ if !target.is_server() && server != ServerDecl::default() => {
            ("type", "is no database server, and says how to reach one", "type = \"postgres\"")
        }
        TargetKind::Sqlite if target.file.as_deref().is_none_or(str::is_empty) => {
            ("type", "is a database in a file, and names none", "file = \"/var/lib/shop/shop.db\"")
        }
        TargetKind::Sqlite if target.root.is_some() || target.netns.is_some() => {
            ("type", "is a database in a file, and has what machines have", "type = \"machine\"")
        }
        TargetKind::Machine | TargetKind::Postgres | TargetKind::Mysql if target.file.is_some() => {
            ("file", "is no database in a file, and names one", "type = \"sqlite\"")
        }
        _ if target.is_server() && target.root.is_some() => {
            ("root", "is a database server, and has a root", "type = \"machine\"")
        }
        _ if target.is_server() && target.netns.is_some() => {
            ("netns", "is a database server, and has a netns", "type = \"machine\"")
        }
        _ if target.is_server() && server.host.all().is_empty() => {
            ("type", "is a database server without a host", "host = \"db.example.com\"")
        }
        _ if target.is_server() && server.user.is_none() => {
            ("type", "is a database server without a user", "user = \"tidelock\"")
        }
        TargetKind::Mysql if server.database.is_some() => (
            "database",
            "is a MariaDB or MySQL server, and names a database; none is opened there",
            "databases = [\"shop\"], in [grants.mysql], and take `database` out",
        ),
        _ if target.is_server() && server.tls.cert.is_some() != server.tls.key.is_some() => (
            "tls",
            "has one of tls.cert and tls.key; they come together",
            "tls = { cert = \"c.pem\", key = \"c.key\" }",
        ),
        _ if target.is_server() && server.tls.ca.is_some() && server.tls.mode != TlsMode::VerifyFull => (
            "tls.ca",
            "has authorities that nobody is checked by: only `verify-full` does",
            "tls = { mode = \"verify-full\", ca = \"ca.pem\" }",
        ),
        _ if target.is_server() && server.tls.cert.is_some() && server.tls.mode == TlsMode::Off => (
            "tls.cert",
            "has a certificate of its own, which is shown to nobody without encryption",
            "tls = { mode = \"verify-full\", cert = \"c.pem\", key = \"c.key\" }",
        ),
        _ if target.is_server() && server.tls.plain_to_others && server.tls.mode != TlsMode::Off => (
            "tls.plain_to_others",
            "has plain_to_others, and encrypts: it counts with `off` alone",
            "tls = { mode = \"off\", plain_to_others = true }, or take it out",
        ),
        _ => return check_timeouts(file, name, target),
    };
    let message = format!("[targets.{name}] {message}");
    let path: Vec<&str> = ["targets", name].into_iter().chain(field.split('.')).collect();
    Err(file.wrong(&path, message, Some(format!("write it as: {hint}"))))
}

fn check_timeouts(file: &File<'_>, name: &str, target: &TargetDecl) -> Result<(), CliError> {
    let TimeoutsDecl { statement, lock, write, turn } = &target.timeouts;
    let given = [("statement", statement), ("lock", lock), ("write", write), ("turn", turn)];
    for (key, text) in given {
        let path = ["targets", name, "timeouts", key];
        check_duration(file, &path, text.as_deref())?;
        let longest = SignedDuration::from_hours(24);
        if text.as_ref().and_then(|text| text.parse::<SignedDuration>().ok()).is_some_and(|length| length > longest) {
            return Err(file.wrong(
                &path,
                "a time-out of more than a day",
                Some(format!("write it as: {key} = \"24h\"")),
            ));
        }
    }
    if target.timeouts == TimeoutsDecl::default() || target.is_server() || target.kind == TargetKind::Sqlite {
        return Ok(());
    }
    let message = format!("[targets.{name}] is no database, and has timeouts");
    Err(file.wrong(&["targets", name, "timeouts"], message, Some("take them out".to_owned())))
}

fn check_zones(file: &File<'_>, name: &str, target: &TargetDecl) -> Result<(), CliError> {
    for (i, zone) in target.zones.iter().enumerate() {
        if let Err(why) = absolute(zone) {
            let hint = r#"write it as: zones = ["example.com"]"#;
            return Err(file.wrong(&["targets", name, "zones", &i.to_string()], why, Some(hint.to_owned())));
        }
    }
    match target.key.as_ref().map(|key| absolute(&key.name)) {
        Some(Err(why)) => {
            let hint = r#"write it as: name = "tidelock""#;
            Err(file.wrong(&["targets", name, "key", "name"], why, Some(hint.to_owned())))
        }
        _ => Ok(()),
    }
}

fn check_source(file: &File<'_>, name: &str, source: &SourceDecl) -> Result<(), CliError> {
    let at = |key: &'static str| ["sources", name, key];
    if source.url.is_empty() {
        let hint = r#"write it as: url = "https://git.example.com/infra.git""#;
        return Err(file.wrong(&at("url"), format!("[sources.{name}] has an empty url"), Some(hint.into())));
    }
    if let Err(misfit) = tidelock_source::check(source) {
        let message = format!("[sources.{name}]: {}", misfit.error.message);
        return Err(file.wrong(&at(misfit.field), message, misfit.error.hint));
    }
    let refs = [("branch", &source.branch), ("tag", &source.tag), ("commit", &source.commit)];
    let given: Vec<&'static str> = refs.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| *key).collect();
    if let [first, second, ..] = given[..] {
        let message = format!("[sources.{name}] names a {first} and a {second}; a source follows one of them");
        return Err(file.wrong(&at(second), message, Some(format!("take `{first}` or `{second}` out"))));
    }
    check_duration(file, &at("poll"), source.poll.as_deref())?;
    if let Some(WebhookDecl { secret_env: Some(_), secret_file: Some(_) }) = &source.webhook {
        let message =
            format!("[sources.{name}.webhook] has a secret_env and a secret_file; one of them holds the secret");
        let hint = "take `secret_env` or `secret_file` out";
        return Err(file.wrong(&["sources", name, "webhook", "secret_file"], message, Some(hint.to_owned())));
    }
    for (i, allow) in source.allow.iter().enumerate() {
        let index = i.to_string();
        let at = |key: &'static str| ["sources", name, "allow", &index, key];
        check_globs(file, &at("stacks"), std::slice::from_ref(&allow.stacks), true)?;
        check_globs(file, &at("targets"), &allow.targets, false)?;
        check_globs(file, &at("kinds"), &allow.kinds, false)?;
        check_globs(file, &at("secrets"), &allow.secrets, true)?;
    }
    for (i, key) in source.decrypt.iter().flat_map(OneOrMany::iter).enumerate() {
        let index = i.to_string();
        let at = |field: &'static str| match source.decrypt {
            Some(OneOrMany::Many(_)) => vec!["sources", name, "decrypt", &index, field],
            _ => vec!["sources", name, "decrypt", field],
        };
        check_globs(file, &at("paths"), &key.paths, true)?;
        if let Some(path) = key.paths.iter().find(|path| !path.starts_with('/')) {
            let message = format!("{path:?} does not begin at the source's root");
            let hint = format!("write it as: paths = [\"/{path}\"]");
            return Err(file.wrong(&at("paths"), message, Some(hint)));
        }
    }
    Ok(())
}

fn check_secret(file: &File<'_>, name: &str, secret: &SecretDecl) -> Result<(), CliError> {
    let at = ["secrets", name];
    if name.starts_with('/') {
        let message = format!("{name} is a file of a source, and explains itself");
        let hint = "take it out; [sources.NAME.decrypt] says which key opens encrypted files";
        return Err(file.wrong(&at, message, Some(hint.to_owned())));
    }
    let given: Vec<&str> =
        [("env", secret.env.is_some()), ("file", secret.file.is_some()), ("command", secret.command.is_some())]
            .into_iter()
            .filter_map(|(key, given)| given.then_some(key))
            .collect();
    match given[..] {
        [_] => {}
        [] => {
            let message = format!("[secrets.{name}] does not say where the value comes from");
            return Err(file.wrong(
                &at,
                message,
                Some(
                    "add one of: env = \"NAME\", file = \"PATH\", command = [\"/usr/bin/pass\", \"show\", \"db\"]"
                        .into(),
                ),
            ));
        }
        [first, second, ..] => {
            let message = format!("[secrets.{name}] has `{first}` and `{second}`; one of them gives the value");
            return Err(file.wrong(
                &["secrets", name, second],
                message,
                Some(format!("take `{first}` or `{second}` out")),
            ));
        }
    }
    if let Some(argv) = &secret.command
        && !argv.first().is_some_and(|program| program.starts_with('/'))
    {
        let message = format!("the command of [secrets.{name}] does not begin with the absolute path of a program");
        let hint = r#"write it as: command = ["/usr/bin/pass", "show", "db"]"#;
        return Err(file.wrong(&["secrets", name, "command"], message, Some(hint.to_owned())));
    }
    Ok(())
}

pub(super) fn check_globs(file: &File<'_>, at: &[&str], patterns: &[String], path: bool) -> Result<(), CliError> {
    for pattern in patterns {
        glob(pattern, path).map_err(|fault| file.wrong(at, fault.message, fault.hint))?;
    }
    Ok(())
}

fn check_duration(file: &File<'_>, at: &[&str], text: Option<&str>) -> Result<(), CliError> {
    let Some(text) = text else { return Ok(()) };
    match text.parse::<SignedDuration>() {
        Ok(duration) if duration > SignedDuration::ZERO => Ok(()),
        _ => {
            let key = at.last().copied().unwrap_or_default();
            let message = format!("{text:?} is not a length of time");
            Err(file.wrong(at, message, Some(format!(r#"write it as: {key} = "60s""#))))
        }
    }
}
