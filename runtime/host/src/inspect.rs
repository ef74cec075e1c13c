//! What can be said of a component without compiling or running it: its name, its
//! contract, its role, and what its imports would let it do.
//!
//! The import list is the permission list. So whatever is imported is either known
//! here, in plain words, or the component is refused with a sentence that says which
//! capability is missing and what would serve it.

use serde::Deserialize;
use tidelock_model::digest::Digest;
use tidelock_model::error::{Blame, Fault, tame};
use tidelock_model::name::{Kind, Name};
use tidelock_model::plugin::{Permission, PluginFacts, PluginRef, Role};
use wasmparser::{Encoding, Parser, Payload};

/// The custom section that names a plugin: JSON, see [`Stamp`].
const SECTION: &str = "tidelock:plugin";
const MAX_STAMP: usize = 4 << 10;
/// No honest plugin comes near these.
const MAX_EXTERNS: usize = 256;
const MAX_DEPTH: usize = 16;
/// The contract that this host serves.
const API: Version = Version { major: 0, minor: 1, patch: 0 };

/// What a plugin says of itself in its custom section.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Stamp {
    name: String,
    version: String,
    api: String,
    role: Role,
}

/// An interface that this host serves.
struct Served {
    /// Package and interface, without version.
    interface: &'static str,
    version: Version,
    /// Who may import it; `None` for both.
    role: Option<Role>,
    /// What importing it means; `None` where it means nothing.
    means: Option<&'static str>,
}

const fn served(interface: &'static str, role: Option<Role>, means: Option<&'static str>) -> Served {
    Served { interface, version: API, role, means }
}

