//! `tidelock doctor`: looks at everything that a run needs, and says how to mend what
//! is wrong. Changes nothing but caches.

mod kept;
mod rights;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use tidelock_host::{Host, Lock};
use tidelock_model::config::{Config, Given, OneOrMany, TargetDecl};
use tidelock_model::error::Fault;
use tidelock_model::grant::{Access, Grant};
use tidelock_model::name::Name;
use tidelock_model::plugin::Role;
use tidelock_model::port::{Store as _, Want};
use tidelock_model::revision::{Signature, SourceNotice};
use tidelock_model::run::Status;
use tidelock_model::sql::Dialect;
use tidelock_store::SqliteStore;
use tidelock_target::dns::ZoneFacts;
use tidelock_target::sql::{Facts, SqlFault};

use super::status::{SHOWN, placed};
use crate::config::{Loaded, OwnPaths};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::estate::{Estate, Opened, any_matches};
use crate::output::progress::Progress;
use crate::output::{count, one_line};
use crate::plugins;
use crate::wire;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Does not speak to Git repositories
    #[arg(long)]
    offline: bool,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Health {
    Ok,
    Warn,
    Fail,
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Finding {
    health: Health,
    about: String,
    says: String,
    fix: Option<String>,
}

#[derive(Debug, Default)]
struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, health: Health, about: &str, says: impl AsRef<str>, fix: Option<String>) {
        let says = one_line(says.as_ref());
        self.0.push(Finding { health, about: about.to_owned(), says, fix });
    }

    fn ok(&mut self, about: &str, says: impl AsRef<str>) {
        self.add(Health::Ok, about, says, None);
    }

    fn warn(&mut self, about: &str, says: impl AsRef<str>, fix: impl Into<String>) {
        self.add(Health::Warn, about, says, Some(fix.into()));
    }

    fn fail(&mut self, about: &str, error: impl Into<CliError>) {
        let error = error.into();
        let (mut says, mut hints) = (error.message, error.hints);
        for note in error.notes {
            if let Some(shown) = note.shown {
                let (line, column) = shown.position();
                says.push_str(&format!(" (at {}:{line}:{column})", shown.file));
            }
            hints.extend(note.hint);
        }
        let fix = (!hints.is_empty()).then(|| hints.join("; "));
        self.add(Health::Fail, about, says, fix);
    }
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    // A config that cannot be read is the finding; everything else hangs on it.
    let loaded = context.config()?;
    let mut report = Report::default();
    report.ok("config", loaded.file.display().to_string());
    permissions(&mut report, &loaded);
    store(&mut report, context, &loaded);
    plugins(&mut report, &loaded);
    kept::check(&mut report, &loaded);
    targets(&mut report, context, &loaded)?;
    grants(&mut report, &loaded)?;
    sources(&mut report, context, &loaded, args.offline)?;
    system(&mut report);
    show(context, &report)?;
    let failed = report.0.iter().any(|finding| finding.health == Health::Fail);
    Ok(if failed { Exit::Error } else { Exit::Done })
}

/// Whoever may write these may do everything that Tidelock may.
fn permissions(report: &mut Report, loaded: &Loaded) {
    let own = loaded.files.iter().cloned().chain([loaded.lock()]).chain(loaded.plugins_dir());
    for path in own {
        let Ok(found) = std::fs::metadata(&path) else { continue };
        if found.permissions().mode() & 0o022 != 0 {
            let says = format!("{} can be written by others than its owner", path.display());
            report.warn("permissions", says, format!("chmod go-w {}", path.display()));
        }
    }
}

fn store(report: &mut Report, context: &Context, loaded: &Loaded) {
    let path = loaded.store();
    match context.store(loaded).map(|store| store.map(|store| store.check())) {
        Ok(None) => report.ok("store", format!("{} is not there yet; the first plan makes it", path.display())),
        Ok(Some(Ok(()))) => report.ok("store", format!("{} is sound", path.display())),
        Ok(Some(Err(error))) => report.fail("store", error),
        Err(error) => report.fail("store", error),
    }
}

