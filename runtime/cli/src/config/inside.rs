//! Who can commit to a repository must not be able to write the operator's config:
//! nothing of ours may lie inside a repository that is being planned.

use std::path::{Path, PathBuf};

use super::own::real;
use super::{Loaded, OwnPaths};
use crate::error::{CliError, Kind};

/// Refuses a repository that holds our config, lock, store, cache, plugins or keys.
/// `trust` is `--trust-worktree`; `ci` is whether the environment says that this is CI.
pub(crate) fn refuse_inside(loaded: &Loaded, repository: &str, trust: bool, ci: bool) -> Result<(), CliError> {
    let Some(path) = local(repository) else { return Ok(()) };
    let root = top(&real(&path));
    let inside = |path: &Path| real(path).starts_with(&root);
    let own = OwnPaths::collect(loaded);
    let Some((what, found)) = own.iter().find(|(what, path)| *what != "binary" && inside(path)) else {
        return Ok(());
    };
    let message = format!(
        "the {what} {} lies inside the repository {}: whoever commits there could give themselves every right",
        found.display(),
        root.display()
    );
    let out = CliError::new(Kind::Config, message)
        .hint(format!("keep config, store, cache, plugins and keys outside of it, for example in {}", beside(&root)));
    match (trust, ci) {
        (true, false) => Ok(()),
        (true, true) => Err(out.because("--trust-worktree does not count where CI is set")),
        (false, true) => Err(out),
        (false, false) => Err(out.hint("for play on your own machine: --trust-worktree")),
    }
}

/// The path of a source that is on this system.
fn local(url: &str) -> Option<PathBuf> {
    match url.strip_prefix("file://") {
        Some(path) => Some(PathBuf::from(path)),
        None => super::paths::is_path(url).then(|| PathBuf::from(url)),
    }
}

/// The work tree's top, or the repository itself where it is bare.
fn top(path: &Path) -> PathBuf {
    work_tree(path).unwrap_or(path).to_owned()
}

/// The top of the work tree that a path lies in. `.git` is a file in linked work trees.
pub(super) fn work_tree(path: &Path) -> Option<&Path> {
    path.ancestors().find(|dir| dir.join(".git").exists())
}

fn beside(root: &Path) -> String {
    root.parent().unwrap_or(Path::new("/etc/tidelock")).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lay_out() -> (tempfile::TempDir, Loaded) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("repo/.git")).unwrap();
        std::fs::create_dir_all(dir.path().join("repo/sub")).unwrap();
        let file = dir.path().join("repo/tidelock.toml");
        std::fs::write(&file, "").unwrap();
        let loaded = super::super::load(&file).unwrap();
        (dir, loaded)
    }

    #[test]
    fn config_inside_the_repository_is_refused() {
        let (dir, loaded) = lay_out();
        for repository in ["repo", "repo/sub"] {
            let repository = dir.path().join(repository);
            for url in [repository.display().to_string(), format!("file://{}", repository.display())] {
                let error = refuse_inside(&loaded, &url, false, false).unwrap_err();
                assert!(error.message.contains("lies inside the repository"), "{error}");
                assert!(refuse_inside(&loaded, &url, true, false).is_ok());
                assert!(refuse_inside(&loaded, &url, true, true).is_err());
            }
        }
    }

    #[test]
    fn config_beside_the_repository_is_fine() {
        let (dir, loaded) = lay_out();
        std::fs::create_dir_all(dir.path().join("other/.git")).unwrap();
        assert!(refuse_inside(&loaded, &dir.path().join("other").display().to_string(), false, true).is_ok());
        assert!(refuse_inside(&loaded, "https://git.example.com/infra.git", false, true).is_ok());
    }
}
