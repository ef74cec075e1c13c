//! Names of databases, accounts and what is in databases, and their identities.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Deserializer, Serialize};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::spec::from_text;
use tidelock_sdk::sql::{Grantee, identity};

/// The longest names, in characters: of what is stored in files, of accounts, and of hosts.
const THING: usize = 64;
const ACCOUNT: usize = 128;
const HOST: usize = 255;

/// The role that everybody has, since MariaDB 10.11.
pub(crate) const PUBLIC: &str = "PUBLIC";

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident => $check:ident, $least:literal, $most:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
        #[serde(transparent)]
        pub(crate) struct $name(#[schemars(length(min = $least, max = $most))] String);

        impl $name {
            /// As text.
            pub(crate) fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_text(deserializer, |text| $check(text).map(Self))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
names! {
    /// The name of a database, table, column or routine, as it is: quotes, capitals, spaces and
    /// dots belong to it, and nobody quotes it.
    Name => thing, 1, 64;
    /// The name of a user; empty for the one that stands for all unknown users.
    UserName => user, 0, 128;
    /// The name of a role.
    RoleName => role, 1, 128;
    /// From where a user may come: a host's name or address, with `%` and `_` for any
    /// characters, or a network such as `10.0.0.0/255.0.0.0`.
    Host => host, 1, 255;
}

fn short(text: String, most: usize) -> Result<String, String> {
    let count = text.chars().count();
    if count > most || text.contains('\0') || text.chars().any(|c| u32::from(c) > 0xffff) {
        return Err(format!(
            "{text:?} has {count} characters; a name has {most} at most, and neither NUL nor characters beyond U+FFFF"
        ));
    }
    Ok(text)
}

fn thing(text: String) -> Result<String, String> {
    if text.is_empty() || text.ends_with(' ') {
        return Err(format!("{text:?} is empty or ends with a space, which the server takes for no name"));
    }
    short(text, THING)
}

fn user(text: String) -> Result<String, String> {
    short(text, ACCOUNT)
}

fn role(text: String) -> Result<String, String> {
    if text.is_empty() || text.trim() != text || text.eq_ignore_ascii_case("none") {
        return Err(format!("{text:?} cannot be the name of a role"));
    }
    short(text, ACCOUNT)
}

fn host(text: String) -> Result<String, String> {
    if text.is_empty() || text.contains('@') || text.chars().any(char::is_whitespace) {
        return Err(format!("{text:?} is no host; for every host write \"%\""));
    }
    // The server folds them, so that two spellings would be one account.
    if text.chars().any(char::is_uppercase) {
        return Err(format!("the host {text:?} has capitals; write {:?}", text.to_lowercase()));
    }
    if let Some((network, mask)) = text.split_once('/')
        && mask.parse::<Ipv4Addr>().is_err()
    {
        let bits = mask.parse::<u32>().ok().filter(|bits| *bits <= 32 && network.parse::<Ipv4Addr>().is_ok());
        return Err(match bits {
            Some(bits) => {
                let mask = Ipv4Addr::from(u32::MAX.checked_shl(32 - bits).unwrap_or_default());
                format!("the server takes {text} for the name of a host; write {network}/{mask}")
            }
            None => format!("{text} is no host; a network is written as 10.0.0.0/255.0.0.0, others as fe80::%"),
        });
    }
    short(text, HOST)
}

impl Host {
    /// Any host.
    pub(crate) fn any() -> Self {
        Self("%".to_owned())
    }
}

/// Who has an account or privileges: a user with a host, or a role, which has none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Who {
    pub(crate) name: String,
    /// Empty for a role.
    pub(crate) host: String,
}

impl Who {
    /// A user.
    pub(crate) fn user(name: &UserName, host: &Host) -> Self {
        Self { name: name.to_string(), host: host.to_string() }
    }

    /// A role; everybody where it is called `public`.
    pub(crate) fn role(name: &RoleName) -> Self {
        let name = name.as_str();
        let name = if name.eq_ignore_ascii_case(PUBLIC) { PUBLIC } else { name };
        Self { name: name.to_owned(), host: String::new() }
    }

    /// Whether it is everybody.
    pub(crate) fn is_public(&self) -> bool {
        self.host.is_empty() && self.name == PUBLIC
    }

    /// As the first part of the identity of a grant, and the whole of that of an account.
    pub(crate) fn part(&self) -> String {
        let name = identity::part(&self.name);
        match self.host.as_str() {
            "" if self.is_public() => "public".to_owned(),
            "" => name,
            host => format!("{name}@{}", identity::part(host)),
        }
    }

    /// Reads what [`Who::part`] wrote.
    pub(crate) fn of_part(part: &str) -> Self {
        match part.split_once('@') {
            Some((name, host)) => Self { name: identity::plain(name), host: identity::plain(host) },
            None if part == "public" => Self { name: PUBLIC.to_owned(), host: String::new() },
            None => Self { name: identity::plain(part), host: String::new() },
        }
    }

    /// The identity of the account. Nobody makes everybody.
    pub(crate) fn identity(&self) -> Option<String> {
        let class = if self.host.is_empty() { "role" } else { "user" };
        (!self.is_public()).then(|| format!("{class}:{}", self.part()))
    }

    /// As a person would write it in a statement.
    pub(crate) fn words(&self) -> String {
        match self.host.as_str() {
            "" => quoted('`', &self.name),
            host => format!("{}@{}", quoted('\'', &self.name), quoted('\'', host)),
        }
    }

    /// As statements have it.
    pub(crate) fn grantee(&self) -> Grantee {
        match self.host.as_str() {
            "" if self.is_public() => Grantee::Public,
            "" => Grantee::Role(self.name.clone()),
            host => Grantee::User(self.name.clone(), host.to_owned()),
        }
    }
}

/// A name between quotes, as a person would write it in a statement.
pub(crate) fn quoted(quote: char, name: &str) -> String {
    let twice: String = [quote, quote].iter().collect();
    format!("{quote}{}{quote}", name.replace(quote, &twice))
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.as_str() {
            "" => f.write_str(&self.name),
            host => write!(f, "{}@{host}", self.name),
        }
    }
}

