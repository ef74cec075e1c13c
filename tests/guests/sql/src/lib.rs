//! A provider for database servers that asks what the identity of a subject says
//! (`ask:DATABASE|QUERY`), and proposes what the spec of a change says.

wit_bindgen::generate!({
    path: ["../../../wit/types", "../../../wit/log", "../../../wit/machine", "../../../wit/sql", "../../../wit/netlink", "../../../wit/nft", "../../../wit/dns", "../../../wit/provider"],
    world: "tidelock:provider/provider-plugin",
    generate_all,
});

use exports::tidelock::provider::provider::{
    Change, Checked, Declared, Description, Guest, Kind, Observation, Present, Readiness, Step, Subject,
};
use tidelock::sql::propose::{
    self, AfterCrash, Common, GrantStatement, Granted, Grantee, Object, Part, Privilege, Secret, SecretForm, Statement,
    Verb,
};
use tidelock::sql::read::{self, Failure, Value};
use tidelock::types::types::Error;

#[used]
#[unsafe(link_section = "tidelock:plugin")]
static STAMP: [u8; 69] = *br#"{"name":"sqlguest","version":"0.1.0","api":"0.1.0","role":"provider"}"#;

struct Provider;

export!(Provider);

impl Guest for Provider {
    fn describe() -> Description {
        Description {
            name: "sqlguest".into(),
            version: "0.1.0".into(),
            summary: "Asks and proposes what it is told".into(),
            kinds: vec![Kind {
                name: "role".into(),
                doc: "A role, or a misdeed.".into(),
                schema: r#"{"type":"object"}"#.into(),
                fields: vec![],
                holds_data: true,
                whole_target: false,
                settle_ms: 0,
                triggers: vec![],
                extras: vec![],
            }],
            extras: vec![],
        }
    }

    fn check(resources: Vec<Declared>) -> Result<Vec<Checked>, Error> {
        let checked = |_: &Declared| Checked {
            identity: "role:app".into(),
            provides: vec![],
            requires: vec![],
            diagnostics: vec![],
            extras: vec![],
        };
        // What a plugin says of a spec must not depend on what it sees.
        if resources.iter().any(|resource| resource.address.ends_with("/peek")) {
            let _ = read::open(None);
        }
        Ok(resources.iter().map(checked).collect())
    }

    fn normalise(resources: Vec<Declared>) -> Result<Vec<Result<String, Error>>, Error> {
        Ok(resources.into_iter().map(|resource| Ok(resource.spec)).collect())
    }

    fn observe(subjects: Vec<Subject>) -> Result<Vec<Observation>, Error> {
        Ok(subjects.iter().map(|subject| observe(subject).unwrap_or_else(|failure| failed(&failure))).collect())
    }

    fn steps(changes: Vec<Change>) -> Result<Vec<Step>, Error> {
        Ok(changes
            .iter()
            .map(|change| match propose(change) {
                Ok(()) => Step::Proposed,
                Err(error) => Step::Refused(error),
            })
            .collect())
    }
}

fn failed(failure: &Failure) -> Observation {
    let mut error = failure.error.clone();
    if let Some(state) = &failure.sqlstate {
        error.message.push_str(&format!(" ({state})"));
    }
    Observation::Failed(error)
}