fn plugins(report: &mut Report, loaded: &Loaded) {
    let host = match plugins::host(loaded, Arc::new(Progress::new(false))) {
        Ok(host) => host,
        Err(error) => return report.fail("plugins", error),
    };
    let facts = host.facts();
    if facts.is_empty() {
        return report.fail("plugins", plugins::none(loaded));
    }
    let lock = match Lock::read(loaded.lock()) {
        Ok(lock) => lock,
        Err(fault) => return report.fail("lock", fault),
    };
    for one in &facts {
        let name = &one.plugin.name;
        let known = lock.names().any(|known| known == name.as_str());
        match lock.check(&one.plugin) {
            Ok(()) => report.ok("plugin", format!("{name} {} is accepted", one.plugin.version)),
            // What nobody has a use for is no trouble.
            Err(_) if !known && one.role == Role::Provider && !loaded.config.grants.contains_key(name.as_str()) => {
                report.ok("plugin", format!("{name} {} is not used: it has no grant", one.plugin.version));
            }
            Err(fault) if !known && one.role == Role::Renderer => {
                let says = format!("{}; a stack with `renderer: {name}` is refused", fault.message);
                report.warn("plugin", says, fault.hint.unwrap_or_default());
            }
            Err(fault) => report.fail("plugin", fault),
        }
    }
    rights::check(report, &loaded.config, &facts);
    strays(report, loaded, &host, &lock);
    if !host.is_pooled() {
        let says = "instances are made one by one: the address space for a pool was refused";
        report.warn(
            "plugins",
            says,
            "raise the limit of virtual memory (ulimit -v unlimited); it is slower, not wrong",
        );
    }
}

/// Names in the lock and the config that stand for no plugin.
fn strays(report: &mut Report, loaded: &Loaded, host: &Host, lock: &Lock) {
    let known: BTreeSet<String> = host.facts().into_iter().map(|facts| facts.plugin.name).collect();
    for name in lock.names().filter(|name| !known.contains(*name)) {
        report.warn(
            "lock",
            format!("{name} is accepted and not there"),
            format!("take [plugins.{name}] out of the lock, or put the plugin back"),
        );
    }
    for name in loaded.config.grants.keys().filter(|name| !known.contains(*name)) {
        report.warn(
            "grants",
            format!("[grants.{name}] is for a plugin that is not there"),
            format!("plugins: {}", listed(&known)),
        );
    }
    for name in loaded.config.limits.keys().filter(|name| *name != "default" && !known.contains(*name)) {
        report.warn(
            "limits",
            format!("[limits.{name}] is for a plugin that is not there"),
            format!("plugins: {}", listed(&known)),
        );
    }
}

fn listed(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn targets(report: &mut Report, context: &Context, loaded: &Loaded) -> Result<(), CliError> {
    let gone = |fault: Fault| context.placed(fault.into());
    let estate = Estate::new(loaded, wire::secrets(loaded));
    if loaded.config.targets.is_empty() {
        report.warn("targets", "the config declares none", "add:\n[targets.local]\ntype = \"machine\"");
    }
    let mut running: BTreeMap<String, Vec<&Name>> = BTreeMap::new();
    for name in loaded.config.targets.keys() {
        match estate.open(name) {
            Err(fault) => report.fail("target", gone(fault)),
            Ok(target) => match wire::block_on(asked(target))? {
                Ok((fingerprint, same, facts)) => {
                    report.ok("target", format!("{name} is {fingerprint}"));
                    if let Some(same) = same {
                        running.entry(same).or_default().push(name);
                    }
                    match facts {
                        Asked::Database(facts, quiet, reader, shut) => {
                            database(report, name, &loaded.config.targets[name], &facts);
                            writes_down(report, name, &facts, quiet);
                            let looks = reader.as_ref().ok().and_then(Option::as_ref).unwrap_or(&facts).acts_as.clone();
                            reads(report, name, reader);
                            shut_out(report, &loaded.config, name, &looks, shut)?;
                        }
                        Asked::Zones(zones) => zones_of(report, name, zones),
                        Asked::Nothing => {}
                    }
                }
                Err(fault) => report.fail("target", gone(fault)),
            },
        }
    }
    for names in running.values().filter(|names| names.len() > 1) {
        let listed = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" and ");
        let fix = "take all but one of them out of tidelock.toml; or let no two of them be given the same role, \
            database or other thing: a plan of what is claimed by both is refused";
        report.warn("target", format!("{listed} are one and the same server"), fix);
    }
    Ok(())
}

/// What a target says of itself besides who it is.
enum Asked {
    Nothing,
    /// The server as whoever performs finds it, whether passwords stay out of its log, the server as
    /// whoever reads finds it, and databases that do not let
    /// the latter in, each with what would.
    Database(Facts, bool, Result<Option<Facts>, Fault>, Vec<(String, String)>),
    Zones(Vec<Result<ZoneFacts, Fault>>),
}

