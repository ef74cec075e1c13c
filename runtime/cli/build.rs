//! Builds plugins into the binary: `TIDELOCK_EMBED` names a directory of `*.wasm`, from
//! the workspace's root where it is relative. Without it none are embedded.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=TIDELOCK_EMBED");
    println!("cargo:rerun-if-changed=build.rs");
    let mut table = String::from("&[\n");
    if let Some(dir) = env::var_os("TIDELOCK_EMBED").filter(|dir| !dir.is_empty()) {
        let workspace = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../..");
        let dir = workspace.join(dir);
        println!("cargo:rerun-if-changed={}", dir.display());
        let found = components(&dir)?;
        if found.is_empty() {
            return Err(format!("TIDELOCK_EMBED: {} holds no *.wasm", dir.display()).into());
        }
        for path in found {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            writeln!(table, "    ({name:?}, include_bytes!({:?})),", path.to_str().ok_or("a path is not UTF-8")?)?;
        }
    }
    table.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("embedded.rs"), table)?;
    Ok(())
}

/// The components of a directory, in order, so that equal inputs give equal binaries.
fn components(dir: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let dir = dir.canonicalize().map_err(|error| format!("TIDELOCK_EMBED: {}: {error}", dir.display()))?;
    let mut found = Vec::new();
    for entry in fs::read_dir(&dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
