//! A provider that does what it is told, good or bad: the name of a resource, or an
//! identity `do:WORD`, says which. `honest` is a small file provider.

wit_bindgen::generate!({
    path: ["../../../wit/types", "../../../wit/log", "../../../wit/machine", "../../../wit/sql", "../../../wit/netlink", "../../../wit/nft", "../../../wit/dns", "../../../wit/provider", "../wit"],
    world: "tidelock:hostile/hostile-provider",
    generate_all,
});

mod misdeeds;
mod steps;

use exports::tidelock::hostile::handles;
use exports::tidelock::provider::provider::{
    Change, Checked, Declared, Description, Field, Guest, Kind, Observation, Present, Readiness, Role, Step, Subject,
    Waits,
};
use tidelock::log::log;
use tidelock::machine::read::{self, Looked};
use tidelock::types::types::{Blame, Diagnostic, Error, Severity};

#[used]
#[unsafe(link_section = "tidelock:plugin")]
static STAMP: [u8; 66] = *br#"{"name":"guest","version":"0.1.0","api":"0.1.0","role":"provider"}"#;

/// What `describe` does. Tests write another word over it in the component.
static DESCRIBE: [u8; 24] = *b"DESCRIBE:honest         ";

struct Provider;

export!(Provider);

/// The word that says how to behave.
fn word_of(address: &str) -> &str {
    address.split_once('/').map_or(address, |(_, name)| name)
}

/// Sends message and place of a panic to the host, as the SDK does.
fn hook() {
    std::panic::set_hook(Box::new(|info| {
        let said = info.payload_as_str().unwrap_or("no message");
        let place = info.location();
        log::panicked(said, place.map_or("?", |place| place.file()), place.map_or(0, |place| place.line()));
    }));
}

fn error(code: &str, message: &str) -> Error {
    Error {
        code: code.into(),
        message: message.into(),
        field: None,
        retryable: false,
        blame: Blame::Plugin,
        extras: vec![],
    }
}

fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The value of a string field of a flat JSON text, as this guest's tests write it.
fn field<'a>(spec: &'a str, name: &str) -> &'a str {
    let key = format!("\"{name}\":\"");
    let Some(at) = spec.find(&key) else { return "" };
    spec[at + key.len()..].split('"').next().unwrap_or("")
}

