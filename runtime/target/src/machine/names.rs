//! Users and groups: names for numbers, and back. A target below a root that holds
//! its own `etc/passwd` or `etc/group` is read by those; any other by the system.

use std::collections::HashMap;

use nix::unistd::{Gid, Group, Uid, User};
use tidelock_model::error::Fault;

use super::Machine;
use super::fault::fault;

/// An account file is read up to this size.
const ACCOUNTS_MAX: u64 = 16 << 20;

/// Which of the two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    User,
    Group,
}

impl Who {
    fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
        }
    }
}

/// One list of names.
enum Book {
    /// Whatever the system asks (`nsswitch.conf`).
    System,
    /// A file below the root.
    File(Vec<(String, u32)>),
}

/// Answers for the length of one call; a later call asks anew.
pub(super) struct Names {
    users: Book,
    groups: Book,
    known: HashMap<(bool, u32), String>,
}

impl Names {
    /// Reads the lists of a machine.
    ///
    /// # Errors
    /// A list below the root is there and cannot be read.
    pub(super) fn of(machine: &Machine) -> Result<Self, Fault> {
        let book = |path: &str| -> Result<Book, Fault> {
            if !machine.below {
                return Ok(Book::System);
            }
            Ok(match machine.content(path, ACCOUNTS_MAX)? {
                Some(text) => Book::File(entries(&String::from_utf8_lossy(&text))),
                None => Book::System,
            })
        };
        Ok(Self { users: book("/etc/passwd")?, groups: book("/etc/group")?, known: HashMap::new() })
    }

    /// How a number is written: by name, or as the number where it has none.
    pub(super) fn written(&mut self, who: Who, number: u32) -> String {
        let key = (who == Who::User, number);
        if let Some(name) = self.known.get(&key) {
            return name.clone();
        }
        let name = match self.book(who) {
            Book::File(list) => list.iter().find(|(_, id)| *id == number).map(|(name, _)| name.clone()),
            Book::System if who == Who::User => {
                User::from_uid(Uid::from_raw(number)).ok().flatten().map(|user| user.name)
            }
            Book::System => Group::from_gid(Gid::from_raw(number)).ok().flatten().map(|group| group.name),
        };
        let name = name.unwrap_or_else(|| number.to_string());
        self.known.insert(key, name.clone());
        name
    }

    /// The number of a name, or of a number in text. Names come first, as in chown(1).
    ///
    /// # Errors
    /// The list cannot be asked.
    pub(super) fn number(&self, who: Who, text: &str) -> Result<Option<u32>, Fault> {
        let failed = |error: nix::Error| {
            fault("io", format!("cannot look up {} {text:?}: {}", who.word(), error.desc())).retryable()
        };
        let found = match self.book(who) {
            Book::File(list) => list.iter().find(|(name, _)| name == text).map(|(_, id)| *id),
            Book::System if text.contains('\0') => None,
            Book::System if who == Who::User => User::from_name(text).map_err(failed)?.map(|user| user.uid.as_raw()),
            Book::System => Group::from_name(text).map_err(failed)?.map(|group| group.gid.as_raw()),
        };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // The highest number means "leave as it is" to chown(2).
        Ok(found.or_else(|| text.parse().ok().filter(|id| digits && *id != u32::MAX)))
    }

    /// As [`Names::number`], where the name must exist.
    ///
    /// # Errors
    /// `not-found`, naming the user or group.
    pub(super) fn required(&self, who: Who, text: &str) -> Result<u32, Fault> {
        self.number(who, text)?.ok_or_else(|| {
            fault("not-found", format!("there is no {} {text:?} on the target", who.word())).at(match who {
                Who::User => "/owner",
                Who::Group => "/group",
            })
        })
    }

    fn book(&self, who: Who) -> &Book {
        match who {
            Who::User => &self.users,
            Who::Group => &self.groups,
        }
    }
}

/// `name:password:number:...`, a line each.
fn entries(text: &str) -> Vec<(String, u32)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            Some((name.to_owned(), fields.nth(1)?.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_lines_that_are_not_accounts_are_passed_over() {
        let text = "root:x:0:0:root:/root:/bin/sh\n# note\n\nbad\n:x:5:\nneg:x:-1:\nwww:x:33:33::/:/bin/false";
        assert_eq!(entries(text), [("root".to_owned(), 0), ("www".to_owned(), 33)]);
    }
}