/// What others added and the spec does not list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Owns {
    /// It is left alone.
    #[default]
    Listed,
    /// It is taken away.
    All,
}

impl Owns {
    pub(crate) fn is_listed(&self) -> bool {
        *self == Self::Listed
    }
}

/// The identity of a database.
pub(crate) fn database(name: &str) -> String {
    identity::of("database", [name])
}

/// A database's name as the server keeps it in a grant, where `_` and `%` stand for any characters.
pub(crate) fn pattern(name: &str) -> String {
    name.replace('\\', r"\\").replace('_', r"\_").replace('%', r"\%")
}

/// The name that a pattern stands for, if it is one alone.
pub(crate) fn literal(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next()?),
            '_' | '%' => return None,
            other => out.push(other),
        }
    }
    Some(out)
}

/// Whether a pattern of the server's means a name.
pub(crate) fn like(pattern: &str, name: &str) -> bool {
    let mut chars = pattern.chars();
    match chars.next() {
        None => name.is_empty(),
        Some('%') => {
            let rest = chars.as_str();
            name.char_indices().any(|(at, _)| like(rest, &name[at..])) || like(rest, "")
        }
        Some(first) => {
            let (meant, rest) = match first {
                '\\' => {
                    let meant = chars.next();
                    (meant, chars.as_str())
                }
                '_' => (None, chars.as_str()),
                other => (Some(other), chars.as_str()),
            };
            let mut name = name.chars();
            name.next().is_some_and(|c| meant.is_none_or(|meant| meant == c) && like(rest, name.as_str()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_to_the_server() {
        for (pattern, name, is) in [
            ("my\\_s%", "my_shop", true),
            ("my\\_s%", "myXshop", false),
            ("my_s%", "myXs", true),
            ("%", "", true),
            ("%a%b", "xaxxb", true),
            ("%a%b", "xaxxbc", false),
            ("50\\%", "50%", true),
            ("", "a", false),
        ] {
            assert_eq!(like(pattern, name), is, "{pattern} {name}");
        }
    }

    #[test]
    fn names_of_databases_are_no_patterns() {
        for name in ["app", "my_app", "50%", r"a\b", r"\_", "é `x`"] {
            assert_eq!(literal(&pattern(name)).as_deref(), Some(name));
        }
        assert_eq!(literal("my_app"), None);
        assert_eq!(literal("shop%"), None);
        assert_eq!(literal("dangling\\"), None);
    }

    #[test]
    fn accounts_come_back_from_identities() {
        let who = |name: &str, host: &str| Who { name: name.into(), host: host.into() };
        for who in
            [who("app", "%"), who("a@b/c", "10.0.0.0/255.0.0.0"), who("", "localhost"), who("r@x", ""), who(PUBLIC, "")]
        {
            assert_eq!(Who::of_part(&who.part()), who);
        }
        assert_eq!(who("app", "%").identity().as_deref(), Some("user:app@%25"));
        assert_eq!(who("staff", "").identity().as_deref(), Some("role:staff"));
        assert_eq!(Who::role(&serde_json::from_str("\"public\"").unwrap()).identity(), None);
    }

    #[test]
    fn names_that_the_server_would_change_are_refused() {
        let host = |text: &str| serde_json::from_value::<Host>(text.into());
        assert!(host("LocalHost").unwrap_err().to_string().contains("write \"localhost\""));
        for (text, meant) in [
            ("10.0.0.0/8", "write 10.0.0.0/255.0.0.0"),
            ("10.1.2.0/23", "write 10.1.2.0/255.255.254.0"),
            ("0.0.0.0/0", "write 0.0.0.0/0.0.0.0"),
            ("10.0.0.1/32", "write 10.0.0.1/255.255.255.255"),
            ("10.0.0.0/33", "is no host"),
            ("fe80::/64", "others as fe80::%"),
        ] {
            let said = host(text).unwrap_err().to_string();
            assert!(said.contains(meant), "{said}");
        }
        assert!(host("10.0.0.0/255.0.0.0").is_ok());
        assert!(host("").is_err() && host("a@b").is_err() && host("%.example.com").is_ok());
        let name = |text: &str| serde_json::from_value::<Name>(text.into());
        assert!(name("ends ").is_err() && name(&"x".repeat(65)).is_err() && name(&"é".repeat(64)).is_ok());
        assert!(serde_json::from_value::<RoleName>("none".into()).is_err());
    }
}