const SERVED: &[Served] = &[
    served("tidelock:types/types", None, None),
    served("tidelock:log/log", None, Some("write lines to your log, capped and marked with its name")),
    served(
        "tidelock:tree/tree",
        Some(Role::Renderer),
        Some("read the files of the source at the revision that is rendered"),
    ),
    served(
        "tidelock:renderer/inputs",
        Some(Role::Renderer),
        Some("read the stack's settings and values, and the target's name, labels and facts"),
    ),
    served("tidelock:renderer/output", Some(Role::Renderer), Some("hand over the resources that it rendered")),
    served(
        "tidelock:machine/read",
        Some(Role::Provider),
        Some(
            "look at files below the `paths` and with the `exec_read` commands that you grant, on the machines that you grant",
        ),
    ),
    served(
        "tidelock:machine/propose",
        Some(Role::Provider),
        Some(
            "propose files, directories, links, removals and commands within the same grant; you see each before it is performed",
        ),
    ),
    served(
        "tidelock:sql/read",
        Some(Role::Provider),
        Some("ask the catalogs of the `databases` that you grant, on the servers that you grant, but for passwords"),
    ),
    served(
        "tidelock:sql/propose",
        Some(Role::Provider),
        Some("propose statements about what `sql` of the same grant names; you see each before it is performed"),
    ),
    served(
        "tidelock:netlink/read",
        Some(Role::Provider),
        Some(
            "look at the `links`, `addresses`, `routes`, `rules` and `sysctls` that you grant, on the machines that you grant",
        ),
    ),
    served(
        "tidelock:netlink/propose",
        Some(Role::Provider),
        Some("propose changes to the network within the same grant; you see each before it is performed"),
    ),
    served("tidelock:nft/read", Some(Role::Provider), Some("look at the `tables` of nftables that you grant")),
    served(
        "tidelock:nft/propose",
        Some(Role::Provider),
        Some("propose whole `tables` of nftables within the same grant; you see each before it is performed"),
    ),
    served(
        "tidelock:dns/read",
        Some(Role::Provider),
        Some("look at the `records` that you grant, in the zones of the DNS servers that you grant"),
    ),
    served(
        "tidelock:dns/propose",
        Some(Role::Provider),
        Some("propose updates of records within the same grant; you see each before it is performed"),
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u64,
    minor: u64,
    patch: u64,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        let version = Self { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? };
        parts.next().is_none().then_some(version)
    }

    /// Whether something made for `self` runs on `host`. Before 1.0 each minor
    /// version stands alone; a newer patch may call what an older host lacks.
    fn runs_on(self, host: Self) -> bool {
        let line = |version: Self| (version.major, if version.major == 0 { version.minor } else { 0 });
        line(self) == line(host) && self <= host
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// What the bytes hold, before it is judged.
#[derive(Default)]
struct Found {
    imports: Vec<String>,
    exports: Vec<String>,
    stamps: Vec<Vec<u8>>,
}

/// Reads a component. `origin` is where it came from, for errors.
///
/// # Errors
/// Not a component; without a name; made for another contract; importing what this
/// host does not serve, or what its role may not have; or exporting nothing to call.
pub(crate) fn inspect(origin: &str, bytes: &[u8]) -> Result<PluginFacts, Fault> {
    let found = read(bytes).map_err(|why| refuse(origin, &why))?;
    let stamp = stamp(&found).map_err(|why| refuse(origin, &why))?;
    let api = Version::parse(&stamp.api)
        .ok_or_else(|| refuse(origin, &format!("its API version {:?} is not a version", stamp.api)))?;
    if !api.runs_on(API) {
        return Err(refuse(
            origin,
            &format!("it was made for version {api} of the contract; this Tidelock serves {API}"),
        )
        .hint(if api > API { "use a newer Tidelock" } else { "use a newer version of the plugin" }));
    }
    let mut permissions = Vec::new();
    for import in &found.imports {
        if let Some(permission) = judge(import, stamp.role).map_err(|why| refuse(origin, &why))? {
            permissions.push(permission);
        }
    }
    permissions.sort();
    let wanted = match stamp.role {
        Role::Renderer => "tidelock:renderer/renderer@0.1.0",
        Role::Provider => "tidelock:provider/provider@0.1.0",
    };
    if !found.exports.iter().any(|export| export == wanted) {
        return Err(refuse(origin, &format!("it calls itself a {} but does not export {wanted}", word(stamp.role))));
    }
    Ok(PluginFacts {
        plugin: PluginRef { name: stamp.name, version: stamp.version, digest: Digest::of(bytes) },
        api: stamp.api,
        role: stamp.role,
        origin: origin.to_owned(),
        size: bytes.len() as u64,
        permissions,
    })
}

pub(crate) fn word(role: Role) -> &'static str {
    match role {
        Role::Renderer => "renderer",
        Role::Provider => "provider",
    }
}

fn refuse(origin: &str, why: &str) -> Fault {
    Fault::new("refused", Blame::Plugin, format!("{origin}: {}", tame(why, 2 << 10)))
}

/// Walks the outer component, and the modules and components inside it for a stamp.
fn read(bytes: &[u8]) -> Result<Found, String> {
    let mut found = Found::default();
    let mut depth = 0_usize;
    let broken = |error: wasmparser::BinaryReaderError| format!("this is not a Wasm component: {error}");
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(broken)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err("this is a core Wasm module, not a component; make one of it with \
                            `tidelock plugin build` or `wasm-tools component new`"
                    .to_owned());
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(format!("it nests components deeper than {MAX_DEPTH}"));
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    found.imports.push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    found.exports.push(export.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::CustomSection(section) if section.name() == SECTION => {
                if section.data().len() > MAX_STAMP {
                    return Err(format!("its `{SECTION}` section is longer than {MAX_STAMP} bytes"));
                }
                found.stamps.push(section.data().to_vec());
            }
            _ => {}
        }
        if found.imports.len() + found.exports.len() + found.stamps.len() > MAX_EXTERNS {
            return Err(format!("it has more than {MAX_EXTERNS} imports and exports"));
        }
    }
    Ok(found)
}

fn stamp(found: &Found) -> Result<Stamp, String> {
    let mut stamps = found.stamps.iter().map(|bytes| {
        serde_json::from_slice::<Stamp>(bytes)
            .map_err(|error| format!("its `{SECTION}` section cannot be read: {error}"))
    });
    let first = stamps.next().ok_or_else(|| {
        format!("it holds no `{SECTION}` section, which names a plugin; build it with tidelock-sdk, which adds one")
    })??;
    for other in stamps {
        if other? != first {
            return Err(format!("it holds two different `{SECTION}` sections"));
        }
    }
    // The name becomes a key of the config, of the lock and the first part of kinds.
    if Name::new(&first.name).is_err() || Kind::new(format!("{}.x", first.name)).is_err() {
        return Err(format!("{:?} is not a name for a plugin; use letters, digits, `-` and `_`", first.name));
    }
    if first.version.is_empty()
        || first.version.len() > 64
        || !first.version.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c))
    {
        return Err(format!("{:?} is not a version", first.version));
    }
    Ok(first)
}

