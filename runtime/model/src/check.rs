//! Checks of a stack: what must answer before the rollout goes on, and what the operator
//! lets Git have asked.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::effect::shown;
use crate::error::{Blame, Fault};
use crate::grant::{CommandPattern, glob};

/// How long a check is asked again until it has to hold, unless it says: 30 s, as long as
/// an orchestrator's probe gives a process to come up with three tries of 10 s.
const WITHIN: SignedDuration = SignedDuration::from_secs(30);

/// The longest that a check may ask for: a pass of the loop has a deadline too.
const WITHIN_AT_MOST: SignedDuration = SignedDuration::from_mins(5);

/// One of `checks` in `stack.yaml`: exactly one of `http`, `tcp` and `exec`. In each text
/// `{target}` is the target's name, and `{labels.KEY}` the value of one of its labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckDecl {
    /// A URL that must answer a GET with `status`. Redirects are answers, and not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// The status that the URL must answer with. Default: any of 200 to 299.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// A `host:port` that must take a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// A command that must end with 0, run where Tidelock runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Vec<String>>,
    /// How long it is asked again until it has to hold, such as `30s`, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
}

/// What one check asks, with its texts filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A GET of this URL answers with this status; `None` is any of 200 to 299.
    Http(String, Option<u16>),
    /// This `host:port` takes a connection.
    Tcp(String),
    /// This command ends with 0.
    Exec(Vec<String>),
}

impl std::fmt::Display for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http(url, _) => write!(f, "http {url}"),
            Self::Tcp(address) => write!(f, "tcp {address}"),
            Self::Exec(argv) => write!(f, "exec {}", shown(argv)),
        }
    }
}

impl CheckDecl {
    /// What it asks of a target, whose texts come from `fill`.
    ///
    /// # Errors
    /// A sentence: it is not one check, or a text cannot be filled in.
    pub fn probe(&self, fill: impl Fn(&str) -> Result<String, String>) -> Result<Probe, String> {
        let probe = match (&self.http, &self.tcp, &self.exec) {
            (Some(url), None, None) => Probe::Http(fill(url)?, self.status),
            (None, Some(address), None) => Probe::Tcp(fill(address)?),
            (None, None, Some(argv)) => Probe::Exec(argv.iter().map(|word| fill(word)).collect::<Result<_, _>>()?),
            _ => return Err("a check is exactly one of `http`, `tcp` and `exec`".to_owned()),
        };
        if self.status.is_some() && self.http.is_none() {
            return Err("`status` belongs to an `http` check".to_owned());
        }
        well_formed(&probe)?;
        Ok(probe)
    }

    /// How long it is asked again until it has to hold.
    ///
    /// # Errors
    /// A sentence: the text is no duration, or a longer one than is let be.
    pub fn within(&self) -> Result<SignedDuration, String> {
        let Some(text) = &self.within else { return Ok(WITHIN) };
        match text.parse::<SignedDuration>() {
            Ok(within) if within > SignedDuration::ZERO && within <= WITHIN_AT_MOST => Ok(within),
            Ok(_) => Err(format!("`within: {text}` is not between nothing and 5 minutes")),
            Err(_) => Err(format!("`within: {text}` is not a duration such as 30s")),
        }
    }
}

/// Fills `{target}` and `{labels.KEY}` into a check's text.
///
/// # Errors
/// A sentence: another word in braces, or a label that the target does not have.
pub fn filled(text: &str, target: &str, label: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((word, after)) = after.split_once('}') else {
            return Err(format!("{text:?} opens a brace and does not close it"));
        };
        match word.strip_prefix("labels.") {
            _ if word == "target" => out.push_str(target),
            Some(key) => match label(key) {
                Some(value) => out.push_str(&value),
                None => return Err(format!("{text:?}: target {target} has no label {key:?}")),
            },
            None => return Err(format!("{text:?}: {{{word}}} is neither {{target}} nor {{labels.KEY}}")),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// A URL is compared with patterns as text. What could make its host another than the text
/// reads is refused: a user part, a backslash, a control character.
fn well_formed(probe: &Probe) -> Result<(), String> {
    match probe {
        Probe::Http(url, _) => {
            let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
            match rest {
                None => Err(format!("{url:?} does not begin with http:// or https://")),
                Some(rest)
                    if rest.is_empty()
                        || rest.starts_with('/')
                        || rest.contains(['@', '\\', '#'])
                        || rest.chars().any(|c| c.is_control() || c.is_whitespace()) =>
                {
                    Err(format!("{url:?} needs a host, and may hold no user, backslash, `#` or white space"))
                }
                Some(_) => Ok(()),
            }
        }
        Probe::Tcp(address) => match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(()),
            _ => Err(format!("{address:?} is not host:port")),
        },
        Probe::Exec(argv) => match argv.first() {
            Some(program) if program.starts_with('/') => Ok(()),
            _ => Err("a command starts with an absolute path".to_owned()),
        },
    }
}

/// What the stacks of a source may have checked: `checks` in `[[sources.NAME.allow]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckGrant {
    /// Globs of URLs; `*` stops at slashes.
    pub http: Vec<String>,
    /// Globs of `host:port`.
    pub tcp: Vec<String>,
    /// Commands, as in `exec` of a grant.
    pub exec: Vec<Vec<String>>,
}

