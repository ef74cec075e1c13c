//! What grants and allow lists say that cannot be meant: rules that open nothing, and names
//! that nothing bears.

use tidelock_model::config::{Config, TargetKind};
use tidelock_model::grant::glob;
use tidelock_model::name::Name;
use tidelock_model::plugin::{PluginFacts, Role};

use super::Report;
use crate::config::{grant_example, toml::nearest};
use crate::estate::any_matches;

/// The packages of a plugin's imports, the types of targets that have what they read, and the
/// keys of grants that are about it.
static MEANS: [(&str, &[TargetKind], &[&str]); 5] = [
    ("tidelock:machine", &[TargetKind::Machine], &["paths", "exec", "exec_read"]),
    ("tidelock:sql", &[TargetKind::Postgres, TargetKind::Mysql, TargetKind::Sqlite], &["sql", "databases"]),
    ("tidelock:netlink", &[TargetKind::Machine], &["links", "addresses", "routes", "rules", "sysctls", "wireguard"]),
    ("tidelock:nft", &[TargetKind::Machine], &["tables"]),
    ("tidelock:dns", &[TargetKind::Dns], &["records"]),
];

/// Looks at all rights of the config. What is not well formed was refused when it was read.
pub(super) fn check(report: &mut Report, config: &Config, facts: &[PluginFacts]) {
    let providers: Vec<&PluginFacts> = facts.iter().filter(|one| one.role == Role::Provider).collect();
    for provider in &providers {
        granted(report, config, provider);
    }
    for (source, decl) in &config.sources {
        for rule in &decl.allow {
            allowed(report, config, source, rule, &providers);
        }
    }
}

/// Whether a provider that stacks may use has a grant, and whether its grants open anything.
fn granted(report: &mut Report, config: &Config, provider: &PluginFacts) {
    let name = provider.plugin.name.as_str();
    let (kinds, keys) = means(provider);
    if keys.is_empty() {
        return;
    }
    let fits = |target: &Name| config.targets.get(target).is_some_and(|decl| kinds.contains(&decl.kind));
    let Some(grants) = config.grants.get(name) else {
        let allows = config.sources.values().flat_map(|source| &source.allow).flat_map(|rule| &rule.kinds);
        let usable = config.targets.keys().find(|target| fits(target));
        if let Some(target) = usable.filter(|_| allows.into_iter().any(|pattern| covers(pattern, name))) {
            let key = keys[0];
            let fix = format!("add [grants.{name}]:\ntargets = [\"{target}\"]\n{key} = {}", grant_example(key));
            report.warn("grants", format!("provider {name} has no grant, so it may look at nothing"), fix);
        }
        return;
    };
    for grant in grants.iter() {
        let on: Vec<&Name> =
            config.targets.keys().filter(|target| any_matches(&grant.targets, target).unwrap_or(false)).collect();
        if let Some(target) = on.first().filter(|_| !on.iter().any(|target| fits(target))) {
            let kind = config.targets[*target].kind.word();
            let says = format!("a [grants.{name}] opens nothing: {target} is a target of type {kind:?}");
            let words: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
            report.warn("grants", says, format!("{name} works on targets of type {}", words.join(", ")));
        } else if !on.is_empty() && !grant.keys().any(|key| keys.contains(&key)) {
            let says = format!("a [grants.{name}] opens nothing: it has none of {}", keys.join(", "));
            report.warn("grants", says, format!("add to it, such as {} = {}", keys[0], grant_example(keys[0])));
        }
    }
}

/// The types of targets that a provider works on, and the keys of its grants.
fn means(provider: &PluginFacts) -> (Vec<TargetKind>, Vec<&'static str>) {
    let (mut kinds, mut keys) = (Vec::new(), Vec::new());
    for (package, types, words) in &MEANS {
        let imports = |import: &str| import.split_once('/').is_some_and(|(before, _)| before == *package);
        if provider.permissions.iter().any(|permission| imports(&permission.import)) {
            kinds.extend(types.iter().copied().filter(|kind| !kinds.contains(kind)).collect::<Vec<_>>());
            keys.extend(*words);
        }
    }
    // Of the types of databases, the one that it is named after.
    if let Some(own) = kinds.iter().copied().find(|kind| kind.word() == provider.plugin.name) {
        kinds = vec![own];
    }
    (kinds, keys)
}

/// Whether a pattern of kinds is about kinds of a plugin.
fn covers(pattern: &str, plugin: &str) -> bool {
    let part = pattern.split('.').next().unwrap_or(pattern);
    glob(part, false).is_ok_and(|glob| glob.is_match(plugin))
}

/// Targets and kinds of a rule that are not there.
fn allowed(
    report: &mut Report,
    config: &Config,
    source: &Name,
    rule: &tidelock_model::config::AllowDecl,
    providers: &[&PluginFacts],
) {
    let targets: Vec<&str> = config.targets.keys().map(Name::as_str).collect();
    for pattern in &rule.targets {
        let matches = |name: &&str| glob(pattern, false).is_ok_and(|glob| glob.is_match(*name));
        if !targets.iter().any(matches) {
            let says = format!("an allow rule of {source} is for {pattern}, and the config declares no such target");
            report.warn("allow", says, or_listed(pattern, &targets, "targets", ""));
        }
    }
    let plugins: Vec<&str> = providers.iter().map(|provider| provider.plugin.name.as_str()).collect();
    for pattern in &rule.kinds {
        if !plugins.iter().any(|plugin| covers(pattern, plugin)) {
            let says = format!("an allow rule of {source} is for kinds {pattern}, and no plugin has such kinds");
            let part = pattern.split('.').next().unwrap_or(pattern);
            report.warn("allow", says, or_listed(part, &plugins, "plugins", &pattern[part.len()..]));
        }
    }
}

/// The name that was most likely meant, or all of them.
fn or_listed(word: &str, known: &[&str], what: &str, end: &str) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean {near}{end}?"),
        None => format!("{what}: {}", known.join(", ")),
    }
}