/// What an import means, or why it cannot be served.
fn judge(import: &str, role: Role) -> Result<Option<Permission>, String> {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    let (package, _) = interface.split_once('/').unwrap_or((interface, ""));
    let Some(served) = SERVED.iter().find(|served| served.interface == interface) else {
        return Err(unknown(import, package, version));
    };
    let asked = Version::parse(version).ok_or_else(|| format!("it imports {import}, without a readable version"))?;
    if !asked.runs_on(served.version) {
        let short = |version: Version| match version {
            Version { major: 0, minor, patch: 0 } => format!("0.{minor}"),
            full => full.to_string(),
        };
        let capability = package.strip_prefix("tidelock:").unwrap_or(package);
        return Err(format!(
            "it imports {import}: it needs {capability} {}; this Tidelock serves {}",
            short(asked),
            short(served.version)
        ));
    }
    if served.role.is_some_and(|only| only != role) {
        return Err(match role {
            Role::Renderer => format!(
                "it imports {import}: a renderer is a function of files and values, and may not look at targets or \
                 propose effects; that is for providers"
            ),
            Role::Provider => {
                format!("it imports {import}, which is for renderers; a provider does not see the source")
            }
        });
    }
    Ok(served.means.map(|means| Permission { import: import.to_owned(), means: means.to_owned() }))
}

