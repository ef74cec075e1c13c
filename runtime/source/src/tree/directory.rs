//! One directory, its names checked. A repository chooses its names, so each is taken
//! for hostile until shown otherwise.

use std::collections::HashMap;
use std::sync::OnceLock;

use tidelock_model::error::tame;
use tidelock_model::port::SourceError;

use super::{Facts, shown};

/// The longest name, in bytes: what file systems take.
const MAX_NAME: usize = 255;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node<K> {
    Directory(K),
    File(K),
    Link(K),
    Submodule,
}

/// A name as a place gave it.
pub(crate) struct Raw<K> {
    pub(super) name: Vec<u8>,
    pub(super) node: Node<K>,
}

/// A checked name.
pub(crate) struct Entry<K> {
    pub(super) name: String,
    pub(super) node: Node<K>,
    pub(super) facts: OnceLock<Facts>,
}

/// Checked names in byte order.
pub(crate) struct Directory<K> {
    pub(super) key: K,
    pub(super) entries: Vec<Entry<K>>,
    index: HashMap<String, usize>,
}

impl<K> Directory<K> {
    /// Checks names and puts them in order.
    pub(super) fn check(path: &str, key: K, raw: Vec<Raw<K>>) -> Result<Self, SourceError> {
        let mut entries = Vec::with_capacity(raw.len());
        let mut folded: HashMap<String, String> = HashMap::with_capacity(raw.len());
        for Raw { name, node } in raw {
            let name = component(path, name)?;
            if let Some(other) = folded.insert(name.to_lowercase(), name.clone()) {
                let what = if other == name {
                    "stands twice".to_owned()
                } else {
                    format!("differs from {other:?} in case only")
                };
                return Err(refused(path, &name, &what, "rename one of them: on some systems both are the same file"));
            }
            entries.push(Entry { name, node, facts: OnceLock::new() });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let index = entries.iter().enumerate().map(|(index, entry)| (entry.name.clone(), index)).collect();
        Ok(Self { key, entries, index })
    }

    /// A name's place and entry.
    pub(super) fn get(&self, name: &str) -> Option<(usize, &Entry<K>)> {
        let index = *self.index.get(name)?;
        Some((index, self.entries.get(index)?))
    }

    /// Whether a name is a file.
    pub(super) fn holds_file(&self, name: &str) -> bool {
        self.get(name).is_some_and(|(_, entry)| matches!(entry.node, Node::File(_)))
    }
}

/// A name that cannot be taken for a path, an option of Git, or another name.
fn component(path: &str, name: Vec<u8>) -> Result<String, SourceError> {
    let lossy = String::from_utf8_lossy(&name).into_owned();
    let hint = "rename it; `git fsck` names more of the kind";
    let refuse = |what: &str| Err(refused(path, &lossy, what, hint));
    let Ok(name) = String::from_utf8(name) else { return refuse("is not UTF-8") };
    match name.as_str() {
        "" => return refuse("is empty"),
        "." | ".." => return refuse("is not the name of a file"),
        name if is_dot_git(name) => return refuse("is Git's own folder"),
        _ => {}
    }
    if name.len() > MAX_NAME {
        return refuse(&format!("has more than {MAX_NAME} bytes"));
    }
    if let Some(c) = name.chars().find(|c| matches!(c, '/' | '\\') || c.is_control()) {
        return refuse(&format!("holds {c:?}"));
    }
    Ok(name)
}

/// `.git` in any case, by its old DOS name, or with letters in it that some file systems
/// do not see.
fn is_dot_git(name: &str) -> bool {
    let seen: String = name
        .chars()
        .filter(
            |c| !matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}'),
        )
        .collect();
    let seen = seen.trim_end_matches(['.', ' ']);
    seen.eq_ignore_ascii_case(".git") || seen.eq_ignore_ascii_case("git~1")
}

fn refused(path: &str, name: &str, what: &str, hint: &str) -> SourceError {
    SourceError::new("path", format!("in {}: the name {:?} {what}", shown(path), tame(name, 300))).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&[u8]]) -> Result<Directory<()>, SourceError> {
        let raw = names.iter().map(|name| Raw { name: name.to_vec(), node: Node::File(()) }).collect();
        Directory::check("envs", (), raw)
    }

    #[test]
    fn honest_names_pass_in_byte_order() {
        let directory = check(&[b"b", b".gitignore", "é".as_bytes(), b"a b", b"-rf", b"..."]).unwrap();
        let names: Vec<&str> = directory.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["-rf", "...", ".gitignore", "a b", "b", "é"]);
        assert!(directory.holds_file("a b"));
        assert!(!directory.holds_file("c"));
    }

    #[test]
    fn hostile_names_do_not() {
        for (name, says) in [
            (b"".as_slice(), "empty"),
            (b".", "not the name"),
            (b"..", "not the name"),
            (b".git", "Git's own"),
            (b".GiT", "Git's own"),
            (b".git. ", "Git's own"),
            (b"git~1", "Git's own"),
            (".g\u{200c}it".as_bytes(), "Git's own"),
            (b"a/b", "holds '/'"),
            (b"a\\b", "holds '\\\\'"),
            (b"a\0b", "holds '\\0'"),
            (b"a\x1b[2Jb", "holds '\\u{1b}'"),
            ("a\u{9b}".as_bytes(), "holds '\\u{9b}'"),
            (b"\xff", "not UTF-8"),
            (&[b'x'; 256], "more than 255 bytes"),
        ] {
            let error = check(&[b"fine", name]).err().unwrap();
            assert_eq!(error.code, "path");
            assert!(error.message.starts_with("in envs: "), "{error}");
            assert!(error.message.contains(says), "{error} should say {says:?}");
        }
    }

    #[test]
    fn names_that_some_systems_confuse_do_not() {
        assert!(check(&[b"a", b"a"]).err().unwrap().message.contains("stands twice"));
        assert!(check(&[b"Makefile", b"makefile"]).err().unwrap().message.contains("in case only"));
        assert!(check(&["É".as_bytes(), "é".as_bytes()]).is_err());
    }
}
