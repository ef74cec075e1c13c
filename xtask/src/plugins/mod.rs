//! Plugins, the first-party ones or others, from crates to components.
//!
//! A plugin is a `cdylib` for `wasm32-unknown-unknown`. Cargo compiles it to a
//! core module, and [`component`] turns that into the one file that the host
//! loads. A component is written only when its bytes differ, so that a repeated
//! build makes nothing else stale.

mod component;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use cargo_metadata::{CrateType, Message};

use crate::wasm_std;
use crate::workspace::Workspace;

/// What every import of a plugin must begin with: our own interfaces, and no
/// other way into the world.
const OWN_INTERFACES: &str = "tidelock:";

/// Whose plugins, and where to.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A crate or workspace of plugins, made with the SDK; else the first-party ones
    #[arg(requires = "into")]
    folder: Option<PathBuf>,
    /// Where the components go; files that are there and not built anew stay
    #[arg(long, value_name = "FOLDER", requires = "folder")]
    into: Option<PathBuf>,
}

/// Builds what was asked for.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let (Some(folder), Some(into)) = (&options.folder, &options.into) else { return build(workspace) };
    let folder = fs::canonicalize(folder).with_context(|| format!("cannot find {}", folder.display()))?;
    if components(workspace, &folder, into)?.is_empty() {
        bail!("{} holds no plugin: no crate there has `crate-type = [\"cdylib\"]`", folder.display());
    }
    Ok(())
}

/// Builds the first-party plugins into [`Workspace::components`].
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let into = workspace.components();
    let written = components(workspace, &workspace.root().join("plugins"), &into)?;
    remove_others(&into, &written)
}

/// Builds the plugins of a folder, and gives the components.
fn components(workspace: &Workspace, plugins: &Path, into: &Path) -> Result<Vec<PathBuf>> {
    let modules = compile(workspace, plugins)?;
    fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;

    let mut written = Vec::new();
    for module in modules {
        let name = module.name;
        let bytes = fs::read(&module.path).with_context(|| format!("cannot read {}", module.path.display()))?;
        let bytes = component::encode(&bytes).with_context(|| format!("cannot make a component of {name}"))?;
        let found = component::imports(&bytes)?;
        let foreign: Vec<_> = found.iter().filter(|import| !import.starts_with(OWN_INTERFACES)).cloned().collect();
        if !foreign.is_empty() {
            bail!("{name} imports {}; a plugin may import nothing but {OWN_INTERFACES}*", foreign.join(", "));
        }
        let file = into.join(format!("{name}.wasm"));
        write_if_changed(&file, &bytes)?;
        println!("  {name}.wasm  {} KiB  {}", bytes.len().div_ceil(1024), listing(&found));
        written.push(file);
    }
    Ok(written)
}

/// A compiled plugin, not yet a component.
struct Module {
    /// The name of its folder, and so of its component.
    name: String,
    path: PathBuf,
}

/// Compiles a workspace of plugins.
fn compile(workspace: &Workspace, plugins: &Path) -> Result<Vec<Module>> {
    let std = wasm_std::ensure(workspace)?;
    let mut cargo = workspace.guest_cargo(plugins);
    cargo.args(["build", "--release", "--target", wasm_std::TARGET, "--message-format", "json-render-diagnostics"]);
    std.configure(&mut cargo);

    let mut building = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = building.stdout.take().context("cargo has no output")?;
    let mut modules = Vec::new();
    for message in Message::parse_stream(std::io::BufReader::new(output)) {
        let Message::CompilerArtifact(artifact) = message.context("cannot read what cargo says")? else { continue };
        if !artifact.target.crate_types.contains(&CrateType::CDyLib) || !artifact.manifest_path.starts_with(plugins) {
            continue;
        }
        let folder = artifact.manifest_path.parent().and_then(|folder| folder.file_name());
        let folder = folder.context("a plugin without a folder")?.to_owned();
        let wasm = artifact.filenames.into_iter().find(|file| file.extension() == Some("wasm"));
        let wasm = wasm.with_context(|| format!("{folder} has no .wasm"))?;
        modules.push(Module { name: folder, path: wasm.into() });
    }
    if !building.wait()?.success() {
        bail!("the plugins do not compile");
    }
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(modules)
}

fn write_if_changed(file: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}

/// Removes components whose plugins are gone.
fn remove_others(folder: &Path, keep: &[PathBuf]) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "wasm") && !keep.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn listing(imports: &[String]) -> String {
    if imports.is_empty() { "imports nothing".to_owned() } else { format!("imports {}", imports.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_component_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wasm");
        write_if_changed(&file, b"one").unwrap();
        let before = fs::metadata(&file).unwrap().modified().unwrap();
        write_if_changed(&file, b"one").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
        write_if_changed(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
    }

    #[test]
    fn components_of_removed_plugins_go_too() {
        let folder = tempfile::tempdir().unwrap();
        let [kept, gone, other] = ["kept.wasm", "gone.wasm", "notes.txt"].map(|name| folder.path().join(name));
        for file in [&kept, &gone, &other] {
            fs::write(file, "").unwrap();
        }
        remove_others(folder.path(), std::slice::from_ref(&kept)).unwrap();
        assert!(kept.exists() && other.exists() && !gone.exists());
    }
}
