//! The rules of `deny.toml`, checked.
//!
//! With `cargo-deny` on the machine it does this; its advisories need a database that it
//! fetches. Without it, this module checks the rules that need no database, reading them
//! from the same file. What was left out is said, last of all, so that an `ok` is never
//! taken for more than it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use cargo_metadata::semver::VersionReq;
use cargo_metadata::{Metadata, MetadataCommand, Package};
use serde::Deserialize;
use spdx::{Expression, ParseMode};

use crate::process;
use crate::workspace::Workspace;

/// The part of `deny.toml` that is checked here.
#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

/// More licences, for one crate.
#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Ban {
    /// `name` or `name@requirement`.
    #[serde(rename = "crate")]
    subject: String,
    #[serde(default)]
    reason: String,
    /// More than one version is banned, rather than the crate.
    #[serde(default)]
    deny_multiple_versions: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: BTreeSet<String>,
}

/// The workspaces whose dependencies reach users.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "plugins/Cargo.toml"];

/// Checks the dependencies of the runtime and of the plugins. Returns what could not be
/// checked here, and why, where that is so.
pub(crate) fn check(workspace: &Workspace) -> Result<Option<String>> {
    if !process::exists("cargo-deny") {
        without_cargo_deny(workspace)?;
        return Ok(Some("cargo-deny is not installed (`cargo install --locked cargo-deny`)".to_owned()));
    }
    let deny = |manifest: &str, words: &[&str]| {
        let mut cargo = workspace.cargo();
        let config = workspace.root().join("deny.toml");
        cargo.args(["deny", "--all-features", "--manifest-path", manifest]).args(words).arg("--config").arg(config);
        process::run(&mut cargo)
    };
    for manifest in MANIFESTS {
        deny(manifest, &["check", "licenses", "bans", "sources"])?;
    }
    // Fetched apart: a database that is out of reach is no advisory, and no advisory is no database.
    if let Err(error) = process::read(workspace.cargo().args(["deny", "fetch", "db"])) {
        println!("{error}");
        return Ok(Some("the database of cargo-deny is out of reach".to_owned()));
    }
    for manifest in MANIFESTS {
        deny(manifest, &["check", "--disable-fetch", "advisories"])?;
    }
    Ok(None)
}

/// The rules that need no database.
fn without_cargo_deny(workspace: &Workspace) -> Result<()> {
    let text = fs::read_to_string(workspace.root().join("deny.toml")).context("cannot read deny.toml")?;
    let rules: Rules = toml::from_str(&text).context("deny.toml is not as cargo-deny wants it")?;
    let mut breaches = Vec::new();
    let mut count = 0;
    for manifest in MANIFESTS {
        let metadata = metadata(&workspace.root().join(manifest))?;
        count += metadata.packages.len();
        breaches.extend(breaches_of(&rules, &metadata.packages));
    }
    if !breaches.is_empty() {
        bail!("{} broken rules of deny.toml:\n  {}", breaches.len(), breaches.join("\n  "));
    }
    println!("{count} packages: licences, bans, floors of versions and sources are as deny.toml says.");
    Ok(())
}

fn metadata(manifest: &Path) -> Result<Metadata> {
    MetadataCommand::new()
        .manifest_path(manifest)
        .other_options(vec!["--locked".to_owned()])
        .exec()
        .with_context(|| format!("cannot read the dependencies of {}", manifest.display()))
}

/// Every broken rule, as a line.
fn breaches_of(rules: &Rules, packages: &[Package]) -> Vec<String> {
    let foreign = || packages.iter().filter(|package| package.source.is_some());
    let mut breaches: Vec<String> = foreign().filter_map(|package| licence_breach(&rules.licenses, package)).collect();
    breaches.extend(foreign().filter_map(|package| source_breach(&rules.sources, package)));
    for ban in &rules.bans.deny {
        breaches.extend(ban_breaches(ban, packages));
    }
    breaches
}

fn licence_breach(rules: &Licenses, package: &Package) -> Option<String> {
    let subject = format!("{} {}", package.name, package.version);
    let Some(text) = &package.license else { return Some(format!("{subject} names no licence")) };
    let Ok(expression) = Expression::parse_mode(text, ParseMode::LAX) else {
        return Some(format!("{subject}: `{text}` is not a licence expression"));
    };
    let extra = rules.exceptions.iter().find(|exception| exception.name == package.name.as_str());
    let allowed = |name: &str| rules.allow.contains(name) || extra.is_some_and(|extra| extra.allow.contains(name));
    let fits = expression.evaluate(|requirement| allowed(&requirement.to_string()));
    (!fits).then(|| format!("{subject}: licence `{text}` is not allowed"))
}