/// Who a target is, which running server that is, and what a server says of itself: in one go, as sessions
/// end with the runtime that they were begun in.
async fn asked(target: Opened) -> Result<(String, Option<String>, Asked), Fault> {
    let fingerprint = target.clone().hands().fingerprint().await?;
    // Who may not ask for it is not kept from all the rest.
    let running = target.clone().hands().running().await.ok().flatten();
    let facts = match target {
        Opened::Server(_, server) => {
            let facts = server.facts().await.map_err(SqlFault::whole)?;
            let reader = server.reader().await.map_err(SqlFault::whole);
            // Who cannot sign in at all is told that already.
            let shut = if reader.is_ok() { server.shut().await.map_err(SqlFault::whole)? } else { vec![] };
            let quiet = server.quiet().await.map_err(SqlFault::whole)?;
            Asked::Database(facts, quiet, reader, shut)
        }
        Opened::Dns(server) => Asked::Zones(server.facts().await),
        Opened::Machine(_) => Asked::Nothing,
    };
    Ok((fingerprint, running, facts))
}

/// Whether the key of a DNS server may do what is asked of it, zone by zone.
fn zones_of(report: &mut Report, name: &Name, zones: Vec<Result<ZoneFacts, Fault>>) {
    for zone in zones {
        match zone {
            Err(fault) => report.fail("zone", fault),
            Ok(ZoneFacts { zone, serial, transfers: true }) => {
                report.ok("zone", format!("{name}: {zone} has the serial {serial}, takes updates and gives transfers"));
            }
            Ok(ZoneFacts { zone, serial, transfers: false }) => {
                let says = format!(
                    "{name}: {zone} has the serial {serial}, takes updates and gives no transfers: records are asked \
                     for one by one, and what may come of a wildcard cannot be told"
                );
                report.warn("zone", says, "let the key have transfers: `acl` in knot, `allow-transfer` in BIND");
            }
        }
    }
}

/// Who we are on a database server, and whether others can read along.
fn database(report: &mut Report, name: &Name, decl: &TargetDecl, facts: &Facts) {
    let rights = if facts.superuser { ", who may do anything" } else { "" };
    let way = if facts.encrypted { "encrypted" } else { "not encrypted" };
    let says = format!("{name} is {} {}: as {}{rights}, {way}", facts.dialect.word(), facts.version, facts.acts_as);
    report.ok("database", says);
    let sockets = decl.host.all().iter().all(|host| matches!(host, Given::Literal(host) if host.contains('/')));
    if !facts.encrypted && !sockets {
        let says = format!("{name}: whoever is on the way reads along");
        report.warn("database", says, "tls = { mode = \"verify-full\", ca = \"ca.pem\" }");
    }
    if facts.superuser && decl.read.is_none() {
        let says = format!("{name}: plugins' queries are asked as {}, who may do anything", facts.acts_as);
        let fix = "give reads a role of their own:\nread = { user = \"tidelock_read\", password = { file = \"read.password\" } }";
        report.warn("database", says, fix);
    }
}

/// Whether the server writes down what proves a password.
fn writes_down(report: &mut Report, name: &Name, facts: &Facts, quiet: bool) {
    if quiet {
        return;
    }
    let says = format!(
        "{name}: {} may not keep statements that set passwords out of the server's log and statistics; what proves a \
         password may be read there",
        facts.acts_as
    );
    let other = "let nobody else read the log";
    let fix = match facts.dialect {
        Dialect::Postgres if facts.number >= 150_000 => format!(
            "let it, as a superuser:\n\nGRANT SET ON PARAMETER log_statement, log_min_error_statement, \
             log_min_duration_statement, log_min_duration_sample, log_transaction_sample_rate, track_activities, \
             pg_stat_statements.track_utility TO \"{}\";\n\nor {other}",
            facts.acts_as.replace('"', "\"\"")
        ),
        Dialect::Postgres => other.to_owned(),
        _ => format!("let it set sql_log_off, which takes SUPER or what that became; or {other}"),
    };
    report.warn("database", says, fix);
}

