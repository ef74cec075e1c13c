//! Tidelock's own files, and how each target sees them, so that no effect ever
//! reaches them whatever a grant says.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::Loaded;

/// What SQLite keeps beside a database, what our store keeps there, and the stop file.
const BESIDE_STORE: [&str; 4] = ["-wal", "-shm", "-journal", ".lock"];

/// Tidelock's own paths on the system that runs it, by what they are.
#[derive(Debug, Clone)]
pub(crate) struct OwnPaths(Vec<(&'static str, PathBuf)>);

impl OwnPaths {
    /// Collects them: config, lock, store, plugins, cache, keys and this binary.
    pub(crate) fn collect(loaded: &Loaded) -> Self {
        let mut own: Vec<(&'static str, PathBuf)> = Vec::new();
        own.extend(loaded.files.iter().map(|file| ("config", file.clone())));
        // A new file in one of these would be read as config.
        own.extend(loaded.include_dirs.iter().filter(|dir| *dir != loaded.dir()).map(|dir| ("config", dir.clone())));
        own.push(("lock", loaded.lock()));
        let store = loaded.store();
        own.extend(BESIDE_STORE.iter().map(|suffix| {
            let mut name = store.clone().into_os_string();
            name.push(suffix);
            ("store", PathBuf::from(name))
        }));
        own.push(("stop file", store.with_file_name("STOP")));
        own.push(("store", store));
        own.push(("cache", loaded.cache()));
        own.extend(loaded.plugins_dir().map(|dir| ("plugins", dir)));
        for source in loaded.config.sources.values() {
            own.extend(source.verify.iter().map(|verify| ("allowed signers", PathBuf::from(&verify.signers))));
            own.extend(source.ca.iter().map(|ca| ("certificates", PathBuf::from(ca))));
            let files = source.auth.iter().flat_map(|auth| [&auth.password_file, &auth.token_file]).flatten();
            own.extend(files.map(|file| ("credentials", PathBuf::from(file))));
        }
        own.extend(std::env::current_exe().ok().map(|exe| ("binary", exe)));
        Self(own)
    }

    /// Every path with what it is.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.0.iter().map(|(what, path)| (*what, path.as_path()))
    }

    /// The paths as a target with this root sees them: absolute, sorted. What does not
    /// lie below the root cannot be seen; where the root lies within one of our own
    /// folders, everything there is ours.
    pub(crate) fn seen_from(&self, root: &Path) -> Vec<String> {
        let root = real(root);
        let mut seen = BTreeSet::new();
        for (_, path) in self.iter() {
            // A link stands for two paths: its own, and where it leads.
            for path in [real_parent(path), real(path)] {
                if root.starts_with(&path) {
                    seen.insert("/".to_owned());
                } else if let Ok(below) = path.strip_prefix(&root) {
                    seen.insert(nameable(below));
                }
            }
        }
        seen.into_iter().collect()
    }
}

/// A path from the root. Targets speak UTF-8: of a path that is not, the part above stands.
fn nameable(below: &Path) -> String {
    let mut out = String::new();
    for part in below {
        let Some(part) = part.to_str() else { break };
        out.push('/');
        out.push_str(part);
    }
    if out.is_empty() { "/".to_owned() } else { out }
}

/// The path with all links followed, as far as it exists; the rest as written.
pub(crate) fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut there = path.as_path();
    let mut rest = Vec::new();
    loop {
        if let Ok(found) = there.canonicalize() {
            return rest.iter().rev().fold(found, |mut out, part: &Component<'_>| {
                match part {
                    Component::ParentDir => {
                        out.pop();
                    }
                    part => out.push(part),
                }
                out
            });
        }
        match (there.components().next_back(), there.parent()) {
            (Some(last), Some(parent)) => {
                rest.push(last);
                there = parent;
            }
            _ => return path,
        }
    }
}

/// As [`real`], but the last part stays, be it a link.
fn real_parent(path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => real(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(paths: &[&Path]) -> OwnPaths {
        OwnPaths(paths.iter().map(|path| ("config", path.to_path_buf())).collect())
    }

    #[test]
    fn a_target_sees_what_lies_below_its_root_only() {
        let own = own(&[Path::new("/srv/t1/etc/tidelock/tidelock.toml"), Path::new("/var/lib/tidelock/tidelock.db")]);
        assert_eq!(own.seen_from(Path::new("/srv/t1")), ["/etc/tidelock/tidelock.toml"]);
        assert_eq!(own.seen_from(Path::new("/srv/t1/")), ["/etc/tidelock/tidelock.toml"]);
        assert_eq!(own.seen_from(Path::new("/srv/t")), [""; 0]);
        assert_eq!(
            own.seen_from(Path::new("/")),
            ["/srv/t1/etc/tidelock/tidelock.toml", "/var/lib/tidelock/tidelock.db"]
        );
    }

    #[test]
    fn a_root_within_our_own_folders_is_ours_altogether() {
        assert_eq!(own(&[Path::new("/srv/cache")]).seen_from(Path::new("/srv/cache/machine")), ["/"]);
    }

    #[test]
    fn links_are_followed_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("kept")).unwrap();
        std::fs::write(root.join("kept/tidelock.toml"), "").unwrap();
        std::os::unix::fs::symlink("kept/tidelock.toml", root.join("tidelock.toml")).unwrap();
        std::os::unix::fs::symlink(&root, root.join("loop")).unwrap();
        let own = own(&[&root.join("loop/tidelock.toml")]);
        assert_eq!(own.seen_from(&root), ["/kept/tidelock.toml", "/tidelock.toml"]);
    }

    #[test]
    fn what_is_not_there_yet_counts_too() {
        let dir = tempfile::tempdir().unwrap();
        let own = own(&[&dir.path().join("new/../store/tidelock.db")]);
        assert_eq!(own.seen_from(dir.path()), ["/store/tidelock.db"]);
    }

    #[test]
    fn a_path_that_is_not_utf8_is_shut_from_above() {
        use std::os::unix::ffi::OsStrExt;
        let odd = Path::new("/srv/t1/lib").join(std::ffi::OsStr::from_bytes(b"\xff")).join("tidelock.db");
        assert_eq!(own(&[&odd]).seen_from(Path::new("/srv/t1")), ["/lib"]);
    }
}