fn source_breach(rules: &Sources, package: &Package) -> Option<String> {
    let source = &package.source.as_ref()?.repr;
    let registry = source.strip_prefix("registry+").or_else(|| source.strip_prefix("sparse+"));
    let known = registry.is_some_and(|registry| rules.allow_registry.contains(registry));
    (!known).then(|| format!("{} {} comes from {source}", package.name, package.version))
}

fn ban_breaches(ban: &Ban, packages: &[Package]) -> Vec<String> {
    let (name, requirement) = ban.subject.split_once('@').unwrap_or((&ban.subject, "*"));
    let Ok(requirement) = VersionReq::parse(requirement) else {
        return vec![format!("`{}` is not a requirement", ban.subject)];
    };
    let mut versions = BTreeMap::new();
    for package in packages.iter().filter(|package| package.name.as_str() == name) {
        if requirement == VersionReq::STAR || requirement.matches(&package.version) {
            versions.insert(package.version.clone(), package);
        }
    }
    let found: Vec<String> = versions.keys().map(ToString::to_string).collect();
    let allowed = usize::from(ban.deny_multiple_versions);
    if found.len() <= allowed {
        return Vec::new();
    }
    vec![format!("{name} {}: {}", found.join(" and "), ban.reason)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
        exceptions = [{ crate = "roots", allow = ["CDLA-Permissive-2.0"] }]
        [bans]
        deny = [
          { crate = "engine@<48.0.8", reason = "advisories" },
          { crate = "engine", deny-multiple-versions = true, reason = "one engine" },
          { crate = "openssl", reason = "rustls is enough" },
        ]
        [sources]
        allow-registry = ["https://github.com/rust-lang/crates.io-index"]
    "#;

    fn package(name: &str, version: &str, licence: &str, source: &str) -> Package {
        serde_json::from_value(serde_json::json!({
            "name": name, "version": version, "id": format!("{source}#{name}@{version}"), "license": licence,
            "source": source, "dependencies": [], "targets": [], "features": {}, "manifest_path": "/Cargo.toml",
        }))
        .unwrap()
    }

    /// The rules that a single package breaks.
    fn check(name: &str, version: &str, licence: &str) -> String {
        let source = "registry+https://github.com/rust-lang/crates.io-index";
        breaches_of(&toml::from_str(RULES).unwrap(), &[package(name, version, licence, source)]).join("\n")
    }

    #[test]
    fn licences_are_judged_as_expressions() {
        assert_eq!(check("a", "1.0.0", "MIT OR GPL-3.0"), "");
        assert_eq!(check("a", "1.0.0", "MIT/Apache-2.0"), "");
        assert_eq!(check("a", "1.0.0", "Apache-2.0 WITH LLVM-exception"), "");
        assert!(check("a", "1.0.0", "MIT AND GPL-3.0").contains("not allowed"));
        assert!(check("a", "1.0.0", "GPL-3.0").contains("not allowed"));
        assert!(check("a", "1.0.0", "whatever you like").contains("not a licence"));
    }

    #[test]
    fn an_exception_holds_for_its_crate_alone() {
        assert_eq!(check("roots", "1.0.0", "CDLA-Permissive-2.0"), "");
        assert!(check("other", "1.0.0", "CDLA-Permissive-2.0").contains("not allowed"));
    }

    #[test]
    fn old_and_banned_versions_are_named_with_the_reason() {
        assert_eq!(check("engine", "48.0.8", "MIT"), "");
        assert_eq!(check("engine", "48.0.7", "MIT"), "engine 48.0.7: advisories");
        assert_eq!(check("openssl", "0.10.0", "MIT"), "openssl 0.10.0: rustls is enough");
    }

    #[test]
    fn two_versions_of_one_engine_are_too_many() {
        let source = "registry+https://github.com/rust-lang/crates.io-index";
        let two = ["48.0.8", "49.0.0"].map(|version| package("engine", version, "MIT", source));
        assert_eq!(breaches_of(&toml::from_str(RULES).unwrap(), &two), ["engine 48.0.8 and 49.0.0: one engine"]);
    }

    #[test]
    fn code_comes_from_the_registry_only() {
        let git = package("a", "1.0.0", "MIT", "git+https://example.com/a#abc");
        assert!(breaches_of(&toml::from_str(RULES).unwrap(), &[git])[0].contains("comes from git+https"));
    }
}