/// Whoever the config names for reads, who should be able to do nothing else.
fn reads(report: &mut Report, name: &Name, reader: Result<Option<Facts>, Fault>) {
    match reader {
        Ok(None) => {}
        Err(fault) => report.fail("database", fault),
        Ok(Some(Facts { acts_as, superuser: true, .. })) => {
            let says = format!("{name}: reads are asked as {acts_as}, who may do anything");
            report.warn("database", says, "give `read` a role that may only look");
        }
        Ok(Some(Facts { acts_as, encrypted, .. })) => {
            let way = if encrypted { "encrypted" } else { "not encrypted" };
            report.ok("database", format!("{name}: reads are asked as {acts_as}, {way}"));
        }
    }
}

/// Databases that plugins may look into by their grants, and whoever looks may not.
fn shut_out(
    report: &mut Report,
    config: &Config,
    name: &Name,
    looks: &str,
    shut: Vec<(String, String)>,
) -> Result<(), CliError> {
    let mut open = Vec::new();
    for (plugin, grants) in &config.grants {
        let mut here = Vec::new();
        for grant in grants.iter() {
            if any_matches(&grant.targets, name)? {
                here.push(grant);
            }
        }
        open.push(Grant::new(plugin, name.as_str(), here, vec![])?);
    }
    let may = |name: &str| open.iter().any(|one| one.decide(Access::Database { name, maintenance: false }).is_ok());
    let shut: Vec<(String, String)> = shut.into_iter().filter(|(database, _)| may(database)).collect();
    if !shut.is_empty() {
        let (databases, fix): (Vec<String>, Vec<String>) = shut.into_iter().take(SHOWN).unzip();
        let says = format!(
            "{name}: {looks} may not connect to {}, where plugins are to look",
            databases.iter().map(|database| one_line(database)).collect::<Vec<_>>().join(", ")
        );
        report.warn("database", says, fix.join(";\n") + ";");
    }
    Ok(())
}

/// Grants that mean no target, and those that would cover our own files.
fn grants(report: &mut Report, loaded: &Loaded) -> Result<(), CliError> {
    let own = OwnPaths::collect(loaded);
    for (plugin, grants) in &loaded.config.grants {
        idle(report, &loaded.config, plugin, grants)?;
        for (target, decl) in &loaded.config.targets {
            let mut here = Vec::new();
            for grant in grants.iter() {
                if any_matches(&grant.targets, target)? {
                    here.push(grant);
                }
            }
            // Asked as if nothing were ours: what it then opens is shut by us alone.
            let open = Grant::new(plugin, target.as_str(), here, vec![])?;
            let seen = own.seen_from(Path::new(decl.root.as_deref().unwrap_or("/")));
            let covered: Vec<&String> = seen.iter().filter(|path| open.decide(Access::Write(path)).is_ok()).collect();
            if let Some(first) = covered.first() {
                let says = format!(
                    "[grants.{plugin}] covers {} on {target}{}; they stay shut all the same",
                    first,
                    if covered.len() > 1 {
                        format!(" and {} more of our own files", covered.len() - 1)
                    } else {
                        String::new()
                    }
                );
                report.warn("grants", says, "narrow `paths`, or keep Tidelock's files elsewhere");
            }
        }
    }
    Ok(())
}

fn idle(
    report: &mut Report,
    config: &Config,
    plugin: &str,
    grants: &OneOrMany<tidelock_model::grant::GrantDecl>,
) -> Result<(), CliError> {
    for grant in grants.iter() {
        let mut on = 0;
        for target in config.targets.keys() {
            on += usize::from(any_matches(&grant.targets, target)?);
        }
        if on == 0 {
            let known: Vec<&str> = config.targets.keys().map(Name::as_str).collect();
            let says = format!("a [grants.{plugin}] for {} means no target", grant.targets.join(", "));
            report.warn("grants", says, format!("targets: {}", known.join(", ")));
        }
    }
    Ok(())
}

