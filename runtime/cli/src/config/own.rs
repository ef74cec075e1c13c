//! Tidelock's own files, and how each target sees them, so that no effect ever
//! reaches them whatever a grant says.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use tidelock_host::Lock;

use super::Loaded;

/// Links in a row that are followed; Linux gives up there too.
const LINKS: usize = 40;

/// What SQLite keeps beside a database, what our store keeps there, and the stop file.
const BESIDE_STORE: [&str; 5] = ["-wal", "-shm", "-journal", ".lock", ".before"];

/// Tidelock's own paths on the system that runs it, by what they are.
#[derive(Debug, Clone)]
pub(crate) struct OwnPaths(Vec<(&'static str, PathBuf)>);

impl OwnPaths {
    /// Collects them: config, lock, store, guards, plugins, cache, keys, credentials and this binary.
    pub(crate) fn collect(loaded: &Loaded) -> Self {
        let mut own: Vec<(&'static str, PathBuf)> = Vec::new();
        own.extend(loaded.files.iter().map(|file| ("config", file.clone())));
        // A new file in one of these would be read as config.
        own.extend(loaded.include_dirs.iter().map(|dir| ("config", dir.clone())));
        own.push(("lock", Lock::staged(&loaded.lock())));
        own.push(("lock", loaded.lock()));
        let store = loaded.store();
        own.extend(BESIDE_STORE.iter().map(|suffix| {
            let mut name = store.clone().into_os_string();
            name.push(suffix);
            ("store", PathBuf::from(name))
        }));
        own.push(("stop file", store.with_file_name("STOP")));
        own.push(("socket", loaded.socket()));
        own.push(("guards", loaded.guards()));
        own.push(("store", store));
        own.push(("cache", loaded.cache()));
        own.extend(loaded.plugins_dir().map(|dir| ("plugins", dir)));
        own.push(("key of secrets", loaded.secrets_key()));
        let secrets = loaded.config.secrets.values().filter_map(|secret| secret.file.as_ref());
        own.extend(secrets.map(|file| ("credentials", PathBuf::from(file))));
        for source in loaded.config.sources.values() {
            let identities = source
                .decrypt
                .iter()
                .flat_map(tidelock_model::config::OneOrMany::iter)
                .filter_map(|key| key.age.as_ref());
            own.extend(identities.map(|file| ("key", PathBuf::from(file))));
            own.extend(source.verify.iter().map(|verify| ("allowed signers", PathBuf::from(&verify.signers))));
            own.extend(source.ca.iter().map(|ca| ("certificates", PathBuf::from(ca))));
            let ssh = source.ssh.iter();
            own.extend(ssh.clone().map(|ssh| ("key", PathBuf::from(&ssh.key))));
            own.extend(ssh.map(|ssh| ("known hosts", PathBuf::from(&ssh.known_hosts))));
            let auth = source.auth.iter().chain(&source.proxy_auth);
            let files = auth.flat_map(|auth| [&auth.password_file, &auth.token_file]).flatten();
            let secret = source.webhook.iter().flat_map(|webhook| &webhook.secret_file);
            own.extend(files.chain(secret).map(|file| ("credentials", PathBuf::from(file))));
        }
        for target in loaded.config.targets.values() {
            target.clone().each_file(|file| own.push(("credentials", PathBuf::from(&*file))));
        }
        own.extend(std::env::current_exe().ok().map(|exe| ("binary", exe)));
        let invoked = std::env::args_os().next().map(|name| invoked(&name, std::env::var_os("PATH")));
        own.extend(invoked.into_iter().flatten().map(|path| ("binary", path)));
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
            // Who can replace a link on the way decides what lies at its end.
            let (mut paths, end) = follow(path);
            paths.push(end);
            for path in paths {
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
    follow(path).1
}

/// Every link that is met on the way to a path, each below its real parent, and where
/// the path ends.
fn follow(path: &Path) -> (Vec<PathBuf>, PathBuf) {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (mut links, mut at) = (Vec::new(), PathBuf::from("/"));
    let mut left: Vec<OsString> = parts(&path);
    while let Some(part) = left.pop() {
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => at = PathBuf::from("/"),
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::Normal(name)) => {
                let next = at.join(name);
                match next.read_link() {
                    Ok(to) if links.len() < LINKS => {
                        left.extend(parts(&to));
                        links.push(next);
                    }
                    _ => at = next,
                }
            }
            _ => {}
        }
    }
    (links, at)
}

/// The parts of a path, the first one last.
fn parts(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|part| part.as_os_str().to_owned()).collect()
}

/// The paths by which this program may have been called: as it was written, or every
/// file of that name on `$PATH`.
fn invoked(name: &OsStr, path: Option<OsString>) -> Vec<PathBuf> {
    if name.as_encoded_bytes().contains(&b'/') {
        return vec![PathBuf::from(name)];
    }
    let path = path.unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(name)).filter(|file| file.is_file()).collect()
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
        assert_eq!(own.seen_from(&root), ["/kept/tidelock.toml", "/loop", "/tidelock.toml"]);
    }

    #[test]
    fn every_link_on_the_way_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("opt/tl-2")).unwrap();
        std::fs::create_dir(root.join("etc")).unwrap();
        std::fs::write(root.join("opt/tl-2/tidelock.toml"), "").unwrap();
        std::os::unix::fs::symlink(root.join("opt/tl"), root.join("etc/tidelock")).unwrap();
        std::os::unix::fs::symlink("../opt/tl-2", root.join("opt/tl")).unwrap();
        let own = own(&[&root.join("etc/tidelock/tidelock.toml"), &root.join("etc/tidelock/new/tidelock.db")]);
        let wanted = ["/etc/tidelock", "/opt/tl", "/opt/tl-2/new/tidelock.db", "/opt/tl-2/tidelock.toml"];
        assert_eq!(own.seen_from(&root), wanted);
    }

    #[test]
    fn the_link_that_starts_this_program_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("opt/bin")).unwrap();
        std::fs::create_dir_all(root.join("usr/bin")).unwrap();
        std::fs::write(root.join("opt/bin/tidelock"), "").unwrap();
        std::os::unix::fs::symlink("../../opt/bin/tidelock", root.join("usr/bin/tidelock")).unwrap();
        let path = std::env::join_paths([root.join("gone"), root.join("usr/bin")]).unwrap();
        let link = [root.join("usr/bin/tidelock")];
        assert_eq!(invoked(OsStr::new("tidelock"), Some(path.clone())), link);
        assert_eq!(invoked(link[0].as_os_str(), Some(path)), link);
        assert_eq!(own(&[&link[0]]).seen_from(&root), ["/opt/bin/tidelock", "/usr/bin/tidelock"]);
        assert!(invoked(OsStr::new("tidelock"), None).is_empty());
    }

    #[test]
    fn links_that_lead_nowhere_end() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::os::unix::fs::symlink("b", root.join("a")).unwrap();
        std::os::unix::fs::symlink("a", root.join("b")).unwrap();
        let seen = own(&[&root.join("a/tidelock.toml")]).seen_from(&root);
        assert!(["/a", "/b"].iter().all(|link| seen.iter().any(|seen| seen == link)), "{seen:?}");
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
