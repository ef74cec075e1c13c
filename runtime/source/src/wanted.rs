//! What is asked of a source: a branch, tag or commit, as the config or a person says.

use gix::ObjectId;
use tidelock_model::config::SourceDecl;
use tidelock_model::error::tame;
use tidelock_model::port::SourceError;

/// The shortest abbreviated commit id.
const MIN_PREFIX: usize = 4;

/// A branch, tag or commit, in the words of Git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// As it was said.
    pub(crate) text: String,
    /// Full names, best first; for a commit its id.
    pub(crate) names: Vec<String>,
    /// The commit, where its id was given.
    pub(crate) commit: Option<ObjectId>,
    /// The beginning of a commit's id, where it may be one.
    pub(crate) prefix: Option<String>,
    /// `~2`, `^` and the like, to apply to what is found.
    pub(crate) suffix: String,
    /// Whether a person asked for it, in place of the config.
    pub(crate) explicit: bool,
}

impl Wanted {
    /// What the config names.
    pub(crate) fn configured(decl: &SourceDecl) -> Result<Self, SourceError> {
        let of = |text: &str, kind: &str| {
            let name = format!("refs/{kind}/{text}");
            checked(&name, text)?;
            Ok(Self::named(text, vec![name]))
        };
        match (&decl.branch, &decl.tag, &decl.commit) {
            (None, None, None) => of("main", "heads"),
            (Some(branch), None, None) => of(branch, "heads"),
            (None, Some(tag), None) => of(tag, "tags"),
            (None, None, Some(commit)) => match full_id(commit) {
                Some(id) => Ok(Self { commit: Some(id), ..Self::named(commit, vec![id.to_string()]) }),
                None => Err(SourceError::new(
                    "invalid",
                    format!("commit = {:?} is not a commit's full id", tame(commit, 100)),
                )
                .hint("write all 40 hexadecimal digits, as `git rev-parse` prints them")),
            },
            _ => Err(SourceError::new("invalid", "the source names more than one of branch, tag and commit")
                .hint("keep one of them")),
        }
    }

    /// What a person asked for: a branch, a tag, a commit or the beginning of its id,
    /// with `~` and `^` behind it where they like.
    pub(crate) fn rev(text: &str) -> Result<Self, SourceError> {
        let end = text.find(['~', '^']).unwrap_or(text.len());
        let (base, suffix) = text.split_at(end);
        if !suffix.bytes().all(|byte| matches!(byte, b'~' | b'^' | b'0'..=b'9')) || suffix.len() > 64 {
            return Err(not_a_rev(text));
        }
        let mut wanted = Self::named(text, Vec::new());
        suffix.clone_into(&mut wanted.suffix);
        wanted.explicit = true;
        if let Some(id) = full_id(base) {
            wanted.names = vec![id.to_string()];
            wanted.commit = Some(id);
            return Ok(wanted);
        }
        if base == "HEAD" {
            wanted.names = vec!["HEAD".to_owned()];
            return Ok(wanted);
        }
        if base.starts_with("refs/heads/") || base.starts_with("refs/tags/") {
            checked(base, text)?;
            wanted.names = vec![base.to_owned()];
            return Ok(wanted);
        }
        for kind in ["heads", "tags"] {
            let name = format!("refs/{kind}/{base}");
            checked(&name, text)?;
            wanted.names.push(name);
        }
        let hex = base.bytes().all(|byte| byte.is_ascii_hexdigit());
        wanted.prefix = (hex && base.len() >= MIN_PREFIX).then(|| base.to_owned());
        Ok(wanted)
    }

    fn named(text: &str, names: Vec<String>) -> Self {
        Self { text: text.to_owned(), names, commit: None, prefix: None, suffix: String::new(), explicit: false }
    }
}

fn full_id(text: &str) -> Option<ObjectId> {
    (text.len() == 40).then(|| ObjectId::from_hex(text.as_bytes()).ok()).flatten()
}

/// Git's own rules for names, which leave nothing that a refspec would read otherwise.
fn checked(name: &str, said: &str) -> Result<(), SourceError> {
    gix::refs::FullName::try_from(name).map(|_| ()).map_err(|_| not_a_rev(said))
}

fn not_a_rev(text: &str) -> SourceError {
    SourceError::new("invalid", format!("{:?} is not the name of a branch, tag or commit", tame(text, 100)))
        .hint("such as main, v1.2, 4f2a91c or main~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn the_config_names_one_thing() {
        let decl = |branch: Option<&str>, tag: Option<&str>, commit: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            Wanted::configured(&SourceDecl {
                branch: owned(branch),
                tag: owned(tag),
                commit: owned(commit),
                ..SourceDecl::default()
            })
        };
        assert_eq!(decl(None, None, None).unwrap().names, ["refs/heads/main"]);
        assert_eq!(decl(Some("a/b"), None, None).unwrap().names, ["refs/heads/a/b"]);
        assert_eq!(decl(None, Some("v1"), None).unwrap().names, ["refs/tags/v1"]);
        assert_eq!(decl(None, None, Some(ID)).unwrap().names, [ID]);
        for bad in [decl(Some("a"), Some("b"), None), decl(None, None, Some("4f2a")), decl(Some("a:b"), None, None)] {
            assert_eq!(bad.unwrap_err().code, "invalid");
        }
    }

    #[test]
    fn people_say_it_shorter() {
        let rev = |text: &str| Wanted::rev(text).unwrap();
        assert_eq!(rev("v1").names, ["refs/heads/v1", "refs/tags/v1"]);
        assert_eq!((rev("main~2^").names[0].as_str(), rev("main~2^").suffix.as_str()), ("refs/heads/main", "~2^"));
        assert_eq!(rev(ID).commit.unwrap().to_string(), ID);
        assert_eq!(rev("4f2a91c").prefix.as_deref(), Some("4f2a91c"));
        assert_eq!(rev("HEAD~1").names, ["HEAD"]);
        for bad in ["", "a b", "*", "a:b", "main@{1}", "main^{tree}", "..", "-x\0", "refs/heads/", "main~x"] {
            assert_eq!(Wanted::rev(bad).unwrap_err().code, "invalid", "{bad:?}");
        }
    }
}