impl CheckGrant {
    /// Whether a check may be asked.
    ///
    /// # Errors
    /// A pattern that cannot be read.
    pub fn allows(&self, probe: &Probe) -> Result<bool, Fault> {
        match probe {
            Probe::Http(url, _) => any(&self.http, url, true),
            Probe::Tcp(address) => any(&self.tcp, address, false),
            Probe::Exec(argv) => {
                for pattern in &self.exec {
                    if CommandPattern::new("checks.exec", pattern)?.fits(argv) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

fn any(patterns: &[String], text: &str, path: bool) -> Result<bool, Fault> {
    for pattern in patterns {
        if glob(pattern, path)?.is_match(text) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The fault of a check that no list allows, with the lines that would.
#[must_use]
pub fn not_allowed(source: &str, probe: &Probe) -> Fault {
    let quoted = |text: &str| serde_json::Value::from(globset::escape(text)).to_string();
    let list = match probe {
        Probe::Http(url, _) => format!("http = [{}]", quoted(url)),
        Probe::Tcp(address) => format!("tcp = [{}]", quoted(address)),
        Probe::Exec(argv) => {
            format!("exec = [[{}]]", argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", "))
        }
    };
    Fault::new("denied", Blame::Target, format!("this operator allows no check of {probe}"))
        .hint(format!("allow it in tidelock.toml:\n\n[[sources.{source}.allow]]\nchecks = {{ {list} }}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(yaml: &str) -> Result<Probe, String> {
        let decl: CheckDecl = serde_json::from_str(yaml).unwrap();
        decl.probe(|text| filled(text, "web-1", |key| (key == "port").then(|| "8080".to_owned())))
    }

    #[test]
    fn texts_are_filled_in_from_the_target() {
        let http = probe(r#"{"http":"http://{target}:{labels.port}/health"}"#).unwrap();
        assert_eq!(http, Probe::Http("http://web-1:8080/health".to_owned(), None));
        for (yaml, words) in [
            (r#"{"tcp":"{target}:{labels.other}"}"#, "has no label \"other\""),
            (r#"{"tcp":"{name}:1"}"#, "neither {target} nor"),
            (r#"{"tcp":"{target"}"#, "does not close it"),
            (r#"{"tcp":"web-1"}"#, "is not host:port"),
            (r#"{"tcp":"web-1:0"}"#, "is not host:port"),
            (r#"{"exec":["true"]}"#, "absolute path"),
            (r#"{"exec":[]}"#, "absolute path"),
            (r#"{"http":"ftp://x/"}"#, "http:// or https://"),
            (r#"{"http":"http://web-1@evil/health"}"#, "no user"),
            (r#"{"tcp":"a:1","http":"http://a/"}"#, "exactly one of"),
            (r"{}", "exactly one of"),
            (r#"{"tcp":"a:1","status":200}"#, "belongs to an `http` check"),
        ] {
            let error = probe(yaml).unwrap_err();
            assert!(error.contains(words), "{yaml}: {error}");
        }
    }

    #[test]
    fn only_what_the_operator_lists_is_asked() {
        let grant = CheckGrant {
            http: vec!["http://web-*/health".to_owned()],
            tcp: vec!["web-*:443".to_owned()],
            exec: vec![vec!["/bin/test".to_owned(), "-e".to_owned(), "/srv/*".to_owned()]],
        };
        let allows = |yaml: &str| grant.allows(&probe(yaml).unwrap()).unwrap();
        assert!(allows(r#"{"http":"http://web-1/health"}"#));
        assert!(!allows(r#"{"http":"http://web-1/x/health"}"#));
        assert!(!allows(r#"{"http":"https://web-1/health"}"#));
        assert!(allows(r#"{"tcp":"web-9:443"}"#) && !allows(r#"{"tcp":"web-9:22"}"#));
        assert!(allows(r#"{"exec":["/bin/test","-e","/srv/x"]}"#));
        assert!(!allows(r#"{"exec":["/bin/test","-e","/srv/../etc/shadow"]}"#));
        assert!(!CheckGrant::default().allows(&Probe::Tcp("a:1".into())).unwrap());
        let fault = not_allowed("infra", &Probe::Tcp("127.0.0.1:22".into()));
        assert!(fault.hint.unwrap().contains("checks = { tcp = [\"127.0.0.1:22\"] }"));
    }

    #[test]
    fn a_check_does_not_wait_for_ever() {
        let within = |text: &str| CheckDecl { within: Some(text.into()), ..CheckDecl::default() }.within();
        assert_eq!(within("2s"), Ok(SignedDuration::from_secs(2)));
        assert!(within("1h").unwrap_err().contains("5 minutes") && within("soon").unwrap_err().contains("such as 30s"));
        assert_eq!(CheckDecl::default().within(), Ok(WITHIN));
    }
}
