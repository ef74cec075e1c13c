//! The file `STOP` beside the store: a stop that needs no working command line, nor a
//! store that can be written. Anybody who may make a file there may stop everything.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tidelock_model::error::tame;
use tidelock_model::hold::{Hold, HoldKind, Scope};

/// The longest file that is read, in bytes; a longer one is taken to mean everything.
const LARGEST: u64 = 64 << 10;

/// Where the stop file of a store lies.
pub(crate) fn beside(store: &Path) -> PathBuf {
    store.with_file_name("STOP")
}

/// The stops that the file asks for; none where there is no file.
///
/// An empty file stops everything. Else each line is a lane as `STACK`, `STACK@TARGET` or
/// `@TARGET`, names or globs, and what stands behind a `#` is told as the reason. Whatever
/// cannot be read stops everything: a brake that fails, fails closed.
pub(crate) fn holds(file: &Path) -> Vec<Hold> {
    // The link itself, not what it points at: one that leads nowhere was put there too.
    let found = match fs::symlink_metadata(file) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return vec![],
        Err(error) => return vec![hold(file, Scope::default(), Timestamp::UNIX_EPOCH, Some(error.to_string()))],
    };
    let at = found.modified().ok().and_then(|time| Timestamp::try_from(time).ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    let text = match fs::metadata(file) {
        Ok(behind) if behind.is_file() && behind.len() <= LARGEST => fs::read_to_string(file).unwrap_or_default(),
        _ => String::new(),
    };
    let (scopes, said) = read(&text);
    scopes.into_iter().map(|scope| hold(file, scope, at, said.clone())).collect()
}

fn read(text: &str) -> (Vec<Scope>, Option<String>) {
    let (mut scopes, mut said) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let (lane, comment) = line.split_once('#').unwrap_or((line, ""));
        said.extend(Some(comment.trim()).filter(|comment| !comment.is_empty()));
        let lane = lane.trim();
        if lane.is_empty() {
            continue;
        }
        let (stack, target) = lane.split_once('@').unwrap_or((lane, ""));
        let part = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        scopes.push(Scope { source: None, stack: part(stack), target: part(target) });
    }
    if scopes.is_empty() {
        scopes.push(Scope::default());
    }
    (scopes, (!said.is_empty()).then(|| tame(&said.join(" "), 1024)))
}

/// No row of the store has its id, and nothing but removing the file ends it.
fn hold(file: &Path, scope: Scope, at: Timestamp, reason: Option<String>) -> Hold {
    let who = format!("the file {}", file.display());
    Hold { id: Hold::FILE, kind: HoldKind::Stop, scope, who, at, until: None, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(stack: Option<&str>, target: Option<&str>) -> Scope {
        Scope { source: None, stack: stack.map(str::to_owned), target: target.map(str::to_owned) }
    }

    #[test]
    fn an_empty_file_means_everything() {
        assert_eq!(read(""), (vec![Scope::default()], None));
        assert_eq!(read("\n# a freeze\n"), (vec![Scope::default()], Some("a freeze".to_owned())));
    }

    #[test]
    fn lines_narrow_it() {
        let (scopes, said) = read("web # until Ann is back\n db-* @ prod-1\n@lab\n");
        assert_eq!(scopes, [scope(Some("web"), None), scope(Some("db-*"), Some("prod-1")), scope(None, Some("lab"))]);
        assert_eq!(said.as_deref(), Some("until Ann is back"));
    }

    #[test]
    fn what_cannot_be_read_stops_everything() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("STOP");
        assert_eq!(holds(&file), []);
        std::os::unix::fs::symlink("nowhere", &file).unwrap();
        assert_eq!(holds(&file)[0].scope, Scope::default());
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(holds(&file)[0].scope, Scope::default());
        fs::remove_dir(&file).unwrap();
        fs::write(&file, b"web \xff").unwrap();
        assert_eq!(holds(&file)[0].scope, Scope::default());
    }
}