fn observe(subject: &Subject) -> Result<Observation, Failure> {
    let text = subject.identity.strip_prefix("ask:").unwrap_or("|SELECT rolname FROM pg_roles WHERE rolname = 'app'");
    if text == "flood" {
        let held: Vec<_> = (0..10_000).map(|_| read::open(None)).collect();
        return Ok(present(held.len() as u32, "", vec![]));
    }
    if text == "told" {
        // What a plugin is told when nobody can be signed in, as it is.
        let told =
            read::server().err().into_iter().chain(read::open(None).and_then(|open| open.query("SELECT 1", &[])).err());
        let told: Vec<String> = told.map(|failure| format!("{failure:?}").replace(['"', '\\'], "'")).collect();
        return Ok(present(told.len() as u32, &told.join(" "), vec![]));
    }
    if text == "held" {
        let connection = read::open(None)?;
        let mut held = vec![];
        loop {
            held.push(connection.query("SELECT string_agg('xxxxxxxxxx', '') FROM generate_series(1, 1000000)", &[])?);
        }
    }
    let (database, sql) = text.split_once('|').unwrap_or(("", text));
    let connection = read::open((!database.is_empty()).then_some(database))?;
    let rows = connection.query(sql, &[])?;
    let mut first = String::new();
    let mut given = 0;
    loop {
        let page = rows.next(1_000).unwrap_or_default();
        if page.is_empty() {
            break;
        }
        if given == 0 {
            first = format!("{:?}", page[0]).replace(['"', '\\'], "'");
        }
        given += page.len() as u32;
    }
    let seen = rows.seen(&[]).ok().into_iter().collect();
    let absent = rows.seen(&[Value::Text("app".into())]).ok().into_iter().collect();
    if rows.count() == 0 {
        return Ok(Observation::Absent(absent));
    }
    Ok(present(given, &first, seen))
}

fn present(count: u32, first: &str, seen: Vec<String>) -> Observation {
    Observation::Present(Present {
        observed: format!("{{\"count\":{count},\"first\":\"{first}\"}}"),
        unknown: vec![],
        handle: None,
        readiness: Readiness::Ready,
        seen,
        probes: vec![],
        extras: vec![],
    })
}

fn object(class: &str, name: &[&str]) -> Object {
    Object { class: class.into(), name: name.iter().map(|part| (*part).into()).collect() }
}

fn propose(change: &Change) -> Result<(), Error> {
    let word = change.address.rsplit('/').next().unwrap_or_default();
    let common = Common {
        change: change.id,
        preconditions: change.seen.clone(),
        together: Some("all".into()),
        after_crash: AfterCrash::Observe,
        database: None,
        extras: vec![],
    };
    let forged = Common { preconditions: vec!["00".repeat(16)], ..common.clone() };
    let inside = Common { database: Some("app".into()), ..common.clone() };
    let secret = |name: &str, form| Part::Secret(Secret { name: name.into(), form });
    let role = |name: &str, parts| Statement { verb: Verb::Create, object: object("role", &[name]), parts };
    let text = |text: &str| Part::Text(text.into());
    let app = |parts| role("app", parts);
    match word {
        "forged" => propose::execute(&forged, &app(vec![])),
        "other" => propose::execute(&common, &role("other", vec![])),
        "two" => propose::execute(&common, &app(vec![text("LOGIN; DROP ROLE x")])),
        "member" => propose::execute(&common, &app(vec![text("IN ROLE postgres")])),
        "quotes" => propose::execute(&common, &app(vec![text("VALID UNTIL 'x'")])),
        "class" => propose::execute(
            &common,
            &Statement { verb: Verb::Create, object: object("subscription", &["app"]), parts: vec![] },
        ),
        "no-such-change" => propose::execute(&Common { change: 99, ..common }, &app(vec![])),
        "strange-secret" => {
            let parts = vec![text("PASSWORD"), secret("other/secret", SecretForm::Verifier)];
            propose::execute(&common, &app(parts))
        }
        "plain-secret" => {
            let parts = vec![text("PASSWORD"), secret("app/password", SecretForm::Plain)];
            propose::execute(&common, &app(parts))
        }
        "secret" => {
            let parts = vec![text("LOGIN PASSWORD"), secret("app/password", SecretForm::Verifier)];
            propose::execute(&common, &app(parts))
        }
        "rename" => propose::rename(&common, &object("role", &["postgres"]), "app"),
        "grant-other" => propose::grant(
            &inside,
            &GrantStatement {
                revoke: false,
                granted: Granted::Privileges((
                    vec![Privilege { name: "SELECT".into(), columns: vec![] }],
                    object("table", &["public", "t"]),
                )),
                grantee: Grantee::Role("app".into()),
                with_option: false,
                options: vec![],
                granted_by: None,
                cascade: false,
            },
        ),
        "drop" => {
            propose::execute(&common, &Statement { verb: Verb::Drop, object: object("role", &["app"]), parts: vec![] })
        }
        _ => propose::execute(&common, &app(vec![text("LOGIN")])),
    }
}
