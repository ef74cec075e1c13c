//! Putting the finished library where the compiler looks for it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::TARGET;
use super::toolchain::Toolchain;

/// Names the compiler that a library of ours was built with, so that it is
/// built anew when the toolchain is updated in place.
const STAMP: &str = "built-from-source-by.txt";

/// Where a sysroot keeps the target's libraries.
pub(super) fn library_folder(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(TARGET).join("lib")
}

/// Whether a sysroot has the library, and it is not one that we built with
/// another compiler.
pub(super) fn is_complete(sysroot: &Path, toolchain: &Toolchain) -> bool {
    let folder = library_folder(sysroot);
    let Ok(listing) = fs::read_dir(&folder) else { return false };
    let names: Vec<String> = listing.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let has = |start: &str| names.iter().any(|name| name.starts_with(start) && name.ends_with(".rlib"));
    let ours_and_old = fs::read_to_string(folder.join(STAMP)).is_ok_and(|stamp| stamp != toolchain.identity);
    has("libcore-") && has("libstd-") && !ours_and_old
}

/// Installs the rlibs below a sysroot, all or nothing: they are copied beside
/// their place and renamed into it.
pub(super) fn install(rlibs: &[PathBuf], sysroot: &Path, toolchain: &Toolchain) -> Result<()> {
    let folder = library_folder(sysroot);
    let parent = folder.parent().context("the library folder has no parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let staged = tempfile::Builder::new()
        .prefix(".lib-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot write below {}", parent.display()))?;
    for rlib in rlibs {
        let name = rlib.file_name().context("a library without a name")?;
        fs::copy(rlib, staged.path().join(name)).with_context(|| format!("cannot copy {}", rlib.display()))?;
    }
    fs::write(staged.path().join(STAMP), &toolchain.identity)?;

    if folder.exists() && !is_complete(sysroot, toolchain) {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot replace {}", folder.display()))?;
    }
    let staged = staged.keep();
    // A rename fails when somebody else was first, and theirs is as good.
    if let Err(error) = fs::rename(&staged, &folder) {
        fs::remove_dir_all(&staged).ok();
        if !is_complete(sysroot, toolchain) {
            return Err(error).with_context(|| format!("cannot put the library into {}", folder.display()));
        }
    }
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolchain(identity: &str) -> Toolchain {
        Toolchain {
            rustc: "rustc".into(),
            identity: identity.to_owned(),
            release: "1.0.0".to_owned(),
            host: "moon".to_owned(),
            sysroot: PathBuf::new(),
        }
    }

    fn fake_rlibs(folder: &Path) -> Vec<PathBuf> {
        ["libcore-1.rlib", "libstd-1.rlib"]
            .map(|name| {
                let path = folder.join(name);
                fs::write(&path, "rlib").unwrap();
                path
            })
            .to_vec()
    }

    #[test]
    fn what_was_installed_is_complete_and_may_be_installed_again() {
        let folder = tempfile::tempdir().unwrap();
        let rlibs = fake_rlibs(folder.path());
        let sysroot = folder.path().join("sysroot");
        let compiler = toolchain("one");

        assert!(!is_complete(&sysroot, &compiler));
        install(&rlibs, &sysroot, &compiler).unwrap();
        assert!(is_complete(&sysroot, &compiler));
        install(&rlibs, &sysroot, &compiler).unwrap();
        assert!(is_complete(&sysroot, &compiler));

        let left: Vec<_> = fs::read_dir(library_folder(&sysroot).parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing temporary stays: {left:?}");
    }

    #[test]
    fn a_library_of_another_compiler_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let rlibs = fake_rlibs(folder.path());
        let sysroot = folder.path().join("sysroot");
        install(&rlibs, &sysroot, &toolchain("old")).unwrap();

        let new = toolchain("new");
        assert!(!is_complete(&sysroot, &new));
        install(&rlibs, &sysroot, &new).unwrap();
        assert!(is_complete(&sysroot, &new));
    }

    #[test]
    fn a_library_that_rustup_installed_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let libraries = library_folder(folder.path());
        fs::create_dir_all(&libraries).unwrap();
        fake_rlibs(&libraries);
        assert!(is_complete(folder.path(), &toolchain("any")));
    }

    #[test]
    fn half_a_library_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let libraries = library_folder(folder.path());
        fs::create_dir_all(&libraries).unwrap();
        fs::write(libraries.join("libcore-1.rlib"), "rlib").unwrap();
        assert!(!is_complete(folder.path(), &toolchain("any")));
    }
}