fn unknown(import: &str, package: &str, version: &str) -> String {
    if package.starts_with("wasi:") {
        return format!(
            "it imports {import}: Tidelock links no WASI, so that the import list stays the permission list; build the \
             plugin for wasm32-unknown-unknown"
        );
    }
    match package.strip_prefix("tidelock:") {
        Some(capability)
            if SERVED.iter().any(|served| served.interface.split_once('/').unwrap_or_default().0 == package) =>
        {
            format!(
                "it imports {import}: {capability} {API} has no such interface; a Tidelock that serves {capability} {} \
                 may have it",
                if version.is_empty() { "of a later version" } else { version }
            )
        }
        Some(capability) => format!(
            "it imports {import}: this version of Tidelock does not offer {capability}; it needs one that serves \
             {capability} {}",
            if version.is_empty() { "(no version given)" } else { version }
        ),
        None => format!("it imports {import}, which is no interface of Tidelock; a plugin may import those alone"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component by hand: a stamp, one empty instance type, imports and exports of it.
    fn component(stamp: &str, imports: &[&str], exports: &[&str]) -> Vec<u8> {
        fn section(out: &mut Vec<u8>, id: u8, body: &[u8]) {
            out.push(id);
            leb(out, body.len());
            out.extend_from_slice(body);
        }
        fn leb(out: &mut Vec<u8>, mut n: usize) {
            while n >= 0x80 {
                out.push((n & 0x7f) as u8 | 0x80);
                n >>= 7;
            }
            out.push(n as u8);
        }
        fn name(out: &mut Vec<u8>, text: &str) {
            leb(out, text.len());
            out.extend_from_slice(text.as_bytes());
        }
        let mut out = b"\0asm\x0d\0\x01\0".to_vec();
        if !stamp.is_empty() {
            let mut body = vec![];
            name(&mut body, SECTION);
            body.extend_from_slice(stamp.as_bytes());
            section(&mut out, 0, &body);
        }
        section(&mut out, 7, &[1, 0x42, 0]);
        let mut body = vec![];
        leb(&mut body, imports.len());
        for import in imports {
            body.push(0);
            name(&mut body, import);
            body.extend_from_slice(&[5, 0]);
        }
        section(&mut out, 10, &body);
        let mut body = vec![];
        leb(&mut body, exports.len());
        for export in exports {
            body.push(0);
            name(&mut body, export);
            body.extend_from_slice(&[5, 0, 0]);
        }
        section(&mut out, 11, &body);
        out
    }

    const PROVIDER: &str = r#"{"name":"server","version":"0.1.0","api":"0.1.0","role":"provider"}"#;
    const RENDERER: &str = r#"{"name":"yaml","version":"0.1.0","api":"0.1.0","role":"renderer"}"#;
    const PROVIDES: &[&str] = &["tidelock:provider/provider@0.1.0"];
    const RENDERS: &[&str] = &["tidelock:renderer/renderer@0.1.0"];

    fn refusal(stamp: &str, imports: &[&str], exports: &[&str]) -> String {
        inspect("x.wasm", &component(stamp, imports, exports)).unwrap_err().message
    }

    #[test]
    fn imports_become_permissions_in_plain_words() {
        let imports = ["tidelock:types/types@0.1.0", "tidelock:log/log@0.1.0", "tidelock:machine/propose@0.1.0"];
        let facts = inspect("x.wasm", &component(PROVIDER, &imports, PROVIDES)).unwrap();
        assert_eq!((facts.plugin.name.as_str(), facts.role), ("server", Role::Provider));
        let imports: Vec<_> = facts.permissions.iter().map(|permission| permission.import.as_str()).collect();
        assert_eq!(imports, ["tidelock:log/log@0.1.0", "tidelock:machine/propose@0.1.0"]);
        assert!(facts.permissions[1].means.contains("propose files"));
    }

    #[test]
    fn an_import_that_is_not_served_names_capability_and_version() {
        for (import, words) in [
            ("tidelock:ftp/read@0.1.0", "does not offer ftp; it needs one that serves ftp 0.1.0"),
            ("tidelock:machine/read@0.2.0", "needs machine 0.2; this Tidelock serves 0.1"),
            ("tidelock:machine/read@0.1.3", "needs machine 0.1.3; this Tidelock serves 0.1"),
            ("tidelock:machine/read", "without a readable version"),
            ("tidelock:machine/watch@0.2.0", "machine 0.1.0 has no such interface"),
            ("wasi:io/poll@0.2.6", "links no WASI"),
            ("acme:tools/all@1.0.0", "no interface of Tidelock"),
            ("tidelock:tree/tree@0.1.0", "for renderers"),
        ] {
            let message = refusal(PROVIDER, &[import], PROVIDES);
            assert!(message.contains(words) && message.contains(import), "{message}");
        }
        assert!(refusal(RENDERER, &["tidelock:machine/read@0.1.0"], RENDERS).contains("for providers"));
    }

    #[test]
    fn a_plugin_without_a_name_contract_or_export_is_refused() {
        let with = |api: &str| PROVIDER.replace(r#""api":"0.1.0""#, &format!(r#""api":"{api}""#));
        for (stamp, exports, words) in [
            ("", PROVIDES, "holds no `tidelock:plugin` section"),
            ("{}", PROVIDES, "cannot be read"),
            (&with("0.2.0"), PROVIDES, "made for version 0.2.0 of the contract"),
            (&with("x"), PROVIDES, "is not a version"),
            (&PROVIDER.replace("server", "a.b"), PROVIDES, "is not a name for a plugin"),
            (&PROVIDER.replace("server", "../x"), PROVIDES, "is not a name for a plugin"),
            (PROVIDER, RENDERS, "does not export tidelock:provider/provider@0.1.0"),
        ] {
            let message = refusal(stamp, &[], exports);
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn core_modules_and_rubbish_are_named_as_such() {
        let message = |bytes: &[u8]| inspect("x.wasm", bytes).unwrap_err().message;
        assert!(message(b"\0asm\x01\0\0\0").contains("core Wasm module"));
        assert!(message(b"#!/bin/sh").contains("not a Wasm component"));
        assert!(message(b"").contains("not a Wasm component") || message(b"").contains("section"));
        let whole = component(PROVIDER, &[], PROVIDES);
        for end in 9..whole.len() {
            let cut = inspect("x.wasm", &whole[..end]);
            assert!(cut.is_err(), "cut at {end}");
        }
    }
}