impl Guest for Provider {
    fn describe() -> Description {
        hook();
        let text = String::from_utf8_lossy(std::hint::black_box(&DESCRIBE)).into_owned();
        let word = text.trim_end().trim_start_matches("DESCRIBE:");
        misdeeds::commit(word);
        if word == "read" {
            let _ = read::stat(&["/etc/motd".into()], false);
        }
        let name = if word == "misnamed" { "server" } else { "guest" };
        let schema = if word == "bad-schema" { "{" } else { r#"{"type":"object"}"# };
        let kind = |name: &str, whole_target| Kind {
            name: name.into(),
            doc: "A file, or a misdeed.\u{1b}[2J".into(),
            schema: schema.into(),
            fields: vec![Field {
                path: "/content".into(),
                roles: Role::CONTENT,
                list_key: None,
                owns_listed: false,
                default: None,
                extras: vec![],
            }],
            holds_data: false,
            whole_target,
            settle_ms: 0,
            triggers: vec!["run".into()],
            extras: vec![],
        };
        let mut kinds = vec![kind("file", false), kind("whole", true)];
        if word == "twice" {
            kinds.push(kind("file", false));
        }
        if word == "bad-kind" {
            kinds.push(kind("../x", false));
        }
        Description {
            name: name.into(),
            version: "0.1.0".into(),
            summary: "A guest\u{1b}[31m".into(),
            kinds,
            extras: vec![],
        }
    }

    fn check(resources: Vec<Declared>) -> Result<Vec<Checked>, Error> {
        hook();
        let mut out = Vec::new();
        for resource in &resources {
            let word = word_of(&resource.address);
            misdeeds::commit(word);
            let identity = match word {
                "empty-identity" => String::new(),
                "escape-identity" => "path:/a\u{1b}[2J".into(),
                "long-identity" => format!("path:/{}", "x".repeat(5000)),
                _ => format!("path:{}", field(&resource.spec, "path")),
            };
            match word {
                "short" => continue,
                "read" => drop(read::stat(&["/etc/motd".into()], false)),
                "fail" => return Err(error("invalid", "no \u{1b}[2Jthanks")),
                _ => {}
            }
            out.push(Checked {
                identity,
                provides: vec![],
                requires: vec![],
                diagnostics: vec![Diagnostic {
                    severity: Severity::Warning,
                    message: "careful\u{1b}]0;owned\u{7}".into(),
                    field: Some("/path".into()),
                    hint: None,
                    extras: vec![],
                }],
                extras: vec![],
            });
        }
        Ok(out)
    }

    fn normalise(resources: Vec<Declared>) -> Result<Vec<Result<String, Error>>, Error> {
        hook();
        let mut out = Vec::new();
        for resource in &resources {
            let word = word_of(&resource.address);
            misdeeds::commit(word);
            out.push(match word {
                "not-json" => Ok("{nope".into()),
                "not-object" => Ok("[1]".into()),
                "deep-json" => Ok("[".repeat(100_000)),
                "wide-json" => Ok(format!("{{\"a\":[{}0]}}", "0,".repeat(300_000))),
                "long-json" => Ok(format!("{{\"a\":\"{}\"}}", "x".repeat((15 << 20) + 1))),
                "refuse" => Err(error("invalid", "the mode is not a mode")),
                "who" => match read::user("0") {
                    Ok(user) => Ok(format!("{{\"owner\":{}}}", json(&user.unwrap_or_default()))),
                    Err(error) => Err(error),
                },
                _ => Ok(resource.spec.clone()),
            });
        }
        Ok(out)
    }

    fn observe(subjects: Vec<Subject>) -> Result<Vec<Observation>, Error> {
        hook();
        let whole = subjects.iter().filter(|subject| subject.kind == "guest.whole").count();
        log::log(log::Level::Debug, &format!("observe {} ({whole} whole)", subjects.len()));
        let mut out = Vec::new();
        let paths: Vec<String> =
            subjects.iter().filter_map(|subject| subject.identity.strip_prefix("path:")).map(Into::into).collect();
        let mut looked = read::stat(&paths, true)?.into_iter();
        for subject in &subjects {
            let Some(word) = subject.identity.strip_prefix("do:") else {
                let Some(answer) = looked.next() else { break };
                out.push(seen(answer));
                continue;
            };
            misdeeds::commit(word);
            misdeeds::during_observe(word);
            if word == "short" {
                continue;
            }
            out.push(lie(word));
        }
        if subjects.iter().any(|subject| subject.identity == "do:long") {
            out.push(Observation::Absent(vec![]));
        }
        Ok(out)
    }

    fn steps(changes: Vec<Change>) -> Result<Vec<Step>, Error> {
        hook();
        steps::steps(changes)
    }
}

fn present(observed: String, seen: Vec<String>) -> Observation {
    Observation::Present(Present {
        observed,
        unknown: vec![],
        handle: None,
        readiness: Readiness::Ready,
        seen,
        probes: vec![],
        extras: vec![],
    })
}

fn seen(answer: Looked) -> Observation {
    match answer {
        Looked::Found(entry) => present(
            format!("{{\"digest\":{},\"mode\":{}}}", json(&entry.digest.unwrap_or_default()), entry.mode),
            vec![entry.seen],
        ),
        Looked::Absent(token) => Observation::Absent(vec![token]),
        Looked::Failed(error) => Observation::Failed(error),
    }
}

/// Answers that do not fit what was seen.
fn lie(word: &str) -> Observation {
    match word {
        "forged-token" => present("{}".into(), vec!["00000000000000000000000000000000".into()]),
        "not-json" => present("{".into(), vec![]),
        "not-object" => present("3".into(), vec![]),
        "bad-handle" => {
            let Observation::Present(honest) = present("{}".into(), vec![]) else { unreachable!() };
            Observation::Present(Present { handle: Some("a\u{1b}b".into()), ..honest })
        }
        "bad-pointer" => {
            let Observation::Present(honest) = present("{}".into(), vec![]) else { unreachable!() };
            Observation::Present(Present { unknown: vec!["mode".into()], ..honest })
        }
        "bad-waits" => Observation::Waits(Waits { on: String::new(), why: "x".into() }),
        "escapes" => Observation::Failed(error("io\u{1b}[2J", "bad\u{1b}[2Jnews\u{202e}")),
        // There is something at /etc/motd; it says that there is not, once with the
        // token of the very look that shows it.
        "lie-with-token" => match read::stat(&["/etc/motd".into()], true).as_deref() {
            Ok([Looked::Found(entry)]) => Observation::Absent(vec![entry.seen.clone()]),
            _ => Observation::Failed(error("io", "there is nothing to lie about")),
        },
        _ => Observation::Absent(vec![]),
    }
}

struct Thing;

impl handles::GuestThing for Thing {
    fn touch(&self) {}
}

impl handles::Guest for Provider {
    type Thing = Thing;
}