fn sources(report: &mut Report, context: &Context, loaded: &Loaded, offline: bool) -> Result<(), CliError> {
    if loaded.config.sources.is_empty() {
        report.warn(
            "sources",
            "the config declares none",
            "add:\n[sources.infra]\nurl = \"https://git.example.com/infra.git\"",
        );
    }
    for (name, decl) in &loaded.config.sources {
        let placed = crate::config::refuse_inside(loaded, &decl.url, context.global.trust_worktree, context.ci);
        if let Err(error) = placed {
            report.fail("source", error);
        }
        if decl.allow.is_empty() {
            let fix =
                format!("add:\n[[sources.{name}.allow]]\nstacks = \"**\"\ntargets = [\"...\"]\nkinds = [\"server.*\"]");
            report.warn("source", format!("{name} may touch nothing: it has no allow list"), fix);
        }
        if decl.verify.is_none() {
            let fix = "verify = { signers = \"allowed_signers\" }";
            report.warn("source", format!("{name}: any commit of the branch is accepted, signed or not"), fix);
        }
    }
    let store = context.store(loaded).ok().flatten();
    for name in loaded.config.sources.keys() {
        wrong_in_git(report, store.as_ref(), name)?;
    }
    if offline {
        return Ok(());
    }
    let sources = match wire::sources(loaded) {
        Ok(sources) => sources,
        Err(error) => {
            report.fail("source", error);
            return Ok(());
        }
    };
    for (name, source) in sources {
        // As a run asks: what is in force decides what may follow it.
        let last = store.as_ref().and_then(|store| store.revision(&name).ok()).flatten();
        match wire::block_on(source.fetch(&Want::Configured, last.as_ref()))? {
            Err(error) => report.fail("source", error),
            Ok(fetched) => {
                let revision = &fetched.revision;
                let signed = match &revision.signature {
                    Signature::Verified { signer, .. } => format!(", signed by {signer}"),
                    Signature::NotAsked | Signature::Worktree => String::new(),
                };
                report.ok("source", format!("{name} is at {} \"{}\"{signed}", revision.short(), revision.subject));
                for notice in &fetched.notices {
                    let health = match notice {
                        SourceNotice::Uncommitted { .. } => Health::Warn,
                        _ => Health::Fail,
                    };
                    report.add(health, "source", format!("{name}: {notice}"), notice.hint(&name));
                }
            }
        }
    }
    Ok(())
}

/// What the last look found wrong with stacks, and lanes that it could not plan.
fn wrong_in_git(report: &mut Report, store: Option<&SqliteStore>, source: &Name) -> Result<(), CliError> {
    let Some(store) = store else { return Ok(()) };
    for problem in tidelock_reconcile::problems(store, source)?.into_iter().take(SHOWN) {
        report.add(Health::Fail, "stack", placed(&problem), problem.hint);
    }
    let failed = store.lanes()?.into_iter().filter(|record| record.lane.source == *source);
    for record in failed.filter(|record| record.status == Status::Failed).take(SHOWN) {
        let why = record.why.as_deref().unwrap_or("the last look failed");
        let fix = format!("`tidelock why {}` says more", record.lane.stack);
        report.add(Health::Warn, "lane", format!("{} failed: {why}", record.lane), Some(fix));
    }
    Ok(())
}

fn system(report: &mut Report) {
    match std::process::Command::new("git").arg("--version").output() {
        Ok(out) if out.status.success() => report.ok("git", String::from_utf8_lossy(&out.stdout).trim()),
        _ => report.warn("git", "the git command is not there; only `tidelock init` needs it", "apt-get install git"),
    }
    if confined_open() {
        report.ok("kernel", "openat2 is there: paths are confined by the kernel");
    } else {
        let says = "openat2 is not there: paths are confined step by step, which is slower";
        report.warn("kernel", says, "Linux 5.6 or newer, and a sandbox that lets openat2 through");
    }
}

/// Whether the kernel confines paths itself.
#[cfg(target_os = "linux")]
fn confined_open() -> bool {
    use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_BENEATH);
    openat2(AT_FDCWD, ".", how).is_ok()
}

/// Whether the kernel confines paths itself.
#[cfg(not(target_os = "linux"))]
fn confined_open() -> bool {
    false
}

fn show(context: &Context, report: &Report) -> Result<(), CliError> {
    if context.out.is_json() {
        return context.out.json(&json!({ "format": "tidelock.doctor/1", "findings": report.0 }));
    }
    let paint = context.out.paint;
    let mut text = String::new();
    for Finding { health, about, says, fix } in &report.0 {
        let word = match health {
            Health::Ok => paint.good("ok  "),
            Health::Warn => paint.warn("warn"),
            Health::Fail => paint.bad("fail"),
        };
        text.push_str(&format!("{word}  {about:<11} {says}\n"));
        if let Some(fix) = fix {
            text.push_str(&format!(
                "      fix: {}\n",
                tidelock_model::error::tame(fix, 4096).replace('\n', "\n           ")
            ));
        }
    }
    let number = |health| report.0.iter().filter(|finding| finding.health == health).count();
    let (warned, failed) = (number(Health::Warn), number(Health::Fail));
    text.push_str(&format!("\n{}, {}\n", count(failed, "failure"), count(warned, "warning")));
    context.out.text(&text)
}
